"""Reading results back: posterior means in trial order, fit log, trained parameters, of any run folder.

Folders may be this run manager's, the MATLAB one's, or what the original program left without any run manager.
N trials, T bins.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np

from lfads_tf2.program.results import OPTIMISER_SLOTS, params_path, read_params, read_runs, runs_path
from lfads_tf2.run_manager.loading import LoadError
from lfads_tf2.run_manager.recordings.input_info import InputInfo, read_input_info
from lfads_tf2.training import fit_log as fit_logs

log = logging.getLogger("lfads_tf2")
# The last is what older versions of the original wrote.
KINDS = ("posterior_sample_and_average", "posterior_push_mean", "posterior_sample")
_NAMES = {"output_dist_params": "rates"}


class PosteriorMeans(NamedTuple):
    """Results of one dataset, all its trials in the order of the recording.

    Trials that inference left out are NaN.
    """

    dataset: str
    kind: str
    rates: np.ndarray  # N x T x channels, spikes/s (Gaussian: the program's means and variances)
    factors: np.ndarray  # N x T x factors
    generator_states: np.ndarray  # N x T x generator units
    generator_ics: np.ndarray  # N x generator units
    controller_outputs: np.ndarray | None  # N x T x inferred inputs; None without a controller
    post_g0_mean: np.ndarray | None
    post_g0_logvar: np.ndarray | None
    costs: np.ndarray  # N
    nll_bound_vaes: np.ndarray  # N
    nll_bound_iwaes: np.ndarray  # N
    is_valid: np.ndarray  # N, trials held out of training
    time_ms: np.ndarray  # T
    bin_ms: float | None
    conditions: np.ndarray | None  # N
    counts: np.ndarray | None  # N x T x channels, what the model was given
    raw_counts: object | None  # N x channels x time in the recording's own bins, perhaps not in memory
    external_inputs: np.ndarray | None  # N x T x inputs
    truth: np.ndarray | None  # N x T x channels, true rates in spikes/s

    def condition_averages(self, field: str) -> tuple[np.ndarray, np.ndarray]:
        """Trial averages of a field by condition, conditions x ..., and the conditions.

        Raises:
            LoadError: the trials have no conditions.
        """
        if self.conditions is None:
            raise LoadError(f"{self.dataset}: the trials have no conditions to average by")
        values = getattr(self, field)
        known = self.conditions != "" if self.conditions.dtype.kind == "U" else np.isfinite(self.conditions)
        conditions = np.unique(self.conditions[known])
        return np.stack([np.nanmean(values[self.conditions == c], axis=0) for c in conditions]), conditions


class FitLog(NamedTuple):
    """The fit log as columns, one entry an epoch, costs in nats a trial."""

    columns: dict[str, np.ndarray]

    @property
    def lowest_validation(self) -> int | None:
        """Epoch (row) with the lowest validation cost at full KL and L2 weight; None when no row has both."""
        if "total_valid" not in self.columns:
            return None
        total = self.columns["total_valid"].copy()
        full = (self.columns["kl_weight"] >= 1) & (self.columns["l2_weight"] >= 1)
        total[~full | ~np.isfinite(total)] = np.inf
        return int(np.argmin(total)) if np.isfinite(total).any() else None


class TrainedParams(NamedTuple):
    """A model's weights under the original's names (without ``LFADS_`` and ``:0``)."""

    values: dict[str, np.ndarray]
    datasets: list[str]

    def readout(self, dataset: str) -> tuple[np.ndarray, np.ndarray] | None:
        """Factors to log-rates of one dataset: matrix factors x channels, bias; None where it is the identity."""
        return self._pair("glm_fac_2_logrates", dataset)

    def readin(self, dataset: str) -> tuple[np.ndarray, np.ndarray] | None:
        """Channels to input factors of one dataset; None where it is the identity."""
        return self._pair("x_2_infac", dataset)

    def _pair(self, prefix: str, dataset: str) -> tuple[np.ndarray, np.ndarray] | None:
        matrix = self.values.get(f"{prefix}_{dataset}_W")
        return None if matrix is None else (matrix, self.values[f"{prefix}_{dataset}_b"].reshape(-1))

    def all_readouts(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Read-outs of all datasets side by side: matrix factors x all channels, bias, dataset of each channel.

        With it, factors of a trial of any session predict the rates of the neurons of every session.
        """
        pairs = [(i, self.readout(name)) for i, name in enumerate(self.datasets)]
        pairs = [(i, pair) for i, pair in pairs if pair is not None]
        if not pairs:
            raise LoadError("this model has no read-out matrices: it reads factors out as they are")
        of_channel = np.concatenate([np.full(pair[1].size, i) for i, pair in pairs])
        return np.concatenate([p[0] for _, p in pairs], axis=1), np.concatenate([p[1] for _, p in pairs]), of_channel


def posterior_files(output: Path, session: str, kind: str | None = None, stem: str = "") -> dict[str, Path]:
    """Result files of a session by half, of the first kind that is there; empty when there are none."""
    for one in KINDS if kind is None else (kind,):
        files = {half: runs_path(output, stem, one, session, half) for half in ("train", "valid")}
        files = {half: path for half, path in files.items() if path.exists()}
        if files:
            return files | {"kind": Path(one)}
    return {}


def posterior_means(
    output: Path,
    session: str,
    data_file: Path | None = None,
    info: InputInfo | None = None,
    kind: str | None = None,
    bin_ms: float | None = None,
) -> PosteriorMeans:
    """Posterior means of one session.

    Args:
        output: the program's lfads_save_dir.
        session: its name there, such as ``dataset001.h5``.
        data_file: the input file, for counts, truth, external inputs and, without ``info``, the order of the trials.
        info: what the run manager noted. Without it and the file's own indices training trials come first.
        kind: which of KINDS; the first that is there otherwise.
        bin_ms: bin width of the model, where the files do not say; without any, rates stay in spikes/bin.

    Raises:
        LoadError: no results, or halves that do not belong together.
    """
    files = posterior_files(output, session, kind)
    if not files:
        raise LoadError(f"{output} has no posterior means of {session}; run the posterior stage first")
    kind = str(files.pop("kind"))
    read = {half: read_runs(path) for half, path in files.items()}
    keys = [set(arrays) for arrays, _ in read.values()]
    if len(keys) == 2 and keys[0] != keys[1]:
        raise LoadError(
            f"{output}: train and valid results of {session} hold different keys: {sorted(keys[0] ^ keys[1])}"
        )
    inputs, order = _inputs(data_file), {}
    for half in ("train", "valid"):
        order[half] = _positions(half, info, inputs, read)
    total = sum(len(rows) for rows in order.values())
    merged = {key: _merge({h: read[h][0][key] for h in read}, order, total) for key in keys[0]}
    attributes = next(iter(read.values()))[1]
    places = (attributes.get("bin_width_ms"), inputs.get("facts", {}).get("bin_ms"), bin_ms)
    width = next((float(place) for place in places if place is not None), None)
    given = {key: _merge(inputs[key], order, total) for key in inputs if key != "facts"}
    return _assemble(session, kind, merged, given, order, info, width, attributes)


def _assemble(session, kind, merged, given, order, info, width, attributes) -> PosteriorMeans:
    per_second = 1000.0 / width if width else 1.0
    gaussian = "variances" in str(attributes.get("units", ""))
    rates = merged["output_dist_params"] * (1.0 if gaussian else per_second)
    bins = rates.shape[1]
    is_valid = np.zeros(len(rates), bool)
    is_valid[order["valid"]] = True
    times = np.arange(bins) * (width or 1.0)
    if info is not None and len(info.times) and width:
        times = info.times[:: max(1, round(width / info.bin_ms))][:bins] if info.bin_ms else times
    conditions = info.conditions if info is not None else None
    if conditions is None and "conditions" in given:
        conditions = given["conditions"]
    truth = given.get("truth")
    return PosteriorMeans(
        session, kind, rates, merged["factors"], merged["gen_states"], merged["gen_ics"],
        merged.get("controller_outputs"), merged.get("post_g0_mean"), merged.get("post_g0_logvar"), merged["costs"],
        merged["nll_bound_vaes"], merged["nll_bound_iwaes"], is_valid, times, width, conditions, given.get("data"),
        None if info is None else info.counts, given.get("ext_input"),
        None if truth is None else truth * (1.0 if gaussian else per_second),
    )  # fmt: skip


def _inputs(data_file: Path | None) -> dict:
    """Counts, truth, external inputs, conditions and positions by half of an input file."""
    if data_file is None or not data_file.exists():
        return {}
    found: dict[str, dict] = {}
    with h5py.File(data_file, "r") as file:
        for key in ("data", "truth", "ext_input", "inds", "conditions"):
            for half in ("train", "valid"):
                if f"{half}_{key}" in file:
                    stored = file[f"{half}_{key}"]
                    text = h5py.check_string_dtype(stored.dtype)
                    found.setdefault(key, {})[half] = stored.asstr()[()].astype(str) if text else stored[()]
        factor = float(np.ravel(file["conversion_factor"][()])[0]) if "conversion_factor" in file else 1.0
        for half in found.get("truth", {}):
            found["truth"][half] = found["truth"][half] * factor
        width = file.attrs.get("bin_width_ms")
    found["facts"] = {"bin_ms": None if width is None else float(width)}
    return found


def _positions(half: str, info: InputInfo | None, inputs: dict, read: dict) -> np.ndarray:
    """Where each trial of a half stood in the recording."""
    if info is not None:
        return info.train_inds if half == "train" else info.valid_inds
    if "inds" in inputs and half in inputs["inds"]:
        smallest = min(int(v.min()) for v in inputs["inds"].values() if len(v))
        return inputs["inds"][half].astype(np.int64).ravel() - (1 if smallest == 1 else 0)
    counts = {
        h: len(inputs["data"][h]) if h in inputs.get("data", {}) else len(_rows(read, h)) for h in ("train", "valid")
    }
    start = 0 if half == "train" else counts["train"]
    return start + np.arange(counts[half])


def _rows(read: dict, half: str) -> np.ndarray:
    return read[half][0]["factors"] if half in read else np.empty(0)


def _merge(halves: dict[str, np.ndarray], order: dict[str, np.ndarray], total: int) -> np.ndarray:
    """All trials in the recording's order; NaN (or empty text) where a half has fewer than it should."""
    first = next(iter(halves.values()))
    complete = all(half in halves and len(halves[half]) == len(rows) for half, rows in order.items())
    if first.dtype.kind == "U":
        merged = np.full((total, *first.shape[1:]), "", np.result_type(*halves.values()))
    elif complete:
        merged = np.empty((total, *first.shape[1:]), np.result_type(*halves.values()))
    else:
        merged = np.full((total, *first.shape[1:]), np.nan, np.result_type(first.dtype, np.float32))
    for half, values in halves.items():
        rows = order[half][: len(values)]
        merged[rows] = values[: len(rows)]
    return merged


def fit_log(output: Path, name: str = "fitlog") -> FitLog:
    """The fit log of a run folder. Raises LoadError when there is none."""
    path = output / f"{name}.csv"
    if not path.exists():
        raise LoadError(f"{path} is not there; train the run first")
    return FitLog(fit_logs.read(path))


def trained_params(output: Path) -> TrainedParams:
    """A run's trained weights, less the optimiser's. Raises LoadError when they were not exported."""
    path = params_path(output, "")
    if not path.exists():
        raise LoadError(f"{path} is not there; export the parameters first (--kind=write_model_params)")
    values = {k: v for k, v in read_params(path).items() if not k.endswith(OPTIMISER_SLOTS)}
    values = {key.removeprefix("LFADS_").removesuffix(":0"): value for key, value in values.items()}
    prefix = "glm_fac_2_logrates_"
    datasets = [key[len(prefix) : -2] for key in values if key.startswith(prefix) and key.endswith("_W")]
    return TrainedParams(values, sorted(datasets))


__all__ = [
    "FitLog", "PosteriorMeans", "TrainedParams", "fit_log", "posterior_files", "posterior_means", "read_input_info",
    "trained_params",
]  # fmt: skip
