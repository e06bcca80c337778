"""What a person sees while training runs: a progress bar and TensorBoard."""

from __future__ import annotations

import logging
import math
import signal
import sys
import threading
import time
from pathlib import Path

import tensorflow as tf
from tqdm import tqdm

from lfads_tf2.hyperparameters import HyperParameters
from lfads_tf2.training.fit_log import parse_line
from lfads_tf2.training.scalars import TRUTH_R2
from lfads_tf2.training.schedules import TrainingState

log = logging.getLogger("lfads_tf2")

# Where standard error is not a terminal, a line now and then is enough.
SECONDS_BETWEEN_LINES = 30.0


def minutes(seconds: float) -> str:
    """A duration as people say it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


class Progress:
    """A bar with epoch, costs, learning rate and an estimate of the time left to the stopping rate."""

    def __init__(self, hp: HyperParameters, state: TrainingState, show: bool):
        self.hp = hp
        self.start_time, self.start_epoch, self.start_rate = time.monotonic(), state.epoch, state.learning_rate
        on_terminal = sys.stderr.isatty()
        self.bar = tqdm(
            initial=state.epoch,
            total=hp.max_epochs or None,
            unit=" epochs",
            disable=not show,
            mininterval=0.5 if on_terminal else SECONDS_BETWEEN_LINES,
            bar_format=None if hp.max_epochs else "epoch {n_fmt} [{elapsed}, {rate_fmt}] {postfix}",
        )

    def seconds_left(self, state: TrainingState) -> float | None:
        """Time to the stopping rate at the pace at which the rate has fallen so far; None before it has."""
        fallen = math.log(self.start_rate / state.learning_rate)
        estimates = []
        elapsed = time.monotonic() - self.start_time
        if fallen > 0:
            estimates.append(elapsed * max(math.log(state.learning_rate / self.hp.learning_rate_stop), 0.0) / fallen)
        if self.hp.max_epochs and state.epoch > self.start_epoch:
            estimates.append(elapsed / (state.epoch - self.start_epoch) * (self.hp.max_epochs - state.epoch))
        return min(estimates) if estimates else None

    def update(self, state: TrainingState, line: str) -> None:
        """After an epoch, with its line of the fit log."""
        if self.bar.disable:
            return
        row, left = parse_line(line), self.seconds_left(state)
        valid = f" valid {row['total_valid']:.1f}" if "total_valid" in row else ""
        left = "" if left is None else f", about {minutes(left)} left"
        self.bar.set_postfix_str(f"train {row['total_train']:.1f}{valid} rate {state.learning_rate:.2g}{left}", False)
        self.bar.update()

    def close(self) -> None:
        """Leaves the bar as it is and goes to a new line."""
        self.bar.close()


class Interrupts:
    """Ctrl-C asks training to end after the epoch in progress; a second one ends it at once."""

    def __init__(self):
        self.asked, self._previous = False, None
        # Only the main thread is told of signals.
        if threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(signal.SIGINT, self._ask)

    def _ask(self, *_) -> None:
        self.asked = True
        signal.signal(signal.SIGINT, signal.default_int_handler)
        log.warning("Ending after this epoch (Ctrl-C again: at once, back to the last checkpoint).")

    def close(self) -> None:
        """Gives Ctrl-C back."""
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)


class TensorBoard:
    """Scalars of each epoch in ``lfads_log/``, under the names of metrics.csv."""

    def __init__(self, folder: Path, model):
        self.model = model
        self._written: dict[str, float] = {}
        self.writer = tf.summary.create_file_writer(str(folder))
        self._names: list[str] = []

    def write(self, row: dict[str, float]) -> None:
        """After an epoch: its row of metrics.csv, and what the prior of each inferred input learned."""
        scalars = {name: value for name, value in row.items() if name not in ("epoch", "step")}
        if self.model.has_controller and self.model.co_prior is not None:
            for name, values in self.model.co_prior.learned().items():
                scalars |= {f"{name}/{index}": value for index, value in enumerate(values)}
        # What is there now and then only, and settings, which hardly ever change, stay out of the compiled call.
        rare = {name: scalars.pop(name) for name in [*scalars] if name == TRUTH_R2 or name.startswith("hp/")}
        if list(scalars) != self._names:
            self._names, self._write = list(scalars), tf.function(self._write_all)
        self._write(tf.constant([float(value) for value in scalars.values()]), tf.constant(row["step"], tf.int64))
        with self.writer.as_default(step=row["step"]):
            for name, value in rare.items():
                if value != self._written.get(name):
                    tf.summary.scalar(name, value)
        self._written = rare

    def _write_all(self, values, step) -> None:
        """Compiled, since a dozen summaries one by one take longer than a step of a small model."""
        with self.writer.as_default():
            for index, name in enumerate(self._names):
                tf.summary.scalar(name, values[index], step=step)

    def close(self) -> None:
        """Flushes what is pending."""
        self.writer.close()
