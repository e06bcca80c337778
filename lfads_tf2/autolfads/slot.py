"""One compiled program that trains any worker of a population: weights, moments, hyperparameters go in and out."""

from __future__ import annotations

import io
import math
import os
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from lfads_tf2.autolfads.config import Search
from lfads_tf2.autolfads.population import Done, Task
from lfads_tf2.data.batches import epoch_batches, validation_batches
from lfads_tf2.program.devices import Device
from lfads_tf2.program.model_building import model_spec, new_model
from lfads_tf2.training.epochs import BAD_STEPS_IN_A_ROW, Epochs
from lfads_tf2.training.trainer import Trainer
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
            # The trainer puts the trials on the device; its own loop is not used, and no folder.
            trainer = Trainer(self.model, sessions, Path(os.devnull) / "none", 0, show_progress=False)
            self.optimizer, self.trials = trainer.optimizer, (trainer.train_trials, trainer.valid_trials)
            self.seed = tf.Variable(0, trainable=False, dtype=tf.int32, name="seed")
            searched = {one.target for one in search.searched}
            settings = Dials.of(hp)._asdict()
            self.dials = Dials(**{
                name: tf.Variable(value, trainable=False, dtype=tf.float32, name=name) if name in searched else value
                for name, value in settings.items()
            })  # fmt: skip
            self.epochs = Epochs(self.model, self.optimizer, *self.trials, self.seed, self.device.xla, self.dials)
            batches = validation_batches(self.trials[1].counts, hp.batch_size)
            self.validation = [tf.constant(part) for part in batches]

    def train(self, task: Task) -> Done:
        """Carries a task out."""
        with tf.device(self.device.name):
            smoothed = self.enter(task)
            rows, good = [], True
            for epoch in range(task.first_epoch, task.first_epoch + task.epochs):
                # A model that went bad takes no more time.
                row = self._epoch(task.seed, epoch, smoothed) if good else bad_row(rows[-1], epoch)
                smoothed = row["valid/recon_smth"]
                good = good and math.isfinite(smoothed)
                rows.append(row)
            return Done(task.worker, rows, self.snapshot(smoothed).to_bytes())

    def enter(self, task: Task) -> float:
        """Makes the variables those of the task; returns its running mean."""
        state = self.fresh(task.seed) if task.state is None else Snapshot.from_bytes(task.state)
        self.seed.assign(task.seed)
        for name, value in task.hyperparameters.items():
            variable = self.optimizer.learning_rate if name == "learning_rate_init" else getattr(self.dials, name)
            variable.assign(value)
        if "learning_rate_init" not in task.hyperparameters:
            self.optimizer.learning_rate.assign(self.search.hyperparameters.learning_rate_init)
        self.restore(state)
        return state.smoothed

    def fresh(self, seed: int) -> Snapshot:
        """A model that has not trained."""
        weights = [np.asarray(weight) for weight in new_model(self.spec, self.sessions, seed, False).weights]
        zeros = [np.zeros(variable.shape, np.float32) for variable in self.optimizer.targets]
        return Snapshot(weights, zeros, zeros, 0, math.nan)

    def restore(self, state: Snapshot) -> None:
        """Sets all variables."""
        pairs = [
            *zip([weight.value for weight in self.model.weights], state.weights, strict=True),
            *zip(self.optimizer.first, state.first, strict=True),
            *zip(self.optimizer.second, state.second, strict=True),
        ]
        for variable, value in pairs:
            variable.assign(value)
        self.optimizer.step.assign(state.step)

    def snapshot(self, smoothed: float) -> Snapshot:
        """The values of all variables."""
        weights = [np.asarray(weight) for weight in self.model.weights]
        moments = [[variable.numpy() for variable in part] for part in (self.optimizer.first, self.optimizer.second)]
        return Snapshot(weights, *moments, int(self.optimizer.step), smoothed)

    def _epoch(self, seed: int, epoch: int, smoothed: float) -> dict[str, float]:
        sessions, trials = epoch_batches(self.trials[0].counts, self.search.hyperparameters.batch_size, seed, epoch)
        result = self.epochs.train(tf.constant(sessions), tf.constant(trials))
        result = tf.nest.map_structure(lambda tensor: tensor.numpy(), result)
        valid = self.epochs.validate(*self.validation)
        given_up = result.bad_in_a_row >= BAD_STEPS_IN_A_ROW or not result.weights_finite
        return epoch_row(
            epoch, int(self.optimizer.step), result, valid, smoothed, self.search.options.smoothing, given_up
        )


def epoch_row(
    epoch: int, step: int, result, valid, smoothed: float, smoothing: float, given_up: bool
) -> dict[str, float]:
    """One line of the fit log. Costs in nats a trial; a model that was given up has NaN."""
    recon = math.nan if given_up else float(valid.recon)
    running = recon if math.isnan(smoothed) else smoothing * smoothed + (1 - smoothing) * recon
    numbers = {
        "train/loss": result.costs.total, "train/recon": result.costs.recon, "train/wt_kl": result.costs.kl,
        "train/wt_l2": result.costs.l2, "train/wt_kl/ramp": result.kl_weight, "train/wt_l2/ramp": result.l2_weight,
        "valid/loss": valid.total, "valid/recon": recon, "valid/recon_smth": running, "valid/wt_kl": valid.kl,
        "gradient_norm": result.gradient_norm,
    }  # fmt: skip
    return {"epoch": epoch, "step": step} | {name: float(value) for name, value in numbers.items()}


def bad_row(last: dict[str, float], epoch: int) -> dict[str, float]:
    """The line of an epoch that was not trained because the model had gone bad before."""
    return dict.fromkeys(last, math.nan) | {"epoch": epoch, "step": last["step"]}


class SerialExecutor:
    """Trains all workers in this process, one after the other, with one compiled program.

    Arguments as ``Slot``.
    """

    waits_for_all = False

    def __init__(self, search: Search, sessions: list[Session], device: Device):
        self.slot = Slot(search, sessions, device)

    def run(self, tasks: deque[Task]) -> Iterator[Done]:
        """Carries out all tasks in order."""
        while tasks:
            yield self.slot.train(tasks.popleft())

    def close(self) -> None:
        """Nothing is held."""
