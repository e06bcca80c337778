"""The gamma models and a user's own: densities against scipy, data that fit them, and errors."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
import tensorflow as tf
from scipy import special, stats
from small_models import trainer_of

from lfads_tf2.data import DataError, read_sessions
from lfads_tf2.hyperparameters import HyperParameters, problems
from lfads_tf2.inference import Inference, session_results
from lfads_tf2.model.affine import WeightSeeds
from lfads_tf2.model.names import original_names
from lfads_tf2.model.observation import Distributed, make_observation
from lfads_tf2.types import ModelSpec, SessionShape

RANDOM = np.random.default_rng(4)
SHAPE = (6, 5, 4)


def observation(dist, **settings) -> Distributed:
    hp = HyperParameters(output_dist=dist, factors_dim=3, **settings)
    layer = make_observation(ModelSpec(hp, 6, (SessionShape("a", 4), SessionShape("b", 3))), WeightSeeds(0))
    layer.build()
    return layer


def drawn(count, scale=1.0):
    return [RANDOM.normal(0, scale, SHAPE).astype(np.float32) for _ in range(count)]


@pytest.mark.parametrize("location", [0.0, 0.5])
def test_gamma_against_scipy(location):
    values = (location + RANDOM.gamma(2.0, 1.0, SHAPE) + 1e-3).astype(np.float32)
    log_alpha, log_beta = drawn(2)
    layer = observation("gamma", gamma_loc=location)
    parameters = tf.concat([log_alpha, log_beta], axis=-1)
    law = stats.gamma(np.exp(log_alpha), loc=location, scale=np.exp(-log_beta))
    np.testing.assert_allclose(layer.log_prob(values, parameters), law.logpdf(values), rtol=2e-3, atol=2e-3)
    reported = layer.distribution_parameters(parameters).numpy()
    np.testing.assert_allclose(reported[..., :4], law.mean(), rtol=1e-5)
    np.testing.assert_array_equal(reported[..., 4:], parameters)


@pytest.mark.parametrize("location", [0.0, 0.1])
def test_zero_inflated_gamma_against_scipy(location):
    values = (location + RANDOM.gamma(2.0, 1.0, SHAPE) + 1e-2).astype(np.float32)
    values[RANDOM.random(SHAPE) < 0.5] = 0
    logit, log_alpha, log_beta = drawn(3)
    layer = observation("zero_inflated_gamma", gamma_loc=location)
    parameters = tf.concat([logit, log_alpha, log_beta], axis=-1)
    q, law = special.expit(logit), stats.gamma(np.exp(log_alpha), loc=location, scale=np.exp(-log_beta))
    with np.errstate(divide="ignore"):
        expected = np.where(values == 0, np.log1p(-q), np.log(q) + law.logpdf(values))
    with tf.GradientTape() as tape:
        tape.watch(parameters)
        log_prob = layer.log_prob(values, parameters)
    np.testing.assert_allclose(log_prob, expected, rtol=2e-3, atol=2e-3)
    assert np.all(np.isfinite(tape.gradient(log_prob, parameters)))
    np.testing.assert_allclose(layer.distribution_parameters(parameters)[..., :4], q * law.mean(), rtol=1e-5)


def test_factors_of_zero_inflated_gamma():
    layer = observation("zero_inflated_gamma", gamma_scale_prior=20.0, l2_gamma_scale=0.5)
    assert float(layer.penalty()) == 0.0
    changed = np.full((2, 2, 4), 20.0, np.float32)
    changed[1, 0] = 30.0
    layer.own_0.assign(changed)
    assert float(layer.penalty()) == pytest.approx(0.5 * 4 * 100)
    factors = tf.constant(RANDOM.normal(size=(2, 5, 3)).astype(np.float32))
    raw = [read_out(factors, tf.constant(1)).numpy() for read_out in layer.read_outs]
    logit, log_alpha, log_beta = np.split(layer(factors, tf.constant(1)).numpy(), 3, axis=-1)
    np.testing.assert_allclose(logit, raw[0], rtol=1e-6)
    np.testing.assert_allclose(np.exp(log_alpha), 30 * special.expit(raw[1]), rtol=1e-5)
    np.testing.assert_allclose(np.exp(log_beta), 20 * special.expit(raw[2]), rtol=1e-5)
    assert any(weight is layer.own_0 for weight in layer.trainable_weights)


def write(folder, change=lambda values: values):
    """Positive values, with ``change`` applied to the training trials."""
    folder.mkdir(exist_ok=True)
    with h5py.File(folder / "one.h5", "w") as f:
        for half, count in (("train", 20), ("valid", 6)):
            values = 0.2 + RANDOM.gamma(2.0, 1.0, (count, 9, 7))
            f[f"{half}_data"] = change(values) if half == "train" else values


def with_zero(values):
    values[3, 2, 1] = 0
    return values


@pytest.mark.parametrize(
    ("settings", "change", "message"),
    [
        (
            {"output_dist": "gamma"},
            with_zero,
            r"train_data: not greater than 0.0 \(--gamma_loc\): 0.0 at trial 3, bin 2",
        ),
        ({"output_dist": "gamma", "gamma_loc": 0.3}, lambda v: v, "not greater than 0.3"),
        (
            {"output_dist": "zero_inflated_gamma"},
            lambda v: with_zero(v) - 0.5 * (v > 1) * 9,
            "not 0 or greater than 0.0",
        ),
        ({"output_dist": "gamma"}, lambda v: v * np.nan, "NaN or infinity"),
    ],
)
def test_data_that_do_not_fit(tmp_path, settings, change, message):
    write(tmp_path / "data", change)
    with pytest.raises(DataError, match=message):
        read_sessions(HyperParameters(data_dir=str(tmp_path / "data"), **settings))


def test_zeros_fit_the_zero_inflated_model(tmp_path):
    write(tmp_path / "data", with_zero)
    settings = {"output_dist": "zero_inflated_gamma", "gamma_loc": 0.1}
    (session,) = read_sessions(HyperParameters(data_dir=str(tmp_path / "data"), **settings))
    assert session.train.data.dtype == np.float32 and session.train.data[3, 2, 1] == 0
    trainer = trainer_of(tmp_path, max_epochs=2, **settings)
    before = np.array(trainer.model.observation.own_0)
    trainer.train()
    assert np.any(np.array(trainer.model.observation.own_0) != before)
    assert "LFADS/glm/gamma_factors:0" in original_names(trainer.model)
    results = Inference(trainer.model, 0, 0).posterior_push_mean(0, session.valid)
    reported = session_results(trainer.model, session, results)["output_dist_params"]
    assert reported.shape == (6, 9, 4 * 7) and np.all(reported[..., :7] > 0)


OWN = """
import tensorflow as tf

class Exponential:
    num_parameters = 1
    data = "positive"
    def __init__(self, spec):
        self.spec = spec
    def log_prob(self, values, parameters):
        return parameters[0] - tf.exp(parameters[0]) * values
    def mean(self, parameters):
        return tf.exp(-parameters[0])

class Strange(Exponential):
    data = "sounds"

class Lacking:
    num_parameters = 1
"""


def test_a_users_own(tmp_path, monkeypatch):
    (tmp_path / "own_observation.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    layer = observation("own_observation:Exponential")
    values, rate = RANDOM.gamma(1.0, 1.0, SHAPE).astype(np.float32), drawn(1)[0]
    expected = stats.expon(scale=np.exp(-rate)).logpdf(values)
    np.testing.assert_allclose(layer.log_prob(values, tf.constant(rate)), expected, rtol=1e-4, atol=1e-5)
    write(tmp_path / "data", with_zero)
    for name, message in (
        ("own_observation:Exponential", "not greater than 0.0"),
        ("own_observation:Strange", "its data must be one of counts, values, positive, non-negative, got 'sounds'"),
        ("own_observation:Lacking", "the class lacks data, log_prob, mean"),
        ("gone:Exponential", "cannot import gone"),
    ):
        with pytest.raises(DataError, match=message):
            read_sessions(HyperParameters(data_dir=str(tmp_path / "data"), output_dist=name))


@pytest.mark.parametrize("value", ["Gamma", "gamma ", "own:", ":X", "a b:C", "a:B()"])
def test_names_that_are_none(value):
    assert any("--output_dist must be one of" in p for p in problems(HyperParameters(output_dist=value)))
