"""What a GPU runs by default, compiled by XLA, here on the CPU: it compiles, and computes what the plain path does."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import tensorflow as tf
from golden_case import CASES, GoldenCase
from model import test_golden

from lfads_tf2.data import resolve
from lfads_tf2.hyperparameters import HyperParameters
from lfads_tf2.model.lfads import LFADS
from lfads_tf2.training.epochs import prepare
from lfads_tf2.training.optimizer import trained_variables
from lfads_tf2.training.steps import Steps
from lfads_tf2.types import Session, Trials

SIZES = {
    "co_dim": 2, "factors_dim": 3, "gen_dim": 6, "ic_dim": 4, "ic_enc_dim": 5, "ci_enc_dim": 4, "con_dim": 4,
    "batch_size": 8, "keep_prob": 0.9, "kl_start_step": 0, "kl_increase_steps": 1, "learning_rate_init": 0.01,
    "adam_epsilon": 1e-3,  # else rounding errors of gradients that are nothing else would make whole steps
}  # fmt: skip
AUGMENTATIONS = "spike_jitter,temporal_shift,sample_validation,coordinated_dropout"
# Between them every augmentation, prior and observation model, and what changes the shape of the graph; compiling takes
# most of the time, so each brings several.
PARTS = {
    "augmentations, three sessions": {
        "augmentations": AUGMENTATIONS, "cd_rate": 0.2, "temporal_spike_jitter_width": 2, "temporal_shift_std": 1.0,
        "sv_rate": 0.2, "num_sessions": 3,
    },
    "rates fed back, learned variance": {
        "feedback_factors_or_rates": "rates", "ic_prior_var_max": 1.0, "co_prior": "none",
    },
    "gamma": {"output_dist": "gamma", "co_prior": "student_t", "ic_prior": "none"},
    "zero-inflated gamma": {"output_dist": "zero_inflated_gamma", "co_prior": "gaussian", "ic_prior": "student_t"},
    "gaussian, no controller": {"output_dist": "gaussian", "co_dim": 0, "augmentations": "selective_backprop"},
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_golden_cases(name):
    case = GoldenCase(name)
    test_golden.test_forward(case, case.model(), "train", functools.partial(tf.function, jit_compile=True))


def epochs_of(jit_compile, num_sessions=1, **settings):
    """Epochs on sessions of 8 trials, with fresh weights that depend on the seed alone."""
    random = np.random.default_rng(0)
    hp = HyperParameters(**(SIZES | settings))
    sessions = []
    for n in range(num_sessions):
        counts = random.poisson(0.5, (8, 7, 5 + n))
        if hp.output_dist != "poisson":
            counts = (counts * random.gamma(2, 1, counts.shape) + (hp.output_dist == "gamma") * 0.1).astype(np.float32)
        else:
            counts = counts.astype(np.uint8)
        sessions.append(Session(f"s{n}", "", Trials(counts), None))
    model = LFADS(resolve(hp, sessions), 1)
    return prepare(model, sessions, 1, jit_compile), model


@pytest.mark.parametrize("part", PARTS)
def test_two_steps_of_each_part(part):
    """The first step's gradients, by way of Adam, and a second one from there."""
    results = []
    for jit_compile in (False, True):
        epochs, model = epochs_of(jit_compile, **PARTS[part])
        rows = tf.constant([np.arange(8)] * 2, tf.int32)
        result = epochs.train(tf.constant([0, PARTS[part].get("num_sessions", 1) - 1]), rows)
        results.append((result.costs.total, [v.numpy() for v in trained_variables(model)]))
    (plain, plain_weights), (xla, weights) = results
    assert np.isfinite(plain)
    np.testing.assert_allclose(xla, plain, rtol=1e-5)
    for a, b in zip(weights, plain_weights, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)


def test_a_model_that_xla_cannot_compile_trains_without(monkeypatch, caplog):
    """As XLA refuses it, through TensorFlow: here for an operation on text."""
    gradients = Steps.gradients

    def with_text(self, *arguments):
        cost, found = gradients(self, *arguments)
        nothing = tf.strings.to_number(tf.strings.as_string(0.0 * cost.total))
        return cost._replace(total=cost.total + nothing), found

    monkeypatch.setattr(Steps, "gradients", with_text)
    caplog.set_level("INFO")
    rows, results = tf.constant([np.arange(8)] * 2, tf.int32), []
    for jit_compile in (False, True):
        epochs, model = epochs_of(jit_compile)
        for _ in range(2):
            result = epochs.train(tf.constant([0, 0]), rows)
        results.append([result.costs.total, epochs.optimizer.step, *trained_variables(model)])
    for xla, plain in zip(*results, strict=True):
        np.testing.assert_allclose(xla, plain, rtol=1e-5, atol=1e-6)
    said = [record.message for record in caplog.records if "XLA" in record.message]
    assert len(said) == 1 and "AsString" in said[0]
    with pytest.raises(tf.errors.OpError):
        epochs.train(tf.constant([0, 0]), rows + 8)
