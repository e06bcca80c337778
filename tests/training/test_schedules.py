"""Learning-rate rule, lowest-validation rule and fit log against hand-worked sequences and the original's own log."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from golden_case import FOLDER

from lfads_tf2.hyperparameters import HyperParameters
from lfads_tf2.training.fit_log import EpochCosts, FitLog, format_line, parse_line, read
from lfads_tf2.training.remaining import Remaining, falls_left
from lfads_tf2.training.schedules import (
    TrainingState,
    is_lowest_validation,
    update_learning_rate,
    update_learning_rate_on_plateau,
    watch_validation,
)


def reference_rates(costs, rate, factor, compared):
    """The rule as the specification words it, with an unbounded history."""
    history, rates = [], []
    for cost in costs:
        if len(history) > compared and cost > max(history[-compared:]):
            rate *= factor
            history.append(math.inf)
        else:
            history.append(cost)
        rates.append(rate)
    return rates


@pytest.mark.parametrize("compared", [1, 3, 6])
def test_learning_rate_follows_the_rule(compared):
    costs = np.random.default_rng(compared).normal(size=200)
    hp = HyperParameters(learning_rate_n_to_compare=compared, learning_rate_decay_factor=0.9)
    state = TrainingState(learning_rate=0.01)
    got = []
    for cost in costs:
        update_learning_rate(state, hp, cost)
        state = TrainingState.from_json(state.to_json())  # as if resumed after every epoch
        got.append(state.learning_rate)
    expected = reference_rates(costs, 0.01, 0.9, compared)
    assert got == expected
    assert expected[-1] < 0.01


def test_learning_rate_of_the_originals_run():
    """25 epochs of the original: the rate at its last checkpoint follows from its logged costs."""
    log = read(FOLDER / "tf1_checkpoint" / "run" / "fitlog.csv")
    hp = HyperParameters(learning_rate_n_to_compare=1, learning_rate_decay_factor=0.95)
    state = TrainingState(learning_rate=0.01)
    for cost in log["total_train"]:
        update_learning_rate(state, hp, cost)
    # The run stopped by its own rule: below 0.0085, and not yet so one decay before.
    assert state.learning_rate < 0.0085 <= state.learning_rate / 0.95


@pytest.mark.parametrize(
    ("epoch", "kl", "l2", "scales", "valid", "expected"),
    [
        (5, 1.0, 1.0, 1.0, 9.0, True),
        (0, 1.0, 1.0, 1.0, 9.0, False),
        (5, 0.99, 1.0, 1.0, 9.0, False),
        (5, 1.0, 0.99, 1.0, 9.0, False),
        (5, 1.0, 0.0, 0.0, 9.0, True),
        (5, 1.0, 1.0, 1.0, 10.0, False),
        (5, 1.0, 1.0, 1.0, math.nan, False),
    ],
)
def test_lowest_validation_rule(epoch, kl, l2, scales, valid, expected):
    state = TrainingState(epoch=epoch, best_valid=10.0)
    hp = HyperParameters(l2_gen_scale=scales, l2_con_scale=scales)
    assert is_lowest_validation(state, hp, kl, l2, valid) is expected
    assert state.best_valid == (valid if expected else 10.0)


def test_lines_are_the_originals():
    path = FOLDER / "tf1_checkpoint" / "run" / "fitlog.csv"
    for line in path.read_text().splitlines():
        row = parse_line(line)
        train, valid = (
            EpochCosts(*(row[f"{t}_{half}"] for t in ("total", "recon", "kl"))) for half in ("train", "valid")
        )
        again = format_line(
            int(row["epoch"]), int(row["step"]), train, valid, row["l2"], row["kl_weight"], row["l2_weight"]
        )
        assert again == line


def test_line_without_validation_and_with_nan():
    line = format_line(3, 40, EpochCosts(1.5, math.nan, 2.0), None, 0.25, 1.0, 0.5)
    row = parse_line(line)
    assert row["total_train"] == 1.5 and math.isnan(row["recon_train"]) and row["kl_train"] == 2.0
    assert "total_valid" not in row and row["l2"] == 0.25 and row["l2_weight"] == 0.5


def test_resumed_log_drops_later_and_half_written_lines(tmp_path):
    path = tmp_path / "fitlog.csv"
    lines = [format_line(n, n, EpochCosts(n, n, n), None, 0, 0, 0) + "\n" for n in range(5)]
    path.write_text("".join(lines) + "epoch,5, step,5, total,3")
    assert list(read(path)["epoch"]) == [0, 1, 2, 3, 4]
    FitLog(path, TrainingState(3)).append(lines[3].strip())
    assert path.read_text() == "".join(lines[:4])


def test_costs_that_are_no_numbers_say_nothing():
    state, same = TrainingState(learning_rate=1.0), TrainingState(learning_rate=1.0)
    hp = HyperParameters(learning_rate_n_to_compare=1, learning_rate_decay_factor=0.5)
    for value in (10.0, 9.0, 9.5, 9.9, 9.9):
        for bad in (math.nan, math.inf):
            watch_validation(state, bad)
            assert not is_lowest_validation(dataclasses.replace(state, epoch=5), hp, 1.0, 1.0, bad)
        watch_validation(state, value), watch_validation(same, value)
        update_learning_rate_on_plateau(state, hp), update_learning_rate_on_plateau(same, hp)
    assert state == same and state.learning_rate == 0.5 and state.epochs_since_best == 2
    # A state that an earlier version left poisoned heals.
    poisoned = TrainingState(smoothed_valid=math.nan)
    watch_validation(poisoned, 3.0)
    assert poisoned.smoothed_valid == poisoned.best_smoothed == 3.0


@pytest.mark.parametrize(("rate", "falls"), [(0.01, 135), (1.0e-5, 1), (1.04e-5, 1), (1.06e-5, 2), (9e-6, 0)])
def test_falls_left(rate, falls):
    hp, fallen = HyperParameters(), rate
    assert falls_left(rate, hp) == falls
    for _ in range(falls):
        assert fallen >= hp.learning_rate_stop
        fallen *= hp.learning_rate_decay_factor
    assert fallen < hp.learning_rate_stop


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("noise", "fall"), [(1.0, 0.01), (5.0, 0.02), (0.3, 0.005)])
def test_time_left_is_right_within_a_third_after_a_fifth(seed, noise, fall):
    """Costs that sink and level out, with noise, under the original's rule; half a second an epoch."""
    hp, random = HyperParameters(), np.random.default_rng(seed)
    state, estimates = TrainingState(learning_rate=hp.learning_rate_init), []
    remaining = Remaining(hp, state)
    while state.learning_rate >= hp.learning_rate_stop:
        update_learning_rate(state, hp, 500 + 300 * math.exp(-fall * state.epoch) + noise * random.normal())
        state.epoch += 1
        remaining.epoch_done(state, 3.0 + 0.5 * state.epoch)
        left = remaining.left(state)
        estimates.append(math.nan if left is None else left.seconds)
    truth = 0.5 * (len(estimates) - 1 - np.arange(len(estimates)))
    # To the last tenth: there a single fall that comes early or late is most of what is left.
    middle = slice(len(estimates) // 5, 9 * len(estimates) // 10)
    ratio = np.array(estimates)[middle] / truth[middle]
    assert np.all((ratio > 2 / 3) & (ratio < 4 / 3)), (ratio.min(), ratio.max())


def test_time_left_knows_its_bounds():
    hp = HyperParameters(max_epochs=50, early_stopping_patience=9)
    state = TrainingState(learning_rate=hp.learning_rate_init, epoch=10)
    remaining = Remaining(hp, state)
    assert remaining.left(state) is None
    remaining.epoch_done(state, 10.0)
    assert remaining.left(state) is None, "the first epoch holds the compilation"
    state.epoch = 12
    remaining.epoch_done(state, 12.0)
    assert remaining.left(state) == (76.0, True)
    assert remaining.epochs(dataclasses.replace(state, learning_rate=1e-5)) == 13
