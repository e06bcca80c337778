"""Which trials make up each batch. Pure functions of sizes and seeds, so that a resumed run needs no stored state."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

# Keeps these draws apart from everything else that is seeded with the same number.
_TAG = 0x0BA7C4E5


def epoch_batches(num_trials: Sequence[int], batch_size: int, seed: int, epoch: int) -> tuple[np.ndarray, np.ndarray]:
    """The batches of one training epoch, in random order; every trial occurs, and none twice in one batch.

    ``num_trials``: training trials of each session, each at least 1. All batches have b trials, b the smaller of
    ``batch_size`` and the smallest session. A session's last batch is filled with random other trials of it.
    ``seed`` and ``epoch`` are at least 0 and alone decide the order.
    Returns the session of each batch, n_batches int32, and its trials, n_batches x b int32.
    Raises ``ValueError`` for sizes below 1 or a negative seed or epoch.
    """
    _check_sizes(num_trials, batch_size, least=1)
    if seed < 0 or epoch < 0:
        raise ValueError(f"seed and epoch must be at least 0, got seed={seed}, epoch={epoch}; pick a seed first")
    random = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, epoch, _TAG])))
    size = min(batch_size, *num_trials)
    rows = [_random_rows(number, size, random) for number in num_trials]
    session = np.repeat(np.arange(len(rows), dtype=np.int32), [len(r) for r in rows])
    order = random.permutation(len(session))
    return session[order], np.concatenate(rows).astype(np.int32)[order]


def steps_an_epoch(num_trials: Sequence[int], batch_size: int) -> int:
    """How many batches ``epoch_batches`` makes."""
    size = min([batch_size, *num_trials])
    return sum(-(-number // size) for number in num_trials)


def _random_rows(number: int, size: int, random: np.random.Generator) -> np.ndarray:
    trials = random.permutation(number)
    left = number % size
    if left:
        # Filling only from trials outside the unfinished row keeps every trial at most once in it.
        trials = np.concatenate([trials, random.choice(trials[:-left], size - left, replace=False)])
    return trials.reshape(-1, size)


def validation_batches(num_trials: Sequence[int], batch_size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Batches that hold every trial exactly once, in order; gaps are filled with trial 0 at weight 0.

    ``num_trials``: trials of each session, 0 for a session without any. All batches have b trials: ``batch_size``,
    or less where that spreads the largest session evenly over as many batches.
    Returns the session of each batch, n_batches int32, its trials, n_batches x b int32, and their weights,
    n_batches x b float32, 1 or 0. Raises ``ValueError`` for negative sizes or a batch size below 1.
    """
    _check_sizes(num_trials, batch_size, least=0)
    most = max(num_trials)
    size = max(1, -(-most // max(1, -(-most // batch_size))))
    rows = [-(-number // size) for number in num_trials]
    session = np.repeat(np.arange(len(rows), dtype=np.int32), rows)
    trial = np.concatenate([np.arange(r * size, dtype=np.int32) for r in rows]).reshape(-1, size)
    weight = (trial < np.asarray(num_trials)[session][:, None]).astype(np.float32)
    return session, np.where(weight > 0, trial, 0).astype(np.int32), weight


def _check_sizes(num_trials: Sequence[int], batch_size: int, least: int) -> None:
    if not len(num_trials) or min(num_trials) < least:
        raise ValueError(f"num_trials needs at least {least} for each of one or more sessions, got {list(num_trials)}")
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
