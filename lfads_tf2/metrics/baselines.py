"""What simple methods predict of spikes that they do not read: the least that a model's rates must beat.

Rates are expected spikes a bin, arrays trials x bins x channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lfads_tf2.metrics.held_out import Gains, channel_means, parts
from lfads_tf2.metrics.rates import SMALLEST_RATE

WIDTHS = (0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0)
# The mean rate counts as much as this share of a kernel's weight, since an estimate of 0 forbids every spike.
MEAN_SHARE = 0.1
# Likelihood is nearly quadratic in the power, so this one wins where the best power is above 1.1. Held-out rates of
# good fits have best powers of 0.86 to 1.09, those of flat ones 1.16 to 1.29 (docs/quality.md).
SHARPER = 1.2


class Smoothed(NamedTuple):
    """The best width and its gains."""

    width: float  # standard deviation in bins
    gains: Gains


def widths_for(bins: int, widths: Sequence[float] = WIDTHS) -> list[float]:
    """Those of rising widths that are worth trying in trials of so many bins."""
    return [width for width in widths if width == widths[0] or width < bins]


def _kernel(bins: int, width: float) -> np.ndarray:
    """bins x bins: weight of one bin for another by their distance."""
    lag = np.arange(bins)
    return np.exp(-0.5 * ((lag[:, None] - lag) / width) ** 2)


def smoothed(values: np.ndarray, width: float) -> np.ndarray:
    """Gaussian smoothing along the bins; the kernel's weights sum to 1 at the edges too.

    Args:
        values: trials x bins x channels, or bins x channels; without NaN.
        width: standard deviation of the kernel in bins.
    """
    kernel = _kernel(values.shape[-2], width)
    return (kernel / kernel.sum(axis=1, keepdims=True)) @ values


def smoothed_without_itself(spikes: np.ndarray, width: float, means: np.ndarray | None = None) -> np.ndarray:
    """Each entry from its neighbours in time by a Gaussian kernel without its own bin.

    Args:
        spikes: counts; NaN entries count as the channel's mean.
        width: standard deviation of the kernel in bins.
        means: each channel's mean count; None: in these trials.
    """
    means, kernel = channel_means(spikes) if means is None else means, _kernel(spikes.shape[1], width)
    np.fill_diagonal(kernel, 0.0)
    known = np.where(np.isnan(spikes), means, spikes) if spikes.dtype.kind == "f" else spikes.astype(np.float64)
    share = MEAN_SHARE * np.sqrt(2 * np.pi) * width
    return (np.einsum("ts,nsd->ntd", kernel, known) + share * means) / (kernel.sum(1)[:, None] + share)


def best_smoothing(spikes: np.ndarray) -> Smoothed:
    """The kernel width that predicts the spikes best without reading the one that is predicted."""
    means = channel_means(spikes)

    def gains(width):
        sums = Gains()
        for part in parts(spikes):
            sums.add(smoothed_without_itself(spikes[part], width, means), spikes[part], means)
        return Smoothed(width, sums)

    tried = [gains(width) for width in widths_for(spikes.shape[1])]
    return max(tried, key=lambda found: np.nan_to_num(found.gains.score().bits, nan=-np.inf))


def sharpened(rates: np.ndarray, means: np.ndarray, power: float = SHARPER) -> np.ndarray:
    """Rates whose swings around their channel's mean are larger: better than themselves only if they are too flat.

    Args:
        rates: trials x bins x channels.
        means: each channel's mean count.
        power: of the ratio of rate and mean.
    """
    means = np.maximum(means, SMALLEST_RATE)
    return means * (np.maximum(rates, SMALLEST_RATE) / means) ** power


def condition_averages(
    train: np.ndarray, train_conditions: np.ndarray, conditions: np.ndarray, width: float
) -> np.ndarray:
    """Smoothed averages of conditions over the training trials; the mean of all for one without trials, as NaN.

    Args:
        train: counts of the training trials, NaN where not observed.
        train_conditions: of the training trials.
        conditions: to average, one row of the result each.
        width: standard deviation of the Gaussian kernel in bins.
    """
    averages, means = [], channel_means(train)
    for condition in conditions:
        own = train[train_conditions == condition]
        seen = ~np.isnan(own) if own.dtype.kind == "f" else np.ones(own.shape, bool)
        # A share of a trial of the mean rate keeps an estimate of 0 from forbidding every spike.
        total = np.sum(own, axis=0, where=seen, dtype=np.float64) + MEAN_SHARE * means
        averages.append(smoothed(total / (seen.sum(axis=0) + MEAN_SHARE), width))
    return np.stack(averages)
