"""How well rates predict spikes that the encoders did not read: the score that a model cannot raise by copying.

What an autoencoder explains of the spikes that it reads says little: a model that copies each spike into its rate
explains them best and predicts nothing (Keshtkaran and Pandarinath 2019). Here every spike count is predicted by an
inference from which it was masked; ``lfads_tf2.held_out`` makes such rates.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from lfads_tf2.metrics.rates import SMALLEST_RATE

# Entries that are worked on together, as float64.
BLOCK_ENTRIES = 2**22


def parts(trials: np.ndarray) -> Iterator[slice]:
    """Slices of trials that are few enough to be worked on together; ``trials``: trials x bins x channels."""
    rows = max(1, BLOCK_ENTRIES // max(1, trials[:1].size))
    return (slice(start, start + rows) for start in range(0, len(trials), rows))


class Score(NamedTuple):
    """Bits a spike above constant rates."""

    bits: float  # NaN without spikes
    error: float  # standard error over trials; NaN for fewer than two

    def __str__(self) -> str:
        return f"{self.bits:.3f}" if math.isnan(self.error) else f"{self.bits:.3f} ± {self.error:.3f}"


class Gains:
    """Sums over many trials that come block by block, perhaps of several sessions."""

    def __init__(self):
        self.gains: list[np.ndarray] = []
        self.counts: list[np.ndarray] = []

    def add(self, rates: np.ndarray, spikes: np.ndarray, means: np.ndarray) -> None:
        """More trials of one session.

        Args:
            rates, spikes: as ``score``.
            means: each channel's mean count over all of the session's trials: the constant rates to compare with.
        """
        if rates.shape != spikes.shape or rates.ndim != 3:
            raise ValueError(
                f"rates and spikes must have the same shape, trials x bins x channels, got {rates.shape} and "
                f"{spikes.shape}"
            )
        means = np.where(means > 0, means, SMALLEST_RATE)
        for part in parts(spikes):
            self._add(np.asarray(rates[part], np.float64), np.asarray(spikes[part], np.float64), means)

    def _add(self, rates: np.ndarray, spikes: np.ndarray, means: np.ndarray) -> None:
        seen = ~np.isnan(spikes)
        if not np.all(rates[seen] >= 0):
            raise ValueError("rates must be zero or positive numbers; give expected spikes a bin, not log-rates")
        counted, rates = np.where(seen, spikes, 0.0), np.where(rates == 0, SMALLEST_RATE, rates)
        # The log-factorials are the same in both likelihoods and cancel.
        gain = counted * np.log(rates / means) - (rates - means)
        self.gains.append(np.sum(gain, axis=(1, 2), where=seen))
        self.counts.append(counted.sum(axis=(1, 2)))

    @property
    def trials(self) -> int:
        """How many were added."""
        return sum(map(len, self.counts))

    def score(self) -> Score:
        """Of all trials so far."""
        return self._of(np.concatenate(self.gains) if self.gains else np.zeros(0))

    def above(self, other: Gains) -> Score:
        """How much better than other rates of the same trials; the error is that of the difference."""
        return self._of(np.concatenate(self.gains) - np.concatenate(other.gains))

    def _of(self, gains: np.ndarray) -> Score:
        counts = np.concatenate(self.counts) if self.counts else np.zeros(0)
        spikes, trials = counts.sum(), len(counts)
        if spikes == 0:
            return Score(math.nan, math.nan)
        bits = gains.sum() / spikes
        # The error of a ratio of two sums over trials.
        spread = np.sqrt(trials / (trials - 1) * np.sum((gains - bits * counts) ** 2)) if trials > 1 else math.nan
        return Score(float(bits / math.log(2)), float(spread / spikes / math.log(2)))


def channel_means(spikes: np.ndarray) -> np.ndarray:
    """Each channel's mean count, NaN entries left out; trials x bins x channels -> channels, 0 for one unobserved."""
    seen = ~np.isnan(spikes) if spikes.dtype.kind == "f" else np.ones(1, bool)
    total = np.sum(spikes, axis=(0, 1), where=seen, dtype=np.float64)
    return total / np.maximum(np.sum(np.broadcast_to(seen, spikes.shape), axis=(0, 1)), 1)


def score(rates: np.ndarray, spikes: np.ndarray) -> Score:
    """Bits a spike of rates above each channel's mean count, with the standard error over trials.

    The value is that of ``metrics.rates.bits_per_spike``. Given the true rates, it is the ceiling: the expected score
    of no other rates, made without the spikes themselves, is higher.

    Args:
        rates: trials x bins x channels, expected spikes a bin; each entry made without the spikes of that entry.
        spikes: same shape, counts a bin; NaN entries are left out.

    Raises:
        ValueError: shapes differ, or a rate is negative or NaN where there are spikes to compare.
    """
    sums, spikes = Gains(), np.asarray(spikes)
    sums.add(rates, spikes, channel_means(spikes))
    return sums.score()
