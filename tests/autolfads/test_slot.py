"""Training workers of a population with one compiled program."""

from __future__ import annotations

import math

import numpy as np
import pytest
from small_runs import write_spikes

from lfads_tf2.autolfads.config import config_from, with_data
from lfads_tf2.autolfads.population import Population, Task
from lfads_tf2.autolfads.records import Records, read_fit_log
from lfads_tf2.autolfads.slot import SerialExecutor, Slot, Snapshot
from lfads_tf2.data import read_sessions, resolve
from lfads_tf2.hyperparameters import HyperParameters
from lfads_tf2.model.lfads import LFADS
from lfads_tf2.program.devices import Device
from lfads_tf2.training.fit_log import read
from lfads_tf2.training.metrics_log import read_metrics
from lfads_tf2.training.scalars import HELD_OUT, HELD_OUT_ERROR
from lfads_tf2.training.trainer import Trainer

MODEL = {
    "co_dim": 1, "factors_dim": 3, "gen_dim": 6, "ic_dim": 4, "ic_enc_dim": 5, "ci_enc_dim": 4, "con_dim": 4,
    "batch_size": 8, "kl_increase_steps": 6, "l2_increase_steps": 6, "l2_con_scale": 10.0,
}  # fmt: skip
CPU = Device("/cpu:0", False, False, 1)
HPS = {
    "learning_rate_init": {"min": 1e-4, "max": 5e-2, "init": 1e-2, "dist": "loguniform"},
    "dropout_rate": {"min": 0, "max": 0.6, "init": [0.0, 0.2]},
    "kl_ic_weight": {"min": 1e-2, "max": 2, "dist": "loguniform"},
    "l2_gen_scale": {"min": 1e-1, "max": 1e3, "dist": "loguniform"},
}
START = {"learning_rate_init": 0.01, "keep_prob": 0.95, "kl_ic_weight": 1.0, "l2_gen_scale": 500.0}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_spikes(folder / "one.h5")
    return folder, read_sessions(HyperParameters(data_dir=str(folder)))


def search_of(folder, model=MODEL, hps=HPS, **options):
    settings = {"num_workers": 3, "perturbation_interval": 2, "burn_in_period": 2, "max_epochs": 6, "patience": 0}
    content = model | {"data_dir": str(folder), "pbt": settings | {"hps": hps} | options}
    return with_data(config_from(content, "here"), 9, 7, 3)


def task(worker=0, seed=3, first=0, epochs=4, state=None, **hyperparameters):
    return Task(worker, seed, first, epochs, START | hyperparameters, state)


@pytest.fixture(scope="module")
def slot(data):
    return Slot(search_of(data[0]), data[1], CPU)


def test_equals_the_trainer(slot, data, tmp_path):
    """The same seed and hyperparameters, the learning rate held: the numbers of an ordinary run."""
    settings = MODEL | START | {"max_epochs": 4, "learning_rate_n_to_compare": 99}
    spec = resolve(HyperParameters(data_dir=str(data[0]), **settings), data[1])
    Trainer(LFADS(spec, 3), data[1], tmp_path, 3, show_progress=False).train()
    log, rows = read(tmp_path / "fitlog.csv"), slot.train(task()).rows
    for column, name in (("recon_train", "train/recon"), ("total_valid", "valid/loss"), ("kl_train", "train/wt_kl")):
        assert [row[name] for row in rows] == pytest.approx(list(log[column]), abs=6e-3)


def test_the_first_worker_of_a_planned_search_is_one_training(data, tmp_path):
    """The same seed and settings: costs of every epoch, and held-out spikes at the end."""
    settings = MODEL | START | {"max_epochs": 6, "learning_rate_schedule": "cosine"}
    spec = resolve(HyperParameters(data_dir=str(data[0]), **settings), data[1])
    Trainer(LFADS(spec, 5), data[1], tmp_path, 5, show_progress=False).train()
    hps = HPS | {"cd_rate": {"min": 0, "max": 0.5}}
    search = search_of(
        data[0], settings | {"cd_pass_rate": 1.0}, hps=hps, first_worker="given", exploit="truncation", polish_epochs=2
    )
    population = Population(search, SerialExecutor(search, data[1], CPU), Records(tmp_path / "search"), 5)
    population.run()
    log, rows = read(tmp_path / "fitlog.csv"), read_fit_log(tmp_path / "search" / "fitlog.csv")
    own = (rows["worker_id"] == 0) & (rows["epoch"] < 6)
    for column, name in (("recon_train", "train/recon"), ("total_valid", "valid/loss"), ("kl_train", "train/wt_kl")):
        assert list(rows[name][own]) == pytest.approx(list(log[column]), abs=6e-3)
    held_out = read_metrics(tmp_path / "metrics.csv")["valid/held_out_bps"][-1]
    assert rows["valid/held_out_bps"][own][-1] == pytest.approx(held_out, abs=1e-4)
    assert population.best_now()["score"] <= -held_out + 1e-4
    assert len(rows["epoch"]) == 3 * 6 + 2


def test_parts_equal_the_whole_whoever_came_between(slot):
    whole = slot.train(task(epochs=5))
    part = slot.train(task(epochs=2))
    slot.train(task(worker=1, seed=8, keep_prob=0.5, learning_rate_init=0.05))
    rest = slot.train(task(first=2, epochs=3, state=part.state))
    # Held-out spikes are scored at the end of each part.
    ours, theirs = part.rows + rest.rows, whole.rows
    assert ours[-1] == theirs[-1] and set(part.rows[-1]) - set(theirs[1]) == {HELD_OUT, HELD_OUT_ERROR}
    assert [{name: row[name] for name in theirs[0]} for row in ours] == [
        {name: row[name] for name in theirs[0]} for row in theirs
    ]
    for ours, theirs in zip(
        Snapshot.from_bytes(rest.state).weights, Snapshot.from_bytes(whole.state).weights, strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


def test_seeds_and_hyperparameters_count(slot):
    last = [
        slot.train(each).rows[-1]["valid/recon"]
        for each in (task(), task(seed=4), task(keep_prob=0.5), task(kl_ic_weight=0.01), task(learning_rate_init=1e-4))
    ]
    assert len(set(last)) == 5


def test_running_mean(slot):
    rows = slot.train(task(epochs=3)).rows
    recon = [row["valid/recon"] for row in rows]
    expected = 0.7 * (0.7 * recon[0] + 0.3 * recon[1]) + 0.3 * recon[2]
    assert rows[2]["valid/recon_smth"] == pytest.approx(expected)
    assert rows[0]["valid/recon_smth"] == recon[0]


def test_a_model_that_goes_bad_is_given_up(slot):
    state = Snapshot.from_bytes(slot.train(task(epochs=1)).state)
    state.weights[3][:] = np.nan
    done = slot.train(task(first=1, epochs=3, state=state.to_bytes()))
    assert [row["epoch"] for row in done.rows] == [1, 2, 3]
    assert all(math.isnan(row["valid/recon_smth"]) for row in done.rows)


def test_one_compilation_for_a_whole_search(data, tmp_path):
    search = search_of(data[0])
    executor = SerialExecutor(search, data[1], CPU)
    population = Population(search, executor, Records(tmp_path), 5)
    assert population.run() == "max_epochs"
    assert executor.slot.epochs.traces == {"train": 1, "validate": 1}
    log = read_fit_log(tmp_path / "fitlog.csv")
    pairs = list(zip(log["worker_id"], log["epoch"], strict=True))
    assert sorted(pairs) == [(w, e) for w in range(3) for e in range(6)]
    assert np.all(np.isfinite(log["valid/recon"]))
    assert len(population.history) == 3
