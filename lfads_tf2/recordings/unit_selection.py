"""Which units are kept: by a condition, by rate, by presence, and one of each pair that shares its spikes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lfads_tf2.recordings.binning import joined
from lfads_tf2.recordings.recording import RecordingData

# Spikes of two units that lie this close count as one event of cross-talk.
COINCIDENCE_S = 0.001
# The time in which a unit was observed is divided into so many parts, in each of which one that is present fires.
PARTS = 10


class Dropped(NamedTuple):
    """Something that was left out, and why."""

    what: str  # unit, trial, window or bin
    id: str
    why: str


def select_units(
    recording: RecordingData, wanted: np.ndarray, min_rate: float, min_presence: float, max_crosstalk: float
) -> tuple[np.ndarray, list[Dropped]]:
    """Numbers of the units that are kept, and the others with the reason.

    Args:
        recording: with spike times or counts.
        wanted: of each unit, whether the user's condition keeps it.
        min_rate: spikes/s.
        min_presence: share of ten equal parts of the time in which a unit was observed, in which it must fire.
        max_crosstalk: largest share of a unit's spikes, beyond chance, that may coincide within 1 ms with another's;
            1 keeps all. Only for spike times.
    """
    dropped = [Dropped("unit", str(recording.units.ids[n]), "--units") for n in np.flatnonzero(~wanted)]
    kept = np.flatnonzero(wanted)
    rates, presence = rates_and_presence(recording)
    for limit, values, why in (
        (min_rate, rates, "{:.3g} spikes/s"),
        (min_presence, presence, "fires in {:.0%} of the parts"),
    ):
        low = kept[values[kept] < limit]
        dropped += [
            Dropped("unit", str(recording.units.ids[n]), f"{why.format(values[n])}, below {limit:g}") for n in low
        ]
        kept = np.setdiff1d(kept, low)
    if recording.spike_times is not None and max_crosstalk < 1 and len(kept) > 1:
        shares = crosstalk([recording.spike_times[n] for n in kept], (0.0, recording.seconds))
        for position, partner, share in _greedy(
            shares, np.array([len(recording.spike_times[n]) for n in kept]), max_crosstalk
        ):
            ids = recording.units.ids[kept[[position, partner]]]
            dropped.append(
                Dropped("unit", str(ids[0]), f"shares {share:.0%} of spikes beyond chance with unit {ids[1]}")
            )
        gone = [d.id for d in dropped]
        kept = np.array([n for n in kept if str(recording.units.ids[n]) not in gone], int)
    return kept, dropped


def rates_and_presence(recording: RecordingData) -> tuple[np.ndarray, np.ndarray]:
    """Spikes/s of each unit while it was observed, and the share of ten equal parts of that time in which it fires."""
    if recording.counts is not None or recording.trials is not None:
        counts = recording.counts if recording.counts is not None else np.concatenate(recording.trials)
        parts = np.array_split(counts, min(PARTS, len(counts)))
        return counts.mean(axis=0) / recording.bin_s, np.mean([part.any(axis=0) for part in parts], axis=0)
    rates, presence = [], []
    for number, times in enumerate(recording.spike_times):
        places, length = _while_observed(times, _observed(recording, number))
        rates.append(len(places) / length if length > 0 else 0.0)
        presence.append(np.mean(np.histogram(places, PARTS, (0.0, length or 1.0))[0] > 0))
    return np.array(rates), np.array(presence)


def _observed(recording: RecordingData, number: int) -> np.ndarray:
    """When a unit was observed, n x 2 seconds."""
    if recording.observed is not None:
        return recording.observed[number]
    if recording.trial_span is not None:
        return recording.tables["trials"].columns["start_time"][:, None] + recording.trial_span
    return np.array([recording.extent])


def _while_observed(times: np.ndarray, intervals: np.ndarray) -> tuple[np.ndarray, float]:
    """Spikes within intervals, on a clock that stands still between them, and how long it runs."""
    if not len(intervals):
        return np.zeros(0), 0.0
    starts, stops = joined(intervals).T
    row = np.clip(np.searchsorted(starts, times, side="right") - 1, 0, None)
    inside = (times >= starts[row]) & (times <= stops[row])
    ends = np.cumsum(stops - starts)
    return (times - stops[row] + ends[row])[inside], float(ends[-1])


def crosstalk(spike_times: list[np.ndarray], extent: tuple[float, float]) -> np.ndarray:
    """U x U: the share of each unit's 1-ms bins with spikes in which the other unit fires too, less that by chance."""
    bins = [np.unique((times / COINCIDENCE_S).astype(np.int64)) for times in spike_times]
    sizes, number = np.array([len(b) for b in bins]), len(bins)
    together = np.zeros((number, number))
    all_bins, units = np.concatenate(bins), np.repeat(np.arange(number), sizes)
    order = np.argsort(all_bins, kind="stable")
    all_bins, units = all_bins[order], units[order]
    for offset in range(1, number):
        # Units that fire in one bin stand beside each other, so neighbours at every distance are compared.
        same = all_bins[offset:] == all_bins[:-offset]
        if not same.any():
            break
        pairs = units[:-offset][same] * number + units[offset:][same]
        together += np.bincount(pairs, minlength=number * number).reshape(number, number)
    together += together.T
    length = max(extent[1] - extent[0], COINCIDENCE_S) / COINCIDENCE_S
    return together / np.maximum(sizes, 1)[:, None] - sizes[None] / length


def _greedy(shares: np.ndarray, sizes: np.ndarray, limit: float) -> list[tuple[int, int, float]]:
    """Units to drop until no pair is above the limit, each with its worst partner: first the one in most such pairs, of
    equals the one with the fewest spikes."""
    shares = np.maximum(shares, shares.T)
    np.fill_diagonal(shares, 0.0)
    gone = []
    while (shares > limit).any():
        bad = (shares > limit).sum(axis=1)
        worst = int(np.lexsort((sizes, -bad))[0])
        partner = int(np.argmax(shares[worst]))
        gone.append((worst, partner, float(shares[worst, partner])))
        shares[worst], shares[:, worst] = 0.0, 0.0
    return gone
