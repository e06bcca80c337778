"""One session's results with what their axes mean: trials, times, units, conditions."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np

from lfads_tf2.data.entries import checked_values
from lfads_tf2.data.reading import read_session
from lfads_tf2.program.results import read_runs
from lfads_tf2.session_results.errors import ResultsError
from lfads_tf2.session_results.merging import Stretch, merge_windows, stretches
from lfads_tf2.session_results.recording_link import RecordingLink
from lfads_tf2.session_results.trial_order import TrialOrder
from lfads_tf2.types import Session, Trials

BLOCK_BYTES = 32 * 2**20
COUNTS = "spikes/bin"


class Quantity(NamedTuple):
    """What is exported, bin by bin."""

    key: str  # in the result files
    column: str  # what one column is
    description: str


QUANTITIES = {
    "rates": Quantity("output_dist_params", "unit", "Firing rates inferred by LFADS"),
    "factors": Quantity("factors", "factor", "Factors inferred by LFADS, from which all rates are made"),
    "inputs": Quantity("controller_outputs", "input", "Inputs to the dynamics, inferred by LFADS: posterior means"),
    "inputs_sd": Quantity(
        "controller_outputs_sd", "input", "Posterior standard deviations of the inputs inferred by LFADS"
    ),
}


class OnClock(NamedTuple):
    """Values on the session's clock, overlapping windows merged; B bins."""

    times_s: np.ndarray  # B, middle of each bin
    values: np.ndarray  # B x columns
    stretches: list[Stretch]  # parts that are covered without a gap


@dataclasses.dataclass(frozen=True, eq=False)
class SessionArrays:
    """Results of one session, N trials in the recording's order, T bins.

    Arrays are read when they are first asked for. Trials that inference left out are NaN.
    """

    name: str
    kind: str  # of inference
    files: dict[str, Path]  # result files by half
    order: TrialOrder
    attributes: dict[str, object]  # of the result files
    channels: int  # D, that are reconstructed
    bin_ms: float | None
    data_file: Path | None  # that the results were inferred from
    conditions: np.ndarray | None  # N
    link: RecordingLink | None  # to the recording

    # Axes

    @property
    def trial_index(self) -> np.ndarray:
        """N, position of each trial in the recording: its row in the trial table, or the window's number."""
        return self.order.position

    @property
    def halves(self) -> np.ndarray:
        """N, ``train`` or ``valid``."""
        return self.order.half

    @property
    def is_valid(self) -> np.ndarray:
        """N, trials held out of training."""
        return self.order.half == "valid"

    @functools.cached_property
    def inferred(self) -> np.ndarray:
        """N, trials that inference did not leave out."""
        return self.order.there({half: len(values) for half, values in self._stored("factors").items()})

    @property
    def first_bin(self) -> int:
        """First bin of the data that has results (``ic_enc_seq_len``)."""
        return int(self.attributes.get("first_bin", 0))

    @functools.cached_property
    def bins(self) -> int:
        """T."""
        return int(next(iter(self._stored("factors").values())).shape[1])

    @property
    def time_ms(self) -> np.ndarray | None:
        """T, middle of each bin relative to what windows are aligned to, or their start; None: bin width not known."""
        if self.bin_ms is None:
            return None
        bins = self.first_bin + np.arange(self.bins)
        return self.link.middle_ms(bins) if self.link is not None else (bins + 0.5) * self.bin_ms

    @functools.cached_property
    def start_s(self) -> np.ndarray | None:
        """N, left edge of each trial's first bin in seconds on the session's clock; None where that is not known."""
        if self.link is None or not self.link.start_s:
            return None
        return self.order.gathered(self.link.start_s) + self.first_bin * self.bin_ms / 1000.0

    @functools.cached_property
    def trial_bins(self) -> np.ndarray:
        """N, bins of the results that each trial has; those after them only pad it to T."""
        if self.link is None or not self.link.bins:
            return np.full(len(self.order.row), self.bins)
        return np.clip(self.order.gathered(self.link.bins).astype(np.int64) - self.first_bin, 0, self.bins)

    @property
    def merged(self) -> np.ndarray:
        """N, trials with bins that ``on_clock`` merges."""
        return self.inferred & (self.trial_bins > 0)

    @property
    def unit_ids(self) -> np.ndarray:
        """D, the recording's names of the units, or their numbers from 0."""
        known = self.link is not None and len(self.link.unit_ids) == self.channels
        return self.link.unit_ids if known else np.arange(self.channels)

    @property
    def counts_spikes(self) -> bool:
        """Whether the model is one of spike counts."""
        return str(self.attributes.get("units", COUNTS)) == COUNTS

    # Values

    @functools.cached_property
    def keys(self) -> list[str]:
        """Arrays that the result files hold; see ``array``."""
        with h5py.File(next(iter(self.files.values())), "r") as file:
            return sorted(file)

    @property
    def quantities(self) -> list[str]:
        """Which of QUANTITIES these results have."""
        return [name for name, quantity in QUANTITIES.items() if quantity.key in self.keys]

    def unit(self, quantity: str) -> str:
        """Physical unit of a quantity."""
        if quantity != "rates":
            return "a.u."
        return "units of the data" if not self.counts_spikes else "spikes/s" if self.bin_ms else COUNTS

    def columns(self, quantity: str) -> np.ndarray:
        """What the columns of a quantity are: units' ids, or numbers from 0."""
        if quantity == "rates":
            return self.unit_ids
        return np.arange(next(iter(self._stored(QUANTITIES[quantity].key).values())).shape[2])

    def values(self, quantity: str, trials=slice(None)) -> np.ndarray:
        """Trials x T x columns of one of ``quantities``, rates in ``unit("rates")``.

        Args:
            trials: which of the N, an index or a slice.
        """
        if quantity not in self.quantities:
            raise ResultsError(f"{self.name} has no {quantity!r}; it has {', '.join(self.quantities)}")
        found = self.array(QUANTITIES[quantity].key, trials)
        if quantity == "rates":
            found = found[..., : self.channels]
            found = found * found.dtype.type(1000.0 / self.bin_ms) if self.unit("rates") == "spikes/s" else found
        return found

    def array(self, key: str, trials=slice(None)) -> np.ndarray:
        """An array of the result files under its key there, as ``gen_states`` or ``costs``; trials first."""
        if key not in self.keys:
            raise ResultsError(f"{self.name}: the result files hold no {key!r}; they hold {', '.join(self.keys)}")
        return self.order.chosen(trials).gathered(self._stored(key))

    def by_half(self) -> dict[str, dict[str, np.ndarray]]:
        """Everything in the result files, as they have it: arrays by key, by half, trials in the half's order."""
        return {half: read_runs(path)[0] for half, path in self.files.items()}

    @functools.cached_property
    def rates(self) -> np.ndarray:
        """N x T x D, in spikes/s where the bin width is known; else in spikes/bin (other models: units of the data)."""
        return self.values("rates")

    @property
    def rates_per_bin(self) -> np.ndarray:
        """N x T x D, in spikes/bin."""
        return self.array("output_dist_params")[..., : self.channels]

    @functools.cached_property
    def factors(self) -> np.ndarray:
        """N x T x factors."""
        return self.values("factors")

    @functools.cached_property
    def inputs(self) -> np.ndarray | None:
        """N x T x inferred inputs; None without a controller."""
        return self.values("inputs") if "inputs" in self.quantities else None

    @functools.cached_property
    def inputs_sd(self) -> np.ndarray | None:
        """N x T x inferred inputs, the spread of their posterior samples; None where it was not stored."""
        return self.values("inputs_sd") if "inputs_sd" in self.quantities else None

    @property
    def behavior(self) -> np.ndarray | None:
        """N x bins x dimensions as imported with the recording, cut to the bins of the results; None: none."""
        if self.link is None or not self.link.behavior:
            return None
        return self.order.gathered(self.link.behavior)[:, self.first_bin : self.first_bin + self.bins]

    def of_data(self, field: str) -> np.ndarray | None:
        """A field of ``types.Trials`` for all N trials, as the data file has it; None where it has none.

        Raises:
            ResultsError: the data file is not known, or cannot be used.
        """
        session = self._session
        halves = {half: getattr(trials, field) for half, trials in self._trials(session).items()}
        return None if any(value is None for value in halves.values()) else self.order.gathered(halves)

    @property
    def counts(self) -> np.ndarray:
        """N x T x D, what the rates reconstruct: spike counts a bin (other models: values); NaN: not observed."""
        return self.of_data("target")[:, self.first_bin :]

    @property
    def truth(self) -> np.ndarray | None:
        """N x T x D, true rates in the unit of ``rates``; None where they are not known."""
        truth = self.of_data("truth")
        if truth is None:
            return None
        return truth[:, self.first_bin :] * np.float32(1000.0 / self.bin_ms if self.unit("rates") == "spikes/s" else 1)

    # The clock

    def on_clock(self, quantity: str = "rates") -> OnClock:
        """A quantity on the session's clock, with overlapping windows merged (see ``merging.merge_windows``).

        Bins that only pad a trial, which was not observed then, are left out.

        Raises:
            ResultsError: the session's clock is not known.
        """
        if self.start_s is None or not self.bin_ms:
            mend = (
                "import the recording with `lfads import`, which notes it in the session's file" if self.link is None
                else "the recording did not say; export by trial, with --to npz or csv"
            )  # fmt: skip
            raise ResultsError(f"{self.name}: where its trials lie on the session's clock is not known; {mend}")
        there = np.flatnonzero(self.merged)
        if not len(there):
            raise ResultsError(
                f"{self.name}: no trial has results: inference left it out, or it ends before bin {self.first_bin}, "
                "the first with results"
            )
        own = self.trial_bins[there]
        found = stretches(self.start_s[there], own, self.bin_ms)
        parts = [
            merge_windows(self._windows(quantity, there[part.windows]), part.offsets, own_bins=own[part.windows])
            for part in found
        ]
        times = np.concatenate([part.centres_s(self.bin_ms) for part in found])
        return OnClock(times, parts[0] if len(parts) == 1 else np.concatenate(parts), found)

    def _windows(self, quantity: str, trials: np.ndarray) -> Iterator[np.ndarray]:
        """One trial after the other, read in blocks."""
        columns = next(iter(self._stored(QUANTITIES[quantity].key).values())).shape[2]
        rows = max(1, BLOCK_BYTES // (4 * self.bins * columns))
        for start in range(0, len(trials), rows):
            yield from self.values(quantity, trials[start : start + rows])

    # Files

    def _stored(self, key: str) -> dict[str, _Stored]:
        return {half: _Stored(path, key) for half, path in self.files.items()}

    @functools.cached_property
    def _session(self) -> Session:
        if self.data_file is None:
            raise ResultsError(f"{self.name}: the file that its results came from is not known; give data_dir")
        problems: list[str] = []
        check = functools.partial(checked_values, missing=True)
        session = read_session(self.name, str(self.data_file), check, problems, [])
        if session is None:
            raise ResultsError("\n".join(problems))
        return session

    @staticmethod
    def _trials(session: Session) -> dict[str, Trials]:
        return {half: trials for half, trials in (("train", session.train), ("valid", session.valid)) if trials}


class _Stored:
    """An array of a file, open only while trials are read from it."""

    def __init__(self, path: Path, key: str):
        self.path, self.key = path, key
        with h5py.File(path, "r") as file:
            self.shape, self.dtype = file[key].shape, file[key].dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> np.ndarray:
        try:
            with h5py.File(self.path, "r") as file:
                return file[self.key][rows]
        except OSError as error:
            raise ResultsError(f"{self.path}: {self.key} cannot be read ({error}); infer again") from error
