"""Writing the program's input: split, rebinned, aligned, in blocks of trials, never overwriting what is there."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from lfads_tf2.data.blocks import trial_blocks
from lfads_tf2.errors import LFADSError
from lfads_tf2.files import atomic_path, hdf5, write_text
from lfads_tf2.run_manager.params.values import to_json
from lfads_tf2.run_manager.preparation.trial_writer import HALVES, TrialWriter
from lfads_tf2.run_manager.protocols import PreparableRun
from lfads_tf2.run_manager.queue import commands
from lfads_tf2.run_manager.recordings.input_info import InputInfo, writing_input_info
from lfads_tf2.run_manager.recordings.session_data import Rebinning, SessionData, SessionDataError

log = logging.getLogger("lfads_tf2")
FIELDS_FILE = "fields.json"


class PrepareError(LFADSError, RuntimeError):
    """A run that cannot be prepared; the message says why and what to do."""


def split(num_trials: int, train_to_test: int) -> dict[str, np.ndarray]:
    """Trials of each half: every (train_to_test + 1)-th trial is for validation, the first included."""
    is_valid = np.arange(num_trials) % (train_to_test + 1) == 0
    return {"train": np.flatnonzero(~is_valid), "valid": np.flatnonzero(is_valid)}


def prepare_run(run: PreparableRun, regenerate: bool = False) -> None:
    """Writes what is missing of a run's input (everything, with ``regenerate``), and its commands.

    Raises:
        PrepareError: the folder belongs to other parameters, or a dataset has too few trials.
        SessionDataError, AlignmentError: the data cannot be used.
    """
    for folder in (run.data_path, run.input_path, run.output_path):
        folder.mkdir(parents=True, exist_ok=True)
    check_fields(run.data_path.parent, type(run.params).__name__, run.params.data_fields)
    check_fields(run.path.parent, type(run.params).__name__, run.params.changed)
    missing = [d for d in run.datasets if regenerate or not all(p.exists() for p in _existing(run, d.name))]
    if missing:
        # The matrices of all datasets depend on each other.
        wanted = run.datasets if run.uses_alignment else missing
        sessions = {d.name: run.load_session(d) for d in wanted}
        _check_batches(run, sessions)
        found = _align(run, sessions) if run.uses_alignment else {}
        for dataset in missing:
            data = sessions[dataset.name]
            extra = found.get(dataset.name, {}) | run.generate_extra_lfads_inputs_by_dataset(dataset, data)
            write_session(run, dataset.name, data, extra)
    for dataset in run.datasets:
        for file in _existing(run, dataset.name):
            link(file, run.input_path / file.name)
    write_text(run.path / "params.json", run.params.to_json())
    commands.write_commands(run)
    run.generate_extra_lfads_input_files()


def _existing(run: PreparableRun, name: str) -> tuple[Path, Path]:
    """A dataset's two files; MATLAB's inputInfo where that is what is there."""
    info = run.data_path / f"inputInfo_{name}.h5"
    matlab = info.with_suffix(".mat")
    return run.data_path / f"lfads_{name}.h5", matlab if matlab.exists() and not info.exists() else info


def check_fields(folder: Path, class_name: str, fields: dict[str, Any]) -> None:
    """Notes which parameters a folder stands for, or compares: six characters are not proof.

    Raises:
        PrepareError: the folder belongs to other values.
    """
    path = folder / FIELDS_FILE
    now = json.loads(json.dumps({name: to_json(value) for name, value in fields.items()}))
    if path.exists():
        try:
            before = dict(json.loads(path.read_text(encoding="utf-8"))["fields"])
        except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
            raise PrepareError(f"{path} cannot be read ({error!s:.200}); remove it, and it is written again") from None
        if before != now:
            differing = sorted(n for n in before.keys() | now.keys() if before.get(n) != now.get(n))
            values = "; ".join(f"{n}: {before.get(n, 'default')} there, {now.get(n, 'default')} now" for n in differing)
            raise PrepareError(
                f"{folder} was made for other parameters that happen to have the same hash or the same defaults then "
                f"({values}); use another run collection for these, and never change a parameter's default"
            )
        return
    write_text(path, json.dumps({"class": class_name, "fields": now}, indent=1))


def _check_batches(run: PreparableRun, sessions: dict[str, SessionData]) -> None:
    ratio, batch = run.params.trainToTestRatio, run.params.c_batch_size
    for name, data in sessions.items():
        if not len(split(data.num_trials, ratio)["train"]):
            raise PrepareError(f"{name}: {data.num_trials} trial leaves none to train on; give at least 2")
    few = {name: data.num_trials for name, data in sessions.items() if data.num_trials < batch * (ratio + 1)}
    if few:
        log.warning(
            "%s: %d trials are needed for c_batch_size=%d and trainToTestRatio=%d, or else batches will be smaller; "
            "too few in %s; the largest batch that all these datasets fill is %d",
            run.name, batch * (ratio + 1), batch, ratio, ", ".join(f"{n} ({c})" for n, c in few.items()),
            min(few.values()) // (ratio + 1),
        )  # fmt: skip


def _align(run: PreparableRun, sessions: dict[str, SessionData]) -> dict[str, dict[str, np.ndarray]]:
    """The alignment's arrays for each dataset's file; its quality goes into a figure beside them."""
    source = sessions
    if run.uses_different_data_for_alignment():
        source = {d.name: run.load_session(d, "alignment") for d in run.datasets}
    found = run.prepare_alignment_matrices(source)
    _save_figure(run, found, source)
    arrays = {}
    for index, name in enumerate(source):
        arrays[name] = {
            "alignment_matrix_cxf": found.matrices[index],
            "alignment_bias_c": found.biases[index],
            # Where these are absent the program starts from the transpose and the mean count, as the original does.
            "alignment_readout_matrix_fxc": found.readout_matrices[index],
            "alignment_readout_bias_c": found.readout_biases[index],
        }
        for key, values in arrays[name].items():
            if not np.isfinite(values).all():
                raise PrepareError(f"{name}: {key} holds NaN; give every channel trials of some condition")
    return arrays


def _save_figure(run: PreparableRun, found: Any, sessions: dict[str, SessionData]) -> None:
    from lfads_tf2.figures.drawing import save
    from lfads_tf2.run_manager.preparation.alignment import all_conditions
    from lfads_tf2.run_manager.preparation.alignment_figure import alignment_figure

    labels = all_conditions([data.conditions for data in sessions.values()])
    save(alignment_figure(found, list(sessions), list(labels), run.params.spikeBinMs), run.data_path / "alignment.png")


def write_session(run: PreparableRun, name: str, data: SessionData, extra: dict[str, np.ndarray]) -> None:
    """A dataset's two files, written in blocks of trials so that the data need not fit into memory."""
    params = run.params
    rebin = Rebinning(name, data, params.spikeBinMs)
    halves = split(data.num_trials, params.trainToTestRatio)
    target, info_path = run.data_path / f"lfads_{name}.h5", run.data_path / f"inputInfo_{name}.h5"
    poisson = params.c_output_dist == "poisson"
    with atomic_path(target) as temporary, hdf5.writing(temporary) as file:
        writer = TrialWriter(file, name, data.num_trials, halves)
        writer.write("data", data.counts, rebin, counts=poisson)
        if data.truth is not None:
            in_bins = data.truth_unit == "spikes/bin"
            scale = 1.0 if in_bins or not poisson else params.spikeBinMs / 1000.0
            writer.write("truth", data.truth, lambda v: rebin(v, mean=not (in_bins and poisson)) * scale)
            # The truth is stored in the unit of the data (spikes/bin).
            file["conversion_factor"] = 1.0
        if data.external_inputs is not None:
            mean = params.extInputRebinning == "mean"
            writer.write("ext_input", data.external_inputs, lambda values: rebin(values, mean=mean))
        for half in HALVES:
            file[f"{half}_inds"] = halves[half]
            file[f"{half}_inds"].attrs["first_trial_is"] = 0
            if data.conditions is not None:
                ids = data.conditions[halves[half]]
                file[f"{half}_conditions"] = ids.astype(object) if ids.dtype.kind == "U" else ids
        for key, values in extra.items():
            if key in file:
                raise PrepareError(
                    f"{name}: generate_extra_lfads_inputs_by_dataset gives {key}, which is there already"
                )
            file[key] = values
        file.attrs["bin_width_ms"] = float(params.spikeBinMs)
    info = InputInfo(halves["train"], halves["valid"], params.data_hash, data.times, data.bin_ms, data.conditions, None)
    with atomic_path(info_path) as temporary, writing_input_info(temporary, info) as file:
        if rebin.factor > 1:
            # In the model's own bins they are in the other file.
            _write_raw(file, data)


def _write_raw(file: h5py.File, data: SessionData) -> None:
    shape = tuple(data.counts.shape)
    rows = max(1, min(shape[0], 2**19 // max(1, shape[1] * shape[2])))
    largest = np.iinfo(data.counts.dtype).max if np.dtype(data.counts.dtype).kind in "iu" else None
    dtype = np.float32 if largest is None else np.min_scalar_type(min(largest, 2**32 - 1))
    options = {"compression": "gzip", "compression_opts": 1, "shuffle": True, "chunks": (rows, *shape[1:])}
    stored = file.create_dataset("counts", shape, dtype, **options)
    for start, block in trial_blocks(data.counts):
        stored[start : start + len(block)] = block
    stored.attrs["axes"] = "trials, channels, bins of the recording"


def link(source: Path, target: Path) -> None:
    """Makes ``target`` stand for ``source``: relative symbolic link, else hard link, else a copy."""
    relative = os.path.relpath(source, target.parent)
    if target.is_symlink() and os.readlink(target) == relative:
        return
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    temporary.unlink(missing_ok=True)
    for attempt in (lambda: os.symlink(relative, temporary), lambda: os.link(source, temporary)):
        with contextlib.suppress(OSError, NotImplementedError):
            attempt()
            os.replace(temporary, target)
            return
    with atomic_path(target) as copied:
        shutil.copyfile(source, copied)


__all__ = ["PrepareError", "SessionDataError", "check_fields", "link", "prepare_run", "split", "write_session"]
