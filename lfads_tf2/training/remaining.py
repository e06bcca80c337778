"""How long training will go on: epochs from the learning-rate schedule and max_epochs, seconds from recent epochs."""

from __future__ import annotations

import math
from collections import deque
from typing import NamedTuple

from lfads_tf2.hyperparameters import HyperParameters
from lfads_tf2.training.schedules import TrainingState

# How many of the last falls of the learning rate, and of the last epochs, tell how far apart the next ones will be.
RECENT_FALLS, RECENT_EPOCHS = 36, 64
# What one expects without having seen any counts as so many falls, and no wait for more than so many times that: a
# cost that still sinks fast says little of later.
EXPECTED_FALLS, LONGEST_WAIT = 16, 2


class Left(NamedTuple):
    """Time left."""

    seconds: float
    bound: bool  # whether it may well end earlier


def falls_left(learning_rate: float, hp: HyperParameters) -> int:
    """How often the rate has yet to fall until it is below learning_rate_stop; 0 when it is."""
    if learning_rate < hp.learning_rate_stop:
        return 0
    falls = math.log(hp.learning_rate_stop / learning_rate) / math.log(hp.learning_rate_decay_factor)
    # At the stopping rate itself training goes on.
    return math.floor(falls + 1e-9) + 1


class Remaining:
    """Watches epochs end and estimates how many are to come.

    Args:
        hp: for the schedule, max_epochs and early stopping.
        state: where training starts.
    """

    def __init__(self, hp: HyperParameters, state: TrainingState):
        self.hp, self._rate, self._last_fall = hp, state.learning_rate, None
        # A cost that only fluctuates is above the largest of n others one time in n + 1, and after a fall n epochs are
        # waited for.
        self._expected = 2 * hp.learning_rate_n_to_compare + 1
        self._intervals: deque[int] = deque(maxlen=RECENT_FALLS)
        self._ends: deque[float] = deque(maxlen=RECENT_EPOCHS)

    def epoch_done(self, state: TrainingState, now: float) -> None:
        """After an epoch, with the state that it leaves; ``now``: seconds on any clock."""
        self._ends.append(now)
        if state.learning_rate < self._rate:
            if self._last_fall is not None:
                self._intervals.append(min(state.epoch - self._last_fall, LONGEST_WAIT * self._expected))
            self._last_fall = state.epoch
        self._rate = state.learning_rate

    def epochs(self, state: TrainingState) -> float:
        """Epochs to come, as the schedule has it, within max_epochs."""
        if self.hp.learning_rate_schedule == "cosine":
            return self.hp.max_epochs - state.epoch
        seen = EXPECTED_FALLS * self._expected + sum(self._intervals)
        epochs = falls_left(state.learning_rate, self.hp) * seen / (EXPECTED_FALLS + len(self._intervals))
        return min(epochs, self.hp.max_epochs - state.epoch) if self.hp.max_epochs else epochs

    def left(self, state: TrainingState) -> Left | None:
        """Time to the end; None after the first epoch, which is longer than others: in it the program is compiled."""
        if len(self._ends) < 2:
            return None
        pace = (self._ends[-1] - self._ends[0]) / (len(self._ends) - 1)
        return Left(pace * self.epochs(state), bool(self.hp.early_stopping_patience))
