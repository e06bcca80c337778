"""What a person sees while a model trains, and Ctrl-C."""

from __future__ import annotations

import logging
import math
import signal
import threading
import time

from lfads_tf2.hyperparameters import HyperParameters
from lfads_tf2.training.remaining import Remaining
from lfads_tf2.training.schedules import TrainingState
from lfads_tf2.training.status_line import StatusLine, duration

log = logging.getLogger("lfads_tf2")


def digits(value: float) -> str:
    """A cost with five digits that count, whatever its unit."""
    if not math.isfinite(value) or value == 0:
        return f"{value:g}"
    return f"{value:.{min(6, max(0, 4 - math.floor(math.log10(abs(value)))))}f}"


def at_full_weight(row: dict[str, float], half: str) -> float:
    """The cost of one half as if the ramps were complete, so that epochs compare; ``row``: of metrics.csv."""
    rising = (1 - row["kl_weight"]) * row[f"{half}/kl"] + (1 - row["l2_weight"]) * row["l2"]
    return row[f"{half}/total"] + rising


class Progress:
    """One line: epoch, phase, costs, learning rate and time left.

    Args:
        hp: of the model.
        state: where training starts.
        show: False shows nothing.
    """

    def __init__(self, hp: HyperParameters, state: TrainingState, show: bool):
        self.hp, self.line = hp, StatusLine(show)
        self.remaining = Remaining(hp, state)
        ends = [hp.kl_start_step + hp.kl_increase_steps]
        if hp.l2_gen_scale or hp.l2_con_scale:
            ends.append(hp.l2_start_step + hp.l2_increase_steps)
        self._warm_up_steps = max(ends)

    def update(self, state: TrainingState, row: dict[str, float]) -> None:
        """After an epoch, with its row of metrics.csv."""
        self.remaining.epoch_done(state, time.monotonic())
        if not self.line.shown:
            return
        of = f"/{self.hp.max_epochs}" if self.hp.max_epochs else ""
        warm = row["step"] / self._warm_up_steps if self._warm_up_steps else 1.0
        costs = [
            (4 if half == "valid" else 3, f"{half} {digits(at_full_weight(row, half))}")
            for half in ("train", "valid") if f"{half}/total" in row
        ]  # fmt: skip
        phase = f"warm-up {100 * warm:.0f} %" if warm < 1 else ""
        rate = f"rate {state.learning_rate:.2g}"
        self.line.update([(5, f"epoch {state.epoch}{of}"), (2, phase), *costs, (1, rate), (6, self._left(state))])

    def _left(self, state: TrainingState) -> str:
        left = self.remaining.left(state)
        if left is None:
            return ""
        return f"{'at most' if left.bound else 'about'} {duration(left.seconds)} left"

    def close(self) -> None:
        """Leaves the line as it is and goes to a new one."""
        self.line.close()


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
