"""A recording before it is cut into trials: units, spikes or counts, intervals, behaviour."""

from __future__ import annotations

import dataclasses
import hashlib
import reprlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lfads_tf2.data.entries import CountCheck
from lfads_tf2.errors import LFADSError, did_you_mean

# Four months; what lies beyond are samples or milliseconds.
LONGEST_S = 1e7
# What to do about entries of a source that are no counts.
GAPS = "fill the gaps, or leave these trials or units out of the source"
CONTINUOUS = "write continuous data into files for lfads train yourself"


class RecordingError(LFADSError, ValueError):
    """A recording that cannot be read or cut; the message says why and what to do."""


@dataclasses.dataclass
class Table:
    """Rows with columns: units, or intervals with ``start_time`` and ``stop_time`` in seconds."""

    columns: dict[str, np.ndarray]
    ids: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)

    def column(self, name: str, what: str) -> np.ndarray:
        """A column by name. Raises RecordingError when it is not there."""
        if name not in self.columns:
            there = ", ".join(self.columns) or "none"
            raise RecordingError(f"{what} has no column {name!r}{did_you_mean(name, self.columns)}; it has {there}")
        return self.columns[name]

    def times(self, name: str, what: str) -> np.ndarray:
        """A column of times. Raises RecordingError when it is not there, or holds no numbers."""
        values = np.asarray(self.column(name, what))
        if values.dtype.kind not in "iuf":
            first = next(iter(values), "nothing")
            raise RecordingError(
                f"{what}: {name} must hold times, one number a trial, got {values.dtype} ({first!s:.40} first); name "
                "another column, or convert it"
            )
        return values.astype(np.float64)


@dataclasses.dataclass
class Series:
    """A measured quantity over time."""

    times: np.ndarray  # n, seconds, not falling; NaN: not known
    values: np.ndarray  # n x dimensions
    names: list[str]
    unit: str = ""


@dataclasses.dataclass
class RecordingData:
    """One session. Either ``spike_times``, or ``counts``, or ``trials`` holds the activity.

    ``spike_times``: of each unit, in seconds, rising. ``counts``: bins x units with bins of ``bin_s`` seconds from
    ``start_s`` on. ``trials``: of each trial bins x units counts, when it was cut already. ``observed``: of each unit
    the intervals, n x 2 seconds, in which it was recorded; None: always. ``trial_span``: first and last spike of any
    trial (s, relative to it) where trials lie on a made-up clock (``spike_trials``); None: the clock is the session's.
    ``vectors``: in the file beside the activity of a session, of which a table of trials can be made
    (``trial_tables``). ``trial_unit_s``: what the other columns of trials on a made-up clock, and the vectors, count
    times in. ``left_out``: units that the reader left out, and why. ``notes``: what looks like a mistake in the source.
    """

    units: Table
    spike_times: list[np.ndarray] | None = None
    counts: np.ndarray | None = None
    trials: list[np.ndarray] | None = None
    bin_s: float | None = None
    start_s: float = 0.0
    tables: dict[str, Table] = dataclasses.field(default_factory=dict)
    series: dict[str, Series] = dataclasses.field(default_factory=dict)
    observed: list[np.ndarray] | None = None
    source_path: str = ""
    source_sha256: str = ""
    source_format: str = "python"
    session_start_time: str = ""
    trial_span: tuple[float, float] | None = None
    vectors: dict[str, Any] = dataclasses.field(default_factory=dict)
    trial_unit_s: float = 1.0
    left_out: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)

    def __post_init__(self) -> None:
        ids, times = np.unique(self.units.ids, return_counts=True)
        if (times > 1).any():
            raise RecordingError(f"{self.name}: unit {ids[times > 1][0]} is there twice; give each unit its own id")
        if not len(self.units):
            raise RecordingError(f"{self.name} has no units; LFADS needs at least one with spikes")
        if self.spike_times is not None:
            self.spike_times = [
                self._checked(unit, t) for unit, t in zip(self.units.ids, self.spike_times, strict=True)
            ]
            if not sum(map(len, self.spike_times)):
                raise RecordingError(f"{self.name}: no unit has a spike; look at where its spike times are stored")

    def _checked(self, unit: Any, times: Any) -> np.ndarray:
        try:
            if np.asarray(times).dtype.kind in "USmM":
                raise TypeError
            times = np.asarray(times, np.float64).reshape(-1)
        except (TypeError, ValueError):
            raise RecordingError(
                f"{self.name}: unit {unit} must have spike times, numbers of seconds on the session's clock, got "
                f"{type(times).__name__} {reprlib.repr(times)}; convert them, or leave it out"
            ) from None
        problem = (
            "NaN or infinite spike times" if not np.isfinite(times).all()
            else "negative spike times" if (times < 0).any()
            else f"a spike at {times[-1]:.3g} s, which no session lasts" if len(times) and times[-1] > LONGEST_S
            else "spike times that do not rise; sort them" if (np.diff(times) < 0).any()
            else ""
        )  # fmt: skip
        if problem:
            raise RecordingError(f"{self.name}: unit {unit} has {problem} (seconds on the session's clock are needed)")
        return times

    @property
    def name(self) -> str:
        """For messages."""
        return self.source_path or "the recording"

    @property
    def extent(self) -> tuple[float, float]:
        """When the recording starts and ends, in seconds, as far as its parts show."""
        if self.trial_span is not None:
            low, high = self.trial_span
            return 0.0, float(self.tables["trials"].columns["start_time"][-1]) + 2 * high - low
        if self.counts is not None:
            return self.start_s, self.start_s + len(self.counts) * self.bin_s
        ends = [times[-1] for times in self.spike_times if len(times)]
        starts = [0.0]
        for table in self.tables.values():
            ends += _finite(table.columns.get("stop_time", []))
        for intervals in self.observed or ():
            ends += _finite(intervals[:, 1])
        ends += [float(series.times[-1]) for series in self.series.values() if len(series.times)]
        return min(starts), float(max(ends))

    @property
    def seconds(self) -> float:
        """How much was recorded, of trials on a made-up clock the spans of their spikes."""
        if self.trial_span is not None:
            return len(self.tables["trials"]) * (self.trial_span[1] - self.trial_span[0])
        return self.extent[1] - self.extent[0]


def _finite(values: Any) -> list[float]:
    values = np.asarray(values, np.float64).reshape(-1)
    return [float(np.max(values[np.isfinite(values)]))] if np.isfinite(values).any() else []


def unit_table(ids: Sequence[Any] | int, columns: dict[str, np.ndarray] | None = None) -> Table:
    """Units by their ids, or so many units counted from 0."""
    ids = np.arange(ids) if isinstance(ids, int) else np.asarray(ids)
    return Table(dict(columns or {}), ids)


def sha256(path: Path) -> str:
    """Of a file's content, or of a folder's files, by name."""
    digest = hashlib.sha256()
    files = [path] if path.is_file() else sorted(p for p in path.iterdir() if p.is_file())
    for one in files:
        if len(files) > 1:
            digest.update(one.name.encode() + b"\0")
        with one.open("rb") as file:
            while block := file.read(2**22):
                digest.update(block)
    return digest.hexdigest()


def counts_by_time(array: Any, axes: str, dimensions: tuple[str, ...], name: str) -> np.ndarray:
    """An array with its axes in the order of ``dimensions``.

    Args:
        array: of as many axes.
        axes: names of its axes, separated by commas.

    Raises:
        RecordingError: other axes, no numbers, or no axes named where they cannot be told.
    """
    array = np.asarray(array)
    given = tuple(part.strip() for part in axes.split(",") if part.strip())
    if array.ndim != len(dimensions) or (given and sorted(given) != sorted(dimensions)):
        wanted = ",".join(dimensions)
        raise RecordingError(
            f"{name}: axes must be {wanted} in some order, got {axes or 'none'} for shape {array.shape}"
        )
    if not given:
        raise RecordingError(
            f"{name}: say which axis is which of shape {array.shape}, such as --axes {','.join(dimensions)}"
        )
    array = np.transpose(array, [given.index(dimension) for dimension in dimensions])
    if array.dtype.kind not in "buif" or array.size == 0:
        raise RecordingError(f"{name}: holds {array.dtype} of shape {array.shape}; spike counts are needed")
    return array


def check_counts(blocks: Iterable[np.ndarray], dimensions: Sequence[str], name: str) -> None:
    """Raises RecordingError where blocks of ``dimensions``, one after the other along the first, hold no counts."""
    check, start = CountCheck(" x ".join(dimensions), GAPS, CONTINUOUS), 0
    for block in blocks:
        check.add(block, start)
        start += len(block)
    if check.found:
        raise RecordingError("\n".join(f"{name}: {problem}" for problem in check.problems()))
