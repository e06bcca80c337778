"""The learning-rate rule and the lowest-validation-error rule, as plain values that a checkpoint can hold."""

from __future__ import annotations

import dataclasses
import json
import math

from lfads_tf2.hyperparameters import HyperParameters

# Weight of the newest epoch in the exponential smoothing of the validation reconstruction.
SMOOTHING = 0.3


@dataclasses.dataclass
class TrainingState:
    """What training remembers between epochs beside weights and moments."""

    epoch: int = 0  # epochs finished
    learning_rate: float = 0.0
    cost_history: list[float] = dataclasses.field(default_factory=list)
    best_valid: float = math.inf
    rollbacks: int = 0
    smoothed_valid: float | None = None  # validation reconstruction, smoothed exponentially
    best_smoothed: float = math.inf
    epochs_since_best: int = 0
    epochs_since_fall: int = 0  # of the learning rate or of the smoothed reconstruction, whichever was later
    failed: str = ""  # why training gave up; empty as long as it has not
    logged: dict[str, int] = dataclasses.field(default_factory=dict)  # checksum of each log's epochs, by file name
    smoothed_recon: float | None = None  # the last of metrics.csv

    def to_json(self) -> str:
        """One line of JSON."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> TrainingState:
        """The state that ``to_json`` wrote."""
        return cls(**json.loads(text))


def update_learning_rate(state: TrainingState, hp: HyperParameters, train_total: float) -> bool:
    """Applies the original's rule after an epoch; True when the rate fell.

    The rate falls when more than learning_rate_n_to_compare costs are on record and this epoch's training total is
    above the largest of the last ones; infinity is then recorded in its place, so that as many epochs pass before the
    next fall.
    """
    compared = hp.learning_rate_n_to_compare
    falls = len(state.cost_history) > compared and train_total > max(state.cost_history[-compared:])
    if falls:
        state.learning_rate *= hp.learning_rate_decay_factor
    state.cost_history.append(math.inf if falls else train_total)
    # Only the last ones and "more than that many are on record" ever matter.
    state.cost_history = state.cost_history[-(compared + 1) :]
    return falls


def smoothed(before: float | None, new: float) -> float | None:
    """The smoothed value after one more epoch; ``before`` is None at the first. What is not finite changes nothing."""
    if not math.isfinite(new):
        return before
    return new if before is None or not math.isfinite(before) else SMOOTHING * new + (1 - SMOOTHING) * before


def watch_validation(state: TrainingState, value: float, epochs: int = 1) -> None:
    """Notes the validation reconstruction (or what else is to fall) of an epoch, for the plateau schedule and for early
    stopping. ``epochs``: since the last value.

    One that is not finite says nothing about either.
    """
    if not math.isfinite(value):
        return
    state.smoothed_valid = smoothed(state.smoothed_valid, value)
    if state.smoothed_valid < state.best_smoothed:
        state.best_smoothed = state.smoothed_valid
        state.epochs_since_best = state.epochs_since_fall = 0
    else:
        state.epochs_since_best += epochs
        state.epochs_since_fall += epochs


def update_learning_rate_on_plateau(state: TrainingState, hp: HyperParameters) -> bool:
    """The rate falls when the smoothed validation reconstruction has not fallen for more than
    learning_rate_n_to_compare epochs since it or the rate last fell; True then."""
    falls = state.epochs_since_fall > hp.learning_rate_n_to_compare
    if falls:
        state.learning_rate *= hp.learning_rate_decay_factor
        state.epochs_since_fall = 0
    return falls


def update_learning_rate_by_cosine(state: TrainingState, hp: HyperParameters) -> None:
    """The rate of the epoch to come: along half a cosine from learning_rate_init to 0 at max_epochs (Loshchilov and
    Hutter 2017), halved by each rollback."""
    state.learning_rate = hp.learning_rate_init * half_cosine(state.epoch + 1, hp.max_epochs) * 0.5**state.rollbacks


def half_cosine(epoch: int, end: int) -> float:
    """What is left of 1 at ``epoch`` on the way along half a cosine from 1 at epoch 0 to 0 at ``end``."""
    return 0.5 * (1.0 + math.cos(math.pi * min(epoch / end, 1.0)))


def is_lowest_validation(state: TrainingState, hp: HyperParameters, kl_weight, l2_weight, valid_total) -> bool:
    """Whether this epoch's weights are the lowest-validation-error checkpoint; records the cost if so.

    Both ramps must be complete (L2 only where it is used), and the first epoch never counts.
    """
    l2_complete = l2_weight >= 1 or (hp.l2_gen_scale == 0 and hp.l2_con_scale == 0)
    lower = math.isfinite(valid_total) and valid_total < state.best_valid
    if kl_weight >= 1 and l2_complete and state.epoch > 0 and lower:
        state.best_valid = float(valid_total)
        return True
    return False
