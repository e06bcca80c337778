"""An executor that trains all workers of a search in one compiled program, each step for all of them at once."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from lfads_tf2.autolfads.config import Search
from lfads_tf2.autolfads.members import Members, PopulationEpochs
from lfads_tf2.autolfads.population import Done, SearchFailed, Task
from lfads_tf2.autolfads.slot import Slot, Snapshot, bad_row, epoch_row
from lfads_tf2.data.batches import epoch_batches
from lfads_tf2.data.resident import ResidentTrials
from lfads_tf2.program.devices import Device
from lfads_tf2.training.scalars import SMOOTHED
from lfads_tf2.training.tally import numbers
from lfads_tf2.types import Dials, Session


class BatchedExecutor:
    """Trains all workers in this process, each step for all of them at once.

    Arguments as ``Slot``.

    Raises:
        SearchFailed: the data are too large to stay on the device, or the model cannot be vectorised.
    """

    waits_for_all, parallel = True, 1

    def __init__(self, search: Search, sessions: list[Session], device: Device):
        self.slot, self.search, self.device = Slot(search, sessions, device), search, device
        halves = (self.slot.epochs.train_trials, self.slot.epochs.valid_trials)
        if not all(isinstance(half, ResidentTrials) for half in halves):
            raise SearchFailed(
                "--population_mode=batched needs data that fit on the device, and these are read from disk batch by "
                "batch; use --population_mode=serial or ray"
            )
        hp = search.hyperparameters
        if not device.native and hp.co_dim and hp.feedback_factors_or_rates == "rates":
            raise SearchFailed(
                "--population_mode=batched: a controller that reads rates (feedback_factors_or_rates=rates) cannot be "
                "vectorised; use factors, or --population_mode=serial or ray"
            )
        self.epochs = PopulationEpochs(self.slot, together=not device.native)

    def run(self, tasks: deque[Task]) -> Iterator[Done]:
        """Carries out all tasks that there are, which must be of the same epochs; all come back at the end.

        After the search the best model trains alone, in a program of its own.
        """
        while tasks:
            together = list(tasks)
            tasks.clear()
            if self.search.is_polish(together[0].first_epoch):
                yield from map(self.slot.train, together)
            else:
                yield from self._generation(together)

    def close(self) -> None:
        """Nothing is held."""

    def _generation(self, tasks: list[Task]) -> Iterator[Done]:
        # After a kill some may be done already: copies fill their places, and one program serves all generations.
        filled = [*tasks, *[tasks[0]] * (self.search.options.num_workers - len(tasks))]
        with tf.device(self.device.name):
            members, smoothed = self.enter(filled)
            rows = [[] for _ in filled]
            for epoch in range(tasks[0].first_epoch, tasks[0].first_epoch + tasks[0].epochs):
                members = self._epoch(filled, members, epoch, rows, smoothed)
            for place, task in enumerate(tasks):
                state = self._snapshot(members, place, smoothed[place])
                rows[place][-1] |= self.slot.held_out_figures(math.isfinite(state.smoothed), state.weights)
                yield Done(task.worker, rows[place], state.to_bytes())

    def enter(self, tasks: list[Task]) -> tuple[Members, list[float]]:
        """All tasks' models and settings, stacked, and their running means."""
        states = [
            self.slot.fresh(task.seed) if task.state is None else Snapshot.from_bytes(task.state) for task in tasks
        ]

        def stacked(name):
            return [tf.constant(np.stack(values)) for values in zip(*(getattr(s, name) for s in states), strict=True)]

        def settings(name):
            return tf.constant([task.hyperparameters[name] for task in tasks], tf.float32)

        searched = set(tasks[0].hyperparameters) & set(Dials._fields)
        members = Members(
            stacked("weights"), stacked("first"), stacked("second"), tf.constant([s.step for s in states], tf.int64),
            tf.constant([task.seed for task in tasks], tf.int32),
            tf.constant([self.slot.learning_rate(task) for task in tasks], tf.float32),
            {name: settings(name) for name in sorted(searched)},
        )  # fmt: skip
        return members, [state.smoothed for state in states]

    def _epoch(self, tasks, members: Members, epoch: int, rows: list[list], smoothed: list[float]) -> Members:
        """One epoch of all; adds a row to each member's, and moves its running mean on."""
        batch_size, counts = self.search.hyperparameters.batch_size, self.slot.epochs.train_trials.counts
        orders = [epoch_batches(counts, batch_size, task.seed, epoch) for task in tasks]
        rates = [self.slot.learning_rate(task) * self.search.rate_left(epoch) for task in tasks]
        members = members._replace(learning_rate=tf.constant(rates, tf.float32))
        members, result = self.epochs.train(
            members, *(tf.constant(np.stack(part)) for part in zip(*orders, strict=True))
        )
        valid = self.epochs.validate(members, *self.slot.epochs.validation)
        result, valid, steps = numbers((result, valid, members.step))
        for place, own in enumerate(rows):
            # A model that went bad stays bad.
            if own and not math.isfinite(smoothed[place]):
                own.append(bad_row(own[-1], epoch))
                continue
            one, costs = tf.nest.map_structure(lambda array, p=place: array[p], (result, valid))
            row = epoch_row(epoch, int(steps[place]), one, costs, smoothed[place], self.search.options.smoothing)
            own.append(row)
            smoothed[place] = row[SMOOTHED]
        return members

    def _snapshot(self, members: Members, place: int, smoothed: float) -> Snapshot:
        parts = ([value[place].numpy() for value in part] for part in members[:3])
        return Snapshot(*parts, int(members.step[place]), smoothed)
