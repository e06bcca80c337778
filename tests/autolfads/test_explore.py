"""Starting values, moves, tournaments and the stop rule."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lfads_tf2.autolfads import explore as rules
from lfads_tf2.autolfads.explore import Undecided, explore, generator, improved_too_little, rivals, start, truncation
from lfads_tf2.autolfads.searched import Searched

LOG = Searched("kl_ic_weight", 1e-4, 1.0, "loguniform")
LINEAR = Searched("dropout_rate", 0.0, 0.6, "uniform", explore_weight=0.3)
NAN, INF = math.nan, math.inf


def tournament(scores, random):
    """Everybody's meeting, worker by worker."""
    number = len(scores)
    met = [rules.tournament(w, rivals(w, number, random), dict(enumerate(scores))) for w in range(number)]
    return [replaced for replaced in met if replaced is not None]


@pytest.fixture
def random():
    return np.random.default_rng(0)


def test_loguniform_is_uniform_in_the_logarithm(random):
    values = np.log10([start(LOG, random) for _ in range(4000)])
    assert values.min() >= -4 and values.max() <= 0
    # Mean −2, standard deviation 4/√12; four standard errors.
    assert abs(values.mean() + 2) < 4 * (4 / math.sqrt(12)) / math.sqrt(4000)
    assert np.histogram(values, 4, (-4, 0))[0].min() > 850


def test_uniform_and_whole_numbers(random):
    values = [start(LINEAR, random) for _ in range(2000)]
    assert abs(np.mean(values) - 0.3) < 4 * 0.6 / math.sqrt(12 * 2000)
    whole = Searched("l2_gen_scale", 2, 4, "randint")
    assert {start(whole, random) for _ in range(100)} == {2.0, 3.0, 4.0}
    assert {explore(whole, 3.0, random) for _ in range(200)} == {2.0, 3.0, 4.0}


def test_init_is_where_it_starts(random):
    fixed = Searched("learning_rate_init", 1e-5, 5e-3, "loguniform", init=(4e-3, 4e-3))
    assert start(fixed, random) == 4e-3
    assert start(fixed, random, everywhere=True) != 4e-3


@pytest.mark.parametrize("value", [1e-4, 3e-3, 0.5, 1.0])
def test_moves_stay_near_and_inside(value, random):
    moved = np.array([explore(LOG, value, random) for _ in range(500)])
    assert np.all((moved >= LOG.minimum) & (moved <= LOG.maximum))
    assert np.all(np.abs(moved / value - 1) <= 0.8 + 1e-9)
    assert len(np.unique(moved)) > 400, "drawn again, not cut at the limits"


def test_zero_is_left_again(random):
    moved = np.array([explore(LINEAR, 0.0, random) for _ in range(100)])
    assert np.all(moved >= 0) and np.mean(moved > 0) > 0.9


def test_limits_that_are_not_enforced(random):
    free = Searched("kl_ic_weight", 0.1, 1.0, enforce_limits=False)
    moved = [explore(free, 1.0, random) for _ in range(200)]
    assert max(moved) > 1.0 and min(moved) >= 0


def test_nan_loses_and_never_wins(random):
    for _ in range(50):
        replaced = tournament([NAN, 1.0, INF, 3.0], random)
        assert {r.worker for r in replaced if r.reason == "not finite"} == {0, 2}
        assert all(r.source in (1, 3) for r in replaced)
        assert all(r.worker != r.source for r in replaced)
        assert 1 not in {r.worker for r in replaced}
    assert tournament([NAN, NAN], random) == []
    assert tournament([1.0, NAN], random) == [(1, 0, "not finite")]


def test_tournament_is_against_a_random_other(random):
    counts = np.zeros(5)
    for _ in range(2000):
        for replaced in tournament([1.0, 2.0, 3.0, 4.0, 5.0], random):
            assert replaced.source < replaced.worker
            counts[replaced.worker] += 1
    # Worker k has k better others of 4.
    assert np.allclose(counts / 2000, np.arange(5) / 4, atol=0.05)


def test_a_meeting_needs_two_scores_and_no_more():
    order = [3, 0, 2]
    assert rules.tournament(1, order, {1: 5.0, 3: 4.0}) == (1, 3, "score")
    assert rules.tournament(1, order, {1: 5.0, 3: NAN}) is None
    assert rules.tournament(1, order, {1: NAN, 3: INF, 0: 9.0}) == (1, 0, "not finite")
    assert rules.tournament(1, order, {1: 5.0}, only_broken=True) is None
    for known in ({3: 4.0}, {1: 5.0, 0: 1.0}, {1: NAN}, {1: NAN, 3: NAN}):
        with pytest.raises(Undecided):
            rules.tournament(1, order, known)


def test_rivals_are_all_others_in_random_order(random):
    orders = [rivals(2, 4, random) for _ in range(600)]
    assert all(sorted(order) == [0, 1, 3] for order in orders)
    counts = np.bincount([order[0] for order in orders], minlength=4)
    assert counts[2] == 0 and min(counts[[0, 1, 3]]) > 150


def test_truncation(random):
    replaced = truncation([5.0, 1.0, 4.0, NAN, 2.0, 3.0, 6.0, 7.0], 0.25, random)
    assert {r.worker for r in replaced} == {3, 6, 7}
    assert {r.source for r in replaced} <= {1, 4}
    assert truncation([NAN, 1.0], 0.25, random) == [(0, 1, "not finite")]
    assert truncation([NAN, NAN], 0.25, random) == []
    assert truncation([1.0, 1.0, 1.0, 1.0], 0.25, random) == []


@pytest.mark.parametrize(
    ("best", "ends"),
    [
        ([100, 100, 100], True), ([100, 99, 98], False), ([100, 99.99, 99.96], True), ([100, 100], False),
        ([NAN, 90, 90], False), ([100, NAN, NAN], False), ([-10, -10, -10.001], True), ([-10, -11, -12], False),
        ([100, 50, 50, 50], True),
    ],
)  # fmt: skip
def test_stop_rule(best, ends):
    assert improved_too_little([float(b) for b in best], 2, 5e-4) is ends


def test_no_patience_no_stop():
    assert not improved_too_little([1.0] * 9, 0, 0.5)


def test_draws_depend_on_what_they_are_for():
    assert generator(1, "start", 2).integers(2**60) == generator(1, "start", 2).integers(2**60)
    assert (
        len({generator(*a).integers(2**60) for a in [(1, "start", 2), (1, "start", 3), (2, "start", 2), (1, "x", 2)]})
        == 4
    )


def test_truncation_passes_over_who_is_kept():
    random = np.random.default_rng(0)
    scores = [9.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0]
    assert [event.worker for event in truncation(scores, 0.15, random)] == [0]
    assert [event.worker for event in truncation(scores, 0.15, random, kept=(0,))] == [7]
    # As a source it is as good as others.
    assert truncation([0.0, *scores[1:]], 0.15, random, kept=(0,))[0][:2] == (7, 0)
    assert truncation([math.nan, *scores[1:]], 0.15, random, kept=(0,))[0][:2] == (0, 1)
