"""Priors beside the original's: KL against quadrature, samples against scipy, and a plain autoencoder."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from scipy import integrate, stats

from lfads_tf2 import noise
from lfads_tf2.errors import SettingsError
from lfads_tf2.hyperparameters import HyperParameters, problems
from lfads_tf2.model.lfads import LFADS
from lfads_tf2.model.names import original_names
from lfads_tf2.model.priors import (
    AutoregressivePrior,
    IndependentPrior,
    kl_to_student_t,
    make_co_prior,
    normal_to_student_t,
)
from lfads_tf2.objective import trial_terms
from lfads_tf2.types import Batch, ModelSpec, SessionShape

RANDOM = np.random.default_rng(6)
SIZES = {"co_dim": 2, "factors_dim": 3, "gen_dim": 4, "ic_dim": 3, "ic_enc_dim": 4, "ci_enc_dim": 3, "con_dim": 3}


def by_quadrature(mean, logvar, prior) -> float:
    """KL of a normal to another density, by adaptive quadrature."""
    normal = stats.norm(mean, np.exp(0.5 * logvar))
    low, high = normal.ppf(1e-13), normal.ppf(1 - 1e-13)
    return integrate.quad(lambda x: normal.pdf(x) * (normal.logpdf(x) - prior.logpdf(x)), low, high, limit=200)[0]


@pytest.mark.parametrize("df", [2.0, 5.0, 50.0])
@pytest.mark.parametrize(("mean", "logvar"), [(0.0, -2.0), (1.5, -4.0), (-3.0, 0.0), (0.2, 1.0)])
def test_kl_to_student_t(df, mean, logvar):
    found = kl_to_student_t(tf.constant([mean]), tf.constant([logvar]), df, tf.constant([0.3]), tf.constant([0.8]))
    assert float(found[0]) == pytest.approx(by_quadrature(mean, logvar, stats.t(df, 0.3, 0.8)), abs=3e-3)


@pytest.mark.parametrize("kind", ["gaussian", "student_t"])
def test_independent_priors(kind):
    layer = IndependentPrior(2, 0.3, None if kind == "gaussian" else 4.0)
    layer.build()
    law = stats.norm(0, np.sqrt(0.3)) if kind == "gaussian" else stats.t(4.0, 0, np.sqrt(0.3))
    u = RANDOM.normal(size=(7, 5, 2)).astype(np.float32)
    np.testing.assert_allclose(layer.log_prob(u), law.logpdf(u), rtol=1e-4, atol=1e-5)
    mean, logvar = np.float32([[[0.4, -0.1]]]), np.float32([[[-1.0, -3.0]]])
    expected = [by_quadrature(m, v, law) for m, v in zip(mean.ravel(), logvar.ravel(), strict=True)]
    np.testing.assert_allclose(np.ravel(layer.kl(mean, logvar)), expected, atol=1e-3)
    values = layer.sample(tf.random.stateless_normal([200, 50, 2], [1, 2])).numpy().ravel()
    assert stats.kstest(values, law.cdf).pvalue > 1e-3


TAUS, VARIANCES = np.array([0.3, 3.0, 40.0, 500.0]), np.array([0.1, 0.02, 1.3, 0.2])


def dense_covariances(steps: int) -> list[np.ndarray]:
    """T x T of each input: σ_p² φ^|i − j|."""
    phi, apart = np.exp(-1 / TAUS), np.abs(np.subtract.outer(np.arange(steps), np.arange(steps)))
    return [v / (1 - f**2) * f**apart for f, v in zip(phi, VARIANCES, strict=True)]


def ar1() -> AutoregressivePrior:
    prior = AutoregressivePrior(len(TAUS))
    prior.build()
    prior.log_tau.assign(np.log([TAUS]))
    prior.log_noise_variance.assign(np.log([VARIANCES]))
    return prior


@pytest.mark.parametrize("steps", [1, 2, 25])
@pytest.mark.parametrize("compiled", [False, True])
def test_joint_density_of_the_ar1_prior(steps, compiled):
    prior, u = ar1(), RANDOM.normal(size=(3, steps, len(TAUS))).astype(np.float32)
    joint = prior(num_bins=steps)
    assert joint.event_shape == (steps, len(TAUS)) and joint.batch_shape == ()
    log_prob = tf.function(lambda x: prior(num_bins=steps).log_prob(x)) if compiled else joint.log_prob
    expected = sum(
        stats.multivariate_normal(np.zeros(steps), covariance).logpdf(u[:, :, d])
        for d, covariance in enumerate(dense_covariances(steps))
    )
    np.testing.assert_allclose(log_prob(u), expected, rtol=1e-4, atol=1e-3)
    by_bins = np.sum(prior.log_prob(tf.constant(np.swapaxes(u, 0, 1))), axis=(0, 2))
    np.testing.assert_allclose(by_bins, expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("steps", [1, 6])
def test_joint_draws_of_the_ar1_prior(steps):
    count = 20000
    u = np.asarray(ar1()(num_bins=steps).sample(count, seed=[3, 4]), np.float64)
    assert u.shape == (count, steps, len(TAUS))
    for d, covariance in enumerate(dense_covariances(steps)):
        variances = np.diag(covariance)
        found = u[:, :, d].T @ u[:, :, d] / count
        # Var(xy) = Var x Var y + Cov(x, y)² for normals of mean 0.
        error = np.sqrt((np.outer(variances, variances) + covariance**2) / count)
        assert np.abs((found - covariance) / error).max() < 4.5
        assert np.abs(u[:, :, d].mean(axis=0) / np.sqrt(variances / count)).max() < 4.5
    across = np.corrcoef(u[:, -1].T) - np.eye(len(TAUS))
    assert np.abs(across).max() < 4.5 / np.sqrt(count), "inputs are independent"


@pytest.mark.parametrize("df", [None, 4.0])
@pytest.mark.parametrize("steps", [1, 9])
def test_joint_distribution_of_independent_priors(df, steps):
    layer = IndependentPrior(2, df=df)
    layer.build()
    layer.logvar.assign(np.log([[0.3, 0.05]]))
    joint, scale = layer(num_bins=steps), np.sqrt([0.3, 0.05])
    law = stats.norm(0, scale) if df is None else stats.t(df, 0, scale)
    u = RANDOM.normal(size=(3, steps, 2)).astype(np.float32)
    assert joint.event_shape == (steps, 2)
    np.testing.assert_allclose(joint.log_prob(u), law.logpdf(u).sum((1, 2)), rtol=1e-4, atol=1e-4)
    draws = joint.sample(2000, seed=[5, 6]).numpy()
    assert draws.shape == (2000, steps, 2)
    for d, one in enumerate(scale):
        assert stats.kstest(draws[:, :, d].ravel() / one, (stats.norm if df is None else stats.t(df)).cdf).pvalue > 1e-3


@pytest.mark.parametrize("df", [1.0, 3.0, 30.0])
def test_quantiles_of_student_t(df):
    z = np.float32([-3.5, -2, -0.5, 0, 0.1, 1, 3.5])
    np.testing.assert_allclose(
        normal_to_student_t(tf.constant(z), df), stats.t(df).ppf(stats.norm.cdf(z)), rtol=2e-3, atol=1e-3
    )


def model_of(**settings) -> LFADS:
    hp = HyperParameters(**(SIZES | settings))
    return LFADS(ModelSpec(hp, 6, (SessionShape("a", 5),)), 1)


def terms_of(model, seed=(1, 2)):
    counts = np.random.default_rng(0).poisson(1.0, (6, 4, 5)).astype(np.float32)
    batch = Batch(tf.constant(counts), None, tf.constant(0))
    outputs = model(batch, noise.draw_noise(model.spec, 4, tf.constant(seed)))
    return trial_terms(model, batch, outputs, outputs.decoded.u), outputs


def test_without_priors_the_model_is_a_plain_autoencoder():
    model = model_of(ic_prior="none", co_prior="none")
    (first, outputs), (second, _) = terms_of(model), terms_of(model, (5, 6))
    assert not np.any(first.kl_ic) and not np.any(first.kl_co)
    np.testing.assert_array_equal(first.log_likelihood, second.log_likelihood)
    np.testing.assert_array_equal(outputs.decoded.u, outputs.decoded.co_mean)
    assert outputs.prior_g0_mean is None and not any("prior" in name for name in original_names(model))


@pytest.mark.parametrize("co_prior", ["gaussian", "student_t"])
def test_kl_of_the_model(co_prior):
    """Sums over dimensions and bins of the KL of each normal."""
    model = model_of(ic_prior="student_t", co_prior=co_prior, ic_prior_df=4.0)
    terms, outputs = terms_of(model)
    post = outputs.encoding.post_g0_mean.numpy()[0], outputs.encoding.post_g0_logvar.numpy()[0]
    law = stats.t(4.0, 0, np.sqrt(0.1))
    assert float(terms.kl_ic[0]) == pytest.approx(
        sum(by_quadrature(m, v, law) for m, v in zip(*post, strict=True)), rel=5e-3
    )
    prior = stats.norm(0, np.sqrt(0.1)) if co_prior == "gaussian" else stats.t(5.0, 0, np.sqrt(0.1))
    pairs = zip(
        outputs.decoded.co_mean.numpy()[:, 0].ravel(), outputs.decoded.co_logvar.numpy()[:, 0].ravel(), strict=True
    )
    assert float(terms.kl_co[0]) == pytest.approx(sum(by_quadrature(m, v, prior) for m, v in pairs), rel=2e-2)
    assert "LFADS/z/u_prior/logvar:0" in original_names(model)


def test_generation_from_student_t():
    model = model_of(ic_prior="student_t", co_prior="student_t")
    draws = noise.draw_noise(model.spec, 300, tf.constant([3, 4]))
    outputs = model.generate(tf.constant(0), draws.g0, draws.co)
    assert stats.kstest(outputs.g0.numpy().ravel(), stats.t(5.0, 0, np.sqrt(0.1)).cdf).pvalue > 1e-3


OWN = """
import keras
import tensorflow as tf

class Laplace(keras.layers.Layer):
    def __init__(self, hp):
        super().__init__()
        self.scale = self.add_weight(shape=(1, hp.co_dim), initializer="ones", name="scale")
        self.built = True
    def log_prob(self, u):
        return -tf.abs(u) / self.scale - tf.math.log(2.0 * self.scale)
    def sample(self, noise):
        return noise

class Lacking:
    pass
"""


def test_a_users_own(tmp_path, monkeypatch):
    (tmp_path / "own_prior.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    model = model_of(co_prior="own_prior:Laplace")
    terms, outputs = terms_of(model)
    decoded = outputs.decoded
    normal = stats.norm(decoded.co_mean, np.exp(0.5 * decoded.co_logvar.numpy()))
    expected = normal.logpdf(decoded.u) - stats.laplace.logpdf(decoded.u)
    np.testing.assert_allclose(terms.kl_co, expected.sum((0, 2)), rtol=1e-3, atol=1e-4)
    assert "LFADS/z/u_prior/scale:0" in original_names(model)
    with pytest.raises(SettingsError, match="the class lacks log_prob, sample"):
        make_co_prior(HyperParameters(co_prior="own_prior:Lacking"))


def test_bad_settings():
    hp = HyperParameters(kind="prior_sample", co_prior="none")
    assert any("draws from the priors" in problem for problem in problems(hp))
    assert problems(dataclasses.replace(hp, kind="train")) == []
    for name, value in (("co_prior", "cauchy"), ("ic_prior", "my:Prior"), ("ic_prior_df", 0.0), ("co_prior_df", -1.0)):
        assert any(f"--{name} must be" in problem for problem in problems(HyperParameters(**{name: value})))
