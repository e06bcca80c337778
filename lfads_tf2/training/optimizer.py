"""Adam in the form of TensorFlow 1, with gradients clipped to a global norm."""

from __future__ import annotations

import tensorflow as tf


def clip_gradients(gradients, max_norm: float):
    """Gradients scaled to a global norm of at most ``max_norm``, and the norm before that."""
    # Not tf.linalg.global_norm, whose operation does not vectorise.
    norm = tf.sqrt(tf.add_n([tf.reduce_sum(tf.square(gradient)) for gradient in gradients]))
    scale = max_norm / tf.maximum(norm, max_norm)
    return [gradient * scale for gradient in gradients], norm


class Adam(tf.Module):
    """v ← v − lr √(1 − β₂ᵗ)/(1 − β₁ᵗ) · m/(√s + ε): ε stands outside the bias correction.

    With the original's ε of 0.1 this differs much from the textbook form in the first thousands of steps. One fused
    operation a variable; ``learning_rate`` is a variable, so that changing it compiles nothing.
    """

    def __init__(self, variables, learning_rate: float, beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 0.1):
        super().__init__(name="adam")
        self.beta1, self.beta2, self.epsilon = beta1, beta2, epsilon
        self.trained = list(variables)
        # Checkpoints know them under this name.
        self.targets = self.trained
        self.learning_rate = tf.Variable(learning_rate, trainable=False, name="learning_rate", dtype=tf.float32)
        self.step = tf.Variable(0, trainable=False, name="step", dtype=tf.int64)
        self.first = [tf.Variable(tf.zeros_like(v), trainable=False) for v in self.trained]
        self.second = [tf.Variable(tf.zeros_like(v), trainable=False) for v in self.trained]

    @property
    def slots(self) -> list[tf.Variable]:
        """Everything that an update moves: the trained variables, their first and second moments, the step count."""
        return [*self.trained, *self.first, *self.second, self.step]

    def apply(self, gradients, weight_decay=0.0) -> None:
        """One update of every variable; ``gradients`` in the order of the variables.

        ``weight_decay``: first every variable shrinks by this times the learning rate, apart from the moments.
        """
        if not isinstance(weight_decay, (int, float)) or weight_decay:
            shrink = self.learning_rate * weight_decay
            for variable in self.trained:
                tf.raw_ops.AssignSubVariableOp(resource=variable.handle, value=shrink * variable)
        # TensorFlow 1 kept running products of the betas; powers of the step count are the same and need no state.
        count = tf.cast(self.step + 1, tf.float32)
        for variable, first, second, gradient in zip(self.trained, self.first, self.second, gradients, strict=True):
            tf.raw_ops.ResourceApplyAdam(
                var=variable.handle,
                m=first.handle,
                v=second.handle,
                beta1_power=tf.pow(self.beta1, count),
                beta2_power=tf.pow(self.beta2, count),
                lr=self.learning_rate,
                beta1=self.beta1,
                beta2=self.beta2,
                epsilon=self.epsilon,
                grad=gradient,
                use_locking=False,
            )
        self.count_step()

    def count_step(self) -> None:
        """One more batch taken."""
        # The raw operation counts on this replica alone; a mirrored variable's own method would wait for the others.
        tf.raw_ops.AssignAddVariableOp(resource=self.step.handle, value=tf.constant(1, tf.int64))


def adam_update(variable, first, second, gradient, count, learning_rate, hp, weight_decay=0.0):
    """One update as ``Adam.apply`` makes it, of tensors: returns variable, first and second moment after it.

    Args:
        count: updates and skipped steps, with this one.
        hp: for its beta1, beta2 and epsilon.
    """
    count = tf.cast(count, tf.float32)
    rate = learning_rate * tf.sqrt(1.0 - tf.pow(hp.adam_beta2, count)) / (1.0 - tf.pow(hp.adam_beta1, count))
    variable -= learning_rate * weight_decay * variable
    first += (gradient - first) * (1.0 - hp.adam_beta1)
    second += (tf.square(gradient) - second) * (1.0 - hp.adam_beta2)
    return variable - rate * first / (tf.sqrt(second) + hp.adam_epsilon), first, second


def trained_variables(model) -> list[tf.Variable]:
    """What training moves: everything trainable, or what do_train_io_only / do_train_encoder_only leave of it."""
    hp = model.spec.hyperparameters
    if hp.do_train_io_only:
        layers = list(model.observation.read_outs)
        layers += [model.read_in] if model.read_in is not None else []
    elif hp.do_train_encoder_only:
        layers = [model.ic_encoder, model.post_g0_mean, model.post_g0_logvar]
    else:
        layers = [model]
    return [variable.value for layer in layers for variable in layer.trainable_variables]
