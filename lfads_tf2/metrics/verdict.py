"""What kind of fit rates come from, in words: good, or which of four known ways a fit fails, and the flag to turn;
or that too few trials were scored to tell.

It rests on spikes that were masked from the encoders (``metrics.held_out``): a model that copies spikes explains those
that it reads far better than these, and one that smooths too much predicts these worse than its own rates with larger
swings do, or than simple averages.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from lfads_tf2.metrics.held_out import Gains, Score

# What is explained of spikes that were read and is not predicted, as a share of the former, above which it is copied.
# Good fits of the suite lose up to 0.22.
COPIED_SHARE = 0.3
# Nats a trial below which a posterior is its prior; and below which it is on its way there, if nothing is predicted.
UNUSED_KL, LITTLE_KL = 0.3, 1.0
# A standard error over fewer trials says little.
FEWEST_TRIALS = 5
# Of the whole fall of the validation reconstruction, in the last tenth of the epochs. Rates still gain long after this
# has levelled out, so the learning rate decides too: what is left of it at the end.
STILL_FALLING, RATE_LEFT = 0.004, 0.2

ADVICE = {
    "good": "",
    "copies single spikes": "raise --kl_co_weight and --kl_ic_weight (1 is the bound's own), lower --co_dim, or drop "
    "spikes from the input with --cd_rate=0.3",
    "too flat": "let it follow more: --keep_prob=0.95, --cd_rate=0, smaller --l2_gen_scale, larger --gen_dim and "
    "--factors_dim, or --preset=auto",
    "ended too early": "the same command goes on where it was stopped; if it ended by itself, give it a larger "
    "--max_epochs (or a lower --learning_rate_stop)",
    "latents unused": "lower --kl_ic_weight and --kl_co_weight, or let them rise more slowly with "
    "--kl_increase_epochs",
    "too few trials to judge": f"score at least {FEWEST_TRIALS} validation trials; of fewer than some 30 trials in all "
    "little can be learned, and --preset=auto learns most",
}  # fmt: skip


class Fit(NamedTuple):
    """How training went."""

    kl: float  # nats a trial at the end, before all weights; NaN unknown
    kl_weight: float  # ramp of the KL cost at the end; 1 where the cost has no weight that could rise
    falling: float  # share of the whole fall of the validation reconstruction in the last tenth of the epochs
    rate_left: float = 0.0  # learning rate at the end, as a share of that at the start
    kl_co: float = math.nan  # of it that of the inferred inputs, before its weight; NaN unknown, or there are none
    steps: int = 0  # of training
    planned: float = 0.0  # steps that --preset=auto takes for so many trials; 0: not to be compared with


class Verdict(NamedTuple):
    """One word of ADVICE and the figures behind it."""

    kind: str
    figures: str
    note: str = ""  # what else is worth knowing

    @property
    def advice(self) -> str:
        """What to do; empty for a good fit."""
        return ADVICE[self.kind]

    def __str__(self) -> str:
        advice = f" To mend it: {self.advice}." if self.advice else ""
        return f"Verdict: {self.kind}. {self.figures}.{advice}{self.note and f' {self.note}'}"


def fit_of(
    log: Mapping[str, np.ndarray] | None, metrics: Mapping[str, np.ndarray] | None = None, has_inputs: bool = True
) -> Fit:  # fmt: skip
    """From the columns of a fit log and of metrics.csv, where there are any; ``has_inputs``: some are inferred."""
    if log is None or not len(log.get("step", ())):
        return Fit(math.nan, 1.0, 0.0)
    half = "valid" if "recon_valid" in log else "train"
    recon = log[f"recon_{half}"]
    tenth = max(len(recon) // 10, 1)
    last, before = np.mean(recon[-tenth:]), np.mean(recon[-2 * tenth : -tenth] if len(recon) > 1 else recon)
    whole = recon[0] - min(last, before)
    falling = float((before - last) / whole) if whole > 0 else 0.0
    metrics = metrics or {}
    rates = np.asarray(metrics.get("learning_rate", ()))
    left = float(rates[-1] / rates[0]) if len(rates) and rates[0] > 0 else 0.0
    kl_ic, kl_co = (_at_the_end(metrics.get(f"{half}/{name}", ())) for name in ("kl_ic", "kl_co"))
    known = [kl for kl in (kl_ic, kl_co) if not math.isnan(kl)]
    ramp = float(log["kl_weight"][-1]) if np.any(log[f"kl_{half}"]) else 1.0
    return Fit(
        sum(known) if known else math.nan, ramp, falling, left, kl_co if has_inputs else math.nan, int(log["step"][-1])
    )  # fmt: skip


def _at_the_end(column) -> float:
    """Mean over the last tenth of the epochs; NaN without any."""
    return float(np.mean(column[-max(len(column) // 10, 1) :])) if len(column) else math.nan


def judge(
    read: float,
    held_out: Gains,
    sharper: Gains,
    baselines: Mapping[str, Gains],
    fit: Fit,
    ceiling: Score | None = None,
) -> Verdict:
    """The verdict on rates.

    Args:
        read: bits a spike of the spikes that the encoders read.
        held_out: of the spikes that were masked from them.
        sharper: the same of these rates with larger swings, see ``baselines.sharpened``.
        baselines: simple predictions of the same spikes, by name.
        fit: how training went.
        ceiling: the true rates' own score, where they are known.
    """
    score = held_out.score()
    words = [f"{score} bits/spike of held-out spikes, {read:.3f} of the spikes it read"]
    compared = {"the same with larger swings": sharper, **baselines}
    words += [f"{name} {gains.score().bits:.3f}" for name, gains in compared.items()]
    if ceiling is not None:
        words.append(f"true rates {ceiling.bits:.3f}")
    copies = read - score.bits > max(COPIED_SHARE * abs(read), 2 * score.error)
    predicts = score.bits > 2 * np.nan_to_num(score.error)
    if held_out.trials < FEWEST_TRIALS:
        kind = "too few trials to judge"
    elif fit.kl < (UNUSED_KL if predicts else LITTLE_KL):
        kind = "latents unused"
    elif fit.kl_weight < 1:
        kind = "ended too early"
    elif copies:
        kind = "copies single spikes"
    elif fit.falling > STILL_FALLING:
        kind = "ended too early"
    elif _is_beaten(held_out, sharper):
        kind = "too flat"
    elif fit.rate_left > RATE_LEFT:
        kind = "ended too early"
    elif not predicts or any(_is_beaten(held_out, other) for other in baselines.values()):
        kind = "too flat"
    else:
        kind = "good"
    note = ""
    # Everything is unused in a model that learned nothing, and before the ramp is done nothing is decided.
    if kind == "ended too early" and copies:
        note = "So far it copies single spikes."
    elif fit.kl_co < UNUSED_KL and fit.kl_weight >= 1 and kind != "latents unused":
        note = (
            f"The inferred inputs carry nothing (their KL cost is {fit.kl_co:.2f} nats a trial): --co_dim=0 describes "
            "these data as well, and trains faster."
        )
    if kind == "good" and fit.steps < fit.planned / 2:
        # Nothing falls any more once the rate has come to its end, wherever that was.
        note = (
            f"{note} It was trained for {fit.steps} steps, where --preset=auto takes {fit.planned:.0f} for so many "
            "trials: a larger --max_epochs may still give better rates."
        ).strip()
    return Verdict(kind, ", ".join(words), note)


def _is_beaten(held_out: Gains, other: Gains) -> bool:
    lead = held_out.above(other)
    return lead.bits < -2 * lead.error
