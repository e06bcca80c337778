"""The parameters of a run: the run manager's own names, MATLAB classes and defaults.

Meaning, and for what the program takes also type, bounds and help, come from the one declaration of hyperparameters.
What decides a run's hash is declared here: names, MATLAB classes, and the defaults that a change is measured against.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from lfads_tf2.hyperparameters import NO_LIMIT, declared

# Groups that never enter a hash: labels, what is done after training, and debugging switches.
NOT_HASHED_GROUPS = ("label", "posterior sampling", "debug")
DATA, STITCHING = "run manager logistics and data processing", "stitching multi-session models"
HIDDEN = "hidden"
PROGRAM = "program"


@dataclasses.dataclass(frozen=True)
class Param:
    """One parameter: default, MATLAB class (empty: none is declared there, numbers are doubles), group, help."""

    default: Any
    matlab_class: str = ""
    group: str = "own"
    help: str = ""
    choices: tuple = ()


def param(default: Any, matlab_class: str = "", help: str = "", group: str = "own", choices: tuple = ()) -> Param:
    """Declares a parameter of a RunParams subclass, where its MATLAB class is not plain from the default.

    A default must never change later: old hashes would change with it.
    """
    return Param(default, matlab_class, group, help, choices)


_TABLE: dict[str, dict[str, tuple]] = {
    "label": {"name": ("", "char"), "version": (20171107, "uint32")},
    DATA: {"spikeBinMs": (2.0, "double")},
    "TensorFlow logistics": {
        "c_allow_gpu_growth": (True, "logical"), "c_max_ckpt_to_keep": (5, "uint16"),
        "c_max_ckpt_to_keep_lve": (5, "uint16"), "c_device": ("/gpu:0", "char"),
    },
    "optimization": {
        "c_learning_rate_init": (0.01, "double"), "c_learning_rate_decay_factor": (0.98, "double"),
        "c_learning_rate_n_to_compare": (6, "uint16"), "c_learning_rate_stop": (1e-5, "double"),
        "c_max_grad_norm": (200.0, "double"), "trainToTestRatio": (4, "uint16"), "c_batch_size": (256, "uint16"),
        "c_cell_clip_value": (5.0, "double"),
    },
    "overfitting": {
        "c_temporal_spike_jitter_width": (0, "uint16"), "c_keep_prob": (0.95, "double"),
        "c_l2_gen_scale": (500.0, "double"), "c_l2_con_scale": (500.0, "double"),
        "c_co_mean_corr_scale": (0.0, "double"),
    },
    "underfitting": {
        "c_kl_ic_weight": (1.0, "double"), "c_kl_co_weight": (1.0, "double"), "c_kl_start_step": (0, "uint32"),
        "c_kl_increase_steps": (900, "uint32"), "c_l2_start_step": (0, "uint32"),
        "c_l2_increase_steps": (900, "uint32"), "scaleIncreaseStepsWithDatasets": (True, "logical"),
        "scaleStartStepWithDatasets": (True, "logical"),
    },
    "external inputs": {"c_ext_input_dim": (0, "uint16"), "c_inject_ext_input_to_gen": (False, "logical")},
    "controller and inferred inputs": {
        "c_co_dim": (4, "uint16"), "c_prior_ar_atau": (10.0, "double"), "c_do_train_prior_ar_atau": (True, "logical"),
        "c_prior_ar_nvar": (0.1, "double"), "c_do_train_prior_ar_nvar": (True, "logical"),
        "c_do_causal_controller": (False, "logical"), "c_do_feed_factors_to_controller": (True, "logical"),
        "c_feedback_factors_or_rates": ("factors", "char"), "c_controller_input_lag": (1, "uint16"),
        "c_ci_enc_dim": (128, "uint16"), "c_con_dim": (128, "uint16"), "c_co_prior_var_scale": (0.1, ""),
    },
    "encoder and initial conditions for generator": {
        "c_num_steps_for_gen_ic": (NO_LIMIT, "uint32"), "c_ic_dim": (64, "uint16"), "c_ic_enc_dim": (128, "uint16"),
        "c_ic_prior_var_min": (0.1, "double"), "c_ic_prior_var_scale": (0.1, "double"),
        "c_ic_prior_var_max": (0.1, "double"), "c_ic_post_var_min": (1e-4, "double"),
    },
    "generator network": {
        "c_cell_weight_scale": (1.0, "double"), "c_gen_dim": (100, "uint16"),
        "c_gen_cell_input_weight_scale": (1.0, "double"), "c_gen_cell_rec_weight_scale": (1.0, "double"),
    },
    "factors, rates": {"c_factors_dim": (50, "uint16"), "c_output_dist": ("poisson", "char")},
    STITCHING: {
        "c_do_train_readin": (True, "logical"), "useAlignmentMatrix": (False, "logical"),
        "useSingleDatasetAlignmentMatrix": (False, "logical"), "alignmentApproach": ("regressGlobalPCs", "char"),
        "alignmentExtraArgs": ((), "cell"),
    },
    "posterior sampling": {
        "posterior_mean_kind": ("posterior_sample_and_average", "char"), "num_samples_posterior": (512, ""),
    },
    "debug": {
        "c_tf_debug_cli": (False, "logical"), "c_tf_debug_tensorboard": (False, "logical"),
        "c_tf_debug_tensorboard_hostport": ("localhost:6064", "char"), "c_tf_debug_dump_root": ("", "char"),
        "c_debug_verbose": (False, "logical"), "c_debug_reduce_timesteps_to": ((), "double"),
        "c_debug_print_each_step": (False, "logical"),
    },
    HIDDEN: {"c_in_factors_dim": (50, "uint16"), "setInFactorsMatchDataForSingleDataset": (False, "logical")},
}  # fmt: skip

# Choices that the MATLAB run manager left no choice about. At their defaults they change no hash.
_ADDED = {
    "alignmentBias": Param(
        "logMean", "char", STITCHING,
        "read-out bias: logMean (log of the mean count, what a Poisson read-out wants) or meanCount (as MATLAB's)",
        ("logMean", "meanCount"),
    ),
    "alignmentReadout": Param(
        "transpose", "char", STITCHING, "read-out matrix from the alignment matrix", ("transpose", "pinv")
    ),
    "alignmentCv": Param(
        "standard", "char", STITCHING,
        "cross-validation of the ridge: standard, or compatible (fits on 1/10, scores on 9/10, as MATLAB's)",
        ("standard", "compatible"),
    ),
    "extInputRebinning": Param(
        "sum", "char", DATA, "how external inputs are brought to wider bins: sum (as MATLAB's) or mean", ("sum", "mean")
    ),
}  # fmt: skip

_HELP = {
    "name": "label of this set of parameters",
    "version": "layout of the folders, a date",
    "spikeBinMs": "bin width of the model in ms; a whole multiple of the data's",
    "trainToTestRatio": "training trials for each validation trial",
    "scaleIncreaseStepsWithDatasets": "multiply kl_increase_steps and l2_increase_steps by the number of datasets",
    "scaleStartStepWithDatasets": "multiply kl_start_step and l2_start_step by the number of datasets",
    "useAlignmentMatrix": "start read-ins and read-outs of stitched runs from alignment matrices",
    "useSingleDatasetAlignmentMatrix": "start the read-in of single-dataset runs from principal components",
    "alignmentApproach": "how alignment matrices are fitted",
    "alignmentExtraArgs": "name, value, name, value ... for the alignment",
    "posterior_mean_kind": "kind of the posterior stage",
    "num_samples_posterior": "samples averaged a trial",
}
_CHOICES = {
    "alignmentApproach": ("regressGlobalPCs", "ridgeRegressGlobalPCs"),
    "posterior_mean_kind": ("posterior_sample_and_average", "posterior_push_mean"),
}
# Given by the run, not by its parameters.
_OF_THE_RUN = (
    "kind", "data_dir", "data_filename_stem", "lfads_save_dir", "checkpoint_name", "checkpoint_pb_load_name",
    "output_filename_stem", "csv_log", "num_samples_posterior", "_clip_value",
)  # fmt: skip
_CLASS_OF_TYPE = {bool: "logical", int: "double", float: "double", str: "char"}


def root_fields() -> dict[str, Param]:
    """All parameters of RunParams itself, in order.

    What the program takes beyond the MATLAB run manager's parameters (``c_max_epochs``, ``c_seed`` ...) comes last,
    with the program's defaults: unchanged it is neither hashed nor on the command line.
    """
    of_program = declared()
    found = {}
    for group, fields in _TABLE.items():
        for name, (default, matlab_class) in fields.items():
            field = of_program.get(name.removeprefix("c_")) if name.startswith("c_") else None
            text = field.metadata["help"] if field else _HELP.get(name, "")
            found[name] = Param(default, matlab_class, group, text, _CHOICES.get(name, ()))
        found |= {name: added for name, added in _ADDED.items() if added.group == group}
    for name, field in of_program.items():
        if f"c_{name}" not in found and name not in _OF_THE_RUN:
            kind = _CLASS_OF_TYPE[type(field.default)]
            found[f"c_{name}"] = Param(field.default, kind, PROGRAM, field.metadata["help"])
    return found
