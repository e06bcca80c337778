"""Every layer of the model as Keras expects layers to be, and what each gives against NumPy, scipy and Keras' loops."""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

import lfads_tf2.model
from lfads_tf2 import noise
from lfads_tf2.hyperparameters import HyperParameters
from lfads_tf2.model.affine import FactorMap, Linear, SessionLinear
from lfads_tf2.model.cells import ClippedGRUCell, GenGRUCell
from lfads_tf2.model.decoder import Controller, Generator
from lfads_tf2.model.encoder import BidirectionalEncoder, Encoder
from lfads_tf2.model.lfads import LFADS
from lfads_tf2.model.observation import Distributed, Gaussian, Poisson
from lfads_tf2.model.priors import AutoregressivePrior, IndependentPrior, InitialConditionPrior, InputPrior
from lfads_tf2.types import Batch, ModelSpec, Noise, SessionShape

SIZES = {"co_dim": 2, "factors_dim": 3, "gen_dim": 4, "ic_dim": 3, "ic_enc_dim": 4, "ci_enc_dim": 3, "con_dim": 3}
STEPS, TRIALS = 6, 4


def spec_of(sessions=(("a", 5), ("b", 3)), **settings) -> ModelSpec:
    return ModelSpec(HyperParameters(**(SIZES | settings)), STEPS, tuple(SessionShape(*s) for s in sessions))


def drawn(*shape, seed=0):
    return tf.constant(np.random.default_rng(seed).normal(size=shape).astype(np.float32))


def model_inputs(spec: ModelSpec, session=0) -> tuple[Batch, Noise]:
    hp = spec.hyperparameters
    counts = np.random.default_rng(0).poisson(1.0, (STEPS, TRIALS, spec.max_channels)).astype(np.float32) + 0.5
    ext_input = drawn(STEPS, TRIALS, hp.ext_input_dim) if hp.ext_input_dim else None
    batch = Batch(tf.constant(counts), ext_input, tf.constant(session))
    return batch, noise.draw_noise(spec, TRIALS, tf.constant([1, 2]))


# Makes a layer and the arguments of its call.
EXAMPLES = {
    Linear: lambda: (Linear(3, seed=1, scale=0.5), (drawn(STEPS, TRIALS, 5),)),
    FactorMap: lambda: (FactorMap(3, seed=1), (drawn(STEPS, TRIALS, 5),)),
    SessionLinear: lambda: (SessionLinear([5, 3], [4, 4], [1, 2]), (drawn(STEPS, TRIALS, 5), tf.constant(1))),
    ClippedGRUCell: lambda: (ClippedGRUCell(3, 0.5, 2.0, [1, 2]), (drawn(TRIALS, 5), [drawn(TRIALS, 3, seed=1)])),
    GenGRUCell: lambda: (
        GenGRUCell(3, 0.5, True, 2.0, 0.7, [1, 2, 3, 4]), (drawn(TRIALS, 5), [drawn(TRIALS, 3, seed=1)])
    ),
    Encoder: lambda: (Encoder(3, 0.5, 2.0, reverse=True, seeds=[1, 2]), (drawn(STEPS, TRIALS, 5),)),
    BidirectionalEncoder: lambda: (
        BidirectionalEncoder(3, with_last=True, seeds=[1, 2, 3, 4]), (drawn(STEPS, TRIALS, 5),)
    ),
    Controller: lambda: (
        Controller(3, 2, 4, seeds=[1, 2, 3, 4, 5, 6]), (drawn(TRIALS, 7), drawn(TRIALS, 3, seed=1))
    ),
    Generator: lambda: (
        Generator(4, 3, 3, seeds=[1, 2, 3, 4, 5, 6]), (drawn(STEPS, TRIALS, 2), drawn(TRIALS, 4, seed=1))
    ),
    InitialConditionPrior: lambda: (InitialConditionPrior(3, 0.2, 0.1, 0.4, df=4.0), (tf.constant(TRIALS),)),
    AutoregressivePrior: lambda: (AutoregressivePrior(2, 7.0, 0.3, learns_tau=False), (tf.constant(STEPS),)),
    IndependentPrior: lambda: (IndependentPrior(2, 0.3, df=4.0), (tf.constant(STEPS),)),
    Poisson: lambda: (Poisson(spec_of(), [1, 2]), (drawn(STEPS, TRIALS, 3), tf.constant(1))),
    Gaussian: lambda: (
        Gaussian(spec_of(output_dist="gaussian"), [1, 2, 3, 4]), (drawn(STEPS, TRIALS, 3), tf.constant(1))
    ),
    Distributed: lambda: (
        Distributed(spec_of(output_dist="zero_inflated_gamma"), [1, 2, 3, 4, 5, 6]),
        (drawn(STEPS, TRIALS, 3), tf.constant(1)),
    ),
    LFADS: lambda: (LFADS(spec_of(), 1), model_inputs(spec_of())),
}  # fmt: skip


def layer_classes() -> set[type]:
    """Every layer of the model's room that is not the base of another."""
    names = [module.name for module in pkgutil.iter_modules(lfads_tf2.model.__path__)]
    modules = [importlib.import_module(f"lfads_tf2.model.{name}") for name in names]
    found = {
        kind
        for module in modules
        for _, kind in inspect.getmembers(module, inspect.isclass)
        if issubclass(kind, keras.layers.Layer) and kind.__module__ == module.__name__
    }
    bases = {base for kind in found for base in kind.__bases__ if base not in (Linear,)}
    return found - bases


def test_every_layer_is_tried():
    assert layer_classes() == set(EXAMPLES)
    assert len(EXAMPLES) >= 16


def arrays(outputs) -> list[np.ndarray]:
    """What a layer gave as arrays; of a distribution its log-densities and draws."""
    if isinstance(outputs, tfp.distributions.Distribution):
        values = drawn(*outputs.event_shape_tensor().numpy(), seed=3)
        outputs = [outputs.log_prob(values), outputs.sample(2, seed=[1, 2])]
    return [np.asarray(x) for x in tf.nest.flatten(outputs) if x is not None]


def same(one, other, rtol=0.0, atol=0.0):
    assert len(one) == len(other) > 0
    for a, b in zip(one, other, strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=atol)


def changed(layer) -> None:
    """Other weights than the initial ones, all different."""
    random = np.random.default_rng(5)
    for weight in layer.weights:
        weight.assign(np.array(weight) + random.normal(0, 0.1, weight.shape))


@pytest.fixture(params=EXAMPLES, ids=lambda kind: kind.__name__)
def example(request):
    layer, arguments = EXAMPLES[request.param]()
    return layer, arguments, arrays(layer(*arguments))


def test_call(example):
    layer, arguments, outputs = example
    assert layer.built and layer.weights
    assert all(np.all(np.isfinite(x)) for x in outputs)
    same(arrays(layer(*arguments)), outputs)
    if isinstance(layer, InputPrior):
        compiled = tf.function(lambda n, x: (layer(n).log_prob(x), layer(n).sample(2, seed=[1, 2])))
        values = drawn(STEPS, layer.units, seed=3)
        same(arrays(compiled(arguments[0], values)), outputs, rtol=1e-5)
    else:
        same(arrays(tf.function(layer)(*arguments)), outputs, rtol=1e-5, atol=1e-6)


def test_names_are_unique(example):
    layer, *_ = example
    paths = [weight.path for weight in layer.weights]
    assert len(set(paths)) == len(paths)
    assert all(path.startswith(f"{layer.name}/") for path in paths), paths


def test_saved_weights(example, tmp_path):
    """A layer is saved as part of a model; a model as it is."""
    layer, arguments, before = example
    changed(layer)
    other = type(layer).from_config(layer.get_config())
    other(*arguments)
    models = []
    for one in (layer, other):
        model = one
        if not isinstance(one, keras.Model):
            model = keras.Model()
            model.layer, model.built = one, True
        models.append(model)
    models[0].save_weights(tmp_path / "all.weights.h5")
    models[1].load_weights(tmp_path / "all.weights.h5")
    for one, two in zip(layer.weights, other.weights, strict=True):
        np.testing.assert_array_equal(one, two, err_msg=one.path)
    after = arrays(layer(*arguments))
    same(arrays(other(*arguments)), after)
    assert any(not np.array_equal(a, b) for a, b in zip(after, before, strict=True))


def test_checkpoint(example, tmp_path):
    """TensorFlow's checkpoints, which training writes, hold every weight."""
    layer, arguments, _ = example
    changed(layer)
    tf.train.Checkpoint(layer=layer).write(str(tmp_path / "all"))
    other = type(layer).from_config(layer.get_config())
    other(*arguments)
    tf.train.Checkpoint(layer=other).read(str(tmp_path / "all")).assert_existing_objects_matched()
    for one, two in zip(layer.weights, other.weights, strict=True):
        np.testing.assert_array_equal(one, two, err_msg=one.path)


def test_configuration(example):
    """What it says of itself is plain JSON, and makes a layer of the same initial weights and outputs."""
    layer, arguments, outputs = example
    config = json.loads(json.dumps(layer.get_config()))
    for other in (
        type(layer).from_config(config),
        keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer)),
    ):
        assert type(other) is type(layer) and other.name == layer.name
        assert json.loads(json.dumps(other.get_config())) == config
        same(arrays(other(*arguments)), outputs)
        assert [(w.path, w.trainable) for w in other.weights] == [(w.path, w.trainable) for w in layer.weights]
