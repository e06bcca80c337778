"""The behaviour that a session's file keeps beside its trials."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np

from lfads_tf2.data.keys import SessionFile, name_of
from lfads_tf2.session_results.errors import ResultsError
from lfads_tf2.session_results.recording_link import read_link, words

# As the Neural Latents Benchmark calls the halves too.
KEYS = {"train": ("train_behavior",), "valid": ("valid_behavior", "eval_behavior")}


class Behavior(NamedTuple):
    """Time series of K dimensions, bin by bin."""

    halves: dict[str, np.ndarray]  # by half: trials x bins x K; NaN: not known
    names: list[str]  # K, with units where these are known; numbers from 0 where the file does not say


def read_behavior(path: Path) -> Behavior | None:
    """Behaviour from the top of a session's file (``train_behavior``, ``valid_behavior``) or from its group
    ``recording``, where ``lfads import`` keeps it. None: there is none that changes from bin to bin.

    Raises:
        ResultsError: it cannot be used; the message says why.
        OSError: the file cannot be read.
    """
    with h5py.File(path, "r") as handle:
        file = SessionFile(handle, str(path))
        file.keys = [key for key in handle if isinstance(key, str)]
        found = {half: file.numbers(*keys) for half, keys in KEYS.items()}
        if file.problems:
            raise ResultsError("\n".join(file.problems))
        found = {half: dataset for half, dataset in found.items() if dataset is not None and len(dataset.shape) == 3}
        if found:
            halves = {half: dataset[()] for half, dataset in found.items()}
            first = handle[name_of(next(iter(found.values())))]
            names = words(first.attrs.get("names")) or _listed(words(handle.attrs.get("behavior_names")))
            return _named(path, halves, names, words(first.attrs.get("units")))
    link = read_link(path)
    return (
        None
        if link is None or not link.behavior
        else _named(path, link.behavior, link.behavior_names, link.behavior_units)
    )


def _listed(names: list[str]) -> list[str]:
    """Names in one text, as ``x, y (cm)``, told apart."""
    return [word.strip() for word in re.sub(r"\([^)]*\)", "", names[0]).split(",")] if len(names) == 1 else names


def _named(path: Path, halves: dict[str, np.ndarray], names: list[str], units: list[str]) -> Behavior:
    sizes = {half: values.shape[2] for half, values in halves.items()}
    count = next(iter(sizes.values()))
    if len(set(sizes.values())) > 1:
        raise ResultsError(f"{path}: the behaviour of both halves needs the same dimensions, got {sizes}")
    if len(names) != count:
        return Behavior(halves, [str(number) for number in range(count)])
    units = units if len(units) == count else [""] * count
    return Behavior(halves, [f"{name} ({unit})" if unit else name for name, unit in zip(names, units, strict=True)])
