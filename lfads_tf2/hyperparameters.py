"""The one declaration of every hyperparameter and program option.

Flags, YAML and JSON keys, the hyperparameter page and the run manager's ``c_`` parameters are all generated from
the dataclass below. Nothing here imports TensorFlow, so a wrong value is refused before anything heavy loads.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Mapping
from typing import Any

from lfads_tf2.errors import one_of

# The subcommand of each kind: ``lfads infer`` is ``run_lfads.py --kind=posterior_sample_and_average``.
SUBCOMMANDS = {
    "train": "train", "posterior_sample_and_average": "infer", "posterior_push_mean": "push-mean",
    "prior_sample": "sample", "write_model_params": "export-params",
}  # fmt: skip
KINDS = tuple(SUBCOMMANDS)

# Large enough for "no limit", and the value that existing run-manager scripts pass for it.
NO_LIMIT = 4294967295


# Augmentations in the order in which they are applied when none is given, and the setting that switches each on.
AUGMENTATIONS = {
    "spike_jitter": "temporal_spike_jitter_width",
    "temporal_shift": "temporal_shift_std",
    "sample_validation": "sv_rate",
    "selective_backprop": None,
    "coordinated_dropout": "cd_rate",
}

# A user's own part: module:Class.
FILE_NAME = re.compile(r"[\w+=-][\w .+=-]{0,99}")
OWN_PART = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


def _hp(default: Any, help_text: str, section: str, **facts: Any) -> Any:
    """One field. ``facts``: unit, minimum, maximum, above (exclusive minimum), choices, own (or a user's class), tuned, architecture, path (``~`` stands for the home)."""
    unknown = set(facts) - {
        "unit",
        "minimum",
        "maximum",
        "above",
        "below",
        "choices",
        "tuned",
        "architecture",
        "own",
        "path",
    }
    assert not unknown, unknown
    return dataclasses.field(default=default, metadata={"help": help_text, "section": section, **facts})


@dataclasses.dataclass(frozen=True)
class HyperParameters:
    """All settings of a run, with the hyperparameter page's defaults. Immutable; ``dataclasses.replace`` copies."""

    # fmt: off
    # What to do, and with which files
    kind: str = _hp("train", "what to do", "run", choices=KINDS)
    data_dir: str = _hp("", "folder that holds one HDF5 file a session", "run", path=True)
    data_filename_stem: str = _hp("", "read the files called <stem>_<session>; empty: every HDF5 file of the folder is a session", "run")
    allow_outside_files: bool = _hp(False, "follow links and storage that lead out of a data file; only for files you trust", "run")
    lfads_save_dir: str = _hp("", "folder for everything that is written; empty: lfads_output inside data_dir", "run", path=True)
    resume: str = _hp("auto", "training goes on where the run folder has a run (auto, must), or starts anew beside what is there (never)", "run", choices=("auto", "never", "must"))
    allow_own_parts: bool = _hp(False, "load classes (module:Class) that a run folder names and this command does not; only for folders you trust", "run")
    model_params_file: str = _hp("", "start from this model: a model_params HDF5 file or the prefix of a TensorFlow 1 checkpoint", "run", path=True)
    seed: int = _hp(-1, "seed of every random draw; -1 picks one and records it", "run", minimum=-1, maximum=2**31 - 1)
    checkpoint_name: str = _hp("lfads_vae", "name of the checkpoint files", "run")
    checkpoint_pb_load_name: str = _hp("", "which checkpoint inference loads; empty: checkpoint_lve where there is one, else checkpoint", "run")
    output_filename_stem: str = _hp("", "stem of the result files, in place of model_runs_", "run")
    csv_log: str = _hp("fitlog", "name of the fit log, without .csv", "run")
    max_ckpt_to_keep: int = _hp(5, "rolling checkpoints kept", "run", minimum=1)
    max_ckpt_to_keep_lve: int = _hp(5, "lowest-validation-error checkpoints kept", "run", minimum=1)
    ps_nexamples_to_process: int = _hp(NO_LIMIT, "inference stops after this many trials a session", "run", unit="trials", minimum=1)
    num_samples_posterior: int = _hp(0, "posterior samples averaged a trial; 0: as many as batch_size", "run", unit="samples", minimum=0)
    report: bool = _hp(True, "draw the figures of report/ after training and inference", "run")
    device: str = _hp("/gpu:0", "device to run on; falls back to the CPU", "run")
    allow_gpu_growth: bool = _hp(True, "take GPU memory as it is needed and not all at once", "run")
    num_gpus: int = _hp(1, "GPUs of this machine that share each training batch", "run", minimum=1)
    num_threads: int = _hp(0, "CPU threads; 0: all cores that this process may use", "run", minimum=0)
    jit_compile: str = _hp("auto", "compile the step with XLA; auto: on a GPU only", "run", choices=("auto", "true", "false"))

    # Data and observation model
    output_dist: str = _hp("poisson", "observation model: spike counts (poisson), values (gaussian), positive values (gamma), zeros and positive values (zero_inflated_gamma)", "data", choices=("poisson", "gaussian", "gamma", "zero_inflated_gamma"), own=True, tuned="once", architecture=True)
    gamma_loc: float = _hp(0.0, "gamma models: values other than zero lie above this", "data", minimum=0)
    gamma_scale_prior: float = _hp(20.0, "zero_inflated_gamma: what the learned factors of alpha and beta start at and are pulled to", "data", above=0)
    l2_gamma_scale: float = _hp(1e-4, "zero_inflated_gamma: strength of that pull", "data", minimum=0)
    ext_input_dim: int = _hp(0, "external inputs a bin in the data files", "data", minimum=0, tuned="once", architecture=True)
    inject_ext_input_to_gen: bool = _hp(False, "give the external inputs to the generator and not to the encoders", "data", tuned="sometimes", architecture=True)
    _clip_value: float = _hp(80.0, "log-rates and log-variances are limited to plus or minus this before exp", "data", above=0)

    # Initial condition
    ic_dim: int = _hp(64, "size of the initial-condition code; 0: one learned initial condition for all trials", "initial condition", unit="dimensions", minimum=0, tuned="sometimes", architecture=True)
    ic_enc_dim: int = _hp(128, "units of each initial-condition encoder", "initial condition", unit="units", minimum=1, tuned="sometimes", architecture=True)
    num_steps_for_gen_ic: int = _hp(NO_LIMIT, "the initial-condition encoders read this many first bins", "initial condition", unit="bins", minimum=1, tuned="sometimes", architecture=True)
    ic_enc_seq_len: int = _hp(0, "the first bins that serve the initial condition only: the decoder and the reconstruction start after them; 0: none", "initial condition", unit="bins", minimum=0, tuned="sometimes", architecture=True)
    ic_prior_var_min: float = _hp(0.1, "least prior variance of the initial condition", "initial condition", above=0)
    ic_prior_var_scale: float = _hp(0.1, "prior variance of the initial condition (at the start of training if it is learned)", "initial condition", above=0)
    ic_prior_var_max: float = _hp(0.1, "largest prior variance; above ic_prior_var_min the variance is learned", "initial condition", above=0)
    ic_prior: str = _hp("gaussian", "prior of the initial condition; none: no prior and no sampling", "initial condition", choices=("gaussian", "student_t", "none"), architecture=True)
    ic_prior_df: float = _hp(5.0, "degrees of freedom of the Student's t prior of the initial condition", "initial condition", above=0)
    ic_post_var_min: float = _hp(1e-4, "floor added to the posterior variance of the initial condition", "initial condition", minimum=0)

    # Controller and inferred inputs
    co_dim: int = _hp(4, "inferred inputs; 0: no controller", "controller", unit="dimensions", minimum=0, tuned="often", architecture=True)
    con_dim: int = _hp(128, "units of the controller", "controller", unit="units", minimum=1, tuned="sometimes", architecture=True)
    ci_enc_dim: int = _hp(128, "units of each controller-input encoder", "controller", unit="units", minimum=1, tuned="sometimes", architecture=True)
    controller_input_lag: int = _hp(1, "bins between the encoding that the controller reads and now", "controller", unit="bins", minimum=0, architecture=True)
    do_causal_controller: bool = _hp(False, "leave the reverse controller-input encoder out", "controller", tuned="sometimes", architecture=True)
    do_feed_factors_to_controller: bool = _hp(True, "feed the previous bin's factors back to the controller", "controller", architecture=True)
    feedback_factors_or_rates: str = _hp("factors", "what is fed back; rates need a single session", "controller", choices=("factors", "rates"), architecture=True)
    prior_ar_atau: float = _hp(10.0, "autocorrelation time of the inferred inputs' AR(1) prior at the start", "controller", unit="bins", above=0)
    do_train_prior_ar_atau: bool = _hp(True, "learn that autocorrelation time", "controller")
    prior_ar_nvar: float = _hp(0.1, "noise variance of the AR(1) prior at the start", "controller", above=0)
    do_train_prior_ar_nvar: bool = _hp(True, "learn that noise variance", "controller")
    co_prior: str = _hp("ar1", "prior of the inferred inputs: an AR(1) process, or independent bins (gaussian, student_t); none: no prior and no sampling", "controller", choices=("ar1", "gaussian", "student_t", "none"), own=True, architecture=True)
    co_prior_var_scale: float = _hp(0.1, "squared scale of the gaussian and student_t priors at the start; not used by ar1", "controller", above=0)
    co_prior_df: float = _hp(5.0, "degrees of freedom of the Student's t prior of the inferred inputs", "controller", above=0)

    # Generator and factors
    gen_dim: int = _hp(100, "units of the generator", "generator", unit="units", minimum=1, tuned="often", architecture=True)
    factors_dim: int = _hp(50, "latent factors that the generator's state is reduced to", "generator", unit="dimensions", minimum=1, tuned="often", architecture=True)
    cell_weight_scale: float = _hp(1.0, "scale of the encoders' and the controller's initial weights", "generator", minimum=0)
    gen_cell_input_weight_scale: float = _hp(1.0, "scale of the generator's initial input weights", "generator", minimum=0)
    gen_cell_rec_weight_scale: float = _hp(1.0, "scale of the generator's initial recurrent weights", "generator", minimum=0)
    cell_clip_value: float = _hp(5.0, "states are limited to plus or minus this; lower it against instability", "generator", above=0, tuned="sometimes")

    # Optimisation
    batch_size: int = _hp(256, "trials a batch", "optimisation", unit="trials", minimum=1, tuned="sometimes")
    learning_rate_init: float = _hp(0.01, "learning rate at the start", "optimisation", above=0, tuned="sometimes")
    learning_rate_decay_factor: float = _hp(0.95, "the rate is multiplied by this when the cost stops falling", "optimisation", above=0, below=1, tuned="sometimes")
    learning_rate_n_to_compare: int = _hp(6, "the rate falls when the cost is above those of this many last epochs", "optimisation", unit="epochs", minimum=1)
    learning_rate_stop: float = _hp(1e-5, "training ends below this rate", "optimisation", above=0, tuned="sometimes")
    max_epochs: int = _hp(0, "training ends after so many epochs even if the rate is not yet low; 0: no limit", "optimisation", unit="epochs", minimum=0)
    recon_reduce: str = _hp("sum", "reconstruction cost of a trial: the sum over bins and channels, or their mean", "optimisation", choices=("sum", "mean"))
    learning_rate_schedule: str = _hp("original", "the rate falls when the training cost stops falling (original), when the smoothed validation reconstruction has not fallen for learning_rate_n_to_compare epochs (plateau), or along half a cosine to 0 at max_epochs (cosine)", "optimisation", choices=("original", "plateau", "cosine"))
    select_by: str = _hp("valid_cost", "what lowest-validation checkpoint, plateau schedule and early stopping go by: the validation cost, or the score of held-out spikes, which a model that copies spikes cannot raise (held_out_bps)", "optimisation", choices=("valid_cost", "held_out_bps"))
    held_out_epochs: int = _hp(25, "the score of held-out spikes is taken every so many epochs; 0: never", "optimisation", unit="epochs", minimum=0)
    early_stopping_patience: int = _hp(0, "training ends when the smoothed validation reconstruction has not fallen for so many epochs; 0: no such limit", "optimisation", unit="epochs", minimum=0)
    adam_beta1: float = _hp(0.9, "decay of Adam's mean gradient", "optimisation", minimum=0, below=1)
    adam_beta2: float = _hp(0.999, "decay of Adam's mean squared gradient", "optimisation", minimum=0, below=1)
    adam_epsilon: float = _hp(0.1, "added to the root of the mean squared gradient", "optimisation", above=0)
    weight_decay: float = _hp(0.0, "at each step all weights shrink by this times the learning rate", "optimisation", minimum=0)
    loss_scale: float = _hp(1.0, "the whole cost is multiplied by this before its gradient is clipped", "optimisation", above=0)
    max_grad_norm: float = _hp(200.0, "gradients are scaled down to this global norm", "optimisation", above=0)
    do_reset_learning_rate: bool = _hp(False, "go back to learning_rate_init when training is resumed", "optimisation")
    do_train_io_only: bool = _hp(False, "train read-in and read-out only", "optimisation")
    do_train_encoder_only: bool = _hp(False, "train the initial-condition encoders and their posterior only", "optimisation")
    do_train_readin: bool = _hp(True, "train the read-in matrices", "optimisation")
    do_train_readout: bool = _hp(True, "train the read-out matrices", "optimisation")
    read_in: str = _hp("auto", "from channels to the encoders: the identity for a single session without alignment, else linear (auto); or always the one", "optimisation", choices=("auto", "identity", "linear"), architecture=True)
    read_out: str = _hp("auto", "from factors to log-rates: the identity for a single session with as many channels as factors, else linear (auto); or always linear", "optimisation", choices=("auto", "linear"), architecture=True)

    # Against over- and underfitting
    keep_prob: float = _hp(0.95, "dropout keeps each entry with this probability", "regularisation", above=0, maximum=1, tuned="often")
    augmentations: str = _hp("", "augmentations of the training trials in order, with commas between: spike_jitter, temporal_shift, sample_validation, selective_backprop, coordinated_dropout, or a class of yours, module:Class; empty: those whose own setting is above 0", "regularisation")
    cd_rate: float = _hp(0.0, "coordinated dropout: entries leave the encoders' input with this probability, and only they train the model; 0: off", "regularisation", minimum=0, below=1, tuned="often")
    cd_pass_rate: float = _hp(0.0, "coordinated dropout: share of the entries left in that train the model too", "regularisation", minimum=0, maximum=1)
    temporal_shift_std: float = _hp(0.0, "standard deviation of a random shift of each channel in each training trial; 0: off", "regularisation", unit="bins", minimum=0)
    temporal_shift_max: int = _hp(6, "largest such shift", "regularisation", unit="bins", minimum=1)
    sv_rate: float = _hp(0.0, "sample validation: share of all entries that is never trained on and scored apart; 0: off", "regularisation", minimum=0, below=1)
    temporal_spike_jitter_width: int = _hp(0, "training spikes move by up to this many bins", "regularisation", unit="bins", minimum=0, tuned="sometimes")
    l2_gen_scale: float = _hp(500.0, "L2 penalty of the generator's recurrent weights", "regularisation", minimum=0, tuned="often")
    l2_con_scale: float = _hp(500.0, "L2 penalty of the controller's recurrent weights", "regularisation", minimum=0, tuned="often")
    l2_ic_enc_scale: float = _hp(0.0, "L2 penalty of the initial-condition encoders' recurrent weights", "regularisation", minimum=0)
    l2_ci_enc_scale: float = _hp(0.0, "L2 penalty of the controller-input encoders' recurrent weights", "regularisation", minimum=0)
    l2_start_step: int = _hp(0, "training step at which the L2 penalty starts to rise", "regularisation", unit="steps", minimum=0)
    l2_increase_steps: int = _hp(900, "steps over which the L2 penalty rises to its full weight; 0: full from the start", "regularisation", unit="steps", minimum=0, tuned="sometimes")
    l2_start_epoch: int = _hp(0, "epoch at which the L2 penalty starts to rise; above 0 it replaces l2_start_step", "regularisation", unit="epochs", minimum=0)
    l2_increase_epochs: int = _hp(0, "epochs over which the L2 penalty rises; above 0 it replaces l2_increase_steps", "regularisation", unit="epochs", minimum=0)
    kl_start_epoch: int = _hp(0, "epoch at which the KL cost starts to rise; above 0 it replaces kl_start_step", "regularisation", unit="epochs", minimum=0)
    kl_increase_epochs: int = _hp(0, "epochs over which the KL cost rises; above 0 it replaces kl_increase_steps", "regularisation", unit="epochs", minimum=0)
    kl_ic_weight: float = _hp(1.0, "weight of the initial condition's KL cost", "regularisation", minimum=0, tuned="sometimes")
    kl_co_weight: float = _hp(1.0, "weight of the inferred inputs' KL cost", "regularisation", minimum=0, tuned="sometimes")
    kl_start_step: int = _hp(0, "training step at which the KL cost starts to rise", "regularisation", unit="steps", minimum=0)
    kl_increase_steps: int = _hp(900, "steps over which the KL cost rises to its full weight; 0: full from the start", "regularisation", unit="steps", minimum=0, tuned="sometimes")
    co_mean_corr_scale: float = _hp(0.0, "penalty on correlated inferred inputs", "regularisation", minimum=0)
    # fmt: on

    def __post_init__(self) -> None:
        for name, value in with_homes(self.__dict__).items():
            object.__setattr__(self, name, value)


def with_homes(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same settings with ``~`` at the start of a path as the home folder: shells leave it alone after ``=``."""
    paths = [name for name, field in declared().items() if field.metadata.get("path")]
    return dict(values) | {name: os.path.expanduser(values[name]) for name in paths if values.get(name)}


def augmentation_names(hp: HyperParameters) -> tuple[str, ...]:
    """The augmentations of training in their order: those named, or else those that their own setting switches on."""
    named = tuple(part.strip() for part in hp.augmentations.split(",") if part.strip())
    return named or tuple(name for name, switch in AUGMENTATIONS.items() if switch and getattr(hp, switch))


def declared() -> dict[str, dataclasses.Field]:
    """Every field of the declaration by name, in order."""
    return {f.name: f for f in dataclasses.fields(HyperParameters)}


def value_problem(name: str, value: Any) -> str | None:
    """What is wrong with this value of a field, or None. Type, choices and bounds; one sentence."""
    field = declared()[name]
    kind, facts = type(field.default), field.metadata
    numeric = kind in (int, float)
    right = isinstance(value, (int, float) if kind is float else kind) and not (numeric and isinstance(value, bool))
    if not right:
        words = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
        return f"--{name} must be {words[kind]}, got {value!r}"
    if "choices" in facts and value not in facts["choices"] and not (facts.get("own") and OWN_PART.fullmatch(value)):
        own = "; a class of yours is given as module:Class" if facts.get("own") else ""
        return f"--{name} must be {one_of(facts['choices'], value)}{own}"
    broken = broken_bound(facts, value)
    return None if broken is None else f"--{name} must be {broken}, got {value!r}"


def broken_bound(facts: Mapping[str, Any], value: Any) -> str | None:
    """The first of the bounds of a declaration (minimum, maximum, above, below) that a value breaks, in words."""
    checks = (
        ("minimum", "at least", lambda bound: value >= bound),
        ("maximum", "at most", lambda bound: value <= bound),
        ("above", "greater than", lambda bound: value > bound),
        ("below", "less than", lambda bound: value < bound),
    )
    for fact, words, holds in checks:
        # "not holds" and a finite check also refuse NaN and infinity.
        if fact in facts and not (holds(facts[fact]) and abs(value) < float("inf")):
            return f"{words} {facts[fact]}"
    return None


def _augmentation_problems(hp: HyperParameters) -> list[str]:
    names, found = augmentation_names(hp), []
    for name in names:
        if name not in AUGMENTATIONS and not OWN_PART.fullmatch(name):
            found.append(f"--augmentations must name {', '.join(AUGMENTATIONS)} or a class, module:Class, got {name!r}")
        elif AUGMENTATIONS.get(name) and not getattr(hp, AUGMENTATIONS[name]):
            found.append(f"--augmentations names {name}, but --{AUGMENTATIONS[name]} is 0; set it, or leave {name} out")
    if len(set(names)) < len(names):
        found.append(f"--augmentations names something twice, got {hp.augmentations!r}; name each once")
    for name, switch in AUGMENTATIONS.items():
        if switch and getattr(hp, switch) and name not in names:
            found.append(f"--{switch} is {getattr(hp, switch)}, but --augmentations does not name {name}; add it")
    moving = [name for name in ("spike_jitter", "temporal_shift") if name in names]
    dropping = [n for n in names if n in ("coordinated_dropout", "sample_validation") or n not in AUGMENTATIONS]
    if moving and dropping and names.index(dropping[0]) < max(names.index(name) for name in moving):
        found.append(
            f"--augmentations: {moving[-1]} must come before {dropping[0]}, got {hp.augmentations!r}; change the order"
        )
    if moving and "selective_backprop" in names:
        found.append(
            f"--augmentations: {moving[0]} moves entries and selective_backprop fixes which are observed; use one"
        )
    if hp.cd_pass_rate and not hp.cd_rate:
        found.append("--cd_pass_rate is a part of coordinated dropout: it needs --cd_rate above 0")
    return found


def problems(hp: HyperParameters) -> list[str]:
    """Everything wrong with one set of hyperparameters that needs no data to see; empty when all is well."""
    found = [p for p in (value_problem(name, getattr(hp, name)) for name in declared()) if p]
    if found:
        return found
    if not hp.ic_prior_var_min <= hp.ic_prior_var_scale <= hp.ic_prior_var_max:
        found.append(
            "prior variances must be ordered --ic_prior_var_min <= --ic_prior_var_scale <= --ic_prior_var_max, got "
            f"{hp.ic_prior_var_min}, {hp.ic_prior_var_scale}, {hp.ic_prior_var_max}"
        )
    if hp.inject_ext_input_to_gen and hp.ext_input_dim == 0:
        found.append("--inject_ext_input_to_gen needs --ext_input_dim of at least 1, got 0")
    if hp.ic_enc_seq_len and hp.num_steps_for_gen_ic < NO_LIMIT:
        found.append(
            f"--ic_enc_seq_len={hp.ic_enc_seq_len} and --num_steps_for_gen_ic={hp.num_steps_for_gen_ic} exclude each "
            "other: both say which first bins the initial condition reads; give one of them"
        )
    if hp.ic_enc_seq_len and hp.ic_dim == 0:
        found.append("--ic_enc_seq_len needs an initial-condition encoder: --ic_dim of at least 1, got 0")
    if hp.do_train_io_only and hp.do_train_encoder_only:
        found.append("--do_train_io_only and --do_train_encoder_only exclude each other; give one of them")
    if hp.do_train_io_only and not (hp.do_train_readin or hp.do_train_readout):
        found.append("--do_train_io_only leaves nothing to train without --do_train_readin and --do_train_readout")
    if hp.do_train_encoder_only and hp.ic_dim == 0:
        found.append("--do_train_encoder_only needs an initial-condition encoder: --ic_dim of at least 1, got 0")
    if hp.learning_rate_stop >= hp.learning_rate_init:
        found.append(
            f"--learning_rate_stop ({hp.learning_rate_stop}) must be less than --learning_rate_init "
            f"({hp.learning_rate_init}); otherwise training ends at once"
        )
    if hp.learning_rate_schedule == "cosine" and not hp.max_epochs:
        found.append("--learning_rate_schedule=cosine needs an end: --max_epochs of at least 1, got 0")
    if hp.select_by == "held_out_bps" and not (hp.held_out_epochs and hp.output_dist == "poisson"):
        found.append(
            "--select_by=held_out_bps needs spike counts and --held_out_epochs of at least 1, got "
            f"--output_dist={hp.output_dist} and {hp.held_out_epochs}"
        )
    if hp.output_dist != "poisson" and hp.temporal_spike_jitter_width:
        found.append("--temporal_spike_jitter_width moves spikes: it needs --output_dist=poisson, or 0")
    if hp.kind == "prior_sample" and ((hp.ic_dim and hp.ic_prior == "none") or (hp.co_dim and hp.co_prior == "none")):
        found.append(
            "--kind=prior_sample draws from the priors, but the model was trained with --ic_prior or --co_prior=none"
        )
    found += _augmentation_problems(hp)
    found += [_file_name_problem(name, getattr(hp, name)) for name in ("checkpoint_name", "csv_log")]
    if hp.csv_log == "metrics":
        found.append("--csv_log=metrics is the name of the other log, metrics.csv; give another")
    return [problem for problem in found if problem]


def _file_name_problem(name: str, value: str) -> str | None:
    """TensorFlow takes brackets, quotes and backslashes of a checkpoint's name for something else."""
    if FILE_NAME.fullmatch(value):
        return None
    return (
        f"--{name} must be a file name without folders, at most 100 letters, digits, blanks and _ - . + =, got "
        f"{value[:120]!r}; give another"
    )
