"""Whole epochs as compiled functions: the order of the batches goes in, a few scalars come out."""

from __future__ import annotations

import logging

import tensorflow as tf

from lfads_tf2 import noise
from lfads_tf2.data.batches import validation_batches
from lfads_tf2.data.resident import ResidentTrials
from lfads_tf2.data.streamed import StreamedTrials, place
from lfads_tf2.model.lfads import LFADS
from lfads_tf2.objective import Costs
from lfads_tf2.tracing import traced
from lfads_tf2.training import replicas
from lfads_tf2.training.optimizer import Adam, clip_gradients, trained_variables
from lfads_tf2.training.steps import Steps
from lfads_tf2.training.tally import EpochResult, Tally, validation_means
from lfads_tf2.types import Batch, Dials, Session

log = logging.getLogger("lfads_tf2")


class Epochs(tf.Module):
    """Training and validation epochs of one model on data that stay on the device.

    Args:
        model: what is trained.
        optimizer: holds the variables that are trained, their moments and the step count.
        train, valid: the trials; ``valid`` may be None.
        seed: of every draw.
        jit_compile: compile the step with XLA.
        dials: hyperparameters that change in training, as scalar variables; None: those of the model, as constants.
        strategy: shares each batch between devices; model and optimizer must have been made in its scope.
    """

    def __init__(
        self,
        model: LFADS,
        optimizer: Adam,
        train: ResidentTrials | StreamedTrials,
        valid: ResidentTrials | StreamedTrials | None,
        seed: int,
        jit_compile: bool = False,
        dials: Dials | None = None,
        strategy: tf.distribute.Strategy | None = None,
    ):
        super().__init__()
        self.model, self.optimizer, self.train_trials, self.valid_trials = model, optimizer, train, valid
        self.seed, self.traces = seed, {"train": 0, "validate": 0}
        self.strategy, self._kept = strategy, []
        self.dials = dials or Dials.of(model.spec.hyperparameters)
        # Models whose seed is a tensor are compared with each other: they hold the same entries out.
        held_out_seed = seed if isinstance(seed, int) else max(model.spec.hyperparameters.seed, 0)
        self.steps = Steps(model, self.dials, held_out_seed, first_valid=sum(train.counts))
        # What ``validate`` takes.
        self.validation = None
        if valid is not None:
            batches = validation_batches(valid.counts, model.spec.hyperparameters.batch_size)
            self.validation = tuple(tf.constant(part) for part in batches)
        hp = model.spec.hyperparameters
        self._gradients, self._untried = self._gradients_of, jit_compile
        if jit_compile:
            self._gradients = traced(self._gradients_of, hp, jit_compile=True)
        self._train_epoch, self.validate, self.valid_rates = (
            traced(epoch, hp, reduce_retracing=True) for epoch in (self._train, self._validate, self._valid_rates)
        )

    def _gradients_of(self, batch, draws, masks, step, dials):
        return self.steps.gradients(batch, draws, masks, step, dials, self.optimizer.trained)

    def _train_step(self, batch: Batch):
        step, hp = self.optimizer.step.read_value(), self.model.spec.hyperparameters
        # Read here: a number stays a number, a variable becomes this step's value.
        dials = Dials(*(d if isinstance(d, (int, float)) else tf.convert_to_tensor(d) for d in self.dials))
        shares = replicas.own_share(*self.steps.training_inputs(batch, self.seed, step, dials))
        cost, gradients = replicas.mean(self._gradients(*shares, step, dials))
        clipped, norm = clip_gradients(gradients, hp.max_grad_norm)
        good = tf.math.is_finite(norm) & tf.math.is_finite(cost.total)

        def apply():
            self.optimizer.apply(clipped, dials.weight_decay)
            return tf.constant(-1)

        def skip():
            # The count of batches goes on, so that the next step draws anew.
            self.optimizer.count_step()
            bad = tf.stack([tf.reduce_any(~tf.math.is_finite(gradient)) for gradient in gradients])
            return tf.where(tf.reduce_any(bad), tf.argmax(bad, output_type=tf.int32), -1)

        return cost, norm, good, tf.cond(good, apply, skip)

    def keep_weights(self) -> None:
        """From now on each epoch of training first keeps what its steps move; asked for before the first one."""
        self._kept = [tf.Variable(variable, trainable=False) for variable in self.optimizer.slots]

    def back_to_kept_weights(self) -> None:
        """All is as it was before the last epoch of training."""
        for variable, kept in zip(self.optimizer.slots, self._kept, strict=True):
            variable.assign(kept)

    def train(self, sessions, trials) -> EpochResult:
        """One epoch. ``sessions``: n, ``trials``: n x B indices within the session of each batch."""
        try:
            result = self._train_epoch(sessions, trials)
        except tf.errors.OpError as error:
            # Nothing has changed yet: the first step's gradients are what is compiled.
            if not self._untried:
                raise
            log.info("Training runs without XLA, which cannot compile this model (%s)", _refusal(error))
            tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
            self._gradients, hp = self._gradients_of, self.model.spec.hyperparameters
            self._train_epoch = traced(self._train, hp, reduce_retracing=True)
            result = self._train_epoch(sessions, trials)
        self._untried = False
        return result

    def _train(self, sessions, trials) -> EpochResult:
        self.traces["train"] += 1
        for kept, variable in zip(self._kept, self.optimizer.slots, strict=False):
            kept.assign(variable)
        num_batches, read = tf.shape(sessions)[0], self.train_trials.reader(sessions, trials)
        _, tally = tf.while_loop(
            lambda index, tally: (index < num_batches) & tally.goes_on,
            lambda index, tally: (
                index + 1, tally.add(*replicas.run(self.strategy, self._train_step, read(index)))
            ),
            (0, Tally.start(self.model.spec)),
        )  # fmt: skip
        return tally.result(self.model.spec.hyperparameters, self.optimizer.step - 1, self.optimizer.trained)

    def _validate(self, sessions, trials, trial_weights) -> Costs:
        """Costs over all validation trials, each counted once. ``trial_weights``: n x B, 0 for filling."""
        self.traces["validate"] += 1
        step = self.optimizer.step.read_value() - 1
        read = self.valid_trials.reader(sessions, trials)

        def costs_of(index, weights):
            batch = self.steps.augment.validate(read(index))
            draws = self.steps.validation_noise(trials.shape[1], self.seed, step, index)
            return self.steps.validation_costs(batch, draws, weights, step, self.dials)

        return validation_means(costs_of, self.model.spec, trial_weights)

    def _valid_rates(self, session, trials):
        """Rates (means) of B validation trials of one session, B x T x D, from the posterior means."""
        observation = self.model.observation
        batch = self.valid_trials.reader(session[None], trials[None])(0)
        outputs = self.model(batch, noise.no_noise(self.model.spec, tf.shape(trials)[0]))
        rates = observation.distribution_parameters(outputs.parameters)[..., : self.model.spec.max_channels]
        return tf.transpose(rates, [1, 0, 2])


def _refusal(error: tf.errors.OpError) -> str:
    """The line of an error of XLA's that says what it is about."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if "unsupported" in line.lower() or "compil" in line.lower()]
    return f"{[*telling, *lines, ''][0]:.200}"


def prepare(
    model: LFADS,
    sessions: list[Session],
    seed: int,
    jit_compile: bool = False,
    dials: Dials | None = None,
    strategy: tf.distribute.Strategy | None = None,
) -> Epochs:
    """Epochs of a model on the trials of its sessions, with a fresh optimiser; arguments as ``Epochs`` takes them."""
    hp, spec = model.spec.hyperparameters, model.spec
    with replicas.scope(strategy):
        optimizer = Adam(trained_variables(model), hp.learning_rate_init, hp.adam_beta1, hp.adam_beta2, hp.adam_epsilon)
    train = place([session.train for session in sessions], spec)
    valid = None
    if any(session.valid is not None for session in sessions):
        valid = place([session.valid for session in sessions], spec)
    return Epochs(model, optimizer, train, valid, seed, jit_compile, dials, strategy)
