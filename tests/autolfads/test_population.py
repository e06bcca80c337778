"""The search itself, on a toy: who copies whom, when it ends, and that a kill costs nothing."""

from __future__ import annotations

import dataclasses
import io
import json
import math
from collections import deque

import numpy as np
import pytest

from lfads_tf2.autolfads.generations import next_boundary
from lfads_tf2.autolfads.population import MOST_AHEAD, Population, SearchFailed
from lfads_tf2.autolfads.records import DamagedRecord, Records, lineage, read_fit_log

from .toy import Killed, ToyExecutor, rows_of, search_of


def run(folder, executor=None, seed=1, **options):
    population = Population(search_of(**options), executor or ToyExecutor(), Records(folder), seed)
    return population, population.run()


def test_boundaries_meet_the_end_of_the_burn_in():
    options = search_of(perturbation_interval=25, burn_in_period=105, max_epochs=200).options
    epoch, found = 0, []
    while epoch < options.max_epochs:
        epoch = next_boundary(epoch, options)
        found.append(epoch)
    assert found == [5, 30, 55, 80, 105, 130, 155, 180, 200]


def test_a_whole_search(tmp_path):
    executor = ToyExecutor()
    population, reason = run(tmp_path, executor)
    assert reason == "max_epochs"
    assert sorted(rows_of(tmp_path)) == [(w, e) for w in range(6) for e in range(40)]
    history = json.loads((tmp_path / "pbt_history.json").read_text())
    assert [entry["epoch"] for entry in history] == list(range(5, 41, 5))
    assert all(not entry["replaced"] for entry in history if entry["epoch"] < 10 or entry["epoch"] == 40)
    assert sum(len(entry["replaced"]) for entry in history) > 6
    for entry in history:
        for event in entry["replaced"]:
            assert event["score_of_source"] < event["score"]
            assert event["copied"] == entry["hyperparameters"][event["copied_from"]]
            assert event["after"] != event["copied"]
    best = population.best_now()
    assert best["score"] == min(min(entry["scores"]) for entry in history)
    # The dial is called keep_prob, whatever it is searched by.
    assert executor.tasks[0].hyperparameters.keys() == {"learning_rate_init", "kl_ic_weight", "keep_prob"}


def test_losers_go_on_with_the_winners_model_and_hyperparameters(tmp_path):
    executor = ToyExecutor()
    run(tmp_path, executor)
    history = json.loads((tmp_path / "pbt_history.json").read_text())
    by_worker = {(task.worker, task.first_epoch): task for task in executor.tasks}
    for entry in history[:-1]:
        sources = {event["worker"]: event for event in entry["replaced"]}
        for worker in range(6):
            task = by_worker[worker, entry["epoch"]]
            source = sources[worker]["copied_from"] if worker in sources else worker
            assert json.loads(task.state)["trained_by"] == source
            expected = sources[worker]["after"] if worker in sources else entry["hyperparameters"][worker]
            assert task.hyperparameters["kl_ic_weight"] == expected["kl_ic_weight"]
            assert task.hyperparameters["keep_prob"] == 1 - expected["dropout_rate"]


def test_better_than_random_search(tmp_path):
    gains = []
    for seed in range(5):
        pbt, _ = run(tmp_path / f"p{seed}", seed=seed, max_epochs=100)
        random, _ = run(tmp_path / f"r{seed}", seed=seed, max_epochs=100, search="random")
        gains.append(random.history[-1]["scores"][0] - pbt.best_now()["score"])
    assert np.mean(gains) > 0


def test_random_search_never_copies_and_starts_anywhere(tmp_path):
    population, reason = run(tmp_path, search="random", patience=1)
    assert reason == "max_epochs"
    assert not any(entry["replaced"] for entry in population.history)
    rates = [values["learning_rate_init"] for values in population.history[0]["hyperparameters"]]
    assert len(set(rates)) == 6


def test_truncation_leaves_the_middle(tmp_path):
    population, _ = run(tmp_path, exploit="truncation", num_workers=8)
    copied = [len(entry["replaced"]) for entry in population.history]
    assert max(copied) == 2


def test_stops_without_improvement(tmp_path):
    hps = {"kl_ic_weight": {"min": 900, "max": 1000}}
    population, reason = run(tmp_path, hps=hps, patience=2, min_improvement_ratio=0.5, max_epochs=1000)
    assert reason == "no improvement"
    # The first score that counts is that of epoch 10; two generations later none has halved.
    assert population.epoch == 20


@pytest.mark.parametrize("burn_in", [5, 20])
def test_a_model_that_went_bad_is_replaced_and_counted(tmp_path, burn_in):
    population, _ = run(tmp_path, ToyExecutor(bad=[2, 4]), burn_in_period=burn_in)
    assert population.state["not_finite"] == 2
    events = {event["worker"]: event for event in population.history[0]["replaced"]}
    assert events[2]["reason"] == events[4]["reason"] == "not finite"
    assert events[2]["copied_from"] not in (2, 4)
    assert all(math.isfinite(score) for score in population.history[1]["scores"])
    text = (tmp_path / "population" / "population.json").read_text()
    assert "NaN" not in text


def test_all_bad_ends_with_advice(tmp_path):
    with pytest.raises(SearchFailed, match="every model has diverged"):
        run(tmp_path, ToyExecutor(bad=range(6)))


@pytest.mark.parametrize("kills", [[3], [6, 1], [0, 0, 7, 5, 11]])
def test_killed_and_resumed_equals_uninterrupted(tmp_path, kills):
    whole, _ = run(tmp_path / "whole")
    done = 0
    for count in kills:
        executor = ToyExecutor(kill_after=count)
        with pytest.raises(Killed):
            run(tmp_path / "parts", executor)
        done += executor.finished
        # What a kill in the middle of a write leaves.
        if (tmp_path / "parts" / "fitlog.csv").exists():
            with (tmp_path / "parts" / "fitlog.csv").open("a") as f:
                f.write("3,7,3")
    executor = ToyExecutor()
    population, _ = run(tmp_path / "parts", executor, seed=99)
    assert done + executor.finished == 6 * 8, "nothing twice"
    assert (tmp_path / "parts" / "fitlog.csv").read_text() == (tmp_path / "whole" / "fitlog.csv").read_text()
    assert population.history == whole.history


def test_results_of_another_configuration_are_not_taken(tmp_path):
    """A kill leaves results of generations ahead; the search goes on with shorter ones and another way to choose."""
    with pytest.raises(Killed):
        run(tmp_path, AnyOrder(kill_after=20))
    ahead = [path for path in (tmp_path / "population").rglob("*.json") if path.parent.name >= "generation_0002"]
    assert len(ahead) > 4
    population, reason = run(tmp_path, perturbation_interval=3, exploit="truncation")
    assert reason == "max_epochs"
    assert sorted(rows_of(tmp_path)) == [(w, e) for w in range(6) for e in range(40)]
    log = read_fit_log(tmp_path / "fitlog.csv")
    for entry in population.history:
        rows = log["generation"] == entry["generation"]
        by_worker = [entry["hyperparameters"][int(w)]["kl_ic_weight"] for w in log["worker_id"][rows]]
        np.testing.assert_allclose(log["hp/kl_ic_weight"][rows], by_worker)


def test_rows_that_were_logged_but_not_committed_come_once(tmp_path):
    run(tmp_path, max_epochs=20)
    text = (tmp_path / "fitlog.csv").read_text()
    (tmp_path / "fitlog.csv").write_text(text + text.splitlines()[-1].replace(",19,", ",20,") + "\n")
    run(tmp_path, max_epochs=30)
    assert sorted(rows_of(tmp_path)) == [(w, e) for w in range(6) for e in range(30)]


def test_the_disk_does_not_fill(tmp_path):
    seen = []

    class Watching(ToyExecutor):
        def run(self, tasks):
            for done in super().run(tasks):
                seen.append(len(list((tmp_path / "population").rglob("*.npz"))))
                yield done

    run(tmp_path, Watching(), max_epochs=100)
    # The last whole generation, those under way, and the best model.
    assert max(seen) <= 6 * (2 + MOST_AHEAD) + 1
    assert len(list((tmp_path / "population").iterdir())) <= 3


def test_generations_of_more_than_four_digits_are_kept_in_order(tmp_path):
    records = Records(tmp_path)
    for generation in (9998, 9999, 10000):
        records.write_result(generation, 0, [], b"model")
    state = {"generation": 9999, "members": [{"state": records.model_name(9999, 0)}], "history": []}
    records.commit(state)
    assert records.result(9998, 0) is None
    assert records.result(10000, 0) == [] and records.model_state(records.model_name(10000, 0)) == b"model"


class AnyOrder(ToyExecutor):
    """Takes tasks in random order, and worker 5's last, as if it were very slow."""

    def __init__(self, seed=0, waits_for_all=False, **options):
        super().__init__(**options)
        self.random, self.waits_for_all, self.started = np.random.default_rng(seed), waits_for_all, []

    def run(self, tasks):
        while tasks:
            quick = [place for place, task in enumerate(tasks) if task.worker != 5] or [0]
            tasks.rotate(-quick[self.random.integers(len(quick))])
            self.started.append((tasks[0].worker, tasks[0].first_epoch))
            one = deque([tasks.popleft()])
            yield from super().run(one)


def test_numbers_are_those_of_a_search_in_which_all_wait_for_all(tmp_path):
    whole, _ = run(tmp_path / "whole", AnyOrder(waits_for_all=True))
    assert [epoch for _, epoch in whole.executor.started] == sorted(epoch for _, epoch in whole.executor.started)
    for seed in range(5):
        population, reason = run(tmp_path / str(seed), AnyOrder(seed))
        assert reason == "max_epochs" and population.history == whole.history
        for name in ("fitlog.csv", "pbt_history.json"):
            assert (tmp_path / str(seed) / name).read_text() == (tmp_path / "whole" / name).read_text()


def test_a_slow_worker_holds_up_only_those_who_meet_it(tmp_path):
    executor = AnyOrder()
    run(tmp_path, executor)
    before = executor.started[: executor.started.index((5, 0))]
    assert {epoch for _, epoch in before} == {0, 5, 10}, "two generations ahead and no more"
    assert len(before) > 8
    alone = AnyOrder()
    run(tmp_path / "random", alone, search="random")
    assert len(alone.started[: alone.started.index((5, 0))]) == 5 * (1 + MOST_AHEAD), "nobody meets anybody"


def test_truncation_waits_for_all(tmp_path):
    executor = AnyOrder()
    run(tmp_path, executor, exploit="truncation", burn_in_period=5)
    epochs = [epoch for _, epoch in executor.started]
    assert epochs == sorted(epochs)


@pytest.mark.parametrize("kills", [[3], [7, 20], [12, 1, 9]])
def test_killed_while_some_are_ahead(tmp_path, kills):
    whole, _ = run(tmp_path / "whole")
    done = 0
    for seed, count in enumerate(kills):
        executor = AnyOrder(seed, kill_after=count)
        with pytest.raises(Killed):
            run(tmp_path / "parts", executor)
        done += executor.finished
    executor = AnyOrder()
    population, _ = run(tmp_path / "parts", executor)
    assert done + executor.finished == 6 * 8, "nothing twice"
    assert (tmp_path / "parts" / "fitlog.csv").read_text() == (tmp_path / "whole" / "fitlog.csv").read_text()
    assert population.history == whole.history


def test_another_search_is_not_resumed(tmp_path):
    run(tmp_path, max_epochs=20)
    with pytest.raises(SearchFailed, match=r"num_workers is 5, but the search in .* has 6"):
        run(tmp_path, num_workers=5)
    with pytest.raises(SearchFailed, match=r"pbt\.hps is kl_ic_weight, but"):
        run(tmp_path, hps={"kl_ic_weight": {"min": 1, "max": 2}})
    (tmp_path / "population" / "population.json").write_text('{"workers": 6}')
    with pytest.raises(SearchFailed, match="lacks epoch"):
        run(tmp_path)
    (tmp_path / "population" / "population.json").write_text("{")
    with pytest.raises(SearchFailed, match="cannot be read"):
        run(tmp_path)


def changed(folder, change):
    """The state's file after a change that its checksum does not know."""
    path = folder / "population" / "population.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_other_settings_and_other_data_are_not_resumed(tmp_path):
    def search(**settings):
        return dataclasses.replace(search_of(max_epochs=20), **settings)

    def population(found, data):
        return Population(found, ToyExecutor(), Records(tmp_path), 3, data=data)

    data = {"a": {"train": [5, 9, 7], "valid": None, "bin_width_ms": None, "hash": "x"}}
    assert population(search(), data).run() == "max_epochs"
    hp = search().hyperparameters
    for name, value in (("batch_size", 7), ("seed", 4), ("gen_dim", 8), ("kl_increase_steps", 1)):
        with pytest.raises(SearchFailed, match=rf"--resume: {name} is {value}, but the search in .* has"):
            population(search(hyperparameters=dataclasses.replace(hp, **{name: value})), data)
    with pytest.raises(SearchFailed, match=r"pbt\.smoothing is 0\.5, but"):
        population(search(options=dataclasses.replace(search().options, smoothing=0.5)), data)
    other = {"a": data["a"] | {"hash": "y", "train": [6, 9, 7]}}
    with pytest.raises(SearchFailed, match=r"not those of the search in .*: session a: train 5 x 9 x 7 then, 6 x"):
        population(search(), other)
    for name, value in (("device", "cpu:0"), ("num_threads", 1), ("seed", 3), ("keep_prob", 0.5)):
        population(search(hyperparameters=dataclasses.replace(hp, **{name: value})), data)


@pytest.mark.parametrize("change", [
    lambda state: state.update(epoch=15), lambda state: state["members"][0]["values"].update(kl_ic_weight=1.0),
    lambda state: state["history"][0]["scores"].reverse(), lambda state: state.pop("not_finite"),
])  # fmt: skip
def test_a_damaged_state_is_refused(tmp_path, change):
    run(tmp_path, max_epochs=20)
    changed(tmp_path, change)
    with pytest.raises(SearchFailed, match="was damaged after it was written; start again"):
        run(tmp_path, max_epochs=20)


@pytest.mark.parametrize("ending", ["json", "npz"])
@pytest.mark.parametrize("damage", [b"", b"{", b"[1]", bytes(range(256)), None])
def test_a_damaged_result_is_trained_again(tmp_path, ending, damage, caplog):
    """A kill leaves results of an unfinished generation; the search ends as if it had never been killed."""
    whole, _ = run(tmp_path / "whole")
    with pytest.raises(Killed):
        run(tmp_path / "parts", ToyExecutor(kill_after=3))
    path = tmp_path / "parts" / "population" / "generation_0000" / f"worker_001.{ending}"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content if damage is None else damage)
    executor = ToyExecutor()
    again, _ = run(tmp_path / "parts", executor)
    assert "worker 1 trains generation 0 again" in caplog.text
    assert again.history == whole.history and executor.finished == 6 * 8 - 2


def test_a_damaged_model_is_refused(tmp_path):
    stream = io.BytesIO()
    np.savez(stream, weights_000=np.arange(100.0))
    records = Records(tmp_path)
    records.write_result(0, 0, [], stream.getvalue())
    assert records.model_state("generation_0000/worker_000.npz") == stream.getvalue()
    for place in range(0, len(stream.getvalue()), 97):
        content = bytearray(stream.getvalue())
        content[place] ^= 1
        (tmp_path / "population" / "generation_0000" / "worker_000.npz").write_bytes(content)
        try:
            read = records.model_state("generation_0000/worker_000.npz")
        except DamagedRecord as error:
            assert "worker_000.npz" in str(error)
        else:
            with np.load(io.BytesIO(read)) as file:
                np.testing.assert_array_equal(file["weights_000"], np.arange(100.0))


def test_best_of_an_unfinished_first_generation(tmp_path):
    population = Population(search_of(), ToyExecutor(kill_after=3), Records(tmp_path), 1)
    assert population.best_now() is None
    with pytest.raises(Killed):
        population.run()
    assert population.best_now()["worker"] in (0, 1, 2)


def test_lineage():
    history = [
        {"replaced": [{"worker": 0, "copied_from": 2}]},
        {"replaced": [{"worker": 1, "copied_from": 0}, {"worker": 0, "copied_from": 1}]},
        {"replaced": []},
    ]
    assert lineage(history, 1) == [2, 0, 1]
    assert lineage(history, 0) == [1, 1, 0]
    assert lineage(history, 2) == [2, 2, 2]


def test_fit_log_columns(tmp_path):
    run(tmp_path, max_epochs=15)
    log = read_fit_log(tmp_path / "fitlog.csv")
    assert {"worker_id", "generation", "epoch", "step", "valid/recon", "valid/recon_smth", "hp/dropout_rate"} <= set(
        log
    )
    assert len(log["epoch"]) == 6 * 15
