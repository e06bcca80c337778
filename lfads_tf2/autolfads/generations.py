"""Generations of a search: who starts one with which model and values. Plain numbers; files and training are elsewhere.

A worker's next generation needs its own score and that of the one rival it meets, no more. So workers go on while
others still train, and the numbers are those of a search in which all wait for all.
"""

from __future__ import annotations

import math

from lfads_tf2.autolfads import explore
from lfads_tf2.autolfads.config import Search
from lfads_tf2.autolfads.records import Records
from lfads_tf2.training.scalars import HELD_OUT


def score_of(value: float, metric: str) -> float:
    """A figure of the fit log as a score, of which the lower is the better; and a score as that figure."""
    return -value if metric == HELD_OUT else value


def next_boundary(epoch: int, options) -> int:
    """The epoch at which the generation ends that starts at ``epoch``. The end of the burn-in is always one."""
    interval, burn_in = options.perturbation_interval, options.burn_in_period
    ahead = (burn_in - epoch) % interval or interval
    return min(epoch + ahead, options.max_epochs)


class Generation:
    """One generation of all workers, while it is under way.

    Args:
        number: from 0 on.
        first_epoch, end: its epochs, the end excluded.
        workers: how many there are.
    """

    def __init__(self, number: int, first_epoch: int, end: int, workers: int):
        self.number, self.first_epoch, self.end = number, first_epoch, end
        # What each worker starts with: values of the hyperparameters, and the name of its model (None: a fresh one).
        self.starts: list[dict | None] = [None] * workers
        self.rows: dict[int, list[dict]] = {}  # of the fit log, by worker, of those that have finished
        self.replaced: list[dict] = []  # what happened at its end, one entry a worker that was replaced

    @property
    def whole(self) -> bool:
        """Whether all workers have finished it."""
        return len(self.rows) == len(self.starts)

    def scores(self, metric: str) -> dict[int, float]:
        """Scores of those that have finished; lower is better."""
        return {worker: score_of(rows[-1][metric], metric) for worker, rows in self.rows.items()}

    def entry(self, metric: str) -> dict:
        """What the history tells of it, once it is whole. At least one score must be finite."""
        by_worker = self.scores(metric)
        scores = [by_worker[worker] for worker in range(len(self.starts))]
        finite = [worker for worker, score in enumerate(scores) if math.isfinite(score)]
        return {
            "generation": self.number, "epoch": self.end, "scores": scores,
            "best_worker": min(finite, key=lambda worker: scores[worker]),
            "hyperparameters": [dict(start["values"]) for start in self.starts],
            "replaced": sorted(self.replaced, key=lambda event: event["worker"]),
        }  # fmt: skip


class Succession:
    """Decides with what a worker starts its next generation.

    Args:
        search: what is searched and how.
        seed: of all decisions, each of which draws its own numbers.
    """

    def __init__(self, search: Search, seed: int):
        self.search, self.options, self.seed = search, search.options, seed

    def first(self, workers: int) -> list[dict]:
        """With what the workers start the first generation."""
        everywhere = self.options.search == "random"
        random = [explore.generator(self.seed, "start", worker) for worker in range(workers)]
        starts = [
            {"values": {one.name: explore.start(one, draws, everywhere) for one in self.search.searched}, "state": None}
            for draws in random
        ]
        if self.search.first is not None:
            starts[0]["values"] = dict(self.search.first)
        return starts

    def start(self, generation: Generation, worker: int) -> dict:
        """With what ``worker`` starts the generation after this one; notes it there if the worker is replaced.

        Raises:
            explore.Undecided: it depends on the score of a worker that has not finished.
        """
        replaced = self._replacement(generation, worker)
        if replaced is None:
            own = generation.starts[worker]["values"]
            return {"values": dict(own), "state": Records.model_name(generation.number, worker)}
        source, draws = replaced.source, explore.generator(self.seed, "explore", generation.number, worker)
        copied, scores = generation.starts[source]["values"], generation.scores(self.options.metric)
        values = {one.name: explore.explore(one, copied[one.name], draws) for one in self.search.searched}
        generation.replaced.append({
            "worker": worker, "copied_from": source, "reason": replaced.reason, "score": scores[worker],
            "score_of_source": scores[source], "before": dict(generation.starts[worker]["values"]),
            "copied": dict(copied), "after": values,
        })  # fmt: skip
        return {"values": values, "state": Records.model_name(generation.number, source)}

    def _replacement(self, generation: Generation, worker: int) -> explore.Replacement | None:
        options, scores = self.options, generation.scores(self.options.metric)
        if worker not in scores:
            raise explore.Undecided(worker)
        if options.search == "random" or generation.end >= options.max_epochs:
            return None
        kept = () if self.search.first is None else (0,)
        keeps = generation.end < options.burn_in_period or worker in kept
        if keeps or options.exploit == "tournament":
            random = explore.generator(self.seed, "exploit", generation.number, worker)
            order = explore.rivals(worker, len(generation.starts), random)
            return explore.tournament(worker, order, scores, only_broken=keeps)
        if not generation.whole:
            raise explore.Undecided(worker)
        random = explore.generator(self.seed, "exploit", generation.number)
        ordered = [scores[one] for one in range(len(generation.starts))]
        found = explore.truncation(ordered, options.truncation_fraction, random, kept)
        return next((replaced for replaced in found if replaced.worker == worker), None)
