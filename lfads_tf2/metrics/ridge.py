"""Ridge regression whose penalty is chosen by cross-validation."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

LAMBDAS = np.logspace(-5, 2, 15)
FOLDS = 10


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
    weights = _paths(x, y, LAMBDAS[[best]])[0][0]
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
    weights, intercepts = _paths(x[train], y[train], LAMBDAS)
    return np.array([
        np.mean((x[~train] @ w + b - y[~train]) ** 2) for w, b in zip(weights, intercepts, strict=True)
    ])  # fmt: skip


def _paths(x: np.ndarray, y: np.ndarray, penalties: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Weights and intercepts for each penalty, from one eigendecomposition; centring spares the intercept."""
    x_mean, y_mean = x.mean(axis=0), y.mean(axis=0)
    centred = x - x_mean
    values, vectors = np.linalg.eigh(centred.T @ centred)
    projected = vectors.T @ (centred.T @ (y - y_mean))
    weights = [vectors @ (projected / (np.maximum(values, 0.0) + penalty)[:, None]) for penalty in penalties]
    return weights, [y_mean - x_mean @ w for w in weights]
