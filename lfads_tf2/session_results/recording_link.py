"""The way back from a session's file to the recording that it was cut from: its group ``recording``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np

from lfads_tf2.session_results.errors import ResultsError

GROUP = "recording"
NEWEST = 1


class LinkError(ResultsError):
    """A group ``recording`` that cannot be used; the message says what is wrong with it."""


class RecordingLink(NamedTuple):
    """Where the windows of a session lie in its recording. Halves are ``train`` and ``valid``."""

    source: Path
    source_sha256: str
    source_format: str
    bin_ms: float
    window_ms: tuple[float, float]  # relative to the alignment; chopped: from 0 to the window's length
    align: str  # column of the times that windows are aligned to, or nothing
    mode: str  # aligned, chopped or trials
    overlap_ms: float | None
    session_start_time: str  # ISO, or nothing
    unit_ids: np.ndarray  # of each channel
    unit_index: np.ndarray | None  # row of each channel's unit in the source
    unit_columns: dict[str, np.ndarray]  # what else is known of the units
    trial_index: dict[str, np.ndarray]  # by half: row of each trial in the source, or number of the window
    start_s: dict[str, np.ndarray]  # by half: left edge of the first bin on the session's clock; empty: not known
    align_s: dict[str, np.ndarray]  # by half: what it is aligned to
    bins: dict[str, np.ndarray]  # by half: of each window without its padding; empty: none is padded
    conditions: dict[str, np.ndarray]
    behavior: dict[str, np.ndarray]  # by half: trials x bins x dimensions
    behavior_names: list[str]
    behavior_units: list[str]

    def middle_ms(self, bin: int | np.ndarray) -> float | np.ndarray:
        """Middle of a bin of the data, relative to what windows are aligned to, or their start."""
        return self.window_ms[0] + (bin + 0.5) * self.bin_ms


def read_link(path: Path) -> RecordingLink | None:
    """The group of a session's file; None where the file was not imported from a recording.

    Raises:
        LinkError: the group is of a later version, lacks something, or does not fit itself.
        OSError: the file cannot be read.
    """
    with h5py.File(path, "r") as file:
        group = file.get(GROUP)
        if not isinstance(group, h5py.Group):
            return None
        version = int(group.attrs.get("format_version", 0))
        if not 1 <= version <= NEWEST:
            raise LinkError(f"{path}: recording: format_version must be 1 to {NEWEST}, got {version}; update lfads_tf2")
        try:
            return _checked(path, _read(group))
        except KeyError as error:
            raise LinkError(f"{path}: recording: {error.args[0]}; import the recording again") from None


def _read(group: h5py.Group) -> RecordingLink:
    attributes = {name: _plain(value) for name, value in group.attrs.items()}
    arrays = {name: _array(group[name]) for name in group if isinstance(group[name], h5py.Dataset)}

    def by_half(name: str) -> dict[str, np.ndarray]:
        return {half: arrays[f"{half}_{name}"] for half in ("train", "valid") if f"{half}_{name}" in arrays}

    # Earlier files have unit_NAME for each column of the units instead of unit_columns/NAME.
    columns = {
        name.removeprefix("unit_"): values for name, values in arrays.items()
        if name.startswith("unit_") and name not in ("unit_ids", "unit_index")
    }  # fmt: skip
    if isinstance(group.get("unit_columns"), h5py.Group):
        columns |= {name: _array(dataset) for name, dataset in group["unit_columns"].items()}
    behavior = next((group[f"{half}_behavior"] for half in ("train", "valid") if f"{half}_behavior" in group), None)
    labels = {} if behavior is None else {name: words(behavior.attrs.get(name)) for name in ("names", "units")}
    overlap = attributes.get("overlap_ms")
    return RecordingLink(
        Path(attributes.get("source_path", "")), attributes.get("source_sha256", ""),
        attributes.get("source_format", ""), float(attributes["bin_width_ms"]),
        tuple(float(edge) for edge in attributes["window_ms"]), attributes.get("align", ""), attributes["mode"],
        None if overlap is None else float(overlap), attributes.get("session_start_time", ""), arrays["unit_ids"],
        arrays.get("unit_index"), columns,
        by_half("trial_index"), by_half("start_s"), by_half("align_s"), by_half("bins"), by_half("condition"),
        by_half("behavior"), labels.get("names", []), labels.get("units", []),
    )  # fmt: skip


def _checked(path: Path, link: RecordingLink) -> RecordingLink:
    problems = []
    if not link.bin_ms > 0:
        problems.append(f"bin_width_ms must be above 0, got {link.bin_ms}")
    # Trials that were cut elsewhere have no place on the clock.
    clock = bool(link.start_s) or link.mode != "trials"
    if not link.trial_index or (clock and link.start_s.keys() != link.trial_index.keys()):
        problems.append("each half needs its trial_index and start_s")
    for half, rows in link.trial_index.items():
        starts = link.start_s.get(half)
        if starts is not None and (starts.ndim != 1 or not np.isfinite(starts).all()):
            problems.append(f"{half}_start_s must be finite seconds, one for each trial")
        own = link.bins.get(half)
        if link.bins and (own is None or own.ndim != 1 or own.dtype.kind not in "iu" or (own < 0).any()):
            problems.append(f"{half}_bins must be whole numbers of at least 0, one for each trial")
        for name in ("start_s", "align_s", "bins", "conditions", "behavior"):
            values = getattr(link, name).get(half)
            if values is not None and len(values) != len(rows):
                problems.append(f"{half}: {name} has {len(values)} trials and trial_index {len(rows)}")
    if problems:
        raise LinkError("\n".join(f"{path}: recording: {problem}" for problem in problems))
    return link


def _plain(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value


def _array(dataset: h5py.Dataset) -> np.ndarray:
    return dataset.asstr()[()].astype(str) if h5py.check_string_dtype(dataset.dtype) else dataset[()]


def words(value: Any) -> list[str]:
    """Names in an attribute: a list of text, or JSON of one."""
    if value is None:
        return []
    value = _plain(value)
    if isinstance(value, str):
        return [str(word) for word in json.loads(value)] if value.startswith("[") else [value]
    return [str(_plain(word)) for word in np.ravel(value)]
