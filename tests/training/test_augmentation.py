"""Augmentations: rates, conserved counts, gradients that are exactly zero, and a user's own."""

from __future__ import annotations

import dataclasses

import h5py
import numpy as np
import pytest
import tensorflow as tf
from small_models import trainer_of
from small_runs import write_spikes

from lfads_tf2 import noise
from lfads_tf2.data import DataError, read_sessions, resolve
from lfads_tf2.data.streamed import place
from lfads_tf2.errors import SettingsError
from lfads_tf2.hyperparameters import HyperParameters, augmentation_names, problems
from lfads_tf2.model.augmentation import shifted
from lfads_tf2.model.lfads import LFADS
from lfads_tf2.objective import costs, ramps, trial_terms, unweighted_log_prob
from lfads_tf2.training.augmentations import Augmenter
from lfads_tf2.types import Batch, Dials, ModelSpec, SessionShape

RANDOM = np.random.default_rng(3)
ONE = (SessionShape("a", 7, False, 5),)


def spec_of(sessions=ONE, bins=9, encoded=6, **settings) -> ModelSpec:
    sizes = {"co_dim": 1, "factors_dim": 3, "gen_dim": 4, "ic_dim": 3, "ic_enc_dim": 4, "ci_enc_dim": 3, "con_dim": 3}
    hp = HyperParameters(**(sizes | settings))
    assert problems(hp) == []
    return ModelSpec(hp, bins, sessions, encoded, encoded is not None or sessions[0].num_encoded is not None)


def batch_of(spec: ModelSpec, trials=50, session=0, mean=1.5) -> Batch:
    counts = RANDOM.poisson(mean, (spec.num_bins, trials, spec.max_channels)).astype(np.float32)
    data = counts[: spec.data_bins, :, : spec.max_encoded]
    target = tf.constant(counts) if spec.separate_target else None
    return Batch(tf.constant(data), None, tf.constant(session), target)


def augmented(spec, batch, step=0, trials=None, seed=4):
    dials = Dials.of(spec.hyperparameters)
    if spec.hyperparameters.sv_rate:
        batch = batch._replace(trials=tf.range(batch.data.shape[1]) if trials is None else trials)
    return Augmenter(spec, dials, seed).train(batch, seed, tf.constant(step, tf.int64), dials)


def test_nothing_named_changes_nothing():
    spec = spec_of()
    batch = batch_of(spec)
    assert augmented(spec, batch) is batch
    assert Augmenter(spec, Dials.of(spec.hyperparameters), 0).validate(batch) is batch


@pytest.mark.parametrize(("rate", "passes"), [(0.3, 0.0), (0.7, 0.25)])
def test_coordinated_dropout_has_its_rates(rate, passes):
    spec = spec_of(cd_rate=rate, cd_pass_rate=passes)
    batch = batch_of(spec, 400)._replace(data=tf.ones([6, 400, 5]))
    found = augmented(spec, batch)
    data, flow = found.data.numpy(), found.flow.numpy()
    kept, entries = data > 0, data.size
    np.testing.assert_allclose(data[kept], 1 / (1 - rate), rtol=1e-5)
    assert abs(kept.mean() - (1 - rate)) < 4 * np.sqrt(rate * (1 - rate) / entries)
    # Whatever left the input trains; of what stayed only the passed share; what is never read always.
    inner = flow[:6, :, :5]
    assert set(np.unique(flow)) <= {0.0, 1.0} and np.all(inner[~kept] == 1)
    assert abs(inner[kept].mean() - passes) <= 4 * np.sqrt(passes * (1 - passes) / kept.sum())
    assert np.all(flow[6:] == 1) and np.all(flow[:, :, 5:] == 1)
    other = augmented(spec, batch, step=1).data.numpy() > 0
    assert abs((other & kept).mean() - (1 - rate) ** 2) < 0.03
    assert found.target is batch.target and found.counted is None


def test_gradient_is_exactly_zero_through_blocked_entries():
    """Entry by entry: what the cost says about the read-out of a blocked entry does not reach it."""
    spec = spec_of(cd_rate=0.4, keep_prob=1.0)
    model = LFADS(spec, 1)
    batch = augmented(spec, batch_of(spec, 6))
    outputs = model(batch, noise.no_noise(spec, 6))
    with tf.GradientTape() as tape:
        tape.watch(outputs.parameters)
        terms = trial_terms(model, batch, outputs, outputs.decoded.u)
        total = costs(model, terms, outputs, ramps(spec.hyperparameters, tf.constant(0))).total
    gradient, flow = tape.gradient(total, outputs.parameters).numpy(), batch.flow.numpy()
    assert np.all(gradient[flow == 0] == 0) and np.all(gradient[flow == 1] != 0)
    # The value of the cost counts all entries alike.
    plain = trial_terms(model, batch._replace(flow=None), outputs, outputs.decoded.u)
    np.testing.assert_allclose(terms.log_likelihood, plain.log_likelihood, rtol=1e-5)


@pytest.mark.parametrize("settings", [{"cd_rate": 0.4}, {"sv_rate": 0.4}, {"temporal_spike_jitter_width": 2}], ids=str)
def test_the_target_keeps_what_leaves_the_input(settings):
    """Where the data are their own target, the target is not dropped with them."""
    spec = spec_of((SessionShape("a", 7),), encoded=None, **settings)
    batch = batch_of(spec, 30)
    found = augmented(spec, batch)
    assert batch.target is None and np.any(found.data.numpy() != batch.data.numpy())
    if "temporal_spike_jitter_width" in settings:
        np.testing.assert_array_equal(found.target, found.data)
    else:
        np.testing.assert_array_equal(found.target, batch.data)


def test_coordinated_dropout_as_a_dial_at_zero_does_nothing():
    spec = spec_of()
    dials = Dials.of(spec.hyperparameters)._replace(cd_rate=tf.constant(0.0))
    batch = batch_of(spec)
    found = Augmenter(spec, dials, 0).train(batch, 0, tf.constant(0, tf.int64), dials)
    np.testing.assert_array_equal(found.data, batch.data)
    assert np.all(found.flow.numpy() == 1)


def test_channels_held_out_in_narrow_sessions_always_train():
    sessions = (SessionShape("a", 7, False, 5), SessionShape("b", 4, False, 2))
    spec = spec_of(sessions, cd_rate=0.5)
    found = augmented(spec, batch_of(spec, session=1))
    flow = found.flow.numpy()
    assert np.all(flow[:, :, 2:] == 1) and np.any(flow[:6, :, :2] == 0)


@pytest.mark.parametrize("settings", [{"temporal_spike_jitter_width": 2}, {"temporal_shift_std": 1.5}], ids=str)
def test_what_moves_moves_alike_in_target_and_input(settings):
    spec = spec_of(**settings)
    batch = batch_of(spec)
    found = augmented(spec, batch)
    assert np.any(found.target.numpy() != batch.target.numpy())
    np.testing.assert_array_equal(found.data, found.target[:6, :, :5])
    if "temporal_spike_jitter_width" in settings:
        np.testing.assert_array_equal(found.target.numpy().sum(0), batch.target.numpy().sum(0))


def test_shifts_are_per_channel_and_trial_and_mirrored():
    values = np.arange(5, dtype=np.float32)[:, None, None] * np.ones((1, 2, 2), np.float32)
    moved = shifted(tf.constant(values), tf.constant([[0, 1], [-2, 9]])).numpy()
    np.testing.assert_array_equal(moved[:, 0, 0], [0, 1, 2, 3, 4])
    np.testing.assert_array_equal(moved[:, 0, 1], [1, 0, 1, 2, 3])
    np.testing.assert_array_equal(moved[:, 1, 0], [2, 3, 4, 3, 2])
    np.testing.assert_array_equal(moved[:, 1, 1], [1, 0, 1, 2, 3])
    drawn = noise.draw_shifts(200, 100, 2.0, 3, tf.constant([1, 2])).numpy()
    assert drawn.min() == -3 and drawn.max() == 3 and abs(drawn.mean()) < 4 * 2 / np.sqrt(drawn.size)
    from scipy.stats import norm

    expected = norm.cdf(0.25) - norm.cdf(-0.25)
    assert abs((drawn == 0).mean() - expected) < 4 * np.sqrt(expected / drawn.size)


def test_sample_validation_is_fixed_seeded_and_scored_apart():
    spec = spec_of(sv_rate=0.2)
    batch = batch_of(spec, 200)._replace(data=tf.ones([6, 200, 5]))
    first, later = augmented(spec, batch), augmented(spec, batch, step=9)
    apart = first.apart.numpy()
    np.testing.assert_array_equal(apart, later.apart)
    chosen = apart[:6, :, :5] > 0
    assert abs(chosen.mean() - 0.2) < 4 * np.sqrt(0.16 / chosen.size)
    np.testing.assert_array_equal(first.data.numpy() == 0, chosen)
    np.testing.assert_array_equal(first.counted.numpy()[:6, :, :5] == 0, chosen)
    np.testing.assert_allclose(first.counted.numpy()[:6, :, :5][~chosen], 1 / 0.8)
    assert not apart[6:].any() and np.all(first.counted.numpy()[6:] == 1)
    # The same trials in another order hold out the same entries; other seeds, sessions and trials hold out others.
    order = tf.constant(RANDOM.permutation(200), tf.int32)
    np.testing.assert_array_equal(augmented(spec, batch, trials=order).apart, tf.gather(apart, order, axis=1))
    for other in (augmented(spec, batch, seed=5), augmented(spec, batch._replace(session=tf.constant(1)))):
        assert abs(((other.apart.numpy()[:6, :, :5] > 0) & chosen).mean() - 0.04) < 0.01
    # Neighbours are independent.
    for axis in range(3):
        a, b = (np.take(chosen, range(s, chosen.shape[axis] - 1 + s), axis) for s in (0, 1))
        assert abs((a & b).mean() - 0.04) < 0.012


def test_scores_of_what_is_held_out():
    spec = spec_of(sv_rate=0.25, keep_prob=1.0)
    model = LFADS(spec, 1)
    batch = augmented(spec, batch_of(spec, 8))
    outputs = model(batch, noise.no_noise(spec, 8))
    entries = unweighted_log_prob(model, batch._replace(counted=None), outputs).numpy()
    terms = trial_terms(model, batch, outputs, outputs.decoded.u)
    np.testing.assert_allclose(terms.log_likelihood, (entries * batch.counted.numpy()).sum((0, 2)), rtol=1e-5)
    np.testing.assert_allclose(terms.apart, (entries * batch.apart.numpy()).sum((0, 2)), rtol=1e-5)
    assert trial_terms(model, batch._replace(apart=None), outputs, outputs.decoded.u).apart.numpy().any() == 0


def test_unobserved_entries_have_no_cost(tmp_path):
    """NaN: zeros for the encoders, no gradient, and the others weigh as much more."""
    counts = RANDOM.poisson(1.0, (20, 9, 7)).astype(np.float32)
    missing = RANDOM.random(counts.shape) < 0.3
    counts[missing] = np.nan
    write_spikes(tmp_path / "one.h5", train_data=counts, train_truth=None, valid_truth=None)
    with pytest.raises(DataError, match="--augmentations=selective_backprop takes NaN"):
        read_sessions(HyperParameters(data_dir=str(tmp_path)))
    hp = HyperParameters(data_dir=str(tmp_path), augmentations="selective_backprop", factors_dim=3, gen_dim=4)
    sessions = read_sessions(hp)
    spec = resolve(hp, sessions)
    assert spec.partly_observed and spec.sessions[0].observed_share == pytest.approx(1 - missing.mean())
    batch = place([sessions[0].train], spec).batch(tf.constant(0), tf.range(20))
    expected = np.nan_to_num(counts).swapaxes(0, 1)
    np.testing.assert_array_equal(batch.data, expected)
    np.testing.assert_array_equal(batch.target, expected)
    np.testing.assert_array_equal(batch.counted.numpy() == 0, missing.swapaxes(0, 1))
    np.testing.assert_allclose(batch.counted.numpy().mean(), 1.0, rtol=1e-5)
    assert sessions[0].train.data.min() >= 0 and np.isnan(sessions[0].train.target).sum() == missing.sum()


OWN = """
import tensorflow as tf

class Doubled:
    def __init__(self, spec):
        self.spec = spec
    def draw(self, batch, seed):
        return tf.random.stateless_uniform([], seed)
    def apply(self, batch, draws):
        return batch._replace(data=2 * batch.data + 0 * draws)

class Half:
    def draw(self, batch, seed):
        return None

raise_later = 1
"""


def test_a_users_own_in_order(tmp_path, monkeypatch):
    (tmp_path / "own_augmentations.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    spec = spec_of(augmentations="own_augmentations:Doubled,coordinated_dropout", cd_rate=0.5)
    batch = batch_of(spec)._replace(data=tf.ones([6, 50, 5]))
    assert set(np.unique(augmented(spec, batch).data)) == {0.0, 4.0}
    for name, message in (
        ("own_augmentations:Half", "the class lacks apply; it needs draw, apply"),
        ("own_augmentations:Gone", "has no class Gone"),
        ("own_augmentations:raise_later", "has no class raise_later"),
        ("no_such_module:Gone", "cannot import no_such_module .*looked in"),
    ):
        with pytest.raises(SettingsError, match=message):
            Augmenter(spec_of(augmentations=name), Dials.of(spec.hyperparameters), 0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"augmentations": "coordinated_drop"}, "must name spike_jitter.* or a class, module:Class, got 'coord"),
        ({"augmentations": "coordinated_dropout"}, "names coordinated_dropout, but --cd_rate is 0"),
        ({"augmentations": "temporal_shift", "temporal_shift_std": 1.0, "cd_rate": 0.1}, "does not name coordinated"),
        ({"augmentations": "coordinated_dropout,coordinated_dropout", "cd_rate": 0.1}, "twice"),
        ({"augmentations": "spike_jitter,selective_backprop", "temporal_spike_jitter_width": 1}, "fixes which"),
        (
            {"augmentations": "coordinated_dropout,spike_jitter", "cd_rate": 0.1, "temporal_spike_jitter_width": 1},
            "before",
        ),
        ({"cd_pass_rate": 0.1}, "needs --cd_rate above 0"),
        ({"cd_rate": 1.0}, "less than 1"),
        ({"sv_rate": -0.1}, "at least 0"),
        ({"augmentations": "a:b; import os"}, "must name"),
    ],
)
def test_bad_settings(settings, message):
    import re

    found = problems(HyperParameters(**settings))
    assert any(re.search(message, problem) for problem in found), found


def test_the_order_without_names():
    hp = HyperParameters(cd_rate=0.1, temporal_spike_jitter_width=1, sv_rate=0.1)
    assert augmentation_names(hp) == ("spike_jitter", "sample_validation", "coordinated_dropout")
    assert augmentation_names(dataclasses.replace(hp, augmentations="a:B")) == ("a:B",)


def test_moving_needs_a_nested_target(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as f:
        f["train_encod_data"], f["train_recon_data"] = np.ones((4, 5, 3)), np.ones((4, 5, 3)) * 2
    with pytest.raises(DataError, match="spike_jitter moves target and encoders' data alike"):
        read_sessions(HyperParameters(data_dir=str(tmp_path), temporal_spike_jitter_width=1))


def test_all_together_train(tmp_path):
    write_spikes(tmp_path / "data" / "one.h5")
    names = "temporal_shift,spike_jitter,sample_validation,coordinated_dropout"
    settings = {"temporal_shift_std": 1.0, "temporal_spike_jitter_width": 1, "sv_rate": 0.2, "cd_rate": 0.3}
    trainer = trainer_of(tmp_path, max_epochs=2, augmentations=names, cd_pass_rate=0.1, **settings)
    trainer.train()
    from lfads_tf2.training.fit_log import read

    log = read(tmp_path / "run" / "fitlog.csv")
    assert np.all(np.isfinite(log["total_train"])) and np.all(np.isfinite(log["total_valid"]))
