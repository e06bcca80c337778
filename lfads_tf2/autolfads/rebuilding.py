"""Models of a search whose files were lost or damaged: trained again along their line, from what the history records.

Every task of a search depends on its seed, its hyperparameters and the model that it starts from, all of which
``population.json`` tells or leads to. The nearest ancestor that is whole is where training starts; if none is, a fresh
model. On the same device that gives the same numbers.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable

from lfads_tf2.autolfads.generations import score_of
from lfads_tf2.autolfads.records import DamagedRecord, Records, score_from

log = logging.getLogger("lfads_tf2")


def rebuild(
    name: str, history: list[dict], records: Records, train: Callable[..., tuple[list[dict], bytes]], metric: str
) -> None:
    """Trains a model again and writes it in its place, unless it is whole.

    Args:
        name: of the model, as ``Records.model_name`` gives it.
        history: one entry a generation.
        records: files of the search.
        train: of worker, first epoch, epochs, searched values and the model to start from to rows and the model then.
        metric: by which models are compared, to see whether it is the same model again.
    """
    if (why := records.model_problem(name)) is None:
        return
    line, state = _line(name, history, records)
    worker, first = line[-1][1], line[0][0]
    log.warning(
        "%s; training worker %d again from %s, as the history tells.", why, worker,
        f"generation {first}" if first else "the start",
    )  # fmt: skip
    for generation, one in line:
        entry, begin = history[generation], history[generation - 1]["epoch"] if generation else 0
        rows, state = train(one, begin, entry["epoch"] - begin, entry["hyperparameters"][one], state)
    score, before = score_of(rows[-1][metric], metric), score_from(history[line[-1][0]]["scores"][worker])
    if score != before and not (math.isnan(score) and math.isnan(before)):
        log.warning("The model is not the same bit by bit (%s %.9g, was %.9g): another device?", metric, score, before)
    records.write_model(name, state)


def _line(name: str, history: list[dict], records: Records) -> tuple[list[tuple[int, int]], bytes | None]:
    """(generation, worker) of all training from the nearest whole ancestor on, and that ancestor."""
    generation, worker = records.generation_and_worker(name)
    line = [(generation, worker)]
    while generation:
        generation -= 1
        sources = {event["worker"]: event["copied_from"] for event in history[generation]["replaced"]}
        worker = sources.get(worker, worker)
        try:
            return line, records.model_state(records.model_name(generation, worker))
        except DamagedRecord:
            line.insert(0, (generation, worker))
    return line, None
