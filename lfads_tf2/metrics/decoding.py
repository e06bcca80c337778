"""How well behaviour can be read, bin by bin, from inferred rates and from smoothed spikes of the same trials.

Ridge regression from all channels in a bin and the two bins before it, fitted on training trials and scored on
validation trials. Both sides get the same bins, predictors of the same kind and the same choice of penalties; the
smoothing also gets the best of many widths. All that is chosen is chosen for each dimension of the behaviour by
cross-validation on training trials, whole trials held out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from lfads_tf2.metrics.baselines import smoothed, widths_for
from lfads_tf2.metrics.held_out import channel_means
from lfads_tf2.metrics.rates import channel_r2
from lfads_tf2.metrics.ridge import Moments, RidgePath

LAGS = 3  # bins that are read: the current one and those before it
FOLDS = 5
# Each times the number of rows; predictors have standard deviation 1.
PENALTIES = np.logspace(-5, 1, 13)
# Widths in bins. Twice as many gained 0.008 at most in reaching; bins may be as short as 1 ms.
OCTAVES = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
# As many as a session is given a few seconds for.
MOST_ROWS, MOST_CHANNELS = 6_000, 150

MOST_NAMED = 6  # dimensions that are told apart in one line


class Half(NamedTuple):
    """Training or validation trials: N trials in one order."""

    rates: np.ndarray  # N x T x D, any unit; NaN: not inferred
    spikes: np.ndarray  # N x bins x channels that inference read, from the trials' first bin; NaN: not observed
    behavior: np.ndarray  # N x T x K; NaN: not known


class Predicted(NamedTuple):
    """Behaviour of the validation trials from one kind of predictors."""

    values: np.ndarray  # n x T x K; NaN where a bin lacks the bins before it
    r2: np.ndarray  # K, on all bins with known behaviour; NaN: behaviour that is constant or not known
    widths: np.ndarray | None = None  # K, standard deviation of the smoothing in bins


class Decoding(NamedTuple):
    """K dimensions of behaviour in n validation trials."""

    from_rates: Predicted
    from_smoothed: Predicted
    names: list[str]  # K
    behavior: np.ndarray  # n x T x K; NaN: not known
    trials: np.ndarray  # n, their numbers in the validation half
    known: tuple[int, int]  # training and validation trials with known behaviour
    used: tuple[int, int]  # of these

    def __str__(self) -> str:
        r2 = np.array([self.from_rates.r2, self.from_smoothed.r2])
        shown = ~np.isnan(r2).all(axis=0)
        what = f"R² of {', '.join(name for name, one in zip(self.names, shown, strict=True) if one)}"
        if shown.sum() > MOST_NAMED:
            what, r2, shown = f"mean R² of {shown.sum()} dimensions", np.nanmean(r2, axis=1)[:, None], np.s_[:]
        rates, simple = (", ".join(f"{value:.3f}" for value in one[shown]) for one in r2)
        return f"Behaviour decoded, {what}: from inferred rates {rates}; from the smoothed recording {simple}."


def decode(train: Half, valid: Half, first_bin: int = 0, names: Sequence[str] = ()) -> Decoding | None:
    """Decodes the behaviour of validation trials; trials and bins at the end that one array lacks are left out.

    At most MOST_ROWS bins of each half are used, in trials that are spread over it evenly, and of more channels than
    MOST_CHANNELS these many principal components.

    Args:
        train, valid: the halves.
        first_bin: bin of the spikes where rates and behaviour start.
        names: of the behaviour's dimensions; empty: numbers from 0.

    Returns:
        None: no dimension of the behaviour is known in two training trials and a validation trial, and changes there.

    Raises:
        ValueError: an array has not three axes, or the halves differ in channels or dimensions.
    """
    for name in Half._fields:
        shapes = [np.shape(getattr(half, name)) for half in (train, valid)]
        if len(shapes[0]) != 3 or len(shapes[1]) != 3 or shapes[0][2] != shapes[1][2]:
            raise ValueError(
                f"{name} must be trials x bins x columns with the same columns in both halves, got train {shapes[0]} "
                f"and valid {shapes[1]}; give one session's arrays"
            )
    bins = min(n for half in (train, valid) for n in _common_bins(half, first_bin))
    if bins < 1 or not train.behavior.shape[2]:
        return None
    lags = min(LAGS, bins)
    (train, _, train_known), (valid, trials, valid_known) = (_used(half, bins, lags) for half in (train, valid))
    if len(train.rates) < 2 or not len(valid.rates):
        return None
    from_rates = _best(((np.nan, train.rates, valid.rates),), train, valid, lags)
    from_smoothed = _best(_smoothings(train, valid, first_bin, bins), train, valid, lags)
    if np.isnan(from_rates.r2).all():
        return None
    used = len(train.rates), len(valid.rates)
    names = [*names] or [str(number) for number in range(train.behavior.shape[2])]
    known = train_known, valid_known
    return Decoding(from_rates._replace(widths=None), from_smoothed, names, valid.behavior, trials, known, used)


def _common_bins(half: Half, first_bin: int) -> tuple[int, int, int]:
    return half.rates.shape[1], half.behavior.shape[1], half.spikes.shape[1] - first_bin


def _float(values: np.ndarray) -> np.ndarray:
    """As float64, with NaN for what is no finite number."""
    values = np.asarray(values, np.float64)
    return np.where(np.isfinite(values), values, np.nan)


def _used(half: Half, bins: int, lags: int) -> tuple[Half, np.ndarray, int]:
    """The trials that are used, which these are, and how many have behaviour."""
    count = min(map(len, half))
    rates, behavior = half.rates[:count, :bins], half.behavior[:count, :bins]
    finite = np.isfinite(rates).all(axis=2)
    inferred = np.all([finite[:, lag : lag + bins - lags + 1] for lag in range(lags)], axis=0)
    known = np.flatnonzero((inferred[:, :, None] & np.isfinite(behavior[:, lags - 1 :])).any(axis=(1, 2)))
    most = max(FOLDS, MOST_ROWS // (bins - lags + 1))
    chosen = known[np.unique(np.linspace(0, len(known) - 1, min(most, len(known))).round().astype(int))]
    return Half(_float(rates[chosen]), half.spikes[:count][chosen], _float(behavior[chosen])), chosen, len(known)


def _smoothings(
    train: Half, valid: Half, first_bin: int, bins: int
) -> Iterator[tuple[float, np.ndarray, np.ndarray]]:  # fmt: skip
    """Each width with both halves' smoothed spikes."""
    means, part = channel_means(train.spikes), np.s_[:, first_bin : first_bin + bins]
    halves = [np.where(np.isnan(spikes), means, spikes) for spikes in (train.spikes, valid.spikes)]
    for width in widths_for(train.spikes.shape[1], OCTAVES):
        yield width, *(smoothed(spikes, width)[part] for spikes in halves)


def _best(candidates: Iterable[tuple], train: Half, valid: Half, lags: int) -> Predicted:
    """Of some predictors of the same behaviour those that cross-validation likes best, a choice for each dimension.

    Args:
        candidates: widths, and trials x bins x channels of both halves.
    """
    trials, bins, dimensions = valid.behavior.shape
    target, truth = (half.behavior[:, lags - 1 :].reshape(-1, dimensions) for half in (train, valid))
    # Both kinds of predictors are used in the same bins.
    inferred = [np.isfinite(_lagged(half.rates, lags)).all(axis=1) for half in (train, valid)]
    # In an order of its own, since trials may be sorted by condition or repeat conditions in turn.
    order = np.random.default_rng(0).permutation(len(train.behavior)) % min(FOLDS, len(train.behavior))
    folds = np.repeat(order, bins - lags + 1)
    predicted, least, widths = np.full(truth.shape, np.nan), np.full(dimensions, np.inf), np.full(dimensions, np.nan)
    for width, *halves in candidates:
        x, x_valid = _predictors(*halves, lags, *inferred)
        for columns in _known_alike(target):
            rows = inferred[0] & ~np.isnan(target[:, columns[0]])
            losses, found = _cross_validated(x[rows], target[rows][:, columns], folds[rows], x_valid)
            better = losses < least[columns]
            chosen = columns[better]
            predicted[:, chosen] = np.where(inferred[1][:, None], found[:, better], np.nan)
            least[chosen], widths[chosen] = losses[better], width
    values = np.full(valid.behavior.shape, np.nan)
    values[:, lags - 1 :] = predicted.reshape(trials, -1, dimensions)
    return Predicted(values, _scores(predicted, truth), widths)


def _scores(predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """R² of each dimension on the rows where both are known; rows x K."""
    scores = np.full(truth.shape[1], np.nan)
    for column, (guess, true) in enumerate(zip(predicted.T, truth.T, strict=True)):
        seen = np.isfinite(guess) & np.isfinite(true)
        if seen.any():
            scores[column] = channel_r2(guess[seen][None, :, None], true[seen][None, :, None])[0]
    return scores


def _known_alike(target: np.ndarray) -> list[np.ndarray]:
    """Columns of rows x K that are known in the same rows, so that one decomposition serves them."""
    masks, group = np.unique(~np.isnan(target), axis=1, return_inverse=True)
    return [np.flatnonzero(group.ravel() == number) for number in range(masks.shape[1])]


def _lagged(values: np.ndarray, lags: int) -> np.ndarray:
    """Trials x bins x channels to rows x (lags · channels): each bin from the ``lags``-th on with those before it."""
    bins = values.shape[1] - lags + 1
    return np.concatenate([values[:, lag : lag + bins] for lag in range(lags)], axis=2).reshape(len(values) * bins, -1)


def _predictors(
    train: np.ndarray, valid: np.ndarray, lags: int, inferred: np.ndarray, valid_inferred: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Rows of both halves with mean 0 and standard deviation 1 in training, 0 where nothing was inferred."""
    if train.shape[2] > MOST_CHANNELS:
        train, valid = _components(train, valid)
    x, x_valid = _lagged(train, lags), _lagged(valid, lags)
    mean, scale = _mean_and_scale(x[inferred])
    for rows, there in ((x, inferred), (x_valid, valid_inferred)):
        rows -= mean
        rows /= scale
        rows[~there] = 0.0
    return x, x_valid


def _mean_and_scale(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each column the mean, and the standard deviation to divide it by."""
    mean, spread = rows.mean(axis=0), rows.std(axis=0)
    # A column that never changes has no weight, whatever rounding leaves of it.
    return mean, np.where(spread > 1e-9 * np.abs(mean), spread, np.inf)


def _components(train: np.ndarray, valid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first MOST_CHANNELS principal components of the training trials' channels, each divided by its spread."""
    flat = train.reshape(-1, train.shape[2])
    flat = flat[np.isfinite(flat).all(axis=1)]
    mean, scale = _mean_and_scale(flat)
    squares = (flat.T @ flat - len(flat) * np.outer(mean, mean)) / np.outer(scale, scale)
    vectors = np.linalg.eigh(squares)[1][:, -MOST_CHANNELS:] / scale[:, None]
    return (train - mean) @ vectors, (valid - mean) @ vectors


def _cross_validated(
    x: np.ndarray, y: np.ndarray, folds: np.ndarray, x_valid: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Each output's summed squared error on held-out folds and its prediction, both at the penalty of the least error.

    Args:
        x, y: rows x predictors and rows x outputs.
        folds: of the rows.
        x_valid: rows to predict.

    Returns:
        outputs, and rows x outputs; NaN for an output that is constant, and where all rows are of one fold.
    """
    numbers, changes = np.unique(folds), np.zeros(y.shape[1], bool) if len(y) == 0 else np.ptp(y, axis=0) > 0
    losses = np.full((len(PENALTIES), y.shape[1]), np.nan)
    if len(numbers) < 2 or not changes.any():
        return losses[0], np.full((len(x_valid), y.shape[1]), np.nan)
    losses[:, changes] = 0.0
    # Sums of the folds spare most of the products of wide predictors.
    middle = y.mean(axis=0)
    sums = [Moments.of(x[folds == number], y[folds == number] - middle) for number in numbers]
    whole = Moments(*(sum(parts) for parts in zip(*sums, strict=True)))
    for number, own in zip(numbers, sums, strict=True):
        path, held = RidgePath.of_moments(whole.without(own)), folds == number
        count = len(x) - held.sum()
        weights = np.stack([path.weights(share * count) for share in PENALTIES], axis=1)
        predicted = np.tensordot(x[held] - path.x_mean, weights, 1) + path.y_mean + middle
        losses += np.sum((predicted - y[held][:, None]) ** 2, axis=0)
    best, path = np.argmin(losses, axis=0), RidgePath.of_moments(whole)
    weights = np.stack([path.weights(PENALTIES[n] * len(x))[:, k] for k, n in enumerate(best)], axis=1)
    predicted = (x_valid - path.x_mean) @ weights + path.y_mean + middle
    return losses.min(axis=0), np.where(changes, predicted, np.nan)
