"""Alignment of sessions: matrices that map each session's channels to common factors before training.

All sessions' condition averages are stacked along channels and reduced to common ("global") principal components;
each session's matrix predicts these from its own channels. The original calls this MultisessionAlignmentTool.
K conditions, T bins, C channels of a session, F factors.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from lfads_tf2.errors import LFADSError, one_of
from lfads_tf2.metrics.rates import channel_r2
from lfads_tf2.metrics.ridge import ridge_cv

APPROACHES = ("regressGlobalPCs", "ridgeRegressGlobalPCs")
READOUTS = ("transpose", "pinv")
BIASES = ("logMean", "meanCount")
# Mean count that a channel without spikes is given before the logarithm.
SMALLEST_MEAN = 1e-4


class AlignmentError(LFADSError, ValueError):
    """Sessions that cannot be aligned; the message says why and what to do."""


class Alignment(NamedTuple):
    """Matrices and biases of every session, and what tells how good they are."""

    matrices: list[np.ndarray]  # C x F: factors = (counts - bias) matrix
    biases: list[np.ndarray]  # C, mean count a bin
    readout_matrices: list[np.ndarray]  # F x C: factors to log-rates
    readout_biases: list[np.ndarray]  # C
    global_pcs: np.ndarray  # K x T x F; NaN where a session lacks the condition
    reconstructions: list[np.ndarray]  # K x T x F, each session's prediction of them
    penalties: list[float | None]  # ridge penalty of each session; None for least squares

    def r2(self) -> np.ndarray:
        """Share of each global component that each session reconstructs, sessions x F; NaN for padded factors."""
        scores = np.full((len(self.matrices), self.global_pcs.shape[2]), np.nan)
        for row, own in zip(scores, self.reconstructions, strict=True):
            seen = np.isfinite(own[..., 0]) & np.isfinite(self.global_pcs[..., 0])
            if seen.any():
                target, given = self.global_pcs[seen], own[seen]
                row[:] = channel_r2((given - given.mean(axis=0))[None], (target - target.mean(axis=0))[None])
        return scores


def all_conditions(condition_ids: Sequence[np.ndarray]) -> np.ndarray:
    """Every condition of any session, sorted. NaN and empty text stand for trials without a condition.

    Raises:
        AlignmentError: numbers in one session and text in another, or no condition at all.
    """
    ids = [np.asarray(values) for values in condition_ids]
    ids = [v.astype(str) if v.dtype.kind in "OSU" else v for v in ids]
    if len({v.dtype.kind == "U" for v in ids}) > 1:
        raise AlignmentError(
            "condition_id must be numbers in all sessions or text in all, got both; convert one of them"
        )
    found = np.unique(np.concatenate([values[has_condition(values)] for values in ids]))
    if not len(found):
        raise AlignmentError("condition_id: no trial has a condition; alignment needs trials of the same conditions")
    return found


def has_condition(ids: np.ndarray) -> np.ndarray:
    """Which trials have a condition (neither NaN nor empty text)."""
    return ids != "" if ids.dtype.kind == "U" else np.isfinite(ids.astype(float))


def condition_averages(blocks: Iterable[np.ndarray], ids: np.ndarray, conditions: np.ndarray) -> np.ndarray:
    """Trial averages K x T x C; NaN for conditions that the session does not have.

    Args:
        blocks: the session's trials in order, in pieces of trials x T x C, so that they need not fit into memory.
        ids: condition of each trial; NaN or empty text leaves a trial out.
        conditions: K, sorted.
    """
    ids = np.asarray(ids)
    ids = ids.astype(str) if ids.dtype.kind in "OSU" else ids
    codes = np.where(has_condition(ids) & np.isin(ids, conditions), np.searchsorted(conditions, ids), -1)
    sums, start = None, 0
    for block in blocks:
        if sums is None:
            sums = np.zeros((len(conditions), *block.shape[1:]))
        for trial, code in zip(block, codes[start : start + len(block)], strict=True):
            if code >= 0:
                sums[code] += trial
        start += len(block)
    number = np.bincount(codes[codes >= 0], minlength=len(conditions)).astype(float)
    number[number == 0] = np.nan
    return sums / number[:, None, None]


def align(
    averages: Sequence[np.ndarray],
    factors_dim: int,
    approach: str = "regressGlobalPCs",
    cv: str = "standard",
    readout: str = "transpose",
    bias: str = "logMean",
    ridgeNormalizeEach: bool = False,
) -> Alignment:
    """Alignment matrices of several sessions, or of one from its principal components.

    Args:
        averages: each session's condition averages in counts a bin, K x T x C; NaN where it lacks a condition.
        factors_dim: columns of the matrices; columns beyond the number of channels are zero.
        approach: least squares, which takes the smallest weights where several fit equally well, or ridge.
        cv: see :func:`ridge_cv`.
        readout: read-out matrix: transpose of the matrix (what the original's code did) or its pseudo-inverse (what
            its pages said). For one session they are the same.
        bias: read-out bias: log of the mean count, which is what a Poisson read-out wants, or the mean count itself
            (compatible with the original).
        ridgeNormalizeEach: see :func:`ridge_cv`.

    Raises:
        AlignmentError: an unknown choice, sessions that differ in K or T, or no condition in common.
    """
    _check(averages, factors_dim, approach, readout, bias)
    averages = [np.asarray(a, dtype=np.float64) for a in averages]
    sessions = [a.reshape(-1, a.shape[2]) for a in averages]
    means = [np.nanmean(x, axis=0) for x in sessions]
    centred = [x - m for x, m in zip(sessions, means, strict=True)]
    loadings = principal_components(centred, factors_dim)
    together = np.concatenate(centred, axis=1) @ loadings
    if len(sessions) == 1:
        matrices, penalties = [loadings], [None]
    else:
        fits = [_fit(together, x, approach, cv, ridgeNormalizeEach) for x in centred]
        matrices, penalties = [fit[0] for fit in fits], [fit[1] for fit in fits]
    shape = averages[0].shape[:2]
    reconstructions = [
        _padded(_reconstruct(x, together, w), factors_dim) for x, w in zip(centred, matrices, strict=True)
    ]
    matrices = [_padded(w, factors_dim) for w in matrices]
    return Alignment(
        matrices,
        means,
        [np.linalg.pinv(w) if readout == "pinv" else w.T.copy() for w in matrices],
        [np.log(np.maximum(m, SMALLEST_MEAN)) if bias == "logMean" else m.copy() for m in means],
        _padded(together, factors_dim).reshape(*shape, factors_dim),
        [r.reshape(*shape, factors_dim) for r in reconstructions],
        penalties,
    )


def _check(averages: Sequence[np.ndarray], factors_dim: int, approach: str, readout: str, bias: str) -> None:
    choices: list[tuple[str, Any, tuple[str, ...]]] = [
        ("approach", approach, APPROACHES), ("readout", readout, READOUTS), ("bias", bias, BIASES),
    ]  # fmt: skip
    for name, value, allowed in choices:
        if value not in allowed:
            raise AlignmentError(f"{name} must be {one_of(allowed, value)}")
    if factors_dim < 1:
        raise AlignmentError(f"factors_dim must be at least 1, got {factors_dim}")
    shapes = {np.shape(a)[:2] for a in averages}
    if not averages or len(shapes) > 1 or any(np.ndim(a) != 3 for a in averages):
        raise AlignmentError(
            "averages must be one array a session, conditions x bins x channels with the same conditions and bins, got "
            + ", ".join(str(np.shape(a)) for a in averages)
        )
    if not all(np.isfinite(a).any() for a in averages):
        raise AlignmentError("a session has no trial of any condition; give its trials conditions, or leave it out")


def principal_components(centred: Sequence[np.ndarray], most: int) -> np.ndarray:
    """Loadings of all sessions' channels together, channels x min(most, channels).

    Missing conditions: the covariance of each pair of channels comes from the rows that both have; where that is no
    valid covariance, only rows that all have are used. The largest entry of each column is positive.

    Args:
        centred: each session's rows x channels without its mean; NaN rows are missing.
    """
    seen = [np.isfinite(x).all(axis=1) for x in centred]
    covariance = _pairwise_covariance(centred, seen)
    if covariance is not None:
        values, vectors = np.linalg.eigh(covariance)
        rounding = 10 * len(values) * np.finfo(float).eps * max(values[-1], 0.0)
        if values[0] < -rounding:
            covariance = None
    if covariance is None:
        whole = np.logical_and.reduce(seen)
        if whole.sum() < 2:
            raise AlignmentError(
                "no condition has trials in every session; align sessions that share conditions, or set "
                "useAlignmentMatrix to False"
            )
        rows = np.concatenate([x[whole] for x in centred], axis=1)
        _, vectors = np.linalg.eigh(np.cov(rows, rowvar=False).reshape(rows.shape[1], -1))
    loadings = vectors[:, ::-1][:, :most]
    largest = np.take_along_axis(loadings, np.abs(loadings).argmax(axis=0)[None], axis=0)
    return loadings * np.where(largest < 0, -1.0, 1.0)


def _pairwise_covariance(centred: Sequence[np.ndarray], seen: Sequence[np.ndarray]) -> np.ndarray | None:
    """Covariance over the rows that each two sessions share; None where two share fewer than two rows."""
    edges = np.cumsum([0, *(x.shape[1] for x in centred)])
    covariance = np.empty((edges[-1], edges[-1]))
    for i, a in enumerate(centred):
        for j, b in enumerate(centred[: i + 1]):
            both = seen[i] & seen[j]
            if both.sum() < 2:
                return None
            x, y = a[both], b[both]
            block = (x - x.mean(axis=0)).T @ (y - y.mean(axis=0)) / (both.sum() - 1)
            covariance[edges[i] : edges[i + 1], edges[j] : edges[j + 1]] = block
            covariance[edges[j] : edges[j + 1], edges[i] : edges[i + 1]] = block.T
    return covariance


def _shared_rows(x: np.ndarray, target: np.ndarray) -> np.ndarray:
    return np.isfinite(x).all(axis=1) & np.isfinite(target).all(axis=1)


def _fit(target: np.ndarray, x: np.ndarray, approach: str, cv: str, normalize_each: bool):
    """A session's matrix C x F, and its ridge penalty."""
    rows = _shared_rows(x, target)
    if not rows.any():
        raise AlignmentError(
            "no condition has trials in every session; align sessions that share conditions, or set "
            "useAlignmentMatrix to False"
        )
    x, target = x[rows] - x[rows].mean(axis=0), target[rows] - target[rows].mean(axis=0)
    if approach == "regressGlobalPCs":
        return np.linalg.lstsq(x, target, rcond=None)[0], None
    fitted = ridge_cv(target, x, cv, normalize_each)
    return fitted.weights, fitted.penalty


def _reconstruct(x: np.ndarray, target: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    rows = _shared_rows(x, target)
    found = np.full(target.shape, np.nan)
    if rows.any():
        found[rows] = (x[rows] - x[rows].mean(axis=0)) @ matrix
    return found


def _padded(matrix: np.ndarray, columns: int) -> np.ndarray:
    return np.pad(matrix, ((0, 0), (0, columns - matrix.shape[1])))
