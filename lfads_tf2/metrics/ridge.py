"""Ridge regression: all penalties from one decomposition, and the penalty that cross-validation chooses."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

LAMBDAS = np.logspace(-5, 2, 15)
FOLDS = 10


class Moments(NamedTuple):
    """Sums over samples, which are all that least squares needs; n inputs, k outputs."""

    count: int
    x: np.ndarray  # n
    y: np.ndarray  # k
    xx: np.ndarray  # n x n
    xy: np.ndarray  # n x k

    @classmethod
    def of(cls, x: np.ndarray, y: np.ndarray) -> Moments:
        """Of samples x n and samples x k, which should have means near 0: sums of squares hide small spreads."""
        return cls(len(x), x.sum(axis=0), y.sum(axis=0), x.T @ x, x.T @ y)

    def without(self, other: Moments) -> Moments:
        """Of the samples that are not among the other ones."""
        return Moments(*(mine - its for mine, its in zip(self, other, strict=True)))


class RidgePath:
    """Least squares with an intercept and a penalty ‖w‖² on the weights, for any number of penalties.

    Args:
        x: samples x inputs.
        y: samples x outputs.
    """

    def __init__(self, x: np.ndarray, y: np.ndarray):
        self.x_mean, self.y_mean = x.mean(axis=0), y.mean(axis=0)
        # Centring spares the intercept.
        centred = x - self.x_mean
        self._decompose(centred.T @ centred, centred.T @ (y - self.y_mean))

    @classmethod
    def of_moments(cls, moments: Moments) -> RidgePath:
        """The same from sums over the samples."""
        path = cls.__new__(cls)
        path.x_mean, path.y_mean = moments.x / moments.count, moments.y / moments.count
        path._decompose(
            moments.xx - np.outer(path.x_mean, moments.x), moments.xy - np.outer(path.x_mean, moments.y)
        )  # fmt: skip
        return path

    def _decompose(self, squares: np.ndarray, products: np.ndarray) -> None:
        self.values, self.vectors = np.linalg.eigh(squares)
        self.rotated = self.vectors.T @ products

    def weights(self, penalty: float) -> np.ndarray:
        """inputs x outputs at this penalty, above 0."""
        # Rounding makes the smallest eigenvalues negative.
        return self.vectors @ (self.rotated / (np.maximum(self.values, 0.0) + penalty)[:, None])

    def predict(self, x: np.ndarray, penalty: float) -> np.ndarray:
        """samples x outputs at this penalty."""
        return (x - self.x_mean) @ self.weights(penalty) + self.y_mean


class Ridge(NamedTuple):
    """A fitted ridge regression; N predictors, K targets."""

    weights: np.ndarray  # N x K, without the intercept
    penalty: float  # of predictors that were divided by ``scale``
    scale: np.ndarray  # N or one number: what the predictors were divided by
    losses: np.ndarray  # mean squared error on held-out rows, one a penalty of LAMBDAS


def ridge_cv(targets: np.ndarray, predictors: np.ndarray, cv: str = "standard", normalize_each: bool = False) -> Ridge:
    """Ridge regression on the penalty, of fifteen from 1e-5 to 100, that predicts held-out rows best.

    The penalty is not scaled with the number of rows and spares the intercept. Ties go to the smaller penalty.

    Args:
        targets: T x K. predictors: T x N. Rows with NaN in either are left out.
        cv: ``standard`` holds out ten runs of neighbouring rows in turn; ``compatible`` fits on every tenth row and
            scores on the other nine tenths, the reverse of cross-validation, as the MATLAB run manager did.
        normalize_each: divide each predictor by its own standard deviation, not all by that of all entries.

    Raises:
        ValueError: an unknown ``cv``, or fewer than two usable rows.
    """
    if cv not in ("standard", "compatible"):
        raise ValueError(f"cv must be standard or compatible, got {cv!r}")
    scale = np.nanstd(predictors, axis=0 if normalize_each else None, ddof=1)
    # A silent channel has no spread; it gets weight 0 either way.
    scale = np.where(scale > 0, scale, 1.0)
    scaled = predictors / scale
    usable = np.isfinite(scaled).all(axis=1) & np.isfinite(targets).all(axis=1)
    x, y = scaled[usable], targets[usable]
    if len(x) < 2:
        raise ValueError(f"ridge regression needs at least two rows without NaN, got {len(x)} of {len(usable)}")
    losses = np.mean([_losses(x, y, train) for train in _training_rows(len(x), cv)], axis=0)
    best = int(np.argmin(losses))
    weights = RidgePath(x, y).weights(LAMBDAS[best])
    return Ridge(weights / np.reshape(scale, (-1, 1)), float(LAMBDAS[best]), scale, losses)


def _training_rows(rows: int, cv: str) -> list[np.ndarray]:
    """Which rows each fold is fitted on, as masks."""
    folds = min(FOLDS, rows)
    if cv == "compatible":
        return [np.arange(1, rows + 1) % folds == fold % folds for fold in range(1, folds + 1)]
    # Neighbouring bins resemble each other, so that held-out rows must lie together.
    sizes = np.full(folds, rows // folds) + (np.arange(folds) < rows % folds)
    fold_of_row = np.repeat(np.arange(folds), sizes)
    return [fold_of_row != fold for fold in range(folds)]


def _losses(x: np.ndarray, y: np.ndarray, train: np.ndarray) -> np.ndarray:
    path = RidgePath(x[train], y[train])
    return np.array([np.mean((path.predict(x[~train], penalty) - y[~train]) ** 2) for penalty in LAMBDAS])
