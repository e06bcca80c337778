"""Variants of cost, optimiser, schedule, read-in and read-out: what each changes, and that nothing else does."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
import tensorflow as tf
from small_models import SETTINGS, trainer_of
from small_runs import write_spikes

from lfads_tf2 import noise
from lfads_tf2.data import DataError, read_sessions, resolve
from lfads_tf2.hyperparameters import HyperParameters, problems
from lfads_tf2.model.lfads import LFADS
from lfads_tf2.objective import costs, l2_cost, ramps, trial_terms
from lfads_tf2.training.fit_log import read
from lfads_tf2.training.optimizer import Adam, trained_variables
from lfads_tf2.training.schedules import (
    TrainingState,
    smoothed,
    update_learning_rate_on_plateau,
    watch_validation,
)
from lfads_tf2.types import Batch, Dials, ModelSpec, SessionShape


def model_of(sessions=(("a", 5),), **settings) -> LFADS:
    hp = HyperParameters(**(SETTINGS | settings))
    return LFADS(ModelSpec(hp, 6, tuple(SessionShape(*s) for s in sessions)), 1)


def costs_of(model, session=0):
    counts = np.random.default_rng(0).poisson(1.0, (6, 4, model.spec.max_channels)).astype(np.float32)
    counts[:, :, model.spec.sessions[session].num_channels :] = 0
    batch = Batch(tf.constant(counts), None, tf.constant(session))
    outputs = model(batch, noise.draw_noise(model.spec, 4, tf.constant([1, 2])))
    terms = trial_terms(model, batch, outputs, outputs.decoded.u)
    weights = ramps(model.spec.hyperparameters, tf.constant(100))
    return costs(model, terms, outputs, weights, session=batch.session)


def test_mean_reconstruction_counts_the_sessions_own_entries():
    sessions = (("a", 5), ("b", 3))
    for index, channels in ((0, 5), (1, 3)):
        whole, mean = (costs_of(model_of(sessions, recon_reduce=r), index) for r in ("sum", "mean"))
        assert float(mean.recon) == pytest.approx(float(whole.recon) / (6 * channels), rel=1e-5)
        assert float(mean.kl) == pytest.approx(float(whole.kl), rel=1e-6)
        assert float(mean.nll) == pytest.approx(float(whole.recon), rel=1e-5)


def test_l2_of_the_encoders_has_denominators_of_its_own():
    model = model_of(l2_gen_scale=0.0, l2_con_scale=0.0)
    dials = Dials.of(model.spec.hyperparameters)
    assert float(l2_cost(model, dials)) == 0.0
    for name, encoder, inputs in (("ic", model.ic_encoder, 5), ("ci", model.ci_encoder, 5)):
        arrays = []
        for layer in (encoder.forward, encoder.reverse):
            for linear in (layer.gates, layer.candidate):
                arrays += [np.array(linear.kernel)[inputs:], np.array(linear.bias)]
        expected = 0.5 * 3.0 * sum((a**2).sum() for a in arrays) / sum(a.size for a in arrays)
        found = l2_cost(model, dials._replace(**{f"l2_{name}_enc_scale": 3.0}))
        assert float(found) == pytest.approx(expected, rel=1e-5)
        turned = dials._replace(**{f"l2_{name}_enc_scale": tf.constant(3.0)})
        assert float(l2_cost(model, turned)) == pytest.approx(expected, rel=1e-5)


def test_weight_decay_is_apart_from_the_moments():
    variables = [tf.Variable([1.0, -2.0]), tf.Variable([[3.0]])]
    optimizer = Adam(variables, 0.1)
    optimizer.apply([tf.zeros([2]), tf.zeros([1, 1])], 0.5)
    np.testing.assert_allclose(variables[0], [0.95, -1.9], rtol=1e-6)
    optimizer.apply([tf.zeros([2]), tf.zeros([1, 1])])
    np.testing.assert_allclose(variables[1], [[2.85]], rtol=1e-6)
    assert not optimizer.first[0].numpy().any()


def test_plateau_and_patience():
    hp = HyperParameters(learning_rate_n_to_compare=2, learning_rate_decay_factor=0.5)
    state = TrainingState(learning_rate=1.0)
    rates = []
    for value in (10.0, 9.0, 9.5, 9.6, 9.7, 9.8, 9.9, 9.9, 5.0, 9.9):
        watch_validation(state, value)
        update_learning_rate_on_plateau(state, hp)
        rates.append(state.learning_rate)
    # Smoothed 10, 9.7, 9.64, 9.628 fall; 9.65, 9.69, 9.76 do not: the third lowers the rate.
    assert rates == [1, 1, 1, 1, 1, 1, 0.5, 0.5, 0.5, 0.5]
    assert smoothed(smoothed(None, 10.0), 9.0) == pytest.approx(9.7)
    assert state.epochs_since_best == 1, "5.0 was a new best"
    again = TrainingState.from_json(state.to_json())
    assert again == state
    assert TrainingState.from_json('{"epoch": 3, "learning_rate": 0.1, "cost_history": []}').best_smoothed == math.inf


def test_ramps_in_epochs(tmp_path):
    write_spikes(tmp_path / "one.h5")
    hp = HyperParameters(data_dir=str(tmp_path), **SETTINGS, kl_increase_epochs=4, l2_start_epoch=2)
    spec = resolve(hp, read_sessions(hp))
    resolved = spec.hyperparameters
    # 20 trials in batches of 8: 3 steps an epoch.
    assert (resolved.kl_start_step, resolved.kl_increase_steps) == (0, 12)
    assert (resolved.l2_start_step, resolved.l2_increase_steps) == (6, 6)


def test_all_variants_together_train_and_stop(tmp_path):
    write_spikes(tmp_path / "data" / "one.h5")
    settings = {
        "recon_reduce": "mean", "loss_scale": 100.0, "l2_ic_enc_scale": 1.0, "l2_ci_enc_scale": 1.0,
        "weight_decay": 1e-3, "adam_epsilon": 1e-8, "learning_rate_schedule": "plateau", "early_stopping_patience": 2,
        "kl_increase_epochs": 2, "learning_rate_init": 1e-6, "learning_rate_stop": 1e-9,
    }  # fmt: skip
    trainer = trainer_of(tmp_path, max_epochs=40, **settings)
    trainer.state.best_smoothed = 0.0
    trainer.train()
    assert trainer.state.epoch == 2, "nothing falls below 0, so patience ends it"
    assert np.all(read(tmp_path / "run" / "fitlog.csv")["recon_train"] < 5)


def test_read_in_and_read_out():
    model = model_of(read_in="linear")
    assert model.read_in.inputs == [5] and model.read_in.outputs == [3]
    assert model_of((("a", 5), ("b", 5)), read_in="identity").read_in is None
    assert model_of((("a", 3),)).observation.read_outs == []
    assert len(model_of((("a", 3),), read_out="linear").observation.read_outs) == 1
    frozen = model_of(do_train_readout=False)
    kernel = frozen.observation.mean_map.kernel.value
    assert not any(v is kernel for v in trained_variables(frozen))
    assert any(v is model.observation.mean_map.kernel.value for v in trained_variables(model))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"read_in": "identity"}, "--read_in=identity needs sessions of the same channels"),
        ({"learning_rate_schedule": "plateau"}, "--learning_rate_schedule=plateau needs validation data"),
        ({"early_stopping_patience": 3}, "--early_stopping_patience needs validation data"),
    ],
)
def test_data_that_a_variant_cannot_use(tmp_path, settings, message):
    write_spikes(tmp_path / "one.h5", valid_data=None, valid_truth=None)
    write_spikes(tmp_path / "two.h5", channels=5, valid_data=None, valid_truth=None)
    with pytest.raises(DataError, match=message):
        read_sessions(HyperParameters(data_dir=str(tmp_path), **settings))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"recon_reduce": "median"}, "one of sum, mean"),
        ({"learning_rate_schedule": "steps"}, "one of original, plateau, cosine"),
        ({"learning_rate_schedule": "cosine"}, "needs an end: --max_epochs"),
        ({"adam_beta1": 1.0}, "less than 1"),
        ({"adam_epsilon": 0.0}, "greater than 0"),
        ({"weight_decay": -1.0}, "at least 0"),
        ({"loss_scale": 0.0}, "greater than 0"),
        ({"kl_increase_epochs": -1}, "at least 0"),
        ({"early_stopping_patience": -1}, "at least 0"),
        ({"read_in": "none"}, "one of auto, identity, linear"),
        ({"read_out": "identity"}, "one of auto, linear"),
        ({"do_train_io_only": True, "do_train_readin": False, "do_train_readout": False}, "leaves nothing to train"),
    ],
)
def test_bad_settings(settings, message):
    found = problems(HyperParameters(**settings))
    assert any(re.search(message, problem) for problem in found), found
