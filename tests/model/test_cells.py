"""The cells in Keras' own loop against our scan, and controller and generator bin by bin against both together."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from lfads_tf2.hyperparameters import HyperParameters
from lfads_tf2.model import native
from lfads_tf2.model.cells import ClippedGRUCell, GenGRUCell
from lfads_tf2.model.encoder import Encoder
from lfads_tf2.model.lfads import LFADS
from lfads_tf2.types import Batch, Masks, ModelSpec, Noise, SessionShape

STEPS, TRIALS, UNITS = 23, 5, 7
CELLS = [ClippedGRUCell, GenGRUCell]


def drawn(*shape, seed=0, scale=1.0):
    return (scale * np.random.default_rng(seed).normal(size=shape)).astype(np.float32)


def built(cell, inputs):
    """With biases too."""
    cell.build((None, inputs))
    for n, weight in enumerate(cell.weights):
        weight.assign(np.array(weight) + drawn(*weight.shape, seed=n, scale=0.2))
    return cell


def in_numpy(cell, inputs, state):
    """States over time in double precision, from the equations of lfads_tf2.model.gru."""
    w = {name: np.asarray(getattr(cell, name).kernel, np.float64) for name in ("gates", "candidate")}
    b = {name: np.asarray(getattr(cell, name).bias, np.float64) for name in w}
    if isinstance(cell, GenGRUCell):
        w = {
            name: np.concatenate([np.asarray(getattr(cell, f"input_{name}").kernel, np.float64), w[name]]) for name in w
        }
    states = []
    for x in inputs:
        gates = 1 / (1 + np.exp(-(np.concatenate([x, state], 1) @ w["gates"] + b["gates"] + np.repeat([0, 1], UNITS))))
        reset, update = np.split(gates, 2, axis=1)
        candidate = np.tanh(np.concatenate([x, reset * state], 1) @ w["candidate"] + b["candidate"])
        state = np.clip(update * state + (1 - update) * candidate, -cell.clip, cell.clip)
        states.append(state)
    return np.stack(states)


@pytest.mark.parametrize("kind", CELLS)
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("compiled", [False, True])
def test_keras_loop_equals_the_scan(kind, reverse, compiled):
    cell = built(kind(UNITS, clip=0.4), 3)
    x, start = drawn(STEPS, TRIALS, 3, scale=2.0), drawn(TRIALS, UNITS, seed=1, scale=0.1)
    rnn = keras.layers.RNN(cell, return_sequences=True, go_backwards=reverse)
    by_keras = (tf.function(rnn) if compiled else rnn)(np.swapaxes(x, 0, 1), initial_state=[start])
    by_keras = np.swapaxes(by_keras, 0, 1)[:: -1 if reverse else 1]
    scan = cell.scan(tf.constant(x), tf.constant(start), reverse=reverse)
    np.testing.assert_allclose(by_keras, scan, atol=1e-6)
    order = slice(None, None, -1 if reverse else 1)
    np.testing.assert_allclose(scan, in_numpy(cell, x[order], start)[order], atol=2e-6)
    assert np.mean(np.abs(scan) == np.float32(0.4)) > 0.01, "some states were limited"


@pytest.mark.parametrize("kind", CELLS)
def test_keras_loop_equals_the_kernels(kind):
    if not native.available():
        pytest.skip("no compiled kernels: there is no C++ compiler here, or LFADS_NATIVE=0")
    cell = built(kind(UNITS), 3)
    x = drawn(STEPS, TRIALS, 3)
    by_keras = np.swapaxes(keras.layers.RNN(cell, return_sequences=True)(np.swapaxes(x, 0, 1)), 0, 1)
    scan = cell.scan(tf.constant(x), tf.zeros([TRIALS, UNITS]), native=True, save_for_gradient=False)
    np.testing.assert_allclose(by_keras, scan, atol=1e-6)


def test_a_cell_in_models_of_others(tmp_path):
    """Built by Keras from its inputs, trained by Keras, saved and loaded whole."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((STEPS, 3)), keras.layers.RNN(ClippedGRUCell(UNITS)), keras.layers.Dense(1)])
    model.compile("adam", "mse")
    x, y = drawn(64, STEPS, 3), drawn(64, 1, seed=1)
    losses = model.fit(x, y, epochs=5, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    model.save(tmp_path / "whole.keras")
    again = keras.models.load_model(tmp_path / "whole.keras")
    np.testing.assert_allclose(again.predict(x, verbose=0), model.predict(x, verbose=0), atol=1e-6)


def test_initial_weights_have_their_scale():
    cell = GenGRUCell(300, input_scale=2.0, recurrent_scale=0.5, seeds=[1, 2, 3, 4])
    cell.build((None, 200))
    for layer, expected in ((cell.input_gates, 2 / 200**0.5), (cell.gates, 0.5 / 300**0.5)):
        values = np.array(layer.kernel)
        # Standard error of a standard deviation: 1/√(2n).
        assert abs(values.std() / expected - 1) < 4.5 / np.sqrt(2 * values.size)
        assert np.abs(values).max() > 3.5 * expected, "not truncated"


def test_encoder_is_its_cell_from_a_learned_state():
    encoder = Encoder(UNITS, clip=0.5, reverse=True)
    x = drawn(STEPS, TRIALS, 3)
    encoder(x)
    encoder.initial_state.assign(drawn(1, UNITS, seed=4, scale=0.3))
    start = np.repeat(np.array(encoder.initial_state), TRIALS, axis=0)
    np.testing.assert_allclose(encoder(x), in_numpy(encoder.cell, x[::-1], start)[::-1], atol=2e-6)


@pytest.mark.parametrize("settings", [
    {}, {"do_feed_factors_to_controller": False}, {"ext_input_dim": 2, "inject_ext_input_to_gen": True},
    {"feedback_factors_or_rates": "rates", "controller_input_lag": 0},
])  # fmt: skip
def test_controller_and_generator_bin_by_bin(settings):
    """The layers' calls in a loop of Python's, with feedback and dropout, give what both do in one scan."""
    sizes = {"co_dim": 2, "factors_dim": 3, "gen_dim": 6, "ic_dim": 3, "ic_enc_dim": 4, "ci_enc_dim": 3, "con_dim": 5}
    hp = HyperParameters(**sizes, **settings)
    model = LFADS(ModelSpec(hp, STEPS, (SessionShape("a", 5),)), 1)
    for n, weight in enumerate(model.weights):
        weight.assign(np.array(weight) + drawn(*weight.shape, seed=n, scale=0.1))
    counts = np.random.default_rng(0).poisson(1.0, (STEPS, TRIALS, 5)).astype(np.float32)
    ext_input = drawn(STEPS, TRIALS, 2) if settings.get("ext_input_dim") else None
    batch = Batch(tf.constant(counts), ext_input, tf.constant(0))
    draws = Noise(tf.constant(drawn(TRIALS, 3)), tf.constant(drawn(STEPS, TRIALS, 2, seed=1)))
    fed_back = {True: 5 if "feedback_factors_or_rates" in settings else 3, False: 0}[hp.do_feed_factors_to_controller]
    masks = Masks(
        feedback=drawn(STEPS, TRIALS, fed_back, seed=2) if fed_back else None, gen_out=drawn(STEPS, TRIALS, 6, seed=3)
    )
    outputs = model(batch, draws, masks)

    code = model.controller_code(outputs.encoding)
    con, gen = model.controller.initial_states(TRIALS), outputs.gen_ics
    factors = model.generator.factor_map(gen)
    for t in range(STEPS):
        parts = [code[t]]
        if fed_back:
            seen = factors
            if fed_back == 5:
                seen = model.observation.feedback_rates(model.observation(factors, batch.session), first=t == 0)
            parts.append(seen * masks.feedback[t])
        mean, logvar, con = model.controller(tf.concat(parts, axis=-1), con)
        u = mean + tf.exp(0.5 * logvar) * draws.co[t]
        driven = tf.concat([u] + ([ext_input[t]] if ext_input is not None else []), axis=-1)
        states, factors = model.generator(driven[None], gen, masks.gen_out[t : t + 1])
        gen, factors = states[0], factors[0]
        for name, now in (
            ("co_mean", mean),
            ("co_logvar", logvar),
            ("u", u),
            ("gen_states", gen),
            ("factors", factors),
        ):
            np.testing.assert_allclose(getattr(outputs.decoded, name)[t], now, atol=1e-5, err_msg=f"{name} at bin {t}")


def test_factors_have_unit_columns():
    model = LFADS(ModelSpec(HyperParameters(factors_dim=3, gen_dim=6), STEPS, (SessionShape("a", 5),)), 1)
    layer, states = model.generator.factor_map, drawn(STEPS, TRIALS, 6)
    kernel = np.asarray(layer.kernel, np.float64)
    np.testing.assert_allclose(layer(states), states @ (kernel / np.linalg.norm(kernel, axis=0)), atol=1e-5)
