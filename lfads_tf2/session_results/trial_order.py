"""Training and validation trials put back in the recording's order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from lfads_tf2.session_results.errors import ResultsError

HALVES = ("train", "valid")


class TrialOrder(NamedTuple):
    """All N trials of a session in the recording's order."""

    position: (
        np.ndarray
    )  # N, of each trial in the recording, counted from 0; rises, with gaps where trials were left out
    half: np.ndarray  # N, train or valid
    row: np.ndarray  # N, of each trial in its half's arrays

    @classmethod
    def of(cls, positions: Mapping[str, Sequence[int]]) -> TrialOrder:
        """From the position of each half's trials.

        Raises:
            ResultsError: two trials have one position.
        """
        joined = np.concatenate([np.asarray(positions[half], np.int64).ravel() for half in positions])
        numbers, times = np.unique(joined, return_counts=True)
        if (times > 1).any():
            raise ResultsError(f"trial {numbers[times > 1][0]} occurs {times.max()} times; each needs its own number")
        half = np.concatenate([np.full(len(positions[half]), half, "U5") for half in positions])
        row = np.concatenate([np.arange(len(positions[half])) for half in positions])
        order = np.argsort(joined)
        return cls(joined[order], half[order], row[order])

    def chosen(self, rows) -> TrialOrder:
        """Some of the trials."""
        return TrialOrder(*(values[rows] for values in self))

    def there(self, lengths: Mapping[str, int]) -> np.ndarray:
        """N booleans: the half has so many trials that this one is among them."""
        return self.row < np.array([lengths.get(half, 0) for half in HALVES])[(self.half == HALVES[1]).astype(int)]

    def gathered(self, halves: Mapping[str, np.ndarray]) -> np.ndarray:
        """Values of these trials from the arrays of their halves; NaN, or empty text, where a half ends before.

        Args:
            halves: arrays, or anything of which trials can be sliced, such as an open file's.
        """
        first = next(iter(halves.values()))
        text = first.dtype.kind == "U"
        complete = self.there({half: len(values) for half, values in halves.items()})
        dtype = np.result_type(*(values.dtype for values in halves.values()))
        if not complete.all() and not text:
            dtype = np.result_type(dtype, np.float32)
        found = np.full((len(self.row), *first.shape[1:]), "" if text else 0 if complete.all() else np.nan, dtype)
        for half, values in halves.items():
            places = np.flatnonzero((self.half == half) & complete)
            if len(places):
                rows = self.row[places]
                found[places] = np.asarray(values[rows.min() : rows.max() + 1])[rows - rows.min()]
        return found
