"""From the files of the data folder to checked sessions."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import NamedTuple

import h5py
import numpy as np

from lfads_tf2.data.arrays import CHANNELS, INPUTS, has_shape, read_counts, read_values, same_content
from lfads_tf2.data.checks import check_against, warnings_about
from lfads_tf2.data.errors import DataError, by
from lfads_tf2.data.extras import (
    CONDITIONS,
    read_alignment,
    read_bin_width,
    read_conditions,
    read_conversion_factor,
    read_indices,
)
from lfads_tf2.data.finding import find_sessions, looks_like_hdf5
from lfads_tf2.data.keys import HALVES, SessionFile, name_of
from lfads_tf2.hyperparameters import HyperParameters
from lfads_tf2.types import Session, Trials

_log = logging.getLogger("lfads_tf2")


class _Half(NamedTuple):
    """Train or valid of one file. The shape is known even where a value is wrong, so that all problems come at once."""

    shape: tuple[int, ...]
    trials: Trials  # with data=None if that could not be used


def read_sessions(hp: HyperParameters) -> list[Session]:
    """Read and check every session of ``hp.data_dir``, sorted by session name.

    Poisson counts come back in the smallest unsigned integer type that holds them, Gaussian values as float32; truth
    is multiplied by ``conversion_factor`` (spikes/bin). External inputs are left out when ``hp.ext_input_dim`` is 0.
    Raises ``DataError`` with everything that is wrong in any file, or in the files together with ``hp``. What is
    odd but usable goes to the logger ``lfads_tf2`` as warnings.
    """
    sessions, problems, warnings = [], [], []
    for name, path in find_sessions(hp.data_dir, hp.data_filename_stem):
        session = read_session(name, path, hp.output_dist, problems, warnings)
        if session is not None:
            sessions.append(session)
    problems += check_against(hp, sessions)
    if problems:
        raise DataError(problems)
    for warning in warnings + warnings_about(hp, sessions):
        _log.warning(warning)
    return [_without_ext_input(session) for session in sessions] if hp.ext_input_dim == 0 else sessions


def read_session(name: str, path: str, output_dist: str, problems: list[str], warnings: list[str]) -> Session | None:
    """One session; what is wrong or odd is added to ``problems`` and ``warnings``, and None returned if it is wrong."""
    try:
        handle = h5py.File(path, "r")
    except OSError as error:
        problems.append(f"{path}: {_why_not_opened(path, error)}")
        return None
    with handle:
        file = SessionFile(handle, path)
        try:
            # A name that is not UTF-8 comes as bytes; it is none that we look for.
            file.keys = [key for key in handle if isinstance(key, str)]
            session = _read_open_file(name, file, output_dist)
        except (OSError, RuntimeError, KeyError) as error:
            file.problems.append(f"{path}: cannot be read ({error}); the file is damaged, write or copy it again")
    # The same key may have been asked for twice.
    problems += dict.fromkeys(file.problems)
    warnings += file.warnings
    return None if file.problems else session


def _why_not_opened(path: str, error: OSError) -> str:
    if not os.path.exists(path):
        return "a link that leads nowhere, or removed just now; store the file itself in the folder"
    if not os.access(path, os.R_OK):
        return "cannot be opened: no permission to read it; change its permissions"
    if os.path.getsize(path) == 0:
        return "the file is empty (0 bytes); write or copy it again"
    if looks_like_hdf5(path):
        return f"a truncated or damaged HDF5 file ({error}); write or copy it again"
    return "not an HDF5 file; move it out of the data folder, or store the session as HDF5"


def _read_open_file(name: str, file: SessionFile, output_dist: str) -> Session | None:
    keys = file.data_keys()
    factor = read_conversion_factor(file)
    halves: dict[str, _Half] = {}
    for half in HALVES:
        seen, target = keys[half]
        found = _read_half(file, half, seen, target, factor, output_dist) if seen else None
        if found is not None:
            halves[half] = found
    if keys["train"][0] and not keys["valid"][0]:
        _complain_of_orphans(file, keys["train"][0])
    _check_halves_agree(file, halves, keys)
    indices = read_indices(file, {half: found.shape[0] for half, found in halves.items()})
    matrix, bias = read_alignment(file)
    width = read_bin_width(file)
    if file.problems:
        return None
    whole = {half: found.trials._replace(indices=indices[half]) for half, found in halves.items()}
    return Session(name, file.path, whole["train"], whole.get("valid"), matrix, bias, width)


def _complain_of_orphans(file: SessionFile, train_key: str) -> None:
    """Validation keys in a file without validation data: these were forgotten, misspelled or of the other dialect."""
    wanted = train_key.casefold().replace("train", "valid")
    for name in ("data", "encod_data", "recon_data", "ext_input", "truth", "inds", *CONDITIONS):
        key = file.key(f"valid_{name}")
        if key:
            file.complain(key, f"does not go with {train_key} alone; store the trials as {wanted}, or remove {key}")


def _read_half(
    file: SessionFile, half: str, data_key: str, target_key: str | None, factor: float, output_dist: str
) -> _Half | None:
    dataset = file.numbers(data_key)
    if dataset is None or not has_shape(file, dataset):
        return None
    read = read_counts if output_dist == "poisson" else read_values
    data = _attempt(file, dataset, read)
    if target_key is not None:
        _check_target(file, dataset, target_key)
    ext_input = _read_beside(file, f"{half}_ext_input", dataset, INPUTS)
    truth = _read_beside(file, f"{half}_truth", dataset, CHANNELS)
    if truth is not None and factor != 1.0:
        with np.errstate(over="ignore", invalid="ignore"):
            truth *= np.float32(factor)
        if not np.isfinite(truth).all():
            file.complain(
                f"{half}_truth", f"times conversion_factor, {factor}, is no finite number; correct the factor"
            )
    conditions = read_conditions(file, half, dataset.shape[0])
    return _Half(dataset.shape, Trials(data, ext_input, truth, None, conditions))


def _attempt(file: SessionFile, dataset: h5py.Dataset, read: Callable) -> np.ndarray | None:
    """Read one array; a damaged or too large one is a problem of its key."""
    try:
        return read(file, dataset)
    except OSError as error:
        file.complain(name_of(dataset), f"cannot be read ({error}); the file is damaged, write or copy it again")
    except (MemoryError, ValueError) as error:
        file.complain(name_of(dataset), f"{by(dataset.shape)} does not fit into memory ({error}); store fewer trials")
    return None


def _read_beside(file: SessionFile, key: str, data: h5py.Dataset, axes: str) -> np.ndarray | None:
    """External input or truth; its trials and bins (truth: channels too) must be those of the data."""
    dataset = file.numbers(key)
    if dataset is None or not has_shape(file, dataset, axes):
        return None
    compared = 3 if axes == CHANNELS else 2
    if dataset.shape[:compared] != data.shape[:compared]:
        must = " x ".join(axes.split(" x ")[:compared])
        file.complain(
            name_of(dataset),
            f"has shape {by(dataset.shape)} and {name_of(data)} {by(data.shape)}; {must} must be the same",
        )
        return None
    return _attempt(file, dataset, lambda *arguments: read_values(*arguments, axes))


def _check_target(file: SessionFile, data: h5py.Dataset, target_key: str) -> None:
    """The second dialect may reconstruct more than the encoders read; this program cannot yet."""
    target = file.numbers(target_key)
    if target is None:
        return
    advice = (
        "targets wider, longer or other than what the encoders read are not supported yet; "
        "store the same array in both, or leave this key out"
    )
    if target.shape != data.shape:
        file.complain(target_key, f"has shape {by(target.shape)} and {name_of(data)} {by(data.shape)}; {advice}")
    elif not same_content(data, target):
        file.complain(target_key, f"holds other values than {name_of(data)}; {advice}")


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


def _without_ext_input(session: Session) -> Session:
    """The same session less its external inputs, so that nothing downstream can take them for wanted."""
    valid = session.valid and session.valid._replace(ext_input=None)
    return session._replace(train=session.train._replace(ext_input=None), valid=valid)
