"""Epochs of a whole population in one compiled program: a leading axis of members over all that varies.

Small models leave most of an accelerator idle. Here every product of a step is one batched product over all members
(``tf.vectorized_map``). The compiled CPU kernels take one model at a time: with them members run side by side instead,
each on cores of its own through the whole epoch, in its own iteration of ``tf.map_fn``. Both give each member the
numbers that it has alone. XLA does not take vectorised loops over time, and is not used.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import keras
import tensorflow as tf

from lfads_tf2.autolfads.slot import Slot
from lfads_tf2.model.kernels import side_by_side, threads_of_one_operation
from lfads_tf2.objective import Costs
from lfads_tf2.tracing import traced
from lfads_tf2.training.optimizer import adam_update, clip_gradients
from lfads_tf2.training.tally import EpochResult, Tally, validation_means
from lfads_tf2.types import Dials


class Members(NamedTuple):
    """P models; every tensor has P as its leading axis."""

    weights: list[tf.Tensor]  # in the order of model.weights
    first: list[tf.Tensor]  # Adam's moments, in the order of the trained weights
    second: list[tf.Tensor]
    step: tf.Tensor  # batches taken, int64
    seed: tf.Tensor  # int32
    learning_rate: tf.Tensor
    dials: dict[str, tf.Tensor]  # those that are searched


class Learned(NamedTuple):
    """What one member makes of one batch."""

    weights: list[tf.Tensor]
    first: list[tf.Tensor]
    second: list[tf.Tensor]
    cost: Costs
    norm: tf.Tensor
    good: tf.Tensor  # whether the step was applied


class PopulationEpochs(tf.Module):
    """Training and validation epochs of all members at once.

    Args:
        slot: one member's model, data and settings.
        together: one product over all members; False: each member on a core of its own, for the CPU kernels.
    """

    def __init__(self, slot: Slot, together: bool):
        super().__init__()
        self.slot, self.model, self.together = slot, slot.model, together
        self.hp, self.train_trials = slot.spec.hyperparameters, slot.epochs.train_trials
        trained = {id(variable) for variable in slot.optimizer.trained}
        # Their places among the weights.
        self.trained = [n for n, weight in enumerate(self.model.weights) if id(weight.value) in trained]
        # Made as for one model whose seed is a variable.
        self.steps = slot.epochs.steps
        self.traces = {"train": 0, "validate": 0}
        self.train, self.validate = (traced(epoch, self.hp) for epoch in (self._train, self._validate))

    def _with_weights(self, weights: list[tf.Tensor]):
        """Within this context the model has these weights."""
        return keras.StatelessScope(state_mapping=list(zip(self.model.weights, weights, strict=True)))

    def _dials(self, member: Members) -> Dials:
        values = self.slot.dials._asdict().items()
        return Dials(*(member.dials.get(name, value) for name, value in values))

    def _over_members(self, prepare: Callable, compute: Callable, members):
        """``compute(member, *prepare(member))`` of every member; ``members``: tensors with a leading P."""
        # Draws are made member after member, since random operations do not vectorise.
        number = tf.nest.flatten(members)[0].shape[0]
        prepared = [prepare(tf.nest.map_structure(lambda x, p=p: x[p], members)) for p in range(number)]
        flat = [tf.nest.flatten(one) for one in prepared]
        present = [n for n, value in enumerate(flat[0]) if value is not None]
        stacked = [tf.stack([one[n] for one in flat]) for n in present]

        def one_member(arguments):
            member, values = arguments
            whole = [None] * len(flat[0])
            for n, value in zip(present, values, strict=True):
                whole[n] = value
            return compute(member, *tf.nest.pack_sequence_as(prepared[0], whole))

        return tf.vectorized_map(one_member, (members, stacked), fallback_to_while_loop=False, warn=False)

    def _each(self, run: Callable, members, dtypes):
        """``run(members, how, leading axes)``, of all at once or of each; ``how`` is called as ``_over_members`` is."""
        number = tf.nest.flatten(members)[0].shape[0]
        if self.together:
            return run(members, self._over_members, (number,))
        at_once = min(number, threads_of_one_operation())
        with side_by_side(at_once):
            return tf.map_fn(
                lambda member: run(member, lambda prepare, compute, one: compute(one, *prepare(one)), ()), members,
                fn_output_signature=dtypes, parallel_iterations=at_once,
            )  # fmt: skip

    def _learn(self, member: Members, goes_on, batch, draws, masks) -> Learned:
        """One step of one member; given up, or with a cost or gradients that are not finite, it is left as it is."""
        dials, trained = self._dials(member), [member.weights[n] for n in self.trained]
        with self._with_weights(member.weights):
            cost, gradients = self.steps.gradients(batch, draws, masks, member.step, dials, trained)
        clipped, norm = clip_gradients(gradients, self.hp.max_grad_norm)
        good = tf.math.is_finite(norm) & tf.math.is_finite(cost.total)
        keeps = good & goes_on
        moments = zip(member.first, member.second, strict=True)
        weights, first, second = list(member.weights), [], []
        for n, (m, v), gradient in zip(self.trained, moments, clipped, strict=True):
            before = (weights[n], m, v)
            after = adam_update(
                *before, gradient, member.step + 1, member.learning_rate, self.hp, dials.weight_decay
            )  # fmt: skip
            weights[n], m, v = (tf.where(keeps, new, old) for new, old in zip(after, before, strict=True))
            first.append(m), second.append(v)
        return Learned(weights, first, second, cost, norm, good)

    def _train(self, members: Members, sessions, trials) -> tuple[Members, EpochResult]:
        """One epoch. ``sessions``: P x n, ``trials``: P x n x B indices within the session of each batch."""
        self.traces["train"] += 1
        types = tf.nest.map_structure(lambda tensor: tensor.dtype, members), self._result_types()
        return self._each(lambda one, how, axes: self._epoch(*one, how, axes), (members, sessions, trials), types)

    def _epoch(self, members: Members, sessions, trials, how: Callable, axes: tuple) -> tuple[Members, EpochResult]:
        """``_train`` of all members at once, or of one without leading axes."""

        def prepare(arguments):
            member, _, session, rows = arguments
            batch = self.train_trials.batch(session, rows)
            return self.steps.training_inputs(batch, member.seed, member.step, self._dials(member))

        def learn(arguments, *inputs):
            return self._learn(*arguments[:2], *inputs)

        def step(index, members, tally):
            rows = tf.ensure_shape(trials[..., index, :], [*axes, trials.shape[-1]])
            lives = tally.goes_on
            now = how(prepare, learn, (members, lives, sessions[..., index], rows))
            tally = tally.add(now.cost, now.norm, now.good)
            members = members._replace(
                weights=now.weights, first=now.first, second=now.second,
                step=members.step + tf.cast(lives, tf.int64),
            )  # fmt: skip
            return index + 1, members, tally

        num_batches, tally = tf.shape(sessions)[-1], Tally.start(self.slot.spec, axes)
        _, members, tally = tf.while_loop(lambda index, *_: index < num_batches, step, (0, members, tally))
        trained = [members.weights[n] for n in self.trained]
        return members, tally.result(self.hp, members.step - 1, trained)

    def _cost_types(self) -> Costs:
        return Costs(*[tf.float32] * len(Costs._fields))

    def _result_types(self) -> EpochResult:
        numbers, counts = [tf.float32] * 3, [tf.int32] * 3
        return EpochResult(self._cost_types(), *numbers, *counts, tf.bool)

    def _validate(self, members: Members, sessions, trials, trial_weights) -> Costs:
        """Costs over all validation trials, P each; ``trial_weights``: n x B, 0 for filling."""
        self.traces["validate"] += 1
        read = self.slot.epochs.valid_trials.reader(sessions, trials)

        def means(members, how, axes):
            def costs_of(index, weights):
                return self._validation_costs(members, read(index), weights, index, how)

            return validation_means(costs_of, self.slot.spec, trial_weights, axes)

        return self._each(means, members, self._cost_types())

    def _validation_costs(self, members: Members, batch, trial_weights, index, how: Callable) -> Costs:
        """Costs of validation batch ``index``, of all members or of one."""
        batch = self.steps.augment.validate(batch)

        def prepare(member):
            return (self.steps.validation_noise(batch.data.shape[1], member.seed, member.step - 1, index),)

        def compute(member, draws):
            with self._with_weights(member.weights):
                return self.steps.validation_costs(batch, draws, trial_weights, member.step - 1, self._dials(member))

        return how(prepare, compute, members)
