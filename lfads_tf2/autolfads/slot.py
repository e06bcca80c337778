"""One compiled program that trains any worker of a population: weights, moments, hyperparameters go in and out."""

from __future__ import annotations

import io
import math
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from lfads_tf2.autolfads.config import Search
from lfads_tf2.autolfads.population import Done, Task
from lfads_tf2.data.batches import epoch_batches
from lfads_tf2.model.lfads import LFADS
from lfads_tf2.objective import Costs
from lfads_tf2.program.devices import Device
from lfads_tf2.program.model_building import model_spec, new_model
from lfads_tf2.training import scalars
from lfads_tf2.training.epochs import prepare
from lfads_tf2.training.held_out_score import HeldOutScore
from lfads_tf2.training.optimizer import Adam
from lfads_tf2.training.tally import EpochResult, numbers
from lfads_tf2.types import Dials, Session


class Snapshot(NamedTuple):
    """A model between generations."""

    weights: list[np.ndarray]  # in the order of the model
    first: list[np.ndarray]  # Adam's moments, in the order of the trained variables
    second: list[np.ndarray]
    step: int  # batches taken
    smoothed: float  # running mean of the validation reconstruction; NaN before the first epoch

    def to_bytes(self) -> bytes:
        """An NPZ file; nothing in it is pickled."""
        arrays = {"step": np.array(self.step, np.int64), "smoothed": np.array(self.smoothed, np.float64)}
        for name in ("weights", "first", "second"):
            arrays |= {f"{name}_{index:03d}": value for index, value in enumerate(getattr(self, name))}
        stream = io.BytesIO()
        np.savez(stream, **arrays)
        return stream.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> Snapshot:
        """What ``to_bytes`` wrote."""
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            lists = [
                [file[key] for key in sorted(file.files) if key.startswith(f"{name}_")]
                for name in ("weights", "first", "second")
            ]
            return cls(*lists, int(file["step"]), float(file["smoothed"]))

    @classmethod
    def of(cls, model: LFADS, optimizer: Adam, smoothed: float) -> Snapshot:
        """The values of all variables."""
        lists = ([np.asarray(one) for one in part] for part in (model.weights, optimizer.first, optimizer.second))
        return cls(*lists, int(optimizer.step), smoothed)

    def restore(self, model: LFADS, optimizer: Adam) -> None:
        """Sets all variables."""
        for variables, values in (
            (model.weights, self.weights), (optimizer.first, self.first), (optimizer.second, self.second),
        ):  # fmt: skip
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value)
        optimizer.step.assign(self.step)


class Slot:
    """Trains one worker after another, each as if it were alone.

    Searched hyperparameters, the learning rate and the seed are variables: whatever their values, the epoch is
    compiled once.

    Args:
        search: what is searched.
        sessions: the data, with validation trials.
        device: as ``devices.configure`` returned it.
    """

    def __init__(self, search: Search, sessions: list[Session], device: Device):
        hp = search.hyperparameters
        self.search, self.sessions, self.device = search, sessions, device
        self.spec = model_spec(hp, sessions)
        with tf.device(device.name):
            self.model = new_model(self.spec, sessions, 0, self.device.native)
            self.seed = tf.Variable(0, trainable=False, dtype=tf.int32, name="seed")
            searched = {one.target for one in search.searched}
            settings = Dials.of(hp)._asdict()
            self.dials = Dials(**{
                name: tf.Variable(value, trainable=False, dtype=tf.float32, name=name) if name in searched else value
                for name, value in settings.items()
            })  # fmt: skip
            self.epochs = prepare(self.model, sessions, self.seed, self.device.xla, self.dials)
            self.optimizer = self.epochs.optimizer
            self.held_out = HeldOutScore(self.epochs, sessions)

    def train(self, task: Task) -> Done:
        """Carries a task out."""
        with tf.device(self.device.name):
            smoothed = self.enter(task)
            rows, good = [], True
            for epoch in range(task.first_epoch, task.first_epoch + task.epochs):
                # A model that went bad takes no more time.
                row = self._epoch(task, epoch, smoothed) if good else bad_row(rows[-1], epoch)
                smoothed = row[scalars.SMOOTHED]
                good = good and math.isfinite(smoothed)
                rows.append(row)
            rows[-1] |= self.held_out_figures(good)
            return Done(task.worker, rows, Snapshot.of(self.model, self.optimizer, smoothed).to_bytes())

    def enter(self, task: Task) -> float:
        """Makes the variables those of the task; returns its running mean."""
        state = self.fresh(task.seed) if task.state is None else Snapshot.from_bytes(task.state)
        self.seed.assign(task.seed)
        for name, value in task.hyperparameters.items():
            if name != "learning_rate_init":
                getattr(self.dials, name).assign(value)
        state.restore(self.model, self.optimizer)
        return state.smoothed

    def fresh(self, seed: int) -> Snapshot:
        """A model that has not trained."""
        weights = [np.asarray(weight) for weight in new_model(self.spec, self.sessions, seed, False).weights]
        zeros = [np.zeros(variable.shape, np.float32) for variable in self.optimizer.trained]
        return Snapshot(weights, zeros, zeros, 0, math.nan)

    def learning_rate(self, task: Task) -> float:
        """Of a worker, before its schedule."""
        return task.hyperparameters.get("learning_rate_init", self.search.hyperparameters.learning_rate_init)

    def held_out_figures(self, good: bool, weights: list[np.ndarray] | None = None) -> dict[str, float]:
        """What the last epoch of a generation has in the fit log beside the others, where models are compared by it.

        Args:
            good: whether the model's numbers are finite.
            weights: its weights, which then become the slot's; None: those are its own already.
        """
        if self.search.options.metric != scalars.HELD_OUT:
            return {}
        if not good:
            return dict.fromkeys((scalars.HELD_OUT, scalars.HELD_OUT_ERROR), math.nan)
        for variable, value in zip(self.model.weights, weights or (), strict=weights is not None):
            variable.assign(value)
        score = self.held_out()
        return {scalars.HELD_OUT: score.bits, scalars.HELD_OUT_ERROR: score.error}

    def _epoch(self, task: Task, epoch: int, smoothed: float) -> dict[str, float]:
        self.optimizer.learning_rate.assign(self.learning_rate(task) * self.search.rate_left(epoch))
        counts = self.epochs.train_trials.counts
        sessions, trials = epoch_batches(counts, self.search.hyperparameters.batch_size, task.seed, epoch)
        result = numbers(self.epochs.train(tf.constant(sessions), tf.constant(trials)))
        valid = numbers(self.epochs.validate(*self.epochs.validation))
        return epoch_row(epoch, int(self.optimizer.step), result, valid, smoothed, self.search.options.smoothing)


def epoch_row(
    epoch: int, step: int, result: EpochResult, valid: Costs, smoothed: float, smoothing: float
) -> dict[str, float]:
    """One line of the fit log, from numbers. A model that went bad has NaN for a score."""
    row = scalars.of_half("train", result.costs) | scalars.of_training(result) | scalars.of_half("valid", valid)
    if result.went_bad:
        row["valid/recon"] = math.nan
    recon = row["valid/recon"]
    row[scalars.SMOOTHED] = recon if math.isnan(smoothed) else smoothing * smoothed + (1 - smoothing) * recon
    return {"epoch": epoch, "step": step} | {column: row[name] for name, column in scalars.SEARCH.items()}


def bad_row(last: dict[str, float], epoch: int) -> dict[str, float]:
    """The line of an epoch that was not trained because the model had gone bad before."""
    return dict.fromkeys(last, math.nan) | {"epoch": epoch, "step": last["step"]}


class SerialExecutor:
    """Trains all workers in this process, one after the other, with one compiled program.

    Arguments as ``Slot``.
    """

    waits_for_all, parallel = False, 1

    def __init__(self, search: Search, sessions: list[Session], device: Device):
        self.slot = Slot(search, sessions, device)

    def run(self, tasks: deque[Task]) -> Iterator[Done]:
        """Carries out all tasks in order."""
        while tasks:
            yield self.slot.train(tasks.popleft())

    def close(self) -> None:
        """Nothing is held."""
