"""From the files of the data folder to checked sessions."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import NamedTuple

import h5py
import numpy as np

from lfads_tf2.data.arrays import has_shape, read_entries
from lfads_tf2.data.checks import check_against, warnings_about
from lfads_tf2.data.entries import CHANNELS, INPUTS, Check, check_for, checked_values, zeros_for_missing
from lfads_tf2.data.errors import DataError, by
from lfads_tf2.data.extras import (
    CONDITIONS,
    read_alignment,
    read_bin_width,
    read_conditions,
    read_conversion_factor,
    read_indices,
)
from lfads_tf2.data.facts import described
from lfads_tf2.data.finding import find_sessions
from lfads_tf2.data.keys import HALVES, SessionFile, name_of
from lfads_tf2.data.matlab import Reversed
from lfads_tf2.data.opening import why_not_opened
from lfads_tf2.data.targets import Parts, check_parts, is_benchmark, joined, read_parts, target_of
from lfads_tf2.hyperparameters import HyperParameters
from lfads_tf2.types import Session, Trials

_log = logging.getLogger("lfads_tf2")


class _Half(NamedTuple):
    """Train or valid of one file. The shape is known even where a value is wrong, so that all problems come at once."""

    shape: tuple[int, ...]
    target_shape: tuple[int, ...]
    trials: Trials  # with data=None if that could not be used
    parts: Parts | None = None  # of the third dialect's target


def read_sessions(
    hp: HyperParameters, settle: Callable[[list[Session]], HyperParameters] | None = None
) -> list[Session]:
    """Read and check every session of ``hp.data_dir``, sorted by session name.

    Poisson counts come back in the smallest unsigned integer type that holds them, Gaussian values as float32; truth
    is multiplied by ``conversion_factor`` (spikes/bin). External inputs are left out when ``hp.ext_input_dim`` is 0.
    Raises ``DataError`` with everything that is wrong in any file, or in the files together with ``hp``. What is
    odd but usable goes to the logger ``lfads_tf2`` as warnings, after a line of what was read.

    ``settle``: the hyperparameters that the sessions are checked against, where the data decide them.
    """
    sessions, problems, warnings = [], [], []
    check, ext_inputs = check_for(hp), hp.ext_input_dim > 0 or settle is not None
    for name, path in find_sessions(hp.data_dir, hp.data_filename_stem):
        session = read_session(name, path, check, problems, warnings, ext_inputs, hp.allow_outside_files)
        if session is not None:
            sessions.append(session)
    if settle is not None and not problems:
        hp = settle(sessions)
    problems += check_against(hp, sessions)
    if problems:
        raise DataError(problems)
    if hp.kind == "train":
        for line in described(sessions):
            _log.info(line)
    for warning in warnings + warnings_about(hp, sessions):
        _log.warning(warning)
    return sessions


def read_session(
    name: str,
    path: str,
    check: Check,
    problems: list[str],
    warnings: list[str],
    ext_inputs: bool = True,
    allow_outside: bool = False,
) -> Session | None:
    """One session; what is wrong or odd is added to ``problems`` and ``warnings``, and None returned if it is wrong.

    ``check``: of its data, as ``check_for`` gives it; where that lets NaN through, the encoders read 0.
    ``ext_inputs``: False leaves external inputs unread. ``allow_outside``: links and storage may lead out of the file.
    """
    try:
        handle = h5py.File(path, "r")
    except OSError as error:
        problems.append(f"{path}: {why_not_opened(path, error)}")
        return None
    with handle:
        file = SessionFile(handle, path, ext_inputs, allow_outside)
        try:
            # A name that is not UTF-8 comes as bytes; it is none that we look for.
            file.keys = [key for key in handle if isinstance(key, str)]
            session = _read_open_file(name, file, check)
        except (OSError, RuntimeError, KeyError) as error:
            file.problems.append(f"{path}: cannot be read ({error}); the file is damaged, write or copy it again")
    # The same key may have been asked for twice.
    problems += dict.fromkeys(file.problems)
    warnings += file.warnings
    return None if file.problems else session


def _read_open_file(name: str, file: SessionFile, check: Check) -> Session | None:
    keys = file.data_keys()
    factor = read_conversion_factor(file)
    halves: dict[str, _Half] = {}
    for half in HALVES:
        seen, target = keys[half]
        found = _read_half(file, half, seen, target, factor, check) if seen else None
        if found is not None:
            halves[half] = found
    if keys["train"][0] and not keys["valid"][0]:
        _complain_of_orphans(file, keys["train"][0])
    _check_halves_agree(file, halves, keys)
    indices = read_indices(file, {half: found.shape[0] for half, found in halves.items()})
    alignment = read_alignment(file)
    width = read_bin_width(file)
    _say_what_is_ignored(file)
    if file.problems:
        return None
    whole = {}
    for half, found in halves.items():
        trials = found.trials._replace(indices=indices[half])
        if found.parts is not None:
            trials = trials._replace(recon=joined(trials.data, found.parts, halves["train"].parts))
        whole[half] = zeros_for_missing(trials)
    return Session(name, file.path, whole["train"], whole.get("valid"), bin_width_ms=width, **alignment)


def _say_what_is_ignored(file: SessionFile) -> None:
    """External inputs that are there and not asked for."""
    dataset = None if file.ext_inputs else file.dataset("train_ext_input")
    if dataset is not None:
        width = dataset.shape[2] if len(dataset.shape) == 3 else "N"
        file.warnings.append(
            f"external inputs in {file.path} are ignored because --ext_input_dim is 0; "
            f"--ext_input_dim={width} uses them"
        )


def _complain_of_orphans(file: SessionFile, train_key: str) -> None:
    """Validation keys in a file without validation data: these were forgotten, misspelled or of the other dialect."""
    wanted = train_key.casefold().replace("train", "valid")
    for name in ("data", "encod_data", "recon_data", "ext_input", "truth", "inds", *CONDITIONS):
        key = file.key(f"valid_{name}")
        if key:
            file.complain(key, f"does not go with {train_key} alone; store the trials as {wanted}, or remove {key}")


def _read_half(
    file: SessionFile, half: str, data_key: str, target_key: str | None, factor: float, check: Check
) -> _Half | None:
    dataset = file.numbers(data_key)
    if dataset is None or not has_shape(file, dataset):
        return None
    if isinstance(dataset, Reversed):
        text = f"{data_key} was saved by MATLAB; its axes are taken as MATLAB shows them: {CHANNELS} = "
        file.warnings.append(f"{file.path}: {text}{by(dataset.shape)}")
    data, recon, parts, shape = _attempt(file, dataset, check), None, None, dataset.shape
    name = target_key or data_key
    if target_key is not None:
        target = target_of(file, dataset, target_key)
        if target is not None:
            recon, shape = _attempt(file, target, check), target.shape
    if is_benchmark(data_key):
        parts = read_parts(file, dataset, lambda part: _attempt(file, part, check))
        if half == "train":
            check_parts(file, data_key, parts)
        bins, channels = (parts[name] for name in ("spikes_heldin_forward", "spikes_heldout"))
        shape = (
            shape[0],
            shape[1] + (0 if bins is None else bins.shape[1]),
            shape[2] + (0 if channels is None else channels.shape[2]),
        )
    ext_input = None
    if file.ext_inputs:
        ext_input = _read_beside(file, f"{half}_ext_input", dataset.shape, shape, name, INPUTS)
        ext_input = _padded(file, half, ext_input, shape[1])
    truth = _read_beside(file, f"{half}_truth", shape, shape, name, CHANNELS)
    if truth is not None and factor != 1.0:
        with np.errstate(over="ignore", invalid="ignore"):
            truth *= np.float32(factor)
        if not np.isfinite(truth).all():
            file.complain(
                f"{half}_truth", f"times conversion_factor, {factor}, is no finite number; correct the factor"
            )
    conditions = read_conditions(file, half, dataset.shape[0])
    return _Half(dataset.shape, shape, Trials(data, ext_input, truth, None, conditions, recon), parts)


def _attempt(file: SessionFile, dataset: h5py.Dataset, check: Check) -> np.ndarray | None:
    """Read one array; a damaged or too large one is a problem of its key."""
    try:
        return read_entries(file, dataset, check)
    except OSError as error:
        file.complain(name_of(dataset), f"cannot be read ({error}); the file is damaged, write or copy it again")
    except (MemoryError, ValueError) as error:
        file.complain(
            name_of(dataset), f"{by(dataset.shape)} does not fit into memory ({error}); or store fewer trials"
        )
    return None


def _read_beside(
    file: SessionFile, key: str, data: tuple[int, ...], target: tuple[int, ...], name: str, axes: str
) -> np.ndarray | None:
    """External input or truth; its trials and bins (truth: channels too) must be those of the data or the target.

    ``data`` and ``target``: their shapes; ``name``: the target's key.
    """
    dataset = file.numbers(key)
    if dataset is None or not has_shape(file, dataset, axes):
        return None
    compared = 3 if axes == CHANNELS else 2
    if dataset.shape[:compared] not in (data[:compared], target[:compared]):
        must = " x ".join(axes.split(" x ")[:compared])
        file.complain(
            name_of(dataset), f"has shape {by(dataset.shape)} and {name} {by(target)}; {must} must be the same"
        )
        return None
    return _attempt(file, dataset, functools.partial(checked_values, axes=axes))


def _padded(file: SessionFile, half: str, ext_input: np.ndarray | None, bins: int) -> np.ndarray | None:
    """External inputs for all bins of the target; those that end with the encoders' data go on as zeros."""
    if ext_input is None or ext_input.shape[1] == bins:
        return ext_input
    file.warnings.append(
        f"{file.path}: {half}_ext_input has {ext_input.shape[1]} bins and the target {bins}: the external inputs are "
        "taken to be zero in the bins that are predicted; store them for all bins if they are known"
    )
    return np.pad(ext_input, ((0, 0), (0, bins - ext_input.shape[1]), (0, 0)))


def _check_halves_agree(
    file: SessionFile, halves: dict[str, _Half], keys: dict[str, tuple[str | None, str | None]]
) -> None:
    if len(halves) < 2:
        return
    train, valid = (halves[half].shape for half in HALVES)
    if train[1:] != valid[1:]:
        text = f"has shape {by(valid)} and {keys['train'][0]} {by(train)}; bins and channels must be the same"
        if train[:2] == valid[:2]:
            text += "; only the last axis differs, so the axes may be reversed (MATLAB): store trials x time x channels"
        file.complain(str(keys["valid"][0]), text)
    elif not any(found.parts for found in halves.values()):
        sizes = {half: found.target_shape for half, found in halves.items()}
        if sizes["train"][1:] != sizes["valid"][1:]:
            file.complain(
                str(keys["valid"][1] or keys["valid"][0]),
                f"the target has shape {by(sizes['valid'])} and that of the training trials {by(sizes['train'])}; "
                "bins and channels must be the same",
            )
    if not file.ext_inputs:
        return
    inputs = {half: found.trials.ext_input for half, found in halves.items()}
    there = {half: file.key(f"{half}_ext_input") for half in HALVES}
    for half, other in (HALVES, HALVES[::-1]):
        if there[half] is None and there[other] is not None:
            file.complain(f"{half}_ext_input", f"missing while {there[other]} is there; store both or neither")
    if all(value is not None for value in inputs.values()) and inputs["train"].shape[2] != inputs["valid"].shape[2]:
        file.complain(
            str(there["valid"]),
            f"has {inputs['valid'].shape[2]} inputs a bin and {there['train']} {inputs['train'].shape[2]}; "
            "store the same inputs in both",
        )
