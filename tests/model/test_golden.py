"""The original program's recorded numbers: forward quantities, costs, gradients and Adam steps."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from golden_case import CASES, GoldenCase

from lfads_tf2.model import native
from lfads_tf2.model.names import file_key, original_names
from lfads_tf2.objective import costs, ramps, trial_terms
from lfads_tf2.training.optimizer import Adam, clip_gradients, trained_variables
from lfads_tf2.types import Masks, Noise

FORWARD_TOLERANCE = 1e-5  # of the largest value of each output
TRAINING_TOLERANCE = 1e-4


@pytest.fixture(params=CASES, scope="module")
def case(request):
    return GoldenCase(request.param)


@pytest.fixture(params=["eager", "compiled", "compiled with kernels"])
def mode(request):
    if "kernels" in request.param and not native.available():
        pytest.skip("no compiled kernels: there is no C++ compiler here, or LFADS_NATIVE=0")
    return request.param


@pytest.fixture
def run(mode):
    return (lambda f: f) if mode == "eager" else tf.function


@pytest.fixture
def model(case, mode):
    return case.model(native="kernels" in mode)


def assert_close(got, expected, name, tolerance):
    got, expected = np.asarray(got), np.asarray(expected)
    assert got.shape == expected.shape, f"{name}: {got.shape} against {expected.shape}"
    largest = max(np.abs(expected).max(initial=0), 1e-30)
    error = np.abs(got - expected).max(initial=0) / largest
    assert error <= tolerance, f"{name}: relative error {error:.2e}"


def trial_major(tensor):
    return np.swapaxes(np.asarray(tensor), 0, 1)


def zeros_like(noise: Noise) -> Noise:
    return Noise(*(None if n is None else tf.zeros_like(n) for n in noise))


def forward(model, batch, noise, sampling_noise, masks, step):
    """All that is recorded of one pass; ``sampling_noise`` is what the controller's KL is estimated with."""
    outputs = model(batch, noise, masks)
    sample = None
    if model.has_controller:
        decoded = outputs.decoded
        sample = decoded.co_mean + tf.exp(0.5 * decoded.co_logvar) * sampling_noise.co
    terms = trial_terms(model, batch, outputs, sample)
    return outputs, sample, terms, costs(model, terms, outputs, ramps(model.spec.hyperparameters, step))


def crop(case, ds, parameters):
    """Read-out of the session's own channels."""
    channels = case.spec.sessions[case.names.index(ds)].num_channels
    parts = np.split(trial_major(parameters), case_parameters(case), axis=-1)
    return np.concatenate([part[..., :channels] for part in parts], axis=-1)


def case_parameters(case):
    return 2 if case.hp.output_dist == "gaussian" else 1


def named_outputs(case, ds, model, outputs, sample, terms, cost, step):
    weights = ramps(case.hp, step)
    encoding, decoded, hp = outputs.encoding, outputs.decoded, case.hp
    bound = terms.log_likelihood - hp.kl_ic_weight * terms.kl_ic - hp.kl_co_weight * terms.kl_co
    count = bound.shape[0]
    got = {
        "ic_enc_fwd": trial_major(encoding.ic_forward),
        "ic_enc_rev": trial_major(encoding.ic_reverse),
        "post_g0_mean": encoding.post_g0_mean,
        "post_g0_logvar": encoding.post_g0_logvar,
        "prior_g0_mean": outputs.prior_g0_mean,
        "prior_g0_logvar": outputs.prior_g0_logvar,
        "g0_used": outputs.g0,
        "gen_ics": outputs.gen_ics,
        "gen_states": trial_major(decoded.gen_states),
        "factors": trial_major(decoded.factors),
        "output_dist_params": crop(case, ds, model.observation.distribution_parameters(outputs.parameters)),
        "log_p_x_given_z_b": terms.log_likelihood,
        "kl_g0_b_unweighted": terms.kl_ic,
        "kl_co_b_unweighted": terms.kl_co,
        "recon_cost": cost.recon,
        "kl_cost": cost.kl,
        "l2_cost": cost.l2,
        "corr_cost": cost.correlation,
        "kl_weight": weights.kl,
        "l2_weight": weights.l2,
        "timed_kl_cost": weights.kl * cost.kl,
        "timed_l2_cost": weights.l2 * cost.l2,
        "weight_corr_cost": hp.co_mean_corr_scale * cost.correlation,
        "total_cost": cost.total,
        "nll_bound_vae": -tf.reduce_mean(bound),
        "nll_bound_iwae": np.log(count) - tf.reduce_logsumexp(bound),
    }
    if model.has_controller:
        got |= {
            "ci_enc_fwd": trial_major(encoding.ci_forward),
            "con_states": trial_major(decoded.con_states),
            "co_post_mean": trial_major(decoded.co_mean),
            "co_post_logvar": trial_major(decoded.co_logvar),
            "co_post_sample": trial_major(sample),
            "controller_outputs": trial_major(decoded.u),
        }
        if encoding.ci_reverse is not None:
            got["ci_enc_rev"] = trial_major(encoding.ci_reverse)
    return got


# Not of the forward pass, or checked by name elsewhere.
OTHERWISE_TESTED = {"grad_global_norm", "post_g0_sample"}


@pytest.mark.parametrize("kind", ["train", "posterior_push_mean"])
def test_forward(case, model, kind, run):
    for ds in case.names:
        noise = case.noise(ds)
        masks = case.masks(ds) if kind == "train" else Masks()
        used = noise if kind == "train" else zeros_like(noise)
        step = run(lambda b, u, n, m: forward(model, b, u, n, m, case.step))
        results = step(case.batch(ds), used, noise, masks)
        got = named_outputs(case, ds, model, *results, case.step)
        recorded = case.results(f"{kind}/{ds}")
        missing = {k for k in recorded if "/" not in k} - set(got) - OTHERWISE_TESTED
        assert not missing, f"not compared: {missing}"
        for key in recorded.keys() & got.keys():
            assert_close(got[key], recorded[key], f"{kind}/{ds}/{key}", FORWARD_TOLERANCE)


def test_posterior_samples_of_one_trial(case, model, run):
    for ds, example in case.examples.items():
        noise = case.noise(ds)
        count = case.batch(ds).data.shape[1]
        batch = case.batch(ds, [example] * count)
        step = run(lambda b, n: forward(model, b, n, n, Masks(), case.step))
        got = named_outputs(case, ds, model, *step(batch, noise), case.step)
        for key, expected in case.results(f"posterior_sample_and_average/{ds}").items():
            value = got[key.removesuffix("_batchmean")]
            value = np.mean(value, axis=0) if key.endswith("_batchmean") else value
            assert_close(value, expected, key, FORWARD_TOLERANCE)


def test_prior_sample(case, model, run):
    for ds in case.names:
        noise, batch = case.noise(ds, "prior"), case.batch(ds)
        recorded = case.results(f"prior_sample/{ds}")
        co = noise.co if noise.co is not None else tf.zeros([case.spec.num_bins, batch.data.shape[1], 0])
        outputs = run(lambda g, c, b: model.generate(b.session, g, c, b.ext_input))(noise.g0, co, batch)
        got = {
            "factors": trial_major(outputs.decoded.factors),
            "gen_states": trial_major(outputs.decoded.gen_states),
            "gen_ics": outputs.gen_ics,
            "g0_used": outputs.g0,
            "prior_g0_mean": outputs.prior_g0_mean,
            "prior_g0_logvar": outputs.prior_g0_logvar,
            "output_dist_params": crop(case, ds, model.observation.distribution_parameters(outputs.parameters)),
        }
        if model.has_controller:
            got["controller_outputs"] = got["ar1_samples"] = trial_major(outputs.decoded.u)
            conditionals = model.co_prior.conditionals(outputs.decoded.u)
            shape = outputs.decoded.u.shape
            got["ar1_means"] = trial_major(tf.broadcast_to(conditionals.loc, shape))
            got["ar1_logvars"] = trial_major(tf.broadcast_to(2.0 * tf.math.log(conditionals.scale), shape))
        for key in recorded.keys() - {"l2_cost", "total_cost"}:
            assert_close(got[key], recorded[key], f"prior_sample/{ds}/{key}", FORWARD_TOLERANCE)


def gradient_step(model, case, ds, step):
    variables = trained_variables(model)
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(variables)
        noise = case.noise(ds)
        *_, cost = forward(model, case.batch(ds), noise, noise, case.masks(ds), step)
    gradients = tape.gradient(cost.total, variables, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    gradients = [tf.convert_to_tensor(gradient) for gradient in gradients]
    clipped, norm = clip_gradients(gradients, case.hp.max_grad_norm)
    return gradients, clipped, norm, cost


def by_original_name(model, values):
    """Gradients or moments, in the order of the trainable variables, under the original's names."""
    of_variable = {id(v): np.asarray(x) for v, x in zip(trained_variables(model), values, strict=True)}
    named = {}
    for name, weight in original_names(model).items():
        value = of_variable.get(id(weight.variable.value))
        if value is not None:
            rows = slice(None) if weight.session is None else weight.session
            value = value[rows] if weight.session is None else value[rows][: weight.part[0], : weight.part[1]]
            named[file_key(name)] = value
    return named


def test_gradients(case, model, run):
    for ds in case.names:
        gradients, clipped, norm, _ = run(lambda ds=ds: gradient_step(model, case, ds, case.step))()
        assert_close(norm, case.tree[f"train/{ds}/grad_global_norm"], "norm", TRAINING_TOLERANCE)
        before, after = by_original_name(model, gradients), by_original_name(model, clipped)
        recorded = case.results(f"grads/{ds}")
        assert set(before) == set(recorded)
        for key, expected in recorded.items():
            assert_close(before[key], expected[0], f"{ds} {key}", TRAINING_TOLERANCE)
            assert_close(after[key], expected[1], f"{ds} {key} clipped", TRAINING_TOLERANCE)


def test_adam_steps(case, model, run):
    optimizer = Adam(trained_variables(model), case.hp.learning_rate_init)
    totals = case.tree["adam/total_cost_before_update"]
    for index in range(3):
        ds = case.names[index % len(case.names)]

        @run
        def step(ds=ds, index=index):
            _, clipped, norm, cost = gradient_step(model, case, ds, case.step + index)
            optimizer.apply(clipped)
            return cost.total, norm

        total, norm = step()
        assert_close(total, totals[index], "total", TRAINING_TOLERANCE)
        assert_close(norm, case.tree["adam/grad_global_norm_before_update"][index], "norm", TRAINING_TOLERANCE)
        for name, weight in original_names(model).items():
            expected = case.tree.get(f"adam/vars_after_steps/{file_key(name)}")
            if expected is not None:
                assert_close(weight.numpy(), expected[index], f"{name} after {index + 1}", TRAINING_TOLERANCE)
    for values, which in ((optimizer.first, 0), (optimizer.second, 1)):
        for key, value in by_original_name(model, values).items():
            expected = case.tree.get(f"adam/slots_after_step3/{key}")
            if expected is not None:
                assert_close(value, expected[which], f"moment {which} {key}", TRAINING_TOLERANCE)


def test_ramps(case):
    for index, step in enumerate(case.tree.get("weight_schedule/global_steps", ())):
        weights = ramps(case.hp, int(step))
        assert_close(weights.kl, case.tree["weight_schedule/kl_weight"][index], "kl_weight", 1e-6)
        assert_close(weights.l2, case.tree["weight_schedule/l2_weight"][index], "l2_weight", 1e-6)
