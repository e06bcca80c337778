"""How good inferred rates are: against the truth where it is known, against the spikes where it is not.

Everything is accumulated channel by channel in float64, so large float32 arrays are never copied whole.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

# Stands for a rate of zero, whose log-likelihood is minus infinity at the first spike (the value the Neural Latents
# Benchmark uses).
SMALLEST_RATE = 1e-9


def r2_truth(rates: np.ndarray, truth: np.ndarray) -> float:
    """R² of inferred against true rates, all entries pooled.

    One minus the summed squared error over the summed squared distance of the truth from its channel's mean, so that
    differences between the channels' mean rates earn nothing.

    Args:
        rates: trials x bins x channels, any unit.
        truth: same shape and unit.

    Returns:
        R², 1 for a perfect match, negative when worse than constant rates; NaN when the truth never changes.

    Raises:
        ValueError: shapes differ or there are no entries.
    """
    error = total = 0.0
    for rate, true in _channels(rates, truth, "truth"):
        error += np.sum((rate - true) ** 2)
        total += _spread(true)
    return float(1.0 - error / total) if total > 0 else float("nan")


def r2_per_channel_mean(rates: np.ndarray, truth: np.ndarray) -> float:
    """R² of each channel, averaged over the channels whose truth changes. Arguments and errors as r2_truth.

    NaN when no channel's truth changes.
    """
    scores = channel_r2(rates, truth)
    changing = scores[~np.isnan(scores)]
    return float(np.mean(changing)) if len(changing) else float("nan")


def channel_r2(rates: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """R² of each channel; NaN where its truth never changes. Arguments and errors as r2_truth."""
    scores = []
    for rate, true in _channels(rates, truth, "truth"):
        total = _spread(true)
        scores.append(1.0 - np.sum((rate - true) ** 2) / total if total > 0 else np.nan)
    return np.array(scores)


def mean_channel_correlation(rates: np.ndarray, truth: np.ndarray) -> float:
    """Pearson correlation of each channel over all trials and bins, averaged over channels.

    Channels that are constant in either array have no correlation and are left out, and so are entries where the truth
    is NaN. Arguments and errors as r2_truth; NaN when no channel is left.
    """
    scores = []
    for rate, true in _channels(rates, truth, "truth"):
        rate, true = rate[~np.isnan(true)], true[~np.isnan(true)]
        scale = np.sqrt(_spread(rate) * _spread(true))
        if scale > 0:
            scores.append(np.sum((rate - rate.mean()) * (true - true.mean())) / scale)
    return float(np.mean(scores)) if scores else float("nan")


def bits_per_spike(rates: np.ndarray, spikes: np.ndarray) -> float:
    """Poisson log-likelihood of the spikes above that of constant rates, in bits a spike.

    The constant rates are each channel's mean count over the spikes given. As the Neural Latents Benchmark (Pei et
    al. 2021) defines co-smoothing; on channels that the model was fitted to it measures the fit, not prediction.

    Args:
        rates: trials x bins x channels, expected spikes a bin. Zeros count as 1e-9; the array is not changed.
        spikes: same shape, counts a bin; NaN entries are left out.

    Returns:
        Bits a spike, 0 for constant rates; NaN when there is no spike.

    Raises:
        ValueError: shapes differ, there are no entries, or a rate is negative or NaN.
    """
    gain = count = 0.0
    for channel, (rate, spike) in enumerate(_channels(rates, spikes, "spikes")):
        if not np.all(rate >= 0):
            raise ValueError(
                f"rates must be zero or positive numbers, got {np.sum(~(rate >= 0))} negative or NaN entries in "
                f"channel {channel}; give expected spikes a bin, not log-rates"
            )
        seen = ~np.isnan(spike)
        if not seen.any():
            continue
        # The log-factorials are the same in both likelihoods and cancel.
        gain += _log_likelihood(rate[seen], spike[seen]) - _log_likelihood(spike[seen].mean(), spike[seen])
        count += spike[seen].sum()
    return float(gain / count / np.log(2)) if count > 0 else float("nan")


def _spread(values: np.ndarray) -> float:
    """Summed squared distance from the mean; exactly 0 for constant values, where the mean's rounding would show."""
    return float(np.sum((values - values.mean()) ** 2)) if values.size and np.ptp(values) > 0 else 0.0


def _log_likelihood(rate: np.ndarray | float, spike: np.ndarray) -> float:
    """Poisson log-likelihood summed over entries, without the log-factorials."""
    rate = np.where(rate == 0, SMALLEST_RATE, rate)
    return float(np.sum(spike * np.log(rate) - rate))


def _channels(rates: np.ndarray, other: np.ndarray, name: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Each channel of both arrays as float64 vectors."""
    rates, other = np.asarray(rates), np.asarray(other)
    if rates.shape != other.shape or rates.ndim != 3 or rates.size == 0:
        raise ValueError(
            f"rates and {name} must have the same shape, trials x bins x channels with at least one entry, got "
            f"{rates.shape} and {other.shape}"
        )
    for channel in range(rates.shape[2]):
        yield rates[:, :, channel].astype(np.float64).ravel(), other[:, :, channel].astype(np.float64).ravel()
