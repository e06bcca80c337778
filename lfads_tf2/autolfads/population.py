"""The search: generations of training, after each of which good models replace bad ones. No TensorFlow, no Ray."""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from collections.abc import Iterable
from typing import NamedTuple, Protocol

from lfads_tf2.autolfads import explore, rebuilding
from lfads_tf2.autolfads.config import Search
from lfads_tf2.autolfads.generations import Generation, Succession, next_boundary, score_of
from lfads_tf2.autolfads.polish import forget_lost, polish
from lfads_tf2.autolfads.records import DamagedRecord, Records, score_from
from lfads_tf2.data import fingerprint
from lfads_tf2.errors import LFADSError
from lfads_tf2.hyperparameters import declared
from lfads_tf2.training.scalars import HELD_OUT

log = logging.getLogger("lfads_tf2")

# How many generations a worker may be ahead of the slowest; their models are all on disk.
MOST_AHEAD = 2


class SearchFailed(LFADSError, RuntimeError):
    """A search that cannot go on; the message says why and what to do."""


class Task(NamedTuple):
    """One generation of one worker. Whoever carries it out needs nothing else and may be anyone."""

    worker: int
    seed: int  # of this worker's weights, noise and batches
    first_epoch: int
    epochs: int
    hyperparameters: dict[str, float]  # those that are searched, by the hyperparameter's name
    state: bytes | None  # the model to go on with; None: a fresh one


class Done(NamedTuple):
    """A task carried out."""

    worker: int
    rows: list[dict[str, float]]  # one an epoch; NaN where the model went bad
    state: bytes


class Executor(Protocol):
    """Whoever trains."""

    waits_for_all: bool  # whether it trains a generation's workers together
    parallel: int  # workers that it trains at the same time, each as fast as alone

    def run(self, tasks: deque[Task]) -> Iterable[Done]:
        """Carries out all tasks, in any order, and gives each back as soon as it is done.

        It takes tasks off the front; more may have come to the end whenever it has given one back.
        """


class Watcher:
    """Is told what happens; does nothing by itself."""

    def started(self, population: Population) -> None:
        """Before the first generation of this process."""

    def worker_done(self, population: Population, done: Done, left: int) -> None:
        """A worker has finished its generation; ``left`` have not."""

    def generation_done(self, population: Population, entry: dict, rows: list[dict]) -> None:
        """All have; ``entry`` is the new one of the history, ``rows`` those of the fit log."""


class Population:
    """A search in a run folder.

    Args:
        search: what is searched and how.
        executor: who trains.
        records: its files.
        seed: of everything random in it.
        watcher: is told of progress.
        data: fingerprints of the data, as ``data.fingerprint.fingerprints`` gives them.

    Raises:
        SearchFailed: the folder holds another search than this one, or one of other data, or cannot be read.
    """

    def __init__(
        self, search: Search, executor: Executor, records: Records, seed: int, watcher: Watcher | None = None,
        data: dict[str, dict] | None = None,
    ):  # fmt: skip
        self.search, self.executor, self.records, self.data = search, executor, records, data or {}
        self.options, self.watcher, self.seed = search.options, watcher or Watcher(), seed
        self.started_at, self.started_epoch = time.monotonic(), 0
        self.open, self.in_flight = [], {}
        self.state = self._resumed() if records.exists() else self._fresh()

    @property
    def epoch(self) -> int:
        """Epochs that every worker has finished."""
        return self.state["epoch"]

    @property
    def history(self) -> list[dict]:
        """One entry a generation."""
        return self.state["history"]

    def run(self) -> str:
        """Trains to the end and returns why it ended: ``max_epochs`` or ``no improvement``.

        Raises:
            SearchFailed: no model is left whose score is a number.
        """
        # Before older models are removed, from which it can start.
        self._rebuild_lost()
        # At the very start too: the seed and the starting values must survive a kill in the first generation.
        self.records.commit(self.state)
        epochs = self.state.get("polish", self.state)["epoch"]
        self.state["fit_log"] = self.records.trim_fit_log(epochs, self.state.get("fit_log"))
        self.started_at, self.started_epoch = time.monotonic(), self.epoch
        self.watcher.started(self)
        reason = self._reason_to_end() or self._generations()
        polish(self)
        return reason

    def _generations(self) -> str:
        """Trains until there is a reason to end."""
        self.open, self.in_flight = [self._next_generation(self.state["members"])], {}
        tasks = deque()
        reason = self._go_on(tasks)
        for done in self.executor.run(tasks) if reason is None else ():
            self.keep(done)
            if (reason := self._go_on(tasks)) is not None:
                break
        return reason

    def _rebuild_lost(self) -> None:
        """Trains models again that are still needed and were lost or damaged."""
        forget_lost(self.state, self.records)
        needed = {(self.state.get(one) or {}).get("state") for one in ("best", "first")}
        if self._reason_to_end() is None:
            needed |= {member["state"] for member in self.state["members"]}
        for name in sorted(needed - {None}):
            rebuilding.rebuild(name, self.history, self.records, self._train_alone, self.options.metric)

    def _train_alone(self, *task) -> tuple[list[dict], bytes]:
        """Rows and model of one task; arguments as ``_task_of``."""
        (done,) = self.executor.run(deque([self._task_of(*task)]))
        return done.rows, done.state

    def seconds_left(self) -> float | None:
        """As if it went on to max_epochs; None before the first generation of this process."""
        done = self.epoch - self.started_epoch
        if done < 1:
            return None
        # The best model's own epochs at the end take no more than a share of those of all.
        left = self.options.max_epochs - self.epoch + self.options.polish_epochs / self.state["workers"]
        return (time.monotonic() - self.started_at) / done * left

    def best_now(self) -> dict | None:
        """The best model so far: worker, generation, epochs, score, hyperparameters and name of its state.

        Before the first generation is whole, the best of the workers that have finished theirs; None if none has.
        """
        if self.state["best"] is not None:
            return self.state["best"]
        generation, metric, found = self._next_generation(self.state["members"]), self.options.metric, []
        for worker, member in enumerate(self.state["members"]):
            rows = self.records.result(generation.number, worker)
            if rows and math.isfinite(rows[-1].get(metric, math.nan)):
                found.append(self.candidate(worker, generation, score_of(rows[-1][metric], metric), member["values"]))
        return min(found, key=lambda candidate: candidate["score"], default=None)

    def _fresh(self) -> dict:
        members = Succession(self.search, self.seed).first(self.options.num_workers)
        return {
            "version": 1, "workers": len(members), "seed": self.seed, "search": self.options.search,
            "generation": -1, "epoch": 0, "members": members, "history": [], "best": None, "best_scores": [],
            "not_finite": 0, "settings": self._settings(), "data": self.data,
        }  # fmt: skip

    def _settings(self) -> dict:
        """What may not change in the course of a search: hyperparameters that do not move, and what scores mean."""
        moving = {*(one.target for one in self.search.searched), "learning_rate_stop"}
        hp = self.search.hyperparameters
        fixed = [n for n, f in declared().items() if f.metadata["section"] != "run" and n not in moving]
        options = {f"pbt.{name}": getattr(self.options, name) for name in ("metric", "smoothing")}
        return {name: getattr(hp, name) for name in fixed} | options

    def _resumed(self) -> dict:
        try:
            state = self.records.read()
        except DamagedRecord as error:
            raise SearchFailed(str(error)) from None
        names = sorted(one.name for one in self.search.searched)
        there = sorted(state["members"][0]["values"])
        known, seed = state.setdefault("settings", {}), self.search.hyperparameters.seed
        for what, ours, theirs in (
            ("pbt.num_workers", self.options.num_workers, state["workers"]),
            ("pbt.search", self.options.search, state.get("search")),
            ("pbt.hps", ", ".join(names), ", ".join(there)),
            ("seed", seed if seed >= 0 else state["seed"], state["seed"]),
            *((name, value, known.get(name, value)) for name, value in self._settings().items()),
        ):
            if ours != theirs:
                raise SearchFailed(
                    f"--resume: {what} is {ours}, but the search in {self.records.folder} has {theirs}; give the same "
                    "configuration, or start anew in another --lfads_save_dir"
                )
        wrong = fingerprint.differences(state.setdefault("data", self.data), self.data)
        if wrong:
            raise SearchFailed(
                f"--resume: the data are not those of the search in {self.records.folder}: {'; '.join(wrong)}; bring "
                "them back, or start anew in another --lfads_save_dir"
            )
        self.seed = state["seed"]
        state["best_scores"] = [score_from(score) for score in state["best_scores"]]
        return state

    def _reason_to_end(self) -> str | None:
        if self.epoch >= self.options.max_epochs:
            return "max_epochs"
        patience, ratio = self.options.patience, self.options.min_improvement_ratio
        # A rate that falls to 0 has its own end, and most is gained shortly before it.
        falls = self.search.hyperparameters.learning_rate_schedule == "cosine"
        searches = self.options.search == "pbt" and not falls
        if searches and explore.improved_too_little(self.state["best_scores"], patience, ratio):
            return "no improvement"
        return None

    def _next_generation(self, starts: list[dict | None] | None = None) -> Generation:
        """The one after the last that is open, or after the last whole one."""
        last = self.open[-1] if starts is None else None
        number = last.number + 1 if last else self.state["generation"] + 1
        first = last.end if last else self.epoch
        generation = Generation(number, first, next_boundary(first, self.options), self.state["workers"])
        generation.starts = starts or generation.starts
        return generation

    def keep(self, done: Done) -> None:
        """Keeps what a worker has done of the generation that it is at."""
        generation = self.in_flight.pop(done.worker)
        rows = [self._labelled(row, done.worker, generation) for row in done.rows]
        self.records.write_result(generation.number, done.worker, rows, done.state)
        generation.rows[done.worker] = rows
        oldest = self.open[0] if self.open else generation
        self.watcher.worker_done(self, done._replace(rows=rows), len(oldest.starts) - len(oldest.rows))

    def _go_on(self, tasks: deque) -> str | None:
        """Closes generations that are whole, and hands out what can start; returns why the search ends, if it does."""
        while True:
            while self._start_workers(tasks):
                pass
            if not self.open[0].whole:
                return None
            self._close(self.open[0])
            if (reason := self._reason_to_end()) is not None:
                return reason
            self.open.pop(0)

    def _start_workers(self, tasks: deque) -> bool:
        """Hands out a task to every worker that can go on; True if some of them had been done before a kill."""
        found = False
        for ahead in range(1 if self.executor.waits_for_all else 1 + MOST_AHEAD):
            if ahead == len(self.open):
                if self.open[-1].end >= self.options.max_epochs:
                    break
                self.open.append(self._next_generation())
            generation = self.open[ahead]
            if ahead:
                self._decide(self.open[ahead - 1], generation)
            for worker, start in enumerate(generation.starts):
                if start is None or worker in generation.rows or worker in self.in_flight:
                    continue
                rows = self.done_before(worker, generation)
                if rows is None:
                    self.in_flight[worker] = generation
                    tasks.append(self.task(worker, generation))
                else:
                    generation.rows[worker], found = rows, True
        return found

    def done_before(self, worker: int, generation: Generation) -> list[dict] | None:
        """Rows of a worker's result from before a kill; None if there is none of this generation, or only that of one
        that another configuration would have made of it."""
        rows = self.records.result(generation.number, worker)
        if rows is None or [row["epoch"] for row in rows] != list(range(generation.first_epoch, generation.end)):
            return None
        values, metric = generation.starts[worker]["values"], self.options.metric
        same = all(rows[0].get(f"hp/{name}") == value for name, value in values.items())
        return rows if same and metric in rows[-1] else None

    def _decide(self, before: Generation, generation: Generation) -> None:
        """With what the workers start a generation, as far as it is known."""
        succession = Succession(self.search, self.seed)
        for worker, start in enumerate(generation.starts):
            if start is None:
                try:
                    generation.starts[worker] = succession.start(before, worker)
                except explore.Undecided:
                    continue

    def task(self, worker: int, generation: Generation) -> Task:
        """What a worker is to do in a generation."""
        start, first = generation.starts[worker], generation.first_epoch
        state = self.records.model_state(start["state"])
        return self._task_of(worker, first, generation.end - first, start["values"], state)

    def _task_of(self, worker: int, first_epoch: int, epochs: int, values: dict, state: bytes | None) -> Task:
        seed = int(explore.generator(self.seed, "worker", worker).integers(2**31))
        if worker == 0 and self.search.first is not None:
            # It is the model that one training with these settings makes.
            seed = self.seed
        return Task(worker, seed, first_epoch, epochs, self.search.hyperparameters_of(values), state)

    def _labelled(self, row: dict, worker: int, generation: Generation) -> dict:
        values = generation.starts[worker]["values"]
        hps = {f"hp/{name}": value for name, value in values.items()}
        return {"worker_id": worker, "generation": generation.number} | row | hps

    def candidate(self, worker: int, generation: Generation, score: float, values: dict) -> dict:
        """A model that may be the best, as ``best_now`` gives it."""
        name = self.records.model_name(generation.number, worker)
        return {
            "worker": worker, "generation": generation.number, "epoch": generation.end, "score": score,
            "values": dict(values), "state": name,
        }  # fmt: skip

    def _close(self, generation: Generation) -> None:
        """Moves the state on by one whole generation, logs it, and tells the watcher."""
        state, scores = self.state, generation.scores(self.options.metric)
        if not any(math.isfinite(score) for score in scores.values()):
            raise SearchFailed(
                f"after epoch {generation.end} no worker's {self.options.metric} is a number: every model has "
                "diverged. The last good models are kept. Lower the largest learning rate in pbt.hps or "
                "cell_clip_value (for the models), and look for extreme values in the data"
            )
        if len(self.open) == 1:
            self.open.append(self._next_generation())
        self._decide(generation, self.open[1])
        entry = generation.entry(self.options.metric)
        winner = entry["best_worker"]
        candidate = self.candidate(winner, generation, scores[winner], entry["hyperparameters"][winner])
        # While the ramps rise, costs of different generations do not compare.
        compare = state["best_scores"] or self.options.metric == HELD_OUT
        if state["best"] is None or not compare or scores[winner] < state["best"]["score"]:
            state["best"] = candidate
        first, score = state.get("first"), scores[0]
        if self.search.first and math.isfinite(score) and not (first and compare and first["score"] <= score):
            state["first"] = self.candidate(0, generation, score, entry["hyperparameters"][0])
        if generation.end >= self.options.burn_in_period or self.options.search == "random":
            state["best_scores"].append(state["best"]["score"])
        state["members"] = self.open[1].starts
        state["not_finite"] += sum(event["reason"] == "not finite" for event in entry["replaced"])
        state["generation"], state["epoch"] = generation.number, generation.end
        state["history"].append(entry)
        together = [row for worker in sorted(generation.rows) for row in generation.rows[worker]]
        state["fit_log"] = self.records.append_fit_log(together, state["fit_log"])
        self.records.commit(state)
        self.watcher.generation_done(self, entry, together)
