"""The whole model as a Keras model: names, summary, saved weights and configuration, whatever its settings."""

from __future__ import annotations

import dataclasses
import importlib
import json
import re
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import ROOT

from lfads_tf2 import noise
from lfads_tf2.errors import SettingsError
from lfads_tf2.hyperparameters import HyperParameters
from lfads_tf2.model.lfads import LFADS
from lfads_tf2.model.names import original_names
from lfads_tf2.model.priors import make_co_prior
from lfads_tf2.training.optimizer import Adam, trained_variables
from lfads_tf2.types import Batch, ModelSpec, SessionShape

SIZES = {"co_dim": 2, "factors_dim": 3, "gen_dim": 4, "ic_dim": 3, "ic_enc_dim": 4, "ci_enc_dim": 3, "con_dim": 3}
TWO, ALONE = (SessionShape("a", 5), SessionShape("b", 3)), (SessionShape("a", 3),)
VARIANTS = [
    (TWO, {}), (ALONE, {}), (TWO, {"output_dist": "gaussian"}), (TWO, {"output_dist": "zero_inflated_gamma"}),
    (TWO, {"co_dim": 0}), (TWO, {"ic_dim": 0}), (TWO, {"ic_dim": 4, "ic_prior_var_max": 0.5}),
    (TWO, {"do_causal_controller": True, "co_prior": "student_t", "ic_prior": "student_t"}),
    (TWO, {"ext_input_dim": 2, "inject_ext_input_to_gen": True, "co_dim": 0}),
    (TWO, {"ext_input_dim": 2, "co_prior": "none", "ic_prior": "none", "do_train_readin": False}),
]  # fmt: skip
STEPS, TRIALS = 6, 4


@pytest.fixture(params=VARIANTS, ids=lambda v: "-".join([f"{len(v[0])}", *(f"{k}={x}" for k, x in v[1].items())]))
def model(request):
    sessions, settings = request.param
    return LFADS(ModelSpec(HyperParameters(**(SIZES | settings)), STEPS, sessions), 1)


def outputs_of(model):
    hp, random = model.spec.hyperparameters, np.random.default_rng(0)
    counts = random.poisson(1.0, (STEPS, TRIALS, model.spec.max_channels)).astype(np.float32)
    ext_input = random.normal(size=(STEPS, TRIALS, hp.ext_input_dim)).astype(np.float32) if hp.ext_input_dim else None
    batch = Batch(tf.constant(counts), ext_input, tf.constant(len(model.spec.sessions) - 1))
    outputs = model(batch, noise.draw_noise(model.spec, TRIALS, tf.constant([1, 2])))
    return [np.asarray(x) for x in tf.nest.flatten(outputs) if x is not None]


def changed(model):
    for n, weight in enumerate(model.weights):
        weight.assign(np.array(weight) + np.random.default_rng(n).normal(0, 0.1, weight.shape))


def test_every_weight_has_one_name(model):
    paths = [weight.path for weight in model.weights]
    assert len(set(paths)) == len(paths)
    assert all(path.startswith(f"{model.name}/") and path.count("/") >= 2 for path in paths), paths
    named = [weight.variable for weight in original_names(model).values()]
    assert {id(variable) for variable in named} == {id(weight) for weight in model.weights}


def test_summary_counts_every_weight_once(model, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    lines = []
    model.summary(line_length=110, print_fn=lines.append)
    rows = re.findall(r"│ (\w+) \(.*?│.*?│\s+([\d,]+) │", "\n".join(lines))
    assert len({name for name, _ in rows}) == len(rows)
    counts = {name: int(count.replace(",", "")) for name, count in rows}
    assert counts == {layer.name: sum(w.shape.num_elements() for w in layer.weights) for layer in model.layers}
    assert sum(counts.values()) == model.count_params() == sum(w.shape.num_elements() for w in model.weights)
    of_layers = [id(weight) for layer in model.layers for weight in layer.weights]
    assert sorted(of_layers) == sorted(id(weight) for weight in model.weights)


def test_saved_weights_give_the_same_outputs(model, tmp_path):
    changed(model)
    model.save_weights(tmp_path / "model.weights.h5")
    other = LFADS(model.spec, 2)
    other.load_weights(tmp_path / "model.weights.h5")
    for one, two in zip(outputs_of(model), outputs_of(other), strict=True):
        np.testing.assert_array_equal(one, two)


def test_a_saved_model_needs_nothing_else(model, tmp_path):
    changed(model)
    model.save(tmp_path / "model.keras")
    other = keras.models.load_model(tmp_path / "model.keras")
    assert isinstance(other, LFADS) and other.spec == model.spec
    for one, two in zip(outputs_of(model), outputs_of(other), strict=True):
        np.testing.assert_array_equal(one, two)


OWN = """
import keras
import tensorflow as tf

class Exponential:
    num_parameters = 1
    data = "positive"
    def __init__(self, spec):
        self.offset = keras.Variable(0.5, name="offset")
        self.weights = [self.offset]
    def log_prob(self, values, parameters):
        return parameters[0] - tf.exp(parameters[0]) * values
    def mean(self, parameters):
        return tf.exp(-parameters[0]) + self.offset

class Laplace(keras.layers.Layer):
    def __init__(self, hp):
        super().__init__()
        self.scale = self.add_weight(shape=(1, hp.co_dim), initializer="ones", name="scale")
        self.built = True
    def log_prob(self, u):
        return -tf.abs(u) / self.scale - tf.math.log(2.0 * self.scale)
    def sample(self, noise):
        return noise

class Plain:
    log_prob = sample = None
"""


def test_parts_of_a_users_own(tmp_path, monkeypatch):
    """They need no base class, and a saved model does not import them by itself."""
    (tmp_path / "own_of_a_user.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    own = {"output_dist": "own_of_a_user:Exponential", "co_prior": "own_of_a_user:Laplace"}
    model = LFADS(ModelSpec(HyperParameters(**SIZES, **own), STEPS, TWO), 1)
    paths = [weight.path for weight in model.weights]
    assert len(set(paths)) == len(paths) and any(path.endswith("/offset") for path in paths)
    assert model.co_prior.kl(None, None) is None and model.co_prior.learned() == {}
    assert model.observation.penalty() == 0.0
    changed(model)
    expected = outputs_of(model)
    model.save(tmp_path / "model.keras")
    monkeypatch.delitem(sys.modules, "own_of_a_user")
    with pytest.raises(SettingsError, match="import own_of_a_user first, if you trust"):
        keras.models.load_model(tmp_path / "model.keras")
    assert "own_of_a_user" not in sys.modules
    importlib.import_module("own_of_a_user")
    for one, two in zip(expected, outputs_of(keras.models.load_model(tmp_path / "model.keras")), strict=True):
        np.testing.assert_array_equal(one, two)
    with pytest.raises(SettingsError, match=r"must derive from keras\.layers\.Layer"):
        make_co_prior(HyperParameters(co_prior="own_of_a_user:Plain"))


def test_checkpoints_hold_every_weight(model, tmp_path):
    """What training writes beside the optimiser; a list of layers alone would be left out without a word."""
    changed(model)
    tf.train.Checkpoint(model=model).write(str(tmp_path / "model"))
    other = LFADS(model.spec, 2)
    tf.train.Checkpoint(model=other).read(str(tmp_path / "model")).assert_consumed()
    for one, two in zip(model.weights, other.weights, strict=True):
        np.testing.assert_array_equal(one, two, err_msg=one.path)


@pytest.mark.parametrize("with_optimizer", [False, True])
def test_checkpoints_of_the_first_version(with_optimizer):
    """Runs and models that are there go on: whatever is renamed, checkpoints find it under the names of 0.1.0."""
    spec = ModelSpec(HyperParameters(**SIZES), STEPS, (SessionShape("a", 5),))
    model, expected = LFADS(spec, 8), LFADS(spec, 3)
    parts = {"optimizer": Adam(trained_variables(model), 0.5)} if with_optimizer else {}
    status = tf.train.Checkpoint(model=model, **parts).read(str(ROOT / "tests/golden/checkpoint_0.1.0/toy"))
    status.assert_existing_objects_matched().expect_partial()
    for one, two in zip(model.weights, expected.weights, strict=True):
        np.testing.assert_array_equal(one, two, err_msg=one.path)
    if with_optimizer:
        assert float(parts["optimizer"].learning_rate) == np.float32(0.1)


def test_a_spec_in_plain_values():
    sessions = (SessionShape("a", 5, True, 3, 0.9), SessionShape("b", 4))
    spec = ModelSpec(HyperParameters(co_dim=2, ext_input_dim=1), 9, sessions, 7, True, True)
    again = ModelSpec.from_dict(json.loads(json.dumps(spec.as_dict())))
    assert again == spec and isinstance(again.sessions, tuple)
    assert again != dataclasses.replace(spec, num_bins=8)
