"""The loops over time, compiled and not, against NumPy in float64, their gradients against automatic ones."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import special

from lfads_tf2 import noise
from lfads_tf2.model import elementwise, native, scans
from lfads_tf2.model.kernels import kernels
from lfads_tf2.model.loops import DecoderInputs, DecoderOutputs, GruInputs

needs_kernels = pytest.mark.skipif(not native.available(), reason="the native kernels cannot be built here")
either = pytest.mark.parametrize("by_kernels", [pytest.param(True, marks=needs_kernels), False])

CLIP = 0.7  # low enough that many states touch it
# (T, B, D, H): odd sizes, one row, several threads, one step, more than two vectors of columns, no inputs.
GRU_SHAPES = [(4, 5, 3, 7), (6, 1, 16, 16), (3, 130, 37, 20), (1, 40, 1, 33), (5, 33, 0, 64), (2, 3, 50, 100)]
# (T, B, K, U, G, F)
DECODER_SHAPES = [
    (4, 5, 7, 1, 9, 3),
    (3, 1, 16, 2, 16, 4),
    (2, 130, 20, 1, 33, 20),
    (1, 3, 5, 4, 6, 1),
    (5, 34, 8, 17, 15, 18),
]


def sigmoid(x):
    return 0.5 * (1 + np.tanh(x / 2))


def numpy_step(xg, xc, h, wg, wc, clip):
    gates, n = xg + h @ wg, h.shape[-1]
    r, u = sigmoid(gates[:, :n]), sigmoid(gates[:, n:] + 1)
    return np.clip(u * h + (1 - u) * np.tanh(xc + (r * h) @ wc), -clip, clip)


def numpy_gru(x, clip, reverse):
    """States of float64 GruInputs."""
    xg, xc, h = x.x @ x.x_w_gates + x.b_gates, x.x @ x.x_w_candidate + x.b_candidate, x.h0
    states = np.zeros_like(xc)
    for t in range(len(xc))[:: -1 if reverse else 1]:
        states[t] = h = numpy_step(xg[t], xc[t], h, x.w_gates, x.w_candidate, clip)
    return states


def numpy_decoder(x, clip):
    """DecoderOutputs of float64 arrays; steps and weights as the equations have them."""
    k, g = x.con_h0, x.gen_h0
    f, rows = g @ x.fac_w, []
    for t in range(len(x.noise)):
        xg, xc = x.con_x_gates[t], x.con_x_candidate[t]
        if x.fb_w_gates is not None:
            fed = f * (1 if x.fb_mask is None else x.fb_mask[t])
            xg, xc = xg + fed @ x.fb_w_gates, xc + fed @ x.fb_w_candidate
        k = numpy_step(xg, xc, k, x.con_w_gates, x.con_w_candidate, clip)
        mean, logvar = k @ x.w_mean + x.b_mean, k @ x.w_logvar + x.b_logvar
        u = mean + np.exp(logvar / 2) * x.noise[t]
        s = 0 if len(x.gen_x_gates) == 1 else t
        xg, xc = x.gen_x_gates[s] + u @ x.gen_u_w_gates, x.gen_x_candidate[s] + u @ x.gen_u_w_candidate
        g = numpy_step(xg, xc, g, x.gen_w_gates, x.gen_w_candidate, clip)
        f = (g * (1 if x.gen_mask is None else x.gen_mask[t])) @ x.fac_w
        rows.append((k, mean, logvar, u, g, f))
    return DecoderOutputs(*map(np.stack, zip(*rows, strict=True)))


def tf_step(xg, xc, h, wg, wc, clip):
    r, u = tf.split(xg + h @ wg, 2, axis=-1)
    r, u = tf.sigmoid(r), tf.sigmoid(u + 1)
    return tf.clip_by_value(u * h + (1 - u) * tf.tanh(xc + (r * h) @ wc), -clip, clip)


def tf_gru(x, clip, reverse):
    xg, xc = tf.tensordot(x.x, x.x_w_gates, 1) + x.b_gates, tf.tensordot(x.x, x.x_w_candidate, 1) + x.b_candidate
    states, h = {}, x.h0
    for t in range(len(xc))[:: -1 if reverse else 1]:
        states[t] = h = tf_step(xg[t], xc[t], h, x.w_gates, x.w_candidate, clip)
    return tf.stack([states[t] for t in range(len(xc))])


def tf_decoder(x, clip):
    k, g = x.con_h0, x.gen_h0
    f, rows = g @ x.fac_w, []
    for t in range(len(x.noise)):
        xg, xc = x.con_x_gates[t], x.con_x_candidate[t]
        if x.fb_w_gates is not None:
            fed = f if x.fb_mask is None else f * x.fb_mask[t]
            xg, xc = xg + fed @ x.fb_w_gates, xc + fed @ x.fb_w_candidate
        k = tf_step(xg, xc, k, x.con_w_gates, x.con_w_candidate, clip)
        mean, logvar = k @ x.w_mean + x.b_mean, k @ x.w_logvar + x.b_logvar
        u = mean + tf.exp(logvar / 2) * x.noise[t]
        s = 0 if len(x.gen_x_gates) == 1 else t
        xg, xc = x.gen_x_gates[s] + u @ x.gen_u_w_gates, x.gen_x_candidate[s] + u @ x.gen_u_w_candidate
        g = tf_step(xg, xc, g, x.gen_w_gates, x.gen_w_candidate, clip)
        f = (g if x.gen_mask is None else g * x.gen_mask[t]) @ x.fac_w
        rows.append((k, mean, logvar, u, g, f))
    return DecoderOutputs(*map(tf.stack, zip(*rows, strict=True)))


def gru_arrays(T, B, D, H, seed=0):
    draw = np.random.default_rng(seed).normal
    shapes = [(T, B, D), (B, H), (D, 2 * H), (D, H), (1, 2 * H), (1, H), (H, 2 * H), (H, H)]
    scales = [1, 0.4, max(D, 1) ** -0.5, 1.5 * max(D, 1) ** -0.5, 1, 1, H**-0.5, H**-0.5]
    return GruInputs(*(draw(0, scale, shape).astype(np.float32) for shape, scale in zip(shapes, scales, strict=True)))


def decoder_arrays(T, B, K, U, G, F, masks=True, injected=True, feed=True, seed=0):
    generator = np.random.default_rng(seed)

    def draw(*shape, scale=1.0):
        return generator.normal(0, scale, shape).astype(np.float32)

    def mask(width):
        return (generator.random((T, B, width)) < 0.8).astype(np.float32) / np.float32(0.8) if masks else None

    def weight(rows, columns):
        return draw(rows, columns, scale=rows**-0.5)

    steps, trials = (T, B) if injected else (1, 1)
    return DecoderInputs(
        con_x_gates=draw(T, B, 2 * K), con_x_candidate=draw(T, B, K), con_h0=draw(B, K, scale=0.4),
        con_w_gates=weight(K, 2 * K), con_w_candidate=weight(K, K), fb_w_gates=weight(F, 2 * K) if feed else None,
        fb_w_candidate=weight(F, K) if feed else None, fb_mask=mask(F), w_mean=weight(K, U), b_mean=draw(U),
        w_logvar=weight(K, U),
        b_logvar=draw(U), noise=draw(T, B, U), gen_x_gates=draw(steps, trials, 2 * G),
        gen_x_candidate=draw(steps, trials, G), gen_u_w_gates=weight(U, 2 * G), gen_u_w_candidate=weight(U, G),
        gen_h0=draw(B, G, scale=0.4), gen_w_gates=weight(G, 2 * G), gen_w_candidate=weight(G, G), gen_mask=mask(G),
        fac_w=weight(G, F),
    )  # fmt: skip


def double(arrays):
    return [None if a is None else np.asarray(a, np.float64) for a in arrays]


def assert_close(actual, expected, tolerance, name=""):
    """Equal up to `tolerance` times the largest expected magnitude."""
    expected = np.asarray(expected)
    assert actual.shape == expected.shape, name
    scale = max(np.abs(expected).max(initial=0), 1e-3)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance * scale, err_msg=name)


def gradients(function, arguments, weights):
    """Gradients, for each argument that is not None, of the outputs' sum weighted by `weights` (None: unused)."""
    arguments = [None if a is None else tf.convert_to_tensor(a) for a in arguments]
    watched = [a for a in arguments if a is not None]
    with tf.GradientTape() as tape:
        tape.watch(watched)
        outputs = function(*arguments)
        terms = [tf.reduce_sum(y * tf.cast(w, y.dtype)) for y, w in zip(outputs, weights, strict=True) if w is not None]
        total = tf.add_n(terms)
    return tape.gradient(total, watched, unconnected_gradients="zero")


@either
@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("shape", GRU_SHAPES)
def test_gru_scan(by_kernels, shape, reverse, compiled):
    arrays = gru_arrays(*shape)
    wrap = tf.function if compiled else lambda f: f
    scan = wrap(lambda *x: scans.gru_scan(GruInputs(*x), CLIP, reverse, by_kernels))
    states = scan(*arrays)
    expected = numpy_gru(GruInputs(*double(arrays)), CLIP, reverse)
    assert_close(states, expected, 2e-6)
    assert (np.abs(expected) == CLIP).any() and (np.abs(expected) < CLIP).any()
    kept_less = scans.gru_scan(arrays, CLIP, reverse, by_kernels, save_for_gradient=False)
    np.testing.assert_array_equal(kept_less, states)

    weight = np.random.default_rng(1).normal(size=expected.shape)
    one = lambda *y: [scans.gru_scan(GruInputs(*y), CLIP, reverse, by_kernels)]  # noqa: E731
    actual = wrap(lambda *x: gradients(one, x, [weight]))(*arrays)
    wanted = gradients(lambda *x: [tf_gru(GruInputs(*x), CLIP, reverse)], double(arrays), [weight])
    for name, a, b in zip(GruInputs._fields, actual, wanted, strict=True):
        assert_close(a, b, 1e-5, name)


@either
@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("of_states", [False, True])
def test_the_last_state_of_a_gru_scan(by_kernels, reverse, compiled, of_states):
    """As a slice of the states, and its gradient with and without one of theirs."""
    arrays = gru_arrays(*GRU_SHAPES[0])
    wrap, draw = tf.function if compiled else lambda f: f, np.random.default_rng(1).normal
    both = lambda *x: scans.gru_scan(GruInputs(*x), CLIP, reverse, by_kernels, with_last=True)  # noqa: E731
    states, last = wrap(both)(*arrays)
    end = 0 if reverse else -1
    np.testing.assert_array_equal(last, states[end])
    weights = [draw(size=states.shape) if of_states else None, draw(size=last.shape)]

    def oracle(*x):
        states = tf_gru(GruInputs(*x), CLIP, reverse)
        return states, states[end]

    actual = wrap(lambda *x: gradients(both, x, weights))(*arrays)
    for name, a, b in zip(GruInputs._fields, actual, gradients(oracle, double(arrays), weights), strict=True):
        assert_close(a, b, 1e-5, name)


@either
@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("masks, injected, feed", [(1, 1, 1), (0, 0, 1), (1, 0, 0), (0, 1, 0)])
@pytest.mark.parametrize("shape", DECODER_SHAPES)
def test_decoder_scan(by_kernels, shape, masks, injected, feed, compiled):
    arrays = decoder_arrays(*shape, masks=masks, injected=injected, feed=feed)
    expected = numpy_decoder(DecoderInputs(*double(arrays)), CLIP)
    outputs = scans.decoder_scan(arrays, CLIP, native=by_kernels)
    kept_less = scans.decoder_scan(arrays, CLIP, native=by_kernels, save_for_gradient=False)
    for name, a, b, c in zip(outputs._fields, outputs, expected, kept_less, strict=True):
        assert_close(a, b, 3e-6, name)
        np.testing.assert_array_equal(a, c)

    draw = np.random.default_rng(2).normal
    weights = [draw(size=y.shape) for y in expected]
    if masks:
        weights[0] = weights[3] = weights[4] = None  # as in training: states and samples reach no cost themselves

    def own_gradients(*x):
        return gradients(lambda *y: scans.decoder_scan(DecoderInputs(*y), CLIP, native=by_kernels), x, weights)

    actual = (tf.function(own_gradients) if compiled else own_gradients)(*arrays)
    wanted = gradients(lambda *x: tf_decoder(DecoderInputs(*x), CLIP), double(arrays), weights)
    names = [name for name, value in zip(arrays._fields, arrays, strict=True) if value is not None]
    for name, a, b in zip(names, actual, wanted, strict=True):
        if name not in ("noise", "fb_mask", "gen_mask"):
            assert_close(a, b, 2e-5, name)


@either
def test_activations_are_accurate_near_zero_and_at_the_ends(by_kernels):
    """With zero weights and states, h' = (1 - sigmoid(b_u + 1)) * tanh(b_c): both functions show alone."""
    x = np.concatenate([np.linspace(-12, 12, 4001), np.logspace(-30, 0, 301), [np.inf, -np.inf, 1e30, -1e30]])
    x = x.astype(np.float32)

    def states(of_update, of_candidate):
        """Of units with these biases, few at once: recurrent weights are as many as squared units."""
        found = []
        for update, candidate in zip(np.array_split(of_update, 11), np.array_split(of_candidate, 11), strict=True):
            n = len(update)
            h0, weights = np.zeros((1, n), np.float32), [np.zeros((n, 2 * n), np.float32), np.zeros((n, n), np.float32)]
            no_inputs = [np.zeros((0, 2 * n), np.float32), np.zeros((0, n), np.float32)]
            biases = [np.concatenate([np.zeros_like(update), update])[None], candidate[None]]
            arrays = GruInputs(np.zeros((1, 1, 0), np.float32), h0, *no_inputs, *biases, *weights)
            found.append(scans.gru_scan(arrays, 5.0, native=by_kernels).numpy().ravel())
        return np.concatenate(found)

    through_tanh = states(np.full_like(x, -1e9), x)
    np.testing.assert_allclose(through_tanh, np.tanh(x.astype(np.float64)), rtol=6e-7)
    through_sigmoid = states(x, np.full_like(x, np.inf))
    np.testing.assert_allclose(through_sigmoid, 1 - sigmoid(x.astype(np.float64) + 1), atol=1.5e-7)


@either
def test_nan_reaches_later_steps_of_its_trial_only(by_kernels):
    arrays = gru_arrays(5, 40, 4, 10)
    arrays.x[2, 7, 3] = np.nan
    states = scans.gru_scan(arrays, CLIP, native=by_kernels).numpy()
    assert np.isnan(states[2, 7, 3]) and np.isnan(states[3:, 7]).all() and np.isfinite(states[:2]).all()
    assert np.isfinite(np.delete(states, 7, axis=1)).all()
    bad = decoder_arrays(4, 3, 8, 1, 8, 4)
    bad.noise[1, 2, 0] = np.nan
    factors = scans.decoder_scan(bad, CLIP, native=by_kernels).factors.numpy()
    assert np.isnan(factors[1:, 2]).all() and np.isfinite(factors[:, :2]).all()


@needs_kernels
@pytest.mark.parametrize("T, B", [(0, 3), (3, 0), (0, 0)])
def test_empty_batches_and_no_steps(T, B):
    arrays = gru_arrays(T, B, 4, 6)
    assert scans.gru_scan(arrays, CLIP, native=True).shape == (T, B, 6)
    scan = lambda *x: [scans.gru_scan(GruInputs(*x), CLIP, native=True)]  # noqa: E731
    d_h0 = GruInputs(*gradients(scan, arrays, [np.ones((T, B, 6))])).h0
    np.testing.assert_array_equal(d_h0, np.zeros((B, 6)))
    outputs = scans.decoder_scan(decoder_arrays(T, B, 4, 1, 5, 2), CLIP, native=True)
    assert outputs.factors.shape == (T, B, 2)


@either
def test_static_shapes_are_known_in_a_graph(by_kernels):
    def specs(arrays, batch_first):
        shapes = [list(a.shape) for a in arrays]
        return [tf.TensorSpec([None if i == batch_first.get(len(s)) and 13 in s else n for i, n in enumerate(s)])
                for s in shapes]  # fmt: skip

    arrays = gru_arrays(4, 13, 5, 6)
    seen = []

    @tf.function(input_signature=specs(arrays, {3: 1, 2: 0}))
    def scan(*x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            states = scans.gru_scan(GruInputs(*x), CLIP, native=by_kernels)
        seen.append(states.shape.as_list())
        seen.append([g.shape.as_list() for g in tape.gradient(states, x)])
        return states

    assert scan(*arrays).shape == (4, 13, 6)
    of_weights = [[5, 12], [5, 6], [1, 12], [1, 6], [6, 12], [6, 6]]
    assert seen == [[4, None, 6], [[4, None, 5], [None, 6], *of_weights]]


@needs_kernels
@pytest.mark.parametrize("name", [name for name in GruInputs._fields if name not in ("x", "h0")])
def test_wrong_shapes_are_refused_by_name(name):
    arrays = gru_arrays(3, 4, 2, 5)
    for wrong in (np.zeros((2, 2), np.float32), np.zeros((3, 4, 9), np.float32)):
        with pytest.raises(tf.errors.InvalidArgumentError, match=f"{name} must have shape"):
            scans.gru_scan(arrays._replace(**{name: wrong}), CLIP, native=True)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"h0 must have shape \[4, 5\]"):
        scans.gru_scan(arrays._replace(h0=np.zeros((3, 5), np.float32)), CLIP, native=True)


@needs_kernels
def test_wrong_shapes_of_the_decoder_are_refused_by_name():
    with pytest.raises(tf.errors.InvalidArgumentError, match="h0 must have rank 2"):
        scans.gru_scan(gru_arrays(3, 4, 2, 5)._replace(h0=np.zeros((3, 4, 5), np.float32)), CLIP, native=True)
    decoder = decoder_arrays(3, 4, 5, 2, 6, 7)
    for name in set(decoder._fields) - {"noise"}:
        wrong = np.zeros(np.add(getattr(decoder, name).shape, 1), np.float32)
        with pytest.raises(tf.errors.InvalidArgumentError, match="must have shape"):
            scans.decoder_scan(decoder._replace(**{name: wrong}), CLIP, native=True)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"fac_w must have shape \[6, 7\], got \[8, 7\]"):
        scans.decoder_scan(decoder._replace(fac_w=np.zeros((8, 7), np.float32)), CLIP, native=True)


@needs_kernels
def test_shares_of_the_batch_do_not_change_the_numbers():
    """One thread or many, the same rows: only the order of rows within a tile differs, never a sum."""
    inputs, kernel = gru_arrays(5, 100, 9, 24), native.load().lfads_gru_scan
    results = [kernel(**inputs._asdict(), clip=1.0, reverse=False, save=True, threads=n).stack for n in (1, 2, 3, 50)]
    for other in results[1:]:
        np.testing.assert_array_equal(results[0], other)


@needs_kernels
@pytest.mark.parametrize("shape", [(100, 15, 7), (1, 1, 1), (3, 5, 43), (2, 64, 1)])
@pytest.mark.parametrize("keep", [0.001, 0.3, 0.95, 1.0])
def test_dropout_masks_are_those_of_the_stateless_stream(shape, keep):
    """To the bit; seeds of either sign and masks of odd length too."""
    for seed in ([1, 2], [2**31 - 1, -7]):
        plain, fast = (noise.dropout_mask(shape, keep, tf.constant(seed), native=by) for by in (False, True))
        np.testing.assert_array_equal(plain, fast)


@needs_kernels
def test_shares_of_a_mask_do_not_change_it():
    kernel = native.load().lfads_dropout_mask
    seed = {"key": np.float32([[1, 2]]), "counter": np.float32([[3, 4], [5, 6]]), "keep": 0.5, "count": 5001}
    results = [kernel(**seed, threads=n) for n in (1, 2, 7)]
    for other in results[1:]:
        np.testing.assert_array_equal(results[0], other)


@needs_kernels
@pytest.mark.parametrize("shape", [(100, 15, 7), (1, 1, 1), (3, 0, 4)])
def test_poisson_log_likelihood_and_its_gradient(shape):
    """Counts beyond the table of factorials and fractions too; large log-rates lose nothing but their own digits."""
    random = np.random.default_rng(0)
    counts = random.poisson(0.5, shape).astype(np.float32)
    counts.ravel()[: min(3, counts.size)] = [70, 2.5, 1000][: min(3, counts.size)]
    log_rates = random.normal(0, 4, shape).astype(np.float32)
    weights = random.normal(size=shape).astype(np.float32)
    log_prob = kernels().poisson_log_prob(counts, log_rates)
    (slope,) = gradients(lambda x: [kernels().poisson_log_prob(counts, x)], [log_rates], [weights])
    k, x = counts.astype(np.float64), log_rates.astype(np.float64)
    terms = [k * x, -np.exp(x), -special.gammaln(k + 1)]
    np.testing.assert_array_less(np.abs(log_prob - sum(terms)), 4e-7 * sum(map(np.abs, terms)) + 1e-12)
    np.testing.assert_array_less(np.abs(slope - weights * (k - np.exp(x))), 4e-7 * np.abs(weights) * (k + np.exp(x)))


@needs_kernels
def test_poisson_at_the_ends():
    x = np.float32([-np.inf, -200, -100, 88, 100, np.inf, np.nan])[None, None]
    log_probs = [passes.poisson_log_prob(tf.ones_like(x), x) for passes in (kernels(), elementwise)]
    np.testing.assert_allclose(*log_probs, rtol=1e-6)
    assert np.isnan(kernels().poisson_log_prob(np.full_like(x, np.nan), np.zeros_like(x))).all()
