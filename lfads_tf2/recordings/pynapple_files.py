"""What pynapple saves in .npz files: a TsGroup of spike times or a TsdFrame of counts."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from lfads_tf2.recordings.python_objects import counts_of_frame
from lfads_tf2.recordings.recording import RecordingData, RecordingError, unit_table

log = logging.getLogger("lfads_tf2")
NEEDED = {"TsGroup": ("t", "index", "keys", "start", "end"), "TsdFrame": ("t", "d", "columns", "start", "end")}


def read_pynapple(path: Path, bin_ms: float | None) -> RecordingData | None:
    """The recording in a file of pynapple; None for any other .npz file.

    Raises:
        RecordingError: it holds neither spikes of units nor counts, or is damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as content:
            kind = str(np.ravel(content["type"])[0]) if {"type", "start", "end"} <= set(content.files) else ""
            if not kind.startswith("Ts"):
                return None
            if kind not in NEEDED or not set(NEEDED[kind]) <= set(content.files):
                raise RecordingError(f"{path} is a {kind} of pynapple; LFADS needs a TsGroup, or a TsdFrame of counts")
            # Metadata are pickled Python objects, which are not loaded.
            if "_metadata" in content.files:
                log.warning("%s: the metadata of its units are pickled and not read; give the TsGroup in Python", path)
            arrays = {name: content[name] for name in NEEDED[kind]}
    except RecordingError:
        raise
    except Exception:  # whatever NumPy makes of a damaged file: the general reader says what
        return None
    return _group(arrays, str(path)) if kind == "TsGroup" else _frame(arrays, bin_ms)


def _group(arrays: Mapping[str, np.ndarray], name: str) -> RecordingData:
    times, index, keys = arrays["t"], arrays["index"], arrays["keys"]
    observed = [np.column_stack([arrays["start"], arrays["end"]])] * len(keys)
    return RecordingData(unit_table(keys), [times[index == key] for key in keys], observed=observed, source_path=name)


def _frame(arrays: Mapping[str, np.ndarray], bin_ms: float | None) -> RecordingData:
    frame = SimpleNamespace(t=arrays["t"], values=arrays["d"], columns=arrays["columns"])
    return counts_of_frame(frame, bin_ms)
