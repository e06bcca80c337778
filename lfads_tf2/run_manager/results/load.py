"""Reading results back: posterior means in trial order, fit log, trained parameters, of any run folder.

Folders may be this run manager's, the MATLAB one's, or what the original program left without any run manager.
N trials, T bins.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lfads_tf2.program.results import OPTIMISER_SLOTS, params_path, read_params
from lfads_tf2.run_manager.loading import LoadError
from lfads_tf2.run_manager.recordings.input_info import InputInfo, read_input_info
from lfads_tf2.session_results import ResultsError, load_session
from lfads_tf2.session_results.results import SessionResults
from lfads_tf2.training import fit_log as fit_logs

log = logging.getLogger("lfads_tf2")


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
    positions = None if info is None else {"train": info.train_inds, "valid": info.valid_inds}
    try:
        found = load_session(output, session, data_file, kind, bin_ms, positions=positions)
        return _assemble(found, info)
    except ResultsError as error:
        raise LoadError(str(error)) from None


def _assemble(found: SessionResults, info: InputInfo | None) -> PosteriorMeans:
    rates, per_second = found.array("output_dist_params"), found.unit("rates") == "spikes/s"
    width = found.bin_ms
    times = np.arange(found.bins) * (width or 1.0)
    if info is not None and len(info.times) and width and info.bin_ms:
        times = info.times[:: max(1, round(width / info.bin_ms))][: found.bins]
    data, truth, ext_input = (
        None if found.data_file is None else found.of_data(field) for field in ("data", "truth", "ext_input")
    )
    arrays = {
        key: found.array(key) if key in found.keys else None
        for key in ("controller_outputs", "post_g0_mean", "post_g0_logvar")
    }
    return PosteriorMeans(
        found.name, found.kind, rates * (1000.0 / width) if per_second else rates, found.factors,
        found.array("gen_states"), found.array("gen_ics"), **arrays,
        costs=found.array("costs"), nll_bound_vaes=found.array("nll_bound_vaes"),
        nll_bound_iwaes=found.array("nll_bound_iwaes"), is_valid=found.is_valid, time_ms=times, bin_ms=width,
        conditions=info.conditions if info is not None and info.conditions is not None else found.conditions,
        counts=data, raw_counts=None if info is None else info.counts, external_inputs=ext_input,
        truth=truth * (1000.0 / width) if truth is not None and per_second else truth,
    )  # fmt: skip


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
    "FitLog", "PosteriorMeans", "TrainedParams", "fit_log", "posterior_means", "read_input_info", "trained_params",
]  # fmt: skip
