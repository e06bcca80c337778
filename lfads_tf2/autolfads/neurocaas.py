"""Reads the configuration of AutoLFADS on NeuroCAAS (that of lfads-torch) as one of ours.

What the data decide is checked against the data, what has a counterpart here is mapped, and the rest is named.
"""

from __future__ import annotations

from typing import Any

from lfads_tf2.autolfads.config import SearchConfig, SearchOptions, checked, option_problem
from lfads_tf2.autolfads.searched import number, searchable, searched_from
from lfads_tf2.errors import SettingsError
from lfads_tf2.hyperparameters import declared
from lfads_tf2.settings.mapping import from_mapping
from lfads_tf2.training.scalars import SMOOTHED

DECIDED_BY_DATA = {
    "model.encod_data_dim": "encoded channels",
    "model.readout.modules.0.out_features": "channels",
    "model.encod_seq_len": "encoded bins",
    "model.recon_seq_len": "bins",
}
SAME = {
    "seed": "seed", "datamodule.batch_size": "batch_size", "model.ext_input_dim": "ext_input_dim",
    "model.ic_enc_dim": "ic_enc_dim", "model.ci_enc_dim": "ci_enc_dim", "model.ci_lag": "controller_input_lag",
    "model.con_dim": "con_dim", "model.co_dim": "co_dim", "model.ic_dim": "ic_dim", "model.gen_dim": "gen_dim",
    "model.fac_dim": "factors_dim", "model.co_prior.tau": "prior_ar_atau", "model.co_prior.nvar": "prior_ar_nvar",
    "model.ic_post_var_min": "ic_post_var_min", "model.cell_clip": "cell_clip_value",
    "model.lr_init": "learning_rate_init", "model.l2_gen_scale": "l2_gen_scale", "model.l2_con_scale": "l2_con_scale",
    "model.l2_ic_enc_scale": "l2_ic_enc_scale", "model.l2_ci_enc_scale": "l2_ci_enc_scale",
    "model.weight_decay": "weight_decay", "model.loss_scale": "loss_scale", "model.lr_adam_beta1": "adam_beta1",
    "model.lr_adam_beta2": "adam_beta2", "model.lr_adam_epsilon": "adam_epsilon",
    "model.ic_enc_seq_len": "ic_enc_seq_len", "model.kl_start_epoch": "kl_start_epoch",
    "model.l2_start_epoch": "l2_start_epoch", "model.kl_ic_scale": "kl_ic_weight", "model.kl_co_scale": "kl_co_weight",
    "trainer.gradient_clip_val": "max_grad_norm", "posterior_sampling.fn.num_samples": "num_samples_posterior",
}  # fmt: skip
OPTIONS = {
    "pbt.num_samples": "num_workers", "pbt.perturbation_interval": "perturbation_interval",
    "pbt.burn_in_period": "burn_in_period", "pbt.metric": "metric", "trainer.max_epochs": "max_epochs",
    "pbt.resources_per_trial.cpu": "cpu", "pbt.resources_per_trial.gpu": "gpu", "pbt.patience": "patience",
    "pbt.min_improvement_ratio": "min_improvement_ratio",
}  # fmt: skip
# How the other program is put together; nothing here corresponds to it, and nothing is lost.
PLUMBING = (
    "callbacks.", "logger.", "ignore_warnings", "trainer.", "posterior_sampling.", "datamodule.", "model.lr_",
    "model.infer_aug_stack.",
)  # fmt: skip
# What the other scheduler has instead of tournaments.
REPLACED = ("pbt.quantile_fraction", "pbt.resample_probability")
FIXED_HERE = {"model.variational": True, "model.ic_prior.mean": 0}


def is_neurocaas(content: dict[Any, Any]) -> bool:
    """Whether a configuration is of that kind: it has a section ``model``, ``datamodule`` or ``trainer``."""
    return any(isinstance(content.get(name), dict) for name in ("model", "datamodule", "trainer"))


def neurocaas_config(content: dict[Any, Any], where: str) -> SearchConfig:
    """A checked configuration from one of NeuroCAAS.

    Args:
        content: as YAML holds it.
        where: names the source in messages.

    Raises:
        SettingsError: values that have a counterpart here and are not possible; all of them.
    """
    content = dict(content)
    section = dict(content.get("pbt") or {})
    ranges, notes, found = section.pop("hps", None), [], []
    flat = _flattened(content | {"pbt": section})
    given, chosen, expected = {"recon_reduce": "mean"}, {}, []
    for key, value in flat.items():
        value = number(value)
        if key in DECIDED_BY_DATA:
            expected += [(key, DECIDED_BY_DATA[key], value)] if isinstance(value, int | float) else []
        elif key in OPTIONS:
            _take_option(OPTIONS[key], value, key, where, chosen, found)
        elif SAME.get(key) in declared():
            given |= {} if value is None else {SAME[key]: value}
        elif not _takes_other(key, value, given) and not _has_no_counterpart(key, value):
            notes.append(f"{key}={value}")
    try:
        given = from_mapping(given, where)
    except SettingsError as error:
        found += error.problems
    mapped = _ranges(ranges, notes)
    try:
        searched = searched_from(mapped, where)
    except SettingsError as error:
        found, searched = found + error.problems, ()
    if found:
        raise SettingsError(found)
    said = (f"{where}: no counterpart here, not used: {', '.join(notes)}",) if notes else ()
    # The other program knows no score of held-out spikes.
    chosen.setdefault("metric", SMOOTHED)
    config = SearchConfig(given, SearchOptions(**chosen), searched, expected=tuple(expected), notes=said)
    return checked(config, where)


def _take_option(name, value, key, where, chosen, found) -> None:
    kind = type(getattr(SearchOptions, name))
    problem = option_problem(name, value)
    if problem:
        found.append(f"{where}: {key}: {problem}")
    else:
        chosen[name] = kind(value)


def _takes_other(key: str, value: Any, given: dict[str, Any]) -> bool:
    """Fields that become something else than a hyperparameter of one name; True if this is one."""
    if key == "model.dropout_rate" and isinstance(value, int | float):
        given["keep_prob"] = 1.0 - value
    elif key == "model.ic_prior.variance":
        given |= dict.fromkeys(("ic_prior_var_scale", "ic_prior_var_min", "ic_prior_var_max"), value)
    elif key == "model.recon_reduce_mean" and isinstance(value, bool):
        given["recon_reduce"] = "mean" if value else "sum"
    elif key.startswith("model.train_aug_stack.") and key.endswith((".cd_rate", ".cd_pass_rate")):
        given[key.split(".")[-1]] = value
    elif key in ("model.kl_increase_epoch", "model.l2_increase_epoch"):
        # No epochs at all are no ramp there; here they would leave it to the steps.
        given[f"{key[6:]}s" if value else f"{key[6:8]}_increase_steps"] = value
    else:
        return False
    return True


def _has_no_counterpart(key: str, value: Any) -> bool:
    """Whether a field can be passed over without a word."""
    if key in FIXED_HERE:
        return value == FIXED_HERE[key]
    reference = isinstance(value, str) and value.startswith("${")
    order = key.endswith((".batch_order.0", ".loss_order.0"))
    return order or reference or key in REPLACED or key.split(".")[-1] == "_target_" or key.startswith(PLUMBING)


def _ranges(ranges: Any, notes: list[str]) -> Any:
    """``pbt.hps`` in our form; those without a counterpart are added to ``notes``."""
    if not isinstance(ranges, dict):
        return ranges
    mapped = {}
    for key, entry in ranges.items():
        name = "dropout_rate" if key == "model.dropout_rate" else SAME.get(str(key), str(key).split(".")[-1])
        if name not in searchable():
            notes.append(f"pbt.hps.{key}")
            continue
        if isinstance(entry, dict) and "resamp_range" in entry:
            entry = dict(entry)
            limits = entry.pop("resamp_range")
            low, high = limits if isinstance(limits, list) and len(limits) == 2 else (limits, limits)
            start = entry.pop("init_range", None)
            entry = entry | {"min": low, "max": high} | ({} if start is None else {"init": start})
        elif isinstance(entry, dict):
            # Later versions: min, max, init, explore_wt, enforce_limits, sample_fn.
            names = {"explore_wt": "explore_weight", "sample_fn": "dist"}
            entry = {names.get(name, name): value for name, value in entry.items()}
        mapped[name] = entry
    return mapped


def _flattened(content: Any, prefix: str = "") -> dict[str, Any]:
    """Dotted paths of all leaves; items of lists by their index."""
    items = content.items() if isinstance(content, dict) else enumerate(content)
    flat = {}
    for key, value in items:
        path = f"{prefix}{key}"
        if isinstance(value, dict | list):
            flat |= _flattened(value, f"{path}.")
        else:
            flat[path] = value
    return flat
