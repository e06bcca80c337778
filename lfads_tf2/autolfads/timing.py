"""What an epoch of a search costs on this machine, measured before a search that has a time to keep to."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from lfads_tf2.autolfads.config import Search
from lfads_tf2.autolfads.planning import Speed
from lfads_tf2.autolfads.population import Executor, Task

# The last round, which counts, takes about so long.
SECONDS = 3.0
SHORT_ROUNDS = (1, 2)


def measured(search: Search, executor_of: Callable[[], Executor]) -> Speed:
    """Trains some epochs with as many workers as the search has at a time, and forgets them.

    Args:
        search: whose models are trained.
        executor_of: makes whoever trains.
    """
    start = time.monotonic()
    executor = executor_of()
    try:
        workers = search.options.num_workers if executor.waits_for_all else executor.parallel
        for epochs in SHORT_ROUNDS:
            begin = time.monotonic()
            _round(search, executor, workers, epochs)
        apart, seconds = begin - start, time.monotonic() - begin
        epochs = min(max(1, int(SHORT_ROUNDS[-1] * SECONDS / seconds)), search.options.perturbation_interval)
        begin = time.monotonic()
        _round(search, executor, workers, epochs)
        return Speed((time.monotonic() - begin) / (workers * epochs), apart, executor.parallel)
    finally:
        executor.close()


def _round(search: Search, executor: Executor, workers: int, epochs: int) -> None:
    values = search.hyperparameters_of(search.first)
    tasks = deque(Task(worker, worker, 0, epochs, values, None) for worker in range(workers))
    for _ in executor.run(tasks):
        pass
