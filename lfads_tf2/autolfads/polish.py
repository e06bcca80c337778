"""The last part of a search: its best model trains on alone, at a learning rate that falls to 0."""

from __future__ import annotations

import logging
from collections import deque

import numpy as np

from lfads_tf2.autolfads.generations import Generation, score_of
from lfads_tf2.autolfads.records import Records

log = logging.getLogger("lfads_tf2")

# Scores are taken so often; the best of all, these included, stays the best.
STAGES = 4


def polish(population) -> None:
    """Trains the best model for ``polish_epochs`` more, which are numbered from ``max_epochs`` on.

    A search that was killed in the middle of this goes on with the stage that it was at.

    Args:
        population: whose generations have ended (a ``Population``).
    """
    state, options = population.state, population.options
    if not options.polish_epochs:
        return
    best = state["best"]
    begun = state.setdefault("polish", best | {
        "epoch": options.max_epochs, "generation": state["generation"] + 1, "from_generation": best["generation"],
    })  # fmt: skip
    bounds = np.linspace(0, options.polish_epochs, min(STAGES, options.polish_epochs) + 1).round().astype(int)
    for end in options.max_epochs + bounds[1:]:
        if end > begun["epoch"]:
            _stage(population, begun, int(end))


def forget_lost(state: dict, records: Records) -> None:
    """Takes the last training as not begun where one of its models was lost or damaged, so that it is done again.

    Args:
        state: of the population; changed.
        records: files of the search.
    """
    begun = state.get("polish")
    made = [one["state"] for one in (begun, state["best"]) if one and "from_generation" in one]
    why = next((problem for problem in map(records.model_problem, made) if problem), None)
    if why is None:
        return
    log.warning("%s; the best model trains alone again.", why)
    # The log holds more epochs than will be kept.
    del state["polish"], state["fit_log"]
    number, worker = begun["from_generation"], begun["worker"]
    epoch = state["history"][number]["epoch"]
    state["best"] = {
        "worker": worker, "generation": number, "epoch": epoch, "score": begun["score"], "values": begun["values"],
        "state": records.model_name(number, worker),
    }  # fmt: skip


def _stage(population, begun: dict, end: int) -> None:
    """Trains what ``begun`` describes up to an epoch, moves it on, and keeps it where it is the best so far."""
    state, records, worker = population.state, population.records, begun["worker"]
    generation = Generation(begun["generation"], begun["epoch"], end, state["workers"])
    generation.starts[worker] = {"values": begun["values"], "state": begun["state"]}
    rows = population.done_before(worker, generation)
    if rows is None:
        population.in_flight[worker] = generation
        for done in population.executor.run(deque([population.task(worker, generation)])):
            population.keep(done)
        rows = generation.rows[worker]
    metric = population.options.metric
    score = score_of(rows[-1][metric], metric)
    candidate = population.candidate(worker, generation, score, begun["values"])
    begun |= {"epoch": end, "generation": generation.number + 1, "state": candidate["state"]}
    # A score that is not a number is not below any.
    if score < state["best"]["score"]:
        state["best"] = candidate | {"from_generation": begun["from_generation"]}
    state["fit_log"] = records.append_fit_log(rows, state["fit_log"])
    records.commit(state)
    log.info(
        "The best model alone: epoch %d of %d, %s %.6g; best of all %.6g.", end,
        population.options.max_epochs + population.options.polish_epochs, metric, score_of(score, metric),
        score_of(state["best"]["score"], metric),
    )  # fmt: skip
