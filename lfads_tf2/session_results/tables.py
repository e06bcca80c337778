"""Results as .npz files and tables of text."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from lfads_tf2.files import atomic_path
from lfads_tf2.session_results.errors import ResultsError
from lfads_tf2.session_results.labelled import merges
from lfads_tf2.session_results.session_arrays import QUANTITIES, SessionArrays


def to_npz(results: SessionArrays, path: Path, merge: bool | None = None) -> Path:
    """Writes all quantities with their axes to one .npz file that needs no pickling to read.

    Beside ``rates``, ``factors``, ``inputs``, ``inputs_sd`` it holds ``unit_ids`` and, merged, ``time_s``; else
    ``trial``, ``half``, ``time_ms``, and where they are known ``condition`` and ``start_s``. ``axes`` and ``units`` are
    JSON: axis names and physical unit of each array.

    Args:
        path: ends in ``.npz``.
        merge: whether windows are merged on the session's clock; None: where the recording was continuous.
    """
    arrays, axes = {}, {}
    merging = merges(results, merge)
    for name in results.quantities:
        if merging:
            clocked = results.on_clock(name)
            arrays |= {"time_s": clocked.times_s, name: clocked.values}
            axes[name] = ["time_s", QUANTITIES[name].column]
        else:
            arrays[name], axes[name] = results.values(name), ["trial", "time_ms", QUANTITIES[name].column]
    units = {name: results.unit(name) for name in results.quantities}
    beside = {"unit_ids": results.unit_ids}
    if not merging:
        beside |= {
            "trial": results.trial_index, "half": results.halves, "time_ms": results.time_ms,
            "condition": results.conditions, "start_s": results.start_s,
        }  # fmt: skip
    arrays |= {name: values for name, values in beside.items() if values is not None}
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, axes=json.dumps(axes), units=json.dumps(units), session=results.name, **arrays)
    return path


def to_csv(
    results: SessionArrays, path: Path, quantity: str = "rates", long: bool = False, merge: bool | None = None
) -> Path:
    """Writes one quantity as a table of text, whose header names columns with their units.

    Args:
        path: of the file.
        quantity: one of ``results.quantities``.
        long: a row for each value; else a row for each bin and a column for each unit, factor or input.
        merge: whether windows are merged on the session's clock; None: where the recording was continuous.

    Raises:
        ResultsError: no such quantity, or the clock is not known and ``merge`` asks for it.
    """
    if quantity not in results.quantities:
        raise ResultsError(f"{results.name} has no {quantity!r}; it has {', '.join(results.quantities)}")
    one, unit = QUANTITIES[quantity].column, results.unit(quantity)
    labels = [str(label) for label in results.columns(quantity)]
    names, rows = _rows(results, quantity, merges(results, merge))
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        if long:
            writer.writerow([*names, one, f"{quantity} ({unit})"])
            for place, values in rows:
                writer.writerows([*place, label, value] for label, value in zip(labels, values, strict=True))
        else:
            writer.writerow([*names, *(f"{one} {label} ({unit})" for label in labels)])
            writer.writerows([*place, *values] for place, values in rows)
    return path


def _rows(results: SessionArrays, quantity: str, merging: bool) -> tuple[list[str], Iterator[tuple[list, np.ndarray]]]:
    """Names of the columns that say where a row is, and each row's place and values."""
    if merging:
        clocked = results.on_clock(quantity)
        # Nine digits after the point: the clock of a day to a microsecond.
        return ["time_s"], (([f"{t:.9f}"], row) for t, row in zip(clocked.times_s, clocked.values, strict=True))
    beside = {"condition": results.conditions, "start_s": results.start_s}
    beside = {name: values for name, values in beside.items() if values is not None}
    times = results.time_ms
    names = ["trial", "half", *beside, "bin" if times is None else "time_ms"]

    def rows() -> Iterator[tuple[list, np.ndarray]]:
        for trial, (number, half) in enumerate(zip(results.trial_index, results.halves, strict=True)):
            if results.inferred[trial]:
                place = [number, half, *(values[trial] for values in beside.values())]
                for bin, row in enumerate(results.values(quantity, [trial])[0]):
                    yield [*place, bin if times is None else f"{times[bin]:g}"], row

    return names, rows()
