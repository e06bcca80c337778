"""Batches as properties: who is in them, how often, and that seeds alone decide."""

import numpy as np
import pytest

from lfads_tf2.data import epoch_batches, validation_batches

SIZES = [([1], 1), ([1], 5), ([7], 3), ([8], 4), ([5], 256), ([10, 7], 4), ([3, 100, 41], 16), ([260, 1040], 150)]


@pytest.mark.parametrize(("num_trials", "batch_size"), SIZES)
@pytest.mark.parametrize("epoch", [0, 1, 12])
def test_every_trial_occurs_and_none_twice_in_a_batch(num_trials, batch_size, epoch):
    session, trial = epoch_batches(num_trials, batch_size, seed=3, epoch=epoch)
    size = min(batch_size, *num_trials)
    assert session.dtype == trial.dtype == np.int32
    assert trial.shape == (sum(-(-n // size) for n in num_trials), size)
    for which, number in enumerate(num_trials):
        rows = trial[session == which]
        assert len(rows) == -(-number // size)
        assert set(rows.ravel()) == set(range(number))
        assert all(len(set(row)) == size for row in rows)
        # Only the filled-up batch repeats trials, each once.
        assert np.bincount(rows.ravel()).max() <= 2


def test_seed_and_epoch_alone_decide():
    first = epoch_batches([20, 11], 4, seed=1, epoch=5)
    np.random.default_rng(0).random(10)
    again = epoch_batches([20, 11], 4, seed=1, epoch=5)
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    for seed, epoch in ((1, 6), (2, 5), (5, 1)):
        assert not np.array_equal(first[1], epoch_batches([20, 11], 4, seed=seed, epoch=epoch)[1])


def test_order_is_pinned():
    """A resumed run must see the batches of the run it goes on with, whichever version wrote the checkpoint."""
    session, trial = epoch_batches([5, 4], 2, seed=7, epoch=3)
    assert session.tolist() == [0, 0, 0, 1, 1]
    assert trial.tolist() == [[1, 4], [0, 1], [3, 2], [3, 0], [2, 1]]


def test_sessions_are_mixed_and_trials_are_spread_evenly():
    orders = [tuple(epoch_batches([8, 8], 2, seed=0, epoch=e)[0]) for e in range(50)]
    assert len(set(orders)) > 20
    extra = np.zeros(7, int)
    for epoch in range(700):
        extra += np.bincount(epoch_batches([7], 4, seed=0, epoch=epoch)[1].ravel(), minlength=7) - 1
    # One extra trial an epoch, each of 7 equally likely: mean 100, standard deviation 9.3.
    assert extra.sum() == 700 and abs(extra - 100).max() < 4.5 * 9.3


@pytest.mark.parametrize(("num_trials", "batch_size"), [*SIZES, ([0, 5], 2), ([4, 0, 9], 4)])
def test_validation_holds_each_trial_once(num_trials, batch_size):
    session, trial, weight = validation_batches(num_trials, batch_size)
    assert session.dtype == trial.dtype == np.int32 and weight.dtype == np.float32
    assert trial.shape == weight.shape == (len(session), trial.shape[1]) and trial.shape[1] <= batch_size
    for which, number in enumerate(num_trials):
        rows, weights = trial[session == which], weight[session == which]
        np.testing.assert_array_equal(rows[weights == 1], np.arange(number))
        assert set(np.unique(weights)) <= {0, 1} and not rows[weights == 0].any()
        assert weights.sum() == number


def test_validation_spreads_trials_evenly():
    assert validation_batches([260], 150)[1].shape == (2, 130)
    assert validation_batches([0], 3)[1].shape == (0, 1)


@pytest.mark.parametrize("arguments", [([], 2, 0, 0), ([0], 2, 0, 0), ([3], 0, 0, 0), ([3], 2, -1, 0), ([3], 2, 0, -1)])
def test_impossible_sizes_and_seeds_are_refused(arguments):
    with pytest.raises(ValueError, match="at least"):
        epoch_batches(*arguments)


@pytest.mark.parametrize("arguments", [([], 2), ([-1], 2), ([3], 0)])
def test_impossible_validation_sizes_are_refused(arguments):
    with pytest.raises(ValueError, match="at least"):
        validation_batches(*arguments)
