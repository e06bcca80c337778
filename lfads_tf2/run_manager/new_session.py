"""A new session on a trained model: its read-in and read-out are fitted, everything else stays as it is.

The new session's maps start where regression puts them, from conditions that it shares with the model's sessions:
its counts predict what the encoders got from those sessions, and their factors predict its log-rates. Training with
do_train_io_only then refines these two maps and nothing else.
"""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lfads_tf2.data.entries import check_for
from lfads_tf2.data.extras import condition_names
from lfads_tf2.data.reading import read_session
from lfads_tf2.errors import LFADSError
from lfads_tf2.files import atomic_path, hdf5
from lfads_tf2.hyperparameters import HyperParameters
from lfads_tf2.metrics.ridge import RidgePath
from lfads_tf2.program.results import COUNTERS, OPTIMISER_SLOTS, read_params, write_params
from lfads_tf2.run_manager.loading import LoadError
from lfads_tf2.run_manager.preparation.alignment import SMALLEST_MEAN
from lfads_tf2.run_manager.results import load
from lfads_tf2.settings import run_folder
from lfads_tf2.settings.run_folder import RecordedSession

READ_IN, READ_OUT = "LFADS_x_2_infac_", "LFADS_glm_fac_2_logrates_"
# Small against the spread of averages of many trials, and enough to keep weights finite.
RIDGE = 1e-3


class NewSessionError(LFADSError, ValueError):
    """A session that cannot be added; the message says why and what to do."""


class Start(NamedTuple):
    """What training the new session starts from."""

    model_params: Path  # the trained model's weights with the new session's maps
    data_dir: Path  # holds the new session alone
    session: str
    shared_conditions: int  # with which the maps were fitted; 0: the read-in is random


def is_of_sessions(key: str) -> bool:
    """Whether a weight belongs to one session (read-in, read-out) and not to the shared model."""
    return key.startswith((READ_IN, "LFADS_glm_"))


def prepare_start(model: Path, data_dir: Path, stem: str, new_file: Path, output: Path, seed: int = 0) -> Start:
    """Writes the new session's data folder and the weights that training starts from.

    Args:
        model: lfads_save_dir of the trained model, with model_params and, for a better start, posterior means.
        data_dir: the model's data. stem: of its files, without the underscore; empty for none.
        new_file: HDF5 input file of the new session, called as the model's are.
        output: folder for everything that is written.
        seed: of the read-in, where no condition is shared.

    Raises:
        NewSessionError: no exported weights, a model of a single session, other bins, or a name that is taken.
    """
    record = run_folder.read(model)
    if record is None or not (model / "model_params").exists():
        raise NewSessionError(
            f"{model} holds no exported model (hyperparameters-*.txt and model_params); run lfads "
            "export-params on it first"
        )
    weights = read_params(model / "model_params")
    prefix = f"{stem}_" if stem else ""
    name = new_file.name.removeprefix(prefix)
    known = [key[len(READ_IN) : -len("_W:0")] for key in weights if key.startswith(READ_IN) and key.endswith("_W:0")]
    if not known:
        raise NewSessionError(f"the model in {model} has no read-in: only models of several sessions can be added to")
    if name in known:
        raise NewSessionError(f"the model in {model} has a session {name!r} already; rename the new file")
    if record.hyperparameters.get("output_dist", "poisson") != "poisson":
        raise NewSessionError(f"the model in {model} is Gaussian; adding sessions is for spike counts (Poisson) only")
    new = _averages(new_file)
    if record.num_bins not in (None, new.bins):
        raise NewSessionError(
            f"{new_file} has {new.bins} bins a trial, the model {record.num_bins}; cut it to the same"
        )
    maps, shared = _maps(model, data_dir, prefix, known, weights, new, np.random.default_rng(seed))
    start = output / "start"
    data = output / "data"
    for folder in (start, data):
        folder.mkdir(parents=True, exist_ok=True)
    values = {k: v for k, v in weights.items() if not is_of_sessions(k) and not k.endswith(OPTIMISER_SLOTS)}
    values |= {f"{READ_IN}{name}_W:0": maps[0], f"{READ_IN}{name}_b:0": maps[1]}
    values |= {f"{READ_OUT}{name}_W:0": maps[2], f"{READ_OUT}{name}_b:0": maps[3]}
    write_params(start / "model_params", {key: np.asarray(value, np.float32) for key, value in values.items()})
    session = RecordedSession(len(new.mean), len(new.mean), True)
    dataclasses.replace(record, sessions={name: session}, data={}).write(start, 0)
    with atomic_path(data / new_file.name) as temporary:
        shutil.copyfile(new_file, temporary)
        with hdf5.writing(temporary, "r+") as file:
            # Their presence gives the model of this one session a read-in; their values are replaced by the weights.
            for key, value in (("alignment_matrix_cxf", maps[0]), ("alignment_bias_c", new.mean)):
                file.pop(key, None)
                file[key] = value
    return Start(start / "model_params", data, name, shared)


class _Averages(NamedTuple):
    """A session's condition averages in counts a bin."""

    conditions: np.ndarray
    values: np.ndarray  # conditions x bins x channels
    mean: np.ndarray  # channels
    bins: int


def _averages(path: Path) -> _Averages:
    problems: list[str] = []
    session = read_session(path.name, str(path), check_for(HyperParameters()), problems, [])
    if session is None:
        raise NewSessionError("\n".join(problems))
    data, ids = session.train.target, session.train.conditions
    mean = np.maximum(data.mean(axis=(0, 1)), SMALLEST_MEAN)
    names = np.empty(0, str) if ids is None else condition_names(ids)
    conditions = np.unique(names[names != ""])
    averages = [data[names == condition].mean(axis=0) for condition in conditions]
    return _Averages(conditions, np.reshape(averages, (len(conditions), *data.shape[1:])), mean, data.shape[1])


def _maps(model: Path, data_dir: Path, prefix: str, known, weights, new: _Averages, random):
    """Read-in matrix and bias, read-out matrix and bias of the new session, and how many conditions it shares."""
    inputs, factors = [], []
    for name in known:
        path = data_dir / f"{prefix}{name}"
        if not path.exists():
            raise NewSessionError(f"{path} is not there; give the model's own --data_dir and --data_filename_stem")
        old = _averages(path)
        read_in = old.values @ weights[f"{READ_IN}{name}_W:0"] + weights[f"{READ_IN}{name}_b:0"]
        inputs.append(dict(zip(old.conditions, read_in, strict=True)))
        factors.append(_factor_averages(model, path, name))
    shared = [c for c in new.conditions if any(c in one for one in inputs)]
    channels, width = len(new.mean), weights[f"{READ_IN}{known[0]}_W:0"].shape[1]
    read_in = random.standard_normal((channels, width)) / np.sqrt(channels), np.zeros((1, width))
    read_out = np.zeros((width, channels)), np.log(new.mean)[None]
    if shared:
        own = new.values[[list(new.conditions).index(c) for c in shared]].reshape(-1, channels)
        target = np.stack([np.mean([one[c] for one in inputs if c in one], axis=0) for c in shared])
        read_in = _regress(own, target.reshape(-1, width))
        with_factors = [c for c in shared if any(c in one for one in factors)]
        if with_factors:
            known_factors = np.stack([np.mean([one[c] for one in factors if c in one], axis=0) for c in with_factors])
            rows = np.isin(np.repeat(shared, new.bins), with_factors)
            read_out = _log_rates(known_factors.reshape(-1, width), own[rows], new.mean)
    return (*read_in, *read_out), len(shared)


def _factor_averages(model: Path, data_file: Path, name: str) -> dict[str, np.ndarray]:
    """Factors of each condition; empty where the model's posterior means or the conditions are missing."""
    try:
        means = load.posterior_means(model, name, data_file)
        if means.conditions is not None:
            means = means._replace(conditions=condition_names(np.asarray(means.conditions)))
        averages, conditions = means.condition_averages("factors")
    except LoadError:
        return {}
    return dict(zip(conditions, averages, strict=True))


def _regress(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Matrix and bias (a row) that predict y from x, with a little ridge."""
    path = RidgePath(x, y)
    matrix = path.weights(RIDGE * float(path.values.mean()))
    return matrix, path.predict(np.zeros((1, x.shape[1])), RIDGE * float(path.values.mean()))


def _log_rates(factors: np.ndarray, counts: np.ndarray, mean: np.ndarray, steps: int = 20):
    """Poisson regression of mean counts on factors: matrix factors x channels, and bias (a row), by Newton steps."""
    design = np.column_stack([factors, np.ones(len(factors))])
    weights = np.zeros((design.shape[1], counts.shape[1]))
    weights[-1] = np.log(mean)
    penalty = RIDGE * len(design) * np.diag([*np.var(factors, axis=0) + 1e-6, 0.0])
    for _ in range(steps):
        rates = np.exp(np.clip(design @ weights, -20, 5))
        for channel in range(counts.shape[1]):
            rate = rates[:, channel]
            slope = design.T @ (counts[:, channel] - rate) - penalty @ weights[:, channel]
            curvature = (design * rate[:, None]).T @ design + penalty + 1e-9 * np.eye(len(penalty))
            weights[:, channel] += np.clip(np.linalg.solve(curvature, slope), -1, 1)
    return weights[:-1], weights[-1:]


def changed_weights(start: Path, result: Path) -> list[str]:
    """Shared weights that differ in any bit between two model_params files; empty when the dynamics stayed frozen."""
    before, after = read_params(start), read_params(result)
    keys = [k for k in before.keys() & after.keys() if not is_of_sessions(k)]
    missing = [k for k in before if not is_of_sessions(k) and k not in after and not k.endswith(COUNTERS)]
    return sorted(missing + [k for k in keys if not k.endswith(COUNTERS) and not np.array_equal(before[k], after[k])])
