"""Which windows are for training and which for validation."""

from __future__ import annotations

import numpy as np

from lfads_tf2.recordings.recording import RecordingError

KINDS = ("auto", "stratified", "blocks", "every", "column")
TRAIN, VALID, NEITHER = 0, 1, 2
WORDS = {
    "train": TRAIN,
    "training": TRAIN,
    "val": VALID,
    "valid": VALID,
    "validation": VALID,
    "test": VALID,
    "eval": VALID,
}
BLOCKS = 5


def halves(
    kind: str, starts: np.ndarray, stops: np.ndarray, share: float, seed: int,
    conditions: np.ndarray | None = None, column: np.ndarray | None = None,
) -> np.ndarray:  # fmt: skip
    """TRAIN, VALID or NEITHER of each window.

    Args:
        kind: ``column`` as a column says; ``blocks``: contiguous blocks, between which windows that share bins with
            the other half are left out; ``stratified``: as many of each condition, drawn; ``every``: every n-th.
        starts, stops: of the windows, in seconds; in order of their starts. NaN: not known, they share nothing.
        share: for validation.
        seed: of draws.
        conditions: of each window, for ``stratified``.
        column: words of each window, for ``column``.

    Raises:
        RecordingError: what a kind needs is missing, or no window is left for a half.
    """
    number = len(starts)
    if kind == "column":
        found = np.array([WORDS.get(str(word).strip().lower(), NEITHER) for word in column])
    elif kind == "blocks":
        found = _blocks(starts, stops, share)
    elif kind == "stratified":
        if conditions is None:
            raise RecordingError("--halves stratified needs --condition, the column that holds conditions")
        random, found = np.random.default_rng(seed), np.full(number, TRAIN)
        for condition in np.unique(conditions):
            members = np.flatnonzero(conditions == condition)
            # At least one for validation where there are two.
            take = min(max(round(share * len(members)), 1), len(members) - 1)
            found[random.permutation(members)[:take]] = VALID
    else:
        step = max(2, round(1 / share))
        found = np.where(np.arange(number) % step == step - 1, VALID, TRAIN)
        if 1 < number < step:
            found[-1] = VALID
    for half, name in ((TRAIN, "training"), (VALID, "validation")):
        if not (found == half).any():
            raise RecordingError(
                f"no window is left for {name} ({number} in all); choose other --halves or more trials"
            )
    return found


def overlapping(starts: np.ndarray, stops: np.ndarray) -> bool:
    """Whether any window begins before all before it have ended; in order of their starts."""
    return bool((starts[1:] < np.maximum.accumulate(stops)[:-1]).any())


def sharing(starts: np.ndarray, stops: np.ndarray, which: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Numbers of the windows of ``which`` that overlap with any of ``others``; in order of their starts."""
    which = np.flatnonzero(which)
    # Of the others that begin before a window stops, the one that ends last.
    before = np.searchsorted(starts[others], stops[which])
    latest = np.concatenate([[-np.inf], np.maximum.accumulate(stops[others])])[before]
    return which[latest > starts[which]]


def _blocks(starts: np.ndarray, stops: np.ndarray, share: float) -> np.ndarray:
    number = len(starts)
    blocks = max(1, min(BLOCKS, int(number * share)))
    found = np.full(number, TRAIN)
    for block in np.array_split(np.arange(number), blocks):
        take = max(1, round(share * len(block)))
        middle = (len(block) - take) // 2
        found[block[middle : middle + take]] = VALID
    found[sharing(starts, stops, found == TRAIN, found == VALID)] = NEITHER
    return found
