"""What a search from nothing but the data is made of, and how a budget decides its size."""

from __future__ import annotations

import itertools
import time

import pytest

from lfads_tf2.autolfads.command_line import parse
from lfads_tf2.autolfads.config import Budget, with_data
from lfads_tf2.autolfads.planning import Speed, affordable, budget_from, described, own_epochs, planned, sizes
from lfads_tf2.autolfads.population import Done
from lfads_tf2.autolfads.timing import measured
from lfads_tf2.data.facts import Facts
from lfads_tf2.errors import SettingsError
from lfads_tf2.hyperparameters import HyperParameters, problems
from lfads_tf2.settings import auto

FACTS = Facts(trials_of=(96,), bins=50, channels=20, spikes=0.3)


def search_for(*flags, size=None):
    config, _ = parse(["data", *flags])
    own = own_epochs(FACTS, config)
    whole, choices = planned(config, FACTS, size or sizes(own, 9 * own))
    return with_data(whole, 50, 20, 3), choices


@pytest.mark.parametrize(
    ("text", "budget"),
    [
        ("10min", Budget(seconds=600)), ("1.5h", Budget(seconds=5400)), ("90 s", Budget(seconds=90)),
        ("3000epochs", Budget(epochs=3000)),
    ],
)  # fmt: skip
def test_budgets(text, budget):
    assert budget_from(text) == budget


@pytest.mark.parametrize("text", ["", "10", "ten minutes", "-5min", "0s", "10 days", "2.5epochs", "nan min", "infs"])
def test_what_is_no_budget(text):
    with pytest.raises(SettingsError, match=r"--budget must be a time \(90s, 10min, 2h\) or epochs"):
        budget_from(text)


@pytest.mark.parametrize(
    ("own", "times", "parallel"), itertools.product((10, 988), (0.5, 1, 2, 3, 9, 10, 31, 100), (1, 2, 16))
)
def test_sizes_keep_to_the_budget(own, times, parallel):
    size = sizes(own, times * own, parallel)
    workers, epochs, polish = size["num_workers"], size["max_epochs"], size["polish_epochs"]
    used = workers * epochs + parallel * polish
    assert workers >= 2 and polish <= epochs
    assert 0.55 * times * own <= used <= times * own + workers + parallel
    # What the settings were chosen for is kept wherever it can be.
    assert epochs < own if times < 2 else epochs == own if times <= 31 else epochs > own


def test_without_a_budget_it_takes_nine_times_the_epochs():
    assert sizes(988, 9 * 988) == {"num_workers": 8, "max_epochs": 988, "polish_epochs": 988}


def test_a_time_is_what_epochs_and_the_rest_take():
    size, seconds = affordable(1000, 600.0, Speed(seconds_an_epoch=0.05, seconds_apart=20.0, parallel=1))
    assert size["max_epochs"] == 1000
    assert 540 < seconds <= 600
    # Less time than starting takes: the smallest search that there is.
    size, _ = affordable(1000, 10.0, Speed(0.05, 20.0, 1))
    assert size == {"num_workers": 2, "max_epochs": 2, "polish_epochs": 0}


def test_the_first_worker_has_the_settings_of_auto():
    search, _ = search_for()
    settled = auto.settled(FACTS, {})
    assert search.first["dropout_rate"] == pytest.approx(1 - settled["keep_prob"])
    assert search.hyperparameters_of(search.first) == pytest.approx(
        {one.target: settled[one.target] for one in search.searched}
    )
    fixed = set(settled) - {one.target for one in search.searched} - {"kl_increase_epochs", "l2_increase_epochs"}
    assert {name: getattr(search.hyperparameters, name) for name in fixed} == {name: settled[name] for name in fixed}
    assert search.options.metric == "valid/held_out_bps"
    assert all(one.minimum <= search.first[one.name] <= one.maximum for one in search.searched)
    assert all(one.minimum <= one.init[0] < one.init[1] <= one.maximum for one in search.searched)


def test_the_rate_falls_over_the_search_and_once_more():
    search, _ = search_for()
    assert [search.rate_left(epoch) for epoch in (0, 494, 988, 1482)] == pytest.approx([1, 0.5, 0.5, 0.25])
    assert search.rate_left(987) < 1e-5 and search.rate_left(1975) < 1e-5


@pytest.mark.parametrize(
    ("flags", "gone"),
    [
        (["--keep_prob=0.8"], {"dropout_rate"}), (["--co_dim=0"], {"kl_co_weight", "l2_con_scale"}),
        (["--cd_pass_rate=0.1", "--cd_rate=0.2"], {"cd_rate"}), (["--learning_rate_init=0.02"], {"learning_rate_init"}),
        (["--output_dist=gaussian"], {"cd_rate", "kl_ic_weight", "kl_co_weight"}),
    ],
)  # fmt: skip
def test_what_is_given_is_not_searched(flags, gone):
    everything = {one.name for one in search_for()[0].searched}
    search, _ = search_for(*flags)
    assert everything - {one.name for one in search.searched} == gone
    for flag in flags:
        name, _, value = flag.lstrip("-").partition("=")
        assert str(getattr(search.hyperparameters, name)) == value


def test_options_given_by_hand_win():
    search, _ = search_for("--num_workers=3", "--max_epochs=40", "--exploit=tournament", "--metric=valid/recon_smth")
    options = search.options
    assert (options.num_workers, options.max_epochs, options.exploit) == (3, 40, "tournament")
    assert (options.perturbation_interval, options.burn_in_period, options.metric) == (2, 20, "valid/recon_smth")
    assert search.hyperparameters.kl_increase_epochs == 8


def test_a_model_without_coordinated_dropout_is_whole():
    search, _ = search_for()
    values = vars(search.hyperparameters) | search.hyperparameters_of(search.first)
    assert values["cd_rate"] == 0 and values["cd_pass_rate"] == 1
    assert problems(HyperParameters(**values | {"cd_pass_rate": 0.0})) == []


def test_the_plan_in_words():
    search, choices = search_for(size={"num_workers": 2, "max_epochs": 90, "polish_epochs": 0})
    lines = described(search, choices, 988, 61.0)
    assert lines[0] == "The search starts from what --preset=auto chooses:"
    assert any("2 workers x 90 epochs" in line and line.endswith("About 1.0 min.") for line in lines)
    assert "takes 988 epochs" in lines[-1] and "dropout_rate 0 to 0.6" in lines[-2]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--preset=small", "--budget=10min"], "--budget is for a search that --preset=auto plans"),
        (["--preset=auto", "--config=a.yaml"], "--preset=auto plans the whole search; leave --config out"),
        (["--budget=soon"], "--budget must be a time"),
        (["--num_workers=0"], "pbt.num_workers must be at least 1"),
    ],
)
def test_refused(flags, message):
    with pytest.raises(SettingsError, match=message):
        parse(["data", *flags])


def test_a_search_of_one_worker_is_refused_once_it_is_planned():
    with pytest.raises(SettingsError, match="num_workers must be at least 2"):
        search_for("--num_workers=1")


class Sleeper:
    """An executor whose epochs take a hundredth of a second, and which takes longer to start."""

    def __init__(self, waits_for_all, parallel):
        self.waits_for_all, self.parallel, self.started, self.closed, self.tasks = waits_for_all, parallel, False, 0, []

    def run(self, tasks):
        if not self.started:
            time.sleep(0.2)
        self.started = True
        # All that it does at a time.
        self.tasks.append(list(tasks))
        tasks.clear()
        time.sleep(0.01 * self.tasks[-1][0].epochs * (len(self.tasks[-1]) if self.waits_for_all else 1))
        yield from (Done(task.worker, [], b"") for task in self.tasks[-1])

    def close(self):
        self.closed += 1


@pytest.mark.parametrize(("waits_for_all", "parallel", "workers"), [(True, 1, 8), (False, 1, 1), (False, 4, 4)])
def test_speed_is_measured_with_as_many_workers_as_train_at_a_time(waits_for_all, parallel, workers):
    search, _ = search_for()
    executor = Sleeper(waits_for_all, parallel)
    speed = measured(search, lambda: executor)
    assert executor.closed == 1
    assert {len(tasks) for tasks in executor.tasks} == {workers}
    assert all(task.hyperparameters == search.hyperparameters_of(search.first) for t in executor.tasks for task in t)
    assert speed.parallel == parallel and speed.seconds_apart >= 0.2
    assert speed.seconds_an_epoch >= 0.0099 / parallel
