"""The training loop: epochs, learning rate, checkpoints, logs, and what happens when numbers go bad."""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from lfads_tf2.data.batches import epoch_batches
from lfads_tf2.errors import LFADSError
from lfads_tf2.hyperparameters import HyperParameters
from lfads_tf2.model.lfads import LFADS
from lfads_tf2.model.names import original_names
from lfads_tf2.objective import Costs
from lfads_tf2.settings import checkpoint_files
from lfads_tf2.tracing import traced
from lfads_tf2.training import checkpoints
from lfads_tf2.training.epoch_metrics import EpochMetrics, TruthR2
from lfads_tf2.training.epochs import prepare
from lfads_tf2.training.fit_log import EpochCosts, FitLog, format_line
from lfads_tf2.training.held_out_score import HeldOutScore
from lfads_tf2.training.metrics_log import MetricsLog
from lfads_tf2.training.progress import Interrupts, Progress
from lfads_tf2.training.scalars import HELD_OUT, HELD_OUT_ERROR, TRUTH_R2
from lfads_tf2.training.schedules import (
    TrainingState,
    is_lowest_validation,
    update_learning_rate,
    update_learning_rate_by_cosine,
    update_learning_rate_on_plateau,
    watch_validation,
)
from lfads_tf2.training.tally import EpochResult, numbers
from lfads_tf2.training.tensorboard import TensorBoard
from lfads_tf2.types import Session

log = logging.getLogger("lfads_tf2")

EPOCHS_BETWEEN_CHECKPOINTS = 10
# R² against true rates takes a pass over the validation trials.
EPOCHS_BETWEEN_R2 = 10
# The learning rate after weights went bad and training fell back on good ones.
ROLLBACK_FACTOR = 0.5


class TrainingFailed(LFADSError, RuntimeError):
    """Training could not go on; the message says why and what to try."""


def _writer(saved: tf.train.Checkpoint, hp: HyperParameters) -> Callable:
    """Writes ``saved`` to a prefix: compiled, in a fifth of the time, once two saves show that the trace will pay."""
    compiled, saves = traced(saved.write, hp), itertools.count()
    return lambda prefix: (saved.write if next(saves) < 2 else compiled)(prefix)


class Trainer:
    """Trains a model on sessions, and leaves checkpoints and logs in a folder.

    Args:
        model: fresh, or with weights to start from.
        sessions: in the order of ``model.spec.sessions``.
        save_dir: the run folder; it must exist. Training resumes from a checkpoint in it.
        seed: of every random draw.
        show_progress: draw a progress bar.
        jit_compile: compile the training step with XLA.
        strategy: shares each batch between devices; the model must have been made in its scope.
        callbacks: each is called after every epoch with that epoch's row of metrics.csv, a number by name.
    """

    def __init__(
        self,
        model: LFADS,
        sessions: list[Session],
        save_dir: Path,
        seed: int,
        show_progress: bool = True,
        jit_compile: bool = False,
        strategy: tf.distribute.Strategy | None = None,
        callbacks: Sequence[Callable[[dict[str, float]], object]] = (),
    ):
        hp = model.spec.hyperparameters
        self.model, self.hp, self.save_dir, self.seed = model, hp, Path(save_dir), seed
        self.epochs = prepare(model, sessions, seed, jit_compile, strategy=strategy)
        self.optimizer = self.epochs.optimizer
        shared_by = 1 if strategy is None else strategy.num_replicas_in_sync
        if min(hp.batch_size, *self.epochs.train_trials.counts) % shared_by:
            raise TrainingFailed(f"--batch_size must be a multiple of the {shared_by} GPUs that share it; lower it")
        self.metrics = EpochMetrics(model.spec, sessions)
        self.truth_r2 = TruthR2(model.spec, sessions, self._valid_rates)
        self.held_out = HeldOutScore(self.epochs, sessions) if hp.held_out_epochs else None
        self.state = TrainingState(learning_rate=hp.learning_rate_init)
        self._state_text = tf.Variable("", trainable=False, dtype=tf.string, name="training_state")
        saved = tf.train.Checkpoint(model=model, optimizer=self.optimizer, training_state=self._state_text)
        write = _writer(saved, hp)
        self.rolling, self.lowest_validation = (
            checkpoints.CheckpointManager(write, self.save_dir, name, state_file, kept)
            for name, state_file, kept in (
                (hp.checkpoint_name, checkpoint_files.ROLLING, hp.max_ckpt_to_keep),
                (f"{hp.checkpoint_name}_lve", checkpoint_files.LOWEST_VALIDATION, hp.max_ckpt_to_keep_lve),
            )
        )
        self.show_progress, self.callbacks, self._valid_finite = show_progress, callbacks, True
        self._resume(saved)
        self.epochs.keep_weights()

    @property
    def step(self) -> int:
        """Batches taken so far."""
        return int(self.optimizer.step.numpy())

    def train(self) -> TrainingState:
        """Trains until the learning rate is below learning_rate_stop, or max_epochs is reached.

        Raises:
            TrainingFailed: the cost stayed NaN or infinite down to the lowest learning rate, now or before.
            KeyboardInterrupt: Ctrl-C, after the epoch in progress has ended and been saved.
        """
        if self.state.failed:
            raise TrainingFailed(self.state.failed)
        fit_log = FitLog(self.save_dir / f"{self.hp.csv_log}.csv", self.state)
        board = TensorBoard(self.save_dir / "lfads_log", self.model)
        metrics_log = MetricsLog(self.save_dir / "metrics.csv", self.state)
        progress = Progress(self.hp, self.state, self.show_progress)
        interrupts = Interrupts()
        try:
            while not (interrupts.asked or self._finished()):
                result = self._train_epoch()
                if result is None:
                    continue
                valid = self._validate()
                row = self._figures(result, valid)
                metrics_log.append(row)
                for callback in self.callbacks:
                    callback(dict(row))
                self._end_epoch(result, valid, row.get(HELD_OUT), fit_log)
                board.write(row)
                progress.update(self.state, row)
        finally:
            interrupts.close()
            progress.close()
            board.close()
        self.save(self.rolling)
        if interrupts.asked:
            log.warning("Interrupted and saved after epoch %d; the same command goes on from there.", self.state.epoch)
            raise KeyboardInterrupt
        log.info("Training ended after epoch %d at learning rate %.3g.", self.state.epoch, self.state.learning_rate)
        return self.state

    def save(self, manager: checkpoints.CheckpointManager) -> None:
        """Saves weights, moments and training state."""
        self._state_text.assign(self.state.to_json())
        manager.save(self.step)

    def _finished(self) -> bool:
        if self.hp.max_epochs and self.state.epoch >= self.hp.max_epochs:
            log.info(
                "Stopping: %d epochs are done and --max_epochs is %d, given now or in the run folder's settings; a "
                "larger one, or 0 for no limit, trains on.", self.state.epoch, self.hp.max_epochs,
            )  # fmt: skip
            return True
        patience = self.hp.early_stopping_patience
        if patience and self.state.epochs_since_best >= patience:
            log.info("Stopping: the validation reconstruction has not fallen for %d epochs.", patience)
            return True
        # A cosine has its own end, at max_epochs.
        falls = self.hp.learning_rate_schedule != "cosine"
        if falls and self.state.learning_rate < self.hp.learning_rate_stop:
            log.info("Stopping optimization: the learning rate is below %g.", self.hp.learning_rate_stop)
            return True
        return False

    def _train_epoch(self) -> EpochResult | None:
        """One epoch; None when it went bad and training fell back on the last good weights."""
        self.optimizer.learning_rate.assign(self.state.learning_rate)
        sessions, trials = epoch_batches(
            self.epochs.train_trials.counts, self.hp.batch_size, self.seed, self.state.epoch
        )
        result = numbers(self.epochs.train(tf.constant(sessions), tf.constant(trials)))
        if result.went_bad:
            self._roll_back(result)
            return None
        if result.steps_skipped:
            log.warning(
                "Epoch %d: %d of %d steps had a cost or gradient that was not finite (first bad: %s); not applied.",
                self.state.epoch, result.steps_skipped, len(sessions), self._name_of(result.first_bad),
            )  # fmt: skip
        return result

    def _roll_back(self, result: EpochResult) -> None:
        self.state.rollbacks += 1
        self.state.learning_rate *= ROLLBACK_FACTOR
        self.epochs.back_to_kept_weights()
        name = self._name_of(result.first_bad)
        log.warning(
            "Epoch %d: cost or gradients stayed NaN or infinite (first bad: %s). Back to the last good weights, "
            "learning rate lowered to %.3g.", self.state.epoch, name, self.state.learning_rate,
        )  # fmt: skip
        if self.state.learning_rate < self.hp.learning_rate_stop:
            self.state.failed = (
                f"training went to NaN or infinity again and again (first bad: {name}) and the learning rate is now "
                f"below --learning_rate_stop; the last good weights are saved. Try a lower --cell_clip_value (now "
                f"{self.hp.cell_clip_value}), --max_grad_norm (now {self.hp.max_grad_norm}) or --learning_rate_init "
                f"(now {self.hp.learning_rate_init}), with --do_reset_learning_rate to go on from these weights, and "
                "look for extreme values in the data."
            )
            self.save(self.rolling)
            raise TrainingFailed(self.state.failed)

    def _name_of(self, index: int) -> str:
        """The original's name of a trained variable, for messages."""
        if index < 0:
            return "the cost itself"
        variable = self.optimizer.trained[index]
        names = [n for n, weight in original_names(self.model).items() if weight.variable.value is variable]
        return names[0] if names else variable.name

    def _validate(self) -> Costs | None:
        return numbers(self.epochs.validate(*self.epochs.validation)) if self.epochs.validation else None

    def _figures(self, result: EpochResult, valid: Costs | None) -> dict[str, float]:
        """The epoch's row of metrics.csv."""
        state = self.state
        row = self.metrics.row(state.epoch, self.step, result, valid, state.learning_rate, self.epochs.dials)
        if self.truth_r2 and self._every(EPOCHS_BETWEEN_R2):
            row[TRUTH_R2] = self.truth_r2()
        if self.held_out and (self._every(self.hp.held_out_epochs) or state.epoch + 1 == self.hp.max_epochs):
            score = self.held_out()
            row |= {HELD_OUT: score.bits, HELD_OUT_ERROR: score.error}
        return row

    def _every(self, epochs: int) -> bool:
        return (self.state.epoch + 1) % epochs == 0

    def _valid_rates(self, session: int, trials: np.ndarray) -> np.ndarray:
        return self.epochs.valid_rates(tf.constant(session), tf.constant(trials, tf.int32)).numpy()

    def _end_epoch(self, result: EpochResult, valid: Costs | None, held_out: float | None, fit_log: FitLog) -> None:
        """Learning rate, log line and checkpoints after an epoch; ``held_out``: its score, if there is one."""
        state, hp = self.state, self.hp
        train, valid = (
            None if half is None else EpochCosts(float(half.total), float(half.recon), float(half.kl))
            for half in (result.costs, valid)
        )
        line = format_line(state.epoch, self.step, train, valid, result.costs.l2, result.kl_weight, result.l2_weight)
        by_score = hp.select_by == "held_out_bps"
        if by_score:
            selected = None if held_out is None else (-held_out, -held_out)
        else:
            selected = None if valid is None else (valid.total, valid.recon)
        lowest = selected is not None and is_lowest_validation(
            state, hp, result.kl_weight, result.l2_weight, selected[0]
        )
        save_rolling = state.epoch % EPOCHS_BETWEEN_CHECKPOINTS == 0
        if selected is not None:
            watch_validation(state, selected[1], hp.held_out_epochs if by_score else 1)
        if valid is not None:
            self._say_if_not_finite(valid.total)
        if hp.learning_rate_schedule == "plateau":
            update_learning_rate_on_plateau(state, hp)
        elif hp.learning_rate_schedule == "cosine":
            update_learning_rate_by_cosine(state, hp)
        else:
            update_learning_rate(state, hp, train.total)
        state.epoch += 1
        # The line comes first: a kill in between repeats the epoch, and its line, from the older checkpoint.
        fit_log.append(line)
        if save_rolling:
            self.save(self.rolling)
        if lowest:
            self.save(self.lowest_validation)

    def _say_if_not_finite(self, valid_total: float) -> None:
        """Says that the validation cost is NaN or infinite, once until it is a number again."""
        finite = math.isfinite(valid_total)
        if self._valid_finite and not finite:
            log.warning(
                "Epoch %d: the validation cost is %g. Until it is a number again it counts neither for early stopping "
                "nor for the learning rate and the lowest-validation checkpoint; look for extreme values in the "
                "validation data.",
                self.state.epoch, valid_total,
            )  # fmt: skip
        self._valid_finite = finite

    def _resume(self, saved: tf.train.Checkpoint) -> None:
        """Goes on from the newest checkpoint that can be read, if there is any."""
        damaged = []
        for prefix in checkpoint_files.for_resume(self.save_dir):
            try:
                if checkpoints.is_original(prefix):
                    raise TrainingFailed(
                        f"{prefix} was written by the original program, whose optimiser state is not used; start from "
                        f"it with --model_params_file={prefix} and a new --lfads_save_dir"
                    )
                with checkpoints.readable(prefix) as path:
                    saved.read(path).assert_existing_objects_matched()
                self.state = TrainingState.from_json(self._state_text.numpy().decode())
                break
            except TrainingFailed:
                raise
            except AssertionError as error:
                raise TrainingFailed(
                    f"the checkpoint {prefix} does not hold all of this model ({checkpoints.why(error)}); train in a "
                    "new --lfads_save_dir"
                ) from error
            except checkpoints.DAMAGED as error:
                log.warning("The checkpoint %s is damaged (%s).", prefix, checkpoints.why(error))
                damaged.append(prefix.name)
        else:
            if damaged:
                raise TrainingFailed(
                    f"every checkpoint in {self.save_dir} is damaged ({', '.join(damaged)}); bring one back, or train "
                    "in a new --lfads_save_dir (or with --resume=never, which puts the old run aside)"
                )
            return
        if self.hp.do_reset_learning_rate:
            self.state.learning_rate, self.state.failed = self.hp.learning_rate_init, ""
            self.state.cost_history = []
        log.info("Resuming from %s after epoch %d.", prefix, self.state.epoch)
