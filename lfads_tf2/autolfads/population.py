"""The search: generations of training, after each of which good models replace bad ones. No TensorFlow, no Ray."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterable
from typing import NamedTuple, Protocol

from lfads_tf2.autolfads import explore
from lfads_tf2.autolfads.config import Search
from lfads_tf2.autolfads.records import Records, score_from
from lfads_tf2.autolfads.searched import coerced

log = logging.getLogger("lfads_tf2")


class SearchFailed(RuntimeError):
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

    def run(self, tasks: list[Task]) -> Iterable[Done]:
        """Carries out all tasks, in any order, and gives each back as soon as it is done."""


class Watcher:
    """Is told what happens; does nothing by itself."""

    def started(self, population: Population) -> None:
        """Before the first generation of this process."""

    def worker_done(self, population: Population, done: Done, left: int) -> None:
        """A worker has finished its generation; ``left`` have not."""

    def generation_done(self, population: Population, entry: dict, rows: list[dict]) -> None:
        """All have; ``entry`` is the new one of the history, ``rows`` those of the fit log."""


def next_boundary(epoch: int, options) -> int:
    """The epoch at which the generation ends that starts at ``epoch``. The end of the burn-in is always one."""
    interval, burn_in = options.perturbation_interval, options.burn_in_period
    ahead = (burn_in - epoch) % interval or interval
    return min(epoch + ahead, options.max_epochs)


class Population:
    """A search in a run folder.

    Args:
        search: what is searched and how.
        executor: who trains.
        records: its files.
        seed: of everything random in it.
        watcher: is told of progress.

    Raises:
        SearchFailed: the folder holds another search than this one.
    """

    def __init__(self, search: Search, executor: Executor, records: Records, seed: int, watcher: Watcher | None = None):
        self.search, self.executor, self.records = search, executor, records
        self.options, self.watcher, self.seed = search.options, watcher or Watcher(), seed
        self.started_at, self.started_epoch = time.monotonic(), 0
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
        # At the very start too: the seed and the starting values must survive a kill in the first generation.
        self.records.commit(self.state)
        self.records.trim_fit_log(self.epoch)
        self.started_at, self.started_epoch = time.monotonic(), self.epoch
        self.watcher.started(self)
        while (reason := self._reason_to_end()) is None:
            self._generation()
        return reason

    def seconds_left(self) -> float | None:
        """As if it went on to max_epochs; None before the first generation of this process."""
        done = self.epoch - self.started_epoch
        if done < 1:
            return None
        return (time.monotonic() - self.started_at) / done * (self.options.max_epochs - self.epoch)

    def best_now(self) -> dict | None:
        """The best model so far: worker, generation, score, hyperparameters and name of its state.

        Before the first generation is whole, the best of the workers that have finished theirs; None if none has.
        """
        if self.state["best"] is not None:
            return self.state["best"]
        generation, found = self.state["generation"] + 1, []
        for worker, member in enumerate(self.state["members"]):
            rows = self.records.result(generation, worker)
            if rows and math.isfinite(rows[-1][self.options.metric]):
                found.append(self._candidate(worker, generation, rows[-1][self.options.metric], member["values"]))
        return min(found, key=lambda candidate: candidate["score"], default=None)

    def _fresh(self) -> dict:
        random = [explore.generator(self.seed, "start", worker) for worker in range(self.options.num_workers)]
        everywhere = self.options.search == "random"
        members = [
            {"values": {one.name: explore.start(one, draws, everywhere) for one in self.search.searched}, "state": None}
            for draws in random
        ]
        return {
            "version": 1, "workers": len(members), "seed": self.seed, "search": self.options.search,
            "generation": -1, "epoch": 0, "members": members, "history": [], "best": None, "best_scores": [],
            "not_finite": 0,
        }  # fmt: skip

    def _resumed(self) -> dict:
        try:
            state = self.records.read()
        except ValueError as error:
            raise SearchFailed(str(error)) from None
        names = sorted(one.name for one in self.search.searched)
        there = sorted(state["members"][0]["values"])
        for what, ours, theirs in (
            ("pbt.num_workers", self.options.num_workers, state["workers"]),
            ("pbt.search", self.options.search, state.get("search")),
            ("pbt.hps", ", ".join(names), ", ".join(there)),
        ):
            if ours != theirs:
                raise SearchFailed(
                    f"--resume: {what} is {ours}, but the search in {self.records.folder} has {theirs}; give the same "
                    "configuration, or start anew in another --lfads_save_dir"
                )
        self.seed = state["seed"]
        state["best_scores"] = [score_from(score) for score in state["best_scores"]]
        return state

    def _reason_to_end(self) -> str | None:
        if self.epoch >= self.options.max_epochs:
            return "max_epochs"
        patience, ratio = self.options.patience, self.options.min_improvement_ratio
        if self.options.search == "pbt" and explore.improved_too_little(self.state["best_scores"], patience, ratio):
            return "no improvement"
        return None

    def _generation(self) -> None:
        generation, end = self.state["generation"] + 1, next_boundary(self.epoch, self.options)
        rows = {worker: self.records.result(generation, worker) for worker in range(self.state["workers"])}
        tasks = [self._task(worker, end) for worker, there in rows.items() if there is None]
        left = len(tasks)
        for done in self.executor.run(tasks):
            done = done._replace(rows=[self._labelled(row, done.worker, generation) for row in done.rows])
            self.records.write_result(generation, done.worker, done.rows, done.state)
            rows[done.worker], left = done.rows, left - 1
            self.watcher.worker_done(self, done, left)
        together = [row for worker in sorted(rows) for row in rows[worker]]
        entry = self._decide(generation, end, [rows[worker][-1][self.options.metric] for worker in sorted(rows)])
        self.records.append_fit_log(together)
        self.records.commit(self.state)
        self.watcher.generation_done(self, entry, together)

    def _task(self, worker: int, end: int) -> Task:
        member = self.state["members"][worker]
        seed = int(explore.generator(self.seed, "worker", worker).integers(2**31))
        return Task(
            worker, seed, self.epoch, end - self.epoch, self._applied(member["values"]),
            self.records.model_state(member["state"]),
        )  # fmt: skip

    def _applied(self, values: dict[str, float]) -> dict[str, float]:
        return {one.target: coerced(one.target, one.applied(values[one.name])) for one in self.search.searched}

    def _labelled(self, row: dict, worker: int, generation: int) -> dict:
        values = self.state["members"][worker]["values"]
        hps = {f"hp/{name}": value for name, value in values.items()}
        return {"worker_id": worker, "generation": generation} | row | hps

    def _candidate(self, worker: int, generation: int, score: float, values: dict) -> dict:
        name = self.records.model_name(generation, worker)
        return {"worker": worker, "generation": generation, "score": score, "values": dict(values), "state": name}

    def _decide(self, generation: int, end: int, scores: list[float]) -> dict:
        """Moves the state on by one generation and returns the history's new entry."""
        state, members = self.state, self.state["members"]
        finite = [worker for worker, score in enumerate(scores) if math.isfinite(score)]
        if not finite:
            raise SearchFailed(
                f"after epoch {end} no worker's {self.options.metric} is a number: every model has diverged. The last "
                "good models are kept. Lower the largest learning rate in pbt.hps or cell_clip_value (for the models), "
                "and look for extreme values in the data"
            )
        winner = min(finite, key=lambda worker: scores[worker])
        candidate = self._candidate(winner, generation, scores[winner], members[winner]["values"])
        counts = end >= self.options.burn_in_period or self.options.search == "random"
        # While the ramps rise, scores of different generations do not compare.
        if state["best"] is None or not state["best_scores"] or scores[winner] < state["best"]["score"]:
            state["best"] = candidate
        if counts:
            state["best_scores"].append(state["best"]["score"])
        for worker, member in enumerate(members):
            member["state"] = self.records.model_name(generation, worker)
        entry = {
            "generation": generation, "epoch": end, "scores": scores, "best_worker": winner,
            "hyperparameters": [dict(member["values"]) for member in members],
            "replaced": self._replace(generation, end, scores),
        }  # fmt: skip
        state["generation"], state["epoch"] = generation, end
        state["history"].append(entry)
        return entry

    def _replace(self, generation: int, end: int, scores: list[float]) -> list[dict]:
        """Losers take over winners' models and hyperparameters, which then move; returns what happened."""
        options, members = self.options, self.state["members"]
        random = explore.generator(self.seed, "exploit", generation)
        if options.search == "random" or end >= options.max_epochs:
            return []
        if end < options.burn_in_period:
            replaced = explore.only_broken(scores, random)
        elif options.exploit == "tournament":
            replaced = explore.tournament(scores, random)
        else:
            replaced = explore.truncation(scores, options.truncation_fraction, random)
        before = [dict(member["values"]) for member in members]
        events = []
        for worker, source, reason in replaced:
            draws = explore.generator(self.seed, "explore", generation, worker)
            values = {one.name: explore.explore(one, before[source][one.name], draws) for one in self.search.searched}
            members[worker] = {"values": values, "state": self.records.model_name(generation, source)}
            self.state["not_finite"] += reason == "not finite"
            events.append({
                "worker": worker, "copied_from": source, "reason": reason, "score": scores[worker],
                "score_of_source": scores[source], "before": before[worker], "copied": before[source], "after": values,
            })  # fmt: skip
        return events
