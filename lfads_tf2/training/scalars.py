"""Names of the figures of an epoch: those of metrics.csv and TensorBoard, and what a search's log calls them.

Each is a field of ``Costs`` or ``EpochResult`` behind its half, where it has one.
"""

from __future__ import annotations

# Of either half.
COSTS = ("total", "recon", "kl", "kl_ic", "kl_co")
SMOOTHED = "valid/recon_smth"
TRUTH_R2 = "valid/r2"
# Bits a spike of spikes that were masked from the encoders, and the standard error over trials.
HELD_OUT, HELD_OUT_ERROR = "valid/held_out_bps", "valid/held_out_bps_error"
# Not in every row.
RARE = (TRUTH_R2, HELD_OUT, HELD_OUT_ERROR)
# Bits a spike, from minus the log-likelihood of entries (a field of ``Costs``) against constant rates.
BITS = {"nll": "bps", "held_out": "co_bps", "forward": "fp_bps"}
# Figures in the log of a search, under the names that they have in the logs of other AutoLFADS programs.
SEARCH = {
    "train/total": "train/loss",
    "train/recon": "train/recon",
    "train/kl": "train/wt_kl",
    "l2": "train/wt_l2",
    "kl_weight": "train/wt_kl/ramp",
    "l2_weight": "train/wt_l2/ramp",
    "valid/total": "valid/loss",
    "valid/recon": "valid/recon",
    SMOOTHED: SMOOTHED,
    "valid/kl": "valid/wt_kl",
    "gradient_norm": "gradient_norm",
}


def of_half(half: str, costs) -> dict[str, float]:
    """The costs of one half, ``train`` or ``valid``, from its ``Costs`` as numbers."""
    return {f"{half}/{name}": float(getattr(costs, name)) for name in COSTS}


def of_training(result) -> dict[str, float]:
    """What an epoch of training has beside the costs of its half, from its ``EpochResult`` as numbers."""
    return {
        "l2": float(result.costs.l2),
        "kl_weight": float(result.kl_weight),
        "l2_weight": float(result.l2_weight),
        "gradient_norm": float(result.gradient_norm),
    }
