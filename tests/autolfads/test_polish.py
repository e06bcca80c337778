"""A first worker that keeps its settings, scores of held-out spikes, and the best model's last training, on a toy."""

from __future__ import annotations

import json

import numpy as np
import pytest

from lfads_tf2.autolfads.figures import write_figures
from lfads_tf2.autolfads.population import Population
from lfads_tf2.autolfads.records import Records, read_fit_log

from .toy import Killed, ToyExecutor, rows_of, search_of

GIVEN = {"kl_ic_weight": 30.0, "keep_prob": 0.9}


def population_of(folder, executor=None, seed=1, given=GIVEN, **options):
    settings = {"polish_epochs": 10, "first_worker": "given", "metric": "valid/held_out_bps"} | options
    return Population(search_of(given=given, **settings), executor or ToyExecutor(), Records(folder), seed)


@pytest.mark.parametrize("exploit", ["tournament", "truncation"])
def test_the_first_worker_keeps_its_settings_and_model(tmp_path, exploit):
    executor = ToyExecutor()
    population = population_of(tmp_path, executor, exploit=exploit, polish_epochs=0)
    assert population.run() == "max_epochs"
    assert not any(event["worker"] == 0 for entry in population.history for event in entry["replaced"])
    assert any(entry["replaced"] for entry in population.history)
    for task in executor.tasks:
        if task.worker == 0:
            assert (task.hyperparameters["kl_ic_weight"], task.hyperparameters["keep_prob"]) == (30.0, 0.9)
            assert task.seed == population.seed
            assert task.state is None or json.loads(task.state)["trained_by"] == 0
    first = population.state["first"]
    assert first["score"] == min(entry["scores"][0] for entry in population.history)
    assert population.records.model_state(first["state"])


def test_a_first_worker_that_went_bad_is_replaced(tmp_path):
    population = population_of(tmp_path, ToyExecutor(bad=[0]))
    population.run()
    assert [event["reason"] for event in population.history[0]["replaced"]] == ["not finite"]


def test_held_out_spikes_are_the_better_the_higher(tmp_path):
    held_out, recon = (
        population_of(tmp_path / str(number), metric=metric)
        for number, metric in enumerate(("valid/held_out_bps", "valid/recon_smth"))
    )
    for population in (held_out, recon):
        population.run()
    assert held_out.history == recon.history and held_out.best_now() == recon.best_now()
    log = read_fit_log(tmp_path / "0" / "fitlog.csv")
    assert held_out.best_now()["score"] == pytest.approx(-np.nanmax(log["valid/held_out_bps"]))


def test_the_best_model_trains_on(tmp_path):
    executor = ToyExecutor()
    population = population_of(tmp_path, executor)
    population.run()
    last = executor.tasks[-4:]
    worker = last[0].worker
    assert [(task.worker, task.first_epoch, task.epochs) for task in last] == [
        (worker, 40, 2), (worker, 42, 3), (worker, 45, 3), (worker, 48, 2)
    ]  # fmt: skip
    best = population.best_now()
    assert (best["worker"], best["epoch"], best["from_generation"]) == (worker, 50, 7)
    assert best["score"] < min(population.history[-1]["scores"])
    state = json.loads(population.records.model_state(best["state"]))
    assert state["value"] + 10 == best["score"]
    assert [pair for pair in rows_of(tmp_path) if pair[1] >= 40] == [(worker, epoch) for epoch in range(40, 50)]
    paths = write_figures(
        tmp_path / "figures", read_fit_log(tmp_path / "fitlog.csv"), population.history, best,
        population.search.searched, "valid/held_out_bps", "nats a trial",
    )  # fmt: skip
    assert len(paths) == 3


class Worse(ToyExecutor):
    """What trains on alone becomes worse."""

    def run(self, tasks):
        alone = tasks and tasks[0].first_epoch >= 40
        for done in super().run(tasks):
            if alone:
                done.rows[-1]["valid/held_out_bps"] -= 100
            yield done


def test_the_best_stays_the_best_where_more_training_does_not_help(tmp_path):
    population = population_of(tmp_path, Worse())
    population.run()
    assert population.best_now()["epoch"] == 40 and "from_generation" not in population.best_now()
    assert population.records.model_state(population.best_now()["state"])


@pytest.mark.parametrize("kills", [[49], [20, 30], [48, 1, 1, 1]])
def test_killed_while_the_best_model_trains_on(tmp_path, kills):
    whole = population_of(tmp_path / "whole")
    whole.run()
    done = 0
    for count in kills:
        executor = ToyExecutor(kill_after=count)
        with pytest.raises(Killed):
            population_of(tmp_path / "parts", executor).run()
        done += executor.finished
    executor = ToyExecutor()
    population = population_of(tmp_path / "parts", executor)
    population.run()
    assert done + executor.finished == 6 * 8 + 4, "nothing twice"
    assert (tmp_path / "parts" / "fitlog.csv").read_text() == (tmp_path / "whole" / "fitlog.csv").read_text()
    assert population.best_now() == whole.best_now()


@pytest.mark.parametrize("lost", [["polish"], ["best"], ["best", "polish", "first"]])
def test_lost_models_are_trained_again(tmp_path, lost, caplog):
    whole = population_of(tmp_path / "whole")
    whole.run()
    population_of(tmp_path / "parts").run()
    state = json.loads((tmp_path / "parts" / "population" / "population.json").read_text())
    for one in lost:
        (tmp_path / "parts" / "population" / state[one]["state"]).write_bytes(b"")
    executor = ToyExecutor()
    population = population_of(tmp_path / "parts", executor)
    population.run()
    assert "trains alone again" in caplog.text and "bit by bit" not in caplog.text and "changed" not in caplog.text
    assert executor.tasks and population.best_now() == whole.best_now()
    for one in ("best", "first"):
        name = population.state[one]["state"]
        assert population.records.model_state(name) == whole.records.model_state(name)
    assert (tmp_path / "parts" / "fitlog.csv").read_text() == (tmp_path / "whole" / "fitlog.csv").read_text()


def test_a_rate_that_falls_has_its_own_end(tmp_path):
    stops = {"patience": 1, "min_improvement_ratio": 0.9, "polish_epochs": 0}
    falling = GIVEN | {"learning_rate_schedule": "cosine"}
    assert population_of(tmp_path / "constant", **stops).run() == "no improvement"
    assert population_of(tmp_path / "falling", given=falling, **stops).run() == "max_epochs"
