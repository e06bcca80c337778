"""The metrics of the Neural Latents Benchmark (Pei et al. 2021), with its definitions.

Rates are expected spikes a bin, arrays trials x bins x neurons. Bits a spike are ``metrics.bits_per_spike``: co-bps on
held-out neurons in the encoded bins, fp-bps on all neurons in the bins after them.
"""

from __future__ import annotations

import numpy as np

from lfads_tf2.metrics.rates import bits_per_spike, channel_r2
from lfads_tf2.metrics.ridge import RidgePath

ALPHAS = np.logspace(-4, 0, 9)
FOLDS = 5


def co_bps(rates: np.ndarray, spikes: np.ndarray, encoded_channels: int, encoded_bins: int) -> float:
    """Bits a spike on the neurons that the encoders did not read, in the bins that they did.

    Args:
        rates, spikes: trials x bins x channels, encoded channels and bins first; see ``metrics.bits_per_spike``.
        encoded_channels, encoded_bins: how many the encoders read.
    """
    return bits_per_spike(rates[:, :encoded_bins, encoded_channels:], spikes[:, :encoded_bins, encoded_channels:])


def fp_bps(rates: np.ndarray, spikes: np.ndarray, encoded_bins: int) -> float:
    """Bits a spike of all neurons in the bins after those that the encoders read. Arguments as ``co_bps``."""
    return bits_per_spike(rates[:, encoded_bins:], spikes[:, encoded_bins:])


def r2_mean(truth: np.ndarray, predicted: np.ndarray) -> float:
    """R² of each column, averaged; a column that never changes counts 1 when it is met exactly and else 0.

    Args:
        truth, predicted: samples x columns.
    """
    scores = channel_r2(predicted[None], truth[None])
    met = np.all(truth == predicted, axis=0)
    return float(np.mean(np.where(np.isnan(scores), met, scores)))


def ridge_r2(train_x: np.ndarray, train_y: np.ndarray, eval_x: np.ndarray, eval_y: np.ndarray) -> float:
    """R² on the evaluation samples of ridge regression fitted to the training samples.

    The penalty, one of nine from 1e-4 to 1, is the best in 5-fold cross-validation over consecutive folds. Samples
    whose first output is NaN are left out.

    Args:
        train_x, eval_x: samples x inputs.
        train_y, eval_y: samples x outputs.

    Raises:
        ValueError: fewer than five training samples or NaN among the inputs that are used.
    """
    known = (~np.isnan(train_y[:, 0]), ~np.isnan(eval_y[:, 0]))
    train_x, train_y, eval_x, eval_y = (
        np.asarray(a[k], np.float64)
        for a, k in ((train_x, known[0]), (train_y, known[0]), (eval_x, known[1]), (eval_y, known[1]))
    )
    if len(train_x) < FOLDS or not len(eval_x):
        raise ValueError(
            f"decoding needs at least {FOLDS} training samples and 1 for evaluation with known behaviour, got "
            f"{len(train_x)} and {len(eval_x)}; give more trials"
        )
    if np.isnan(train_x).any() or np.isnan(eval_x).any():
        raise ValueError("rates must not be NaN where the behaviour is known; infer rates for these bins")
    scores = np.zeros(len(ALPHAS))
    for fold in np.array_split(np.arange(len(train_x)), FOLDS):
        left = np.ones(len(train_x), bool)
        left[fold] = False
        fit = RidgePath(train_x[left], train_y[left])
        scores += [r2_mean(train_y[fold], fit.predict(train_x[fold], alpha)) for alpha in ALPHAS]
    best = ALPHAS[int(np.argmax(scores))]
    return r2_mean(eval_y, RidgePath(train_x, train_y).predict(eval_x, best))


def velocity_r2(
    train_rates: np.ndarray,
    train_velocity: np.ndarray,
    eval_rates: np.ndarray,
    eval_velocity: np.ndarray,
    train_masks: np.ndarray | None = None,
    eval_masks: np.ndarray | None = None,
) -> float:
    """How well a linear decoder reads velocity (or any behaviour) from the rates of all neurons.

    Args:
        train_rates, eval_rates: trials x bins x neurons.
        train_velocity, eval_velocity: trials x bins x outputs, NaN where not known.
        train_masks, eval_masks: trials x decoders booleans, the trials of each decoder; None: one for all trials. The
            R² of the decoders are averaged.

    Raises:
        ValueError: see ``ridge_r2``.
    """
    train_masks = np.ones((len(train_rates), 1), bool) if train_masks is None else np.asarray(train_masks, bool)
    eval_masks = np.ones((len(eval_rates), 1), bool) if eval_masks is None else np.asarray(eval_masks, bool)

    def flat(array, mask):
        return array[mask].reshape(-1, array.shape[2])

    return float(np.mean([
        ridge_r2(flat(train_rates, t), flat(train_velocity, t), flat(eval_rates, e), flat(eval_velocity, e))
        for t, e in zip(train_masks.T, eval_masks.T, strict=True)
    ]))  # fmt: skip


def delayed(rates: np.ndarray, bins: int) -> np.ndarray:
    """One trial's rates, bins x neurons, later by so many bins (earlier if negative), NaN where they run out."""
    moved = np.full(rates.shape, np.nan)
    end = len(rates)
    moved[max(bins, 0) : end + min(bins, 0)] = rates[max(-bins, 0) : end - max(bins, 0)]
    return moved


def psth_r2(
    psth: np.ndarray, rates: np.ndarray, trials_of: list[np.ndarray], jitter: np.ndarray | None = None
) -> float:
    """R² of condition-averaged rates against the true averages, all conditions one after the other, mean over neurons.

    Args:
        psth: conditions x bins x neurons, spikes a bin; bins whose first neuron is NaN are left out.
        rates: trials x bins x neurons.
        trials_of: numbers of each condition's trials; a condition without any is left out.
        jitter: whole bins by which each trial was moved, to be undone; None: none.

    Raises:
        ValueError: no condition has trials, or an average is NaN in a bin that is compared.
    """
    true, predicted = [], []
    for average, trials in zip(psth, trials_of, strict=True):
        if not len(trials):
            continue
        moved = [rates[n] if jitter is None else delayed(rates[n], int(jitter[n])) for n in trials]
        known = ~np.isnan(average[:, 0])
        true.append(average[known])
        predicted.append(np.mean(moved, axis=0)[known])
    if not true:
        raise ValueError("psth_r2 needs trials in at least one condition, got none; give the conditions of the trials")
    if np.isnan(np.concatenate(predicted)).any():
        raise ValueError("averaged rates must not be NaN where the PSTH is known; infer rates for these bins")
    return r2_mean(np.concatenate(true), np.concatenate(predicted))


def tp_correlation(rates: np.ndarray, period: np.ndarray, conditions: np.ndarray, produced_time: np.ndarray) -> float:
    """Correlation of neural speed with the produced time ("tp corr"), within conditions, averaged over them.

    Args:
        rates: trials x bins x neurons.
        period: trials x bins booleans, the bins between "set" and "go".
        conditions: trials x labels; trials with only NaN are left out.
        produced_time: of each trial.

    Raises:
        ValueError: a condition has fewer than two trials.
    """
    speeds = np.array([
        np.mean(np.linalg.norm(np.diff(trial[inside], axis=0), axis=1))
        for trial, inside in zip(rates, np.asarray(period, bool), strict=True)
    ])  # fmt: skip
    found = []
    for condition in np.unique(conditions, axis=0):
        if np.all(np.isnan(condition)):
            continue
        members = np.all(conditions == condition, axis=1)
        if members.sum() < 2:
            raise ValueError(f"a correlation needs two trials of each condition, got {members.sum()} of {condition}")
        found.append(np.corrcoef(speeds[members], produced_time[members])[0, 1])
    return float(np.mean(found))
