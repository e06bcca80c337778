"""Inference and the densities behind it, against the original's files, scipy and single samples."""

from __future__ import annotations

import dataclasses
import re
import shutil

import h5py
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf
from golden_case import FOLDER
from small_runs import write_spikes

import run_lfads
from lfads_tf2 import inference
from lfads_tf2.data import read_sessions, resolve, storage
from lfads_tf2.hyperparameters import HyperParameters
from lfads_tf2.inference import Inference, crop_channels, session_results
from lfads_tf2.model.lfads import LFADS
from lfads_tf2.model.names import file_key, original_names
from lfads_tf2.model.observation import OBSERVATION_MODELS
from lfads_tf2.model.priors import AutoregressivePrior, kl_inferred_inputs, kl_initial_condition
from lfads_tf2.program import model_files as model_io
from lfads_tf2.program import results
from lfads_tf2.settings.combination import combine
from lfads_tf2.types import Batch, ModelSpec, Noise, SessionShape, Trials

OLD = FOLDER / "tf1_checkpoint"
ROLLING, LOWEST = "lfads_vae.ckpt-168", "lfads_vae_lve.ckpt-200"
# Of the largest value of each output.
TOLERANCE = 1e-5
# These depend on a random draw.
SAMPLED = {"costs", "nll_bound_vaes", "nll_bound_iwaes"}
SLOTS = re.compile(r"_(Adam|Adam_1|beta1_power|beta2_power):0$")


def old_model(**settings) -> tuple[LFADS, list]:
    """The original's model with its weights, and the sessions that it was trained on."""
    given = {"data_dir": str(OLD / "data"), "lfads_save_dir": str(OLD / "run"), "kind": "posterior_push_mean"}
    hp, _ = combine(given)
    sessions = read_sessions(hp)
    model = LFADS(resolve(dataclasses.replace(hp, **settings), sessions))
    model_io.load_original(model, OLD / "run" / LOWEST)
    return model, sessions


@pytest.fixture(scope="module")
def old():
    return old_model()


def assert_as_recorded(got: dict, session: str):
    recorded, _ = results.read_runs(OLD / "run" / f"model_runs_{session}_valid_posterior_push_mean")
    assert set(got) - {"controller_outputs_sd"} == set(recorded)
    for key in recorded.keys() - SAMPLED:
        assert got[key].shape == recorded[key].shape, key
        error = np.abs(got[key] - recorded[key]).max() / max(np.abs(recorded[key]).max(), 1e-30)
        assert error <= TOLERANCE, f"{session} {key}: {error:.2e}"
    # The original's are of a random draw, and means over the batch; its first one was whole (16 trials).
    for key in SAMPLED:
        assert got[key].shape == recorded[key].shape
    for key in ("costs", "nll_bound_vaes"):
        assert abs(np.mean(got[key][:16]) / recorded[key][0] - 1) < 0.03, key


# Models of the original program


def test_checkpoint_of_the_original(old):
    model, sessions = old
    run = Inference(model, 0, 200)
    for index, session in enumerate(sessions):
        assert_as_recorded(session_results(model, session, run.posterior_push_mean(index, session.valid)), session.name)


@pytest.mark.parametrize("source", ["run folder", "model_params", "checkpoint prefix"])
def test_old_models_through_the_program(source, tmp_path):
    argv = [f"--data_dir={OLD / 'data'}", "--kind=posterior_push_mean", "--noreport", "--device=cpu:0"]
    run = tmp_path / "run"
    if source == "run folder":
        shutil.copytree(OLD / "run", run, ignore=shutil.ignore_patterns("model_*"))
    else:
        path = OLD / "run" / ("model_params" if source == "model_params" else LOWEST)
        argv += [f"--model_params_file={path}", "--data_filename_stem=toy"]
    assert run_lfads.main([*argv, f"--lfads_save_dir={run}"]) == 0
    for session in ("a", "b"):
        got, attributes = results.read_runs(run / f"model_runs_{session}_valid_posterior_push_mean")
        assert_as_recorded(got, session)
        assert attributes["checkpoint_step"] == 200 and set(got["train_steps"]) == {200}
        assert (run / f"model_runs_{session}_train_posterior_push_mean").exists()


def test_the_rolling_checkpoint_of_the_original_holds_other_weights(old, tmp_path):
    other, _ = old_model()
    assert model_io.load_original(other, OLD / "run" / ROLLING).step == 168
    lowest = {name: weight.numpy() for name, weight in original_names(old[0]).items()}
    assert any(np.any(weight.numpy() != lowest[name]) for name, weight in original_names(other).items())


def test_exported_variables_are_the_originals(tmp_path):
    shutil.copytree(OLD / "run", tmp_path / "run", ignore=shutil.ignore_patterns("model_*"))
    argv = ["--kind=write_model_params", f"--data_dir={OLD / 'data'}", f"--lfads_save_dir={tmp_path / 'run'}"]
    assert run_lfads.main([*argv, "--device=cpu:0"]) == 0
    written = results.read_params(tmp_path / "run" / "model_params")
    original = {k: v for k, v in results.read_params(OLD / "run" / "model_params").items() if not SLOTS.search(k)}
    assert {k: v.shape for k, v in written.items()} == {k: v.shape for k, v in original.items()}
    for key, value in original.items():
        np.testing.assert_array_equal(written[key], value, err_msg=key)
        assert written[key].dtype.kind == value.dtype.kind, key


def test_all_that_does_not_fit_is_listed(tmp_path):
    path = tmp_path / "model_params"
    shutil.copy(OLD / "run" / "model_params", path)
    with h5py.File(path, "r+") as f:
        del f["LFADS_con_c0:0"]
        del f["LFADS_z_prior_g0_mean:0"]
        f["LFADS_something_else:0"] = np.zeros((2, 3))
        f["LFADS_gen_gen_2_fac_W:0"].attrs["kept"] = 1
        del f["LFADS_gen_GenGRU_Gates_h_2_ru_b:0"]
        f["LFADS_gen_GenGRU_Gates_h_2_ru_b:0"] = np.zeros((1, 25))
        f["LFADS_x_2_infac_a_W:0"][0, 0] = np.nan
    model, _ = old_model()
    before = {name: weight.numpy() for name, weight in original_names(model).items()}
    with pytest.raises(model_io.ModelFileError) as error:
        model_io.load_original(model, path)
    for line in (
        "missing: LFADS_con_c0:0 (1, 6)",
        "missing: LFADS_z_prior_g0_mean:0 (1, 5)",
        "unexpected: LFADS_something_else:0 (2, 3)",
        "wrong shape: LFADS_gen_GenGRU_Gates_h_2_ru_b:0 is (1, 25) there, (1, 24) in this model",
        "not finite: LFADS_x_2_infac_a_W:0 holds NaN",
    ):
        assert line in str(error.value)
    assert len(str(error.value).splitlines()) == 6
    for name, weight in original_names(model).items():
        np.testing.assert_array_equal(weight.numpy(), before[name], err_msg="nothing is set when something is wrong")


def test_a_long_list_is_cut_to_a_screen(tmp_path):
    with h5py.File(tmp_path / "model_params", "w") as f:
        f["x"] = 1.0
    with pytest.raises(model_io.ModelFileError, match=r"\.\.\. and \d+ more") as error:
        model_io.load_original(old_model()[0], tmp_path / "model_params")
    assert len(str(error.value).splitlines()) <= 30


@pytest.mark.parametrize("damage", ["truncated", "folder", "text", "gone"])
def test_unreadable_model_files(damage, tmp_path, capsys):
    path = tmp_path / "model_params"
    if damage == "truncated":
        path.write_bytes((OLD / "run" / "model_params").read_bytes()[:20000])
    elif damage == "folder":
        path.mkdir()
    elif damage == "text":
        path.write_text("no model")
    shutil.copy(OLD / "run" / "hyperparameters-200.txt", tmp_path)
    argv = ["--kind=write_model_params", f"--data_dir={OLD / 'data'}", f"--model_params_file={path}"]
    assert run_lfads.main([*argv, f"--lfads_save_dir={tmp_path / 'out'}", "--device=cpu:0"]) == 2
    error = capsys.readouterr().err
    assert str(path) in error and "Traceback" not in error
    assert not (tmp_path / "out").exists()


# Averages over samples, against single samples run one by one


SAMPLES, TRIALS = 6, 4


def trials_of(session, count=TRIALS) -> Trials:
    return Trials(session.valid.data[:count])


@pytest.fixture
def fixed_noise(monkeypatch):
    """Replaces the draws by recorded ones, trial by trial and sample by sample within it."""
    random = np.random.default_rng(0)

    def fix(spec, rows):
        hp = spec.hyperparameters
        g0 = random.normal(size=(rows, hp.ic_dim)).astype(np.float32)
        co = random.normal(size=(spec.num_bins, rows, hp.co_dim)).astype(np.float32)

        def recorded(spec, num_trials, seed):
            assert num_trials == rows
            return Noise(tf.constant(g0), tf.constant(co))

        monkeypatch.setattr(inference.noise, "draw_noise", recorded)
        return g0, co

    return fix


def normal_log_density(x, mean, logvar):
    return scipy.stats.norm.logpdf(x, mean, np.exp(0.5 * logvar))


def single_sample(model, session, index, trial, g0, co):
    """All of one sample of one trial; log-likelihood and KLs computed here with scipy, in double precision."""
    hp, spec = model.spec.hyperparameters, model.spec
    counts = session.valid.data[trial].astype(np.float32)
    padded = np.pad(counts, ((0, 0), (0, spec.max_channels - counts.shape[1])))
    batch = Batch(tf.constant(padded[:, None]), None, tf.constant(index))
    outputs = model(batch, Noise(tf.constant(g0[None]), tf.constant(co[:, None])))
    decoded = outputs.decoded
    log_rates = np.asarray(outputs.parameters, np.float64)[:, 0, : counts.shape[1]]
    u, mean, logvar = (np.asarray(x, np.float64)[:, 0] for x in (decoded.u, decoded.co_mean, decoded.co_logvar))
    tau = np.exp(np.asarray(model.co_prior.log_tau, np.float64)[0])
    noise_variance = np.exp(np.asarray(model.co_prior.log_noise_variance, np.float64)[0])
    phi = np.exp(-1 / tau)
    prior = scipy.stats.norm.logpdf(u[0], 0, np.sqrt(noise_variance / (1 - phi**2))).sum()
    prior += scipy.stats.norm.logpdf(u[1:], phi * u[:-1], np.sqrt(noise_variance)).sum()
    m, v = (np.asarray(x, np.float64)[0] for x in (outputs.encoding.post_g0_mean, outputs.encoding.post_g0_logvar))
    pm, pv = (np.asarray(x, np.float64)[0] for x in (outputs.prior_g0_mean, outputs.prior_g0_logvar))
    products = np.einsum("ti,tj->ij", mean, mean)
    pairs = [0.5 * products[i, j] ** 2 for i in range(hp.co_dim) for j in range(i)]
    return {
        "rates": np.exp(log_rates),
        "factors": np.asarray(decoded.factors)[:, 0],
        "gen_states": np.asarray(decoded.gen_states)[:, 0],
        "controller_outputs": u,
        "gen_ics": np.asarray(outputs.gen_ics)[0],
        "log_p": scipy.stats.poisson.logpmf(counts, np.exp(log_rates)).sum(),
        "kl_co": normal_log_density(u, mean, logvar).sum() - prior,
        "kl_ic": np.sum(0.5 * (pv - v + (np.exp(v) + (m - pm) ** 2) / np.exp(pv) - 1)),
        "correlation": np.mean(pairs) if pairs else 0.0,
    }


@pytest.mark.parametrize(
    "settings", [{}, {"co_mean_corr_scale": 0.3, "kl_co_weight": 0.5, "kl_ic_weight": 2.0}], ids=str
)
def test_averages_costs_and_bounds_equal_single_samples(settings, fixed_noise):
    model, sessions = old_model(**settings)
    hp, step = model.spec.hyperparameters, 15
    kl_weight = l2_weight = step / 20
    g0, co = fixed_noise(model.spec, SAMPLES * TRIALS)
    index, session = 1, sessions[1]
    got = session_results(
        model, session, Inference(model, 0, step).posterior_average(index, trials_of(session), SAMPLES)
    )
    regularised = [w.numpy() for n, w in original_names(model).items() if re.search(r"/(h_2_ru|rh_2_c)/", n)]
    assert len(regularised) == 8
    l2 = 10.0 * sum(0.5 * np.sum(w.astype(np.float64) ** 2) for w in regularised) / sum(w.size for w in regularised)
    for trial in range(TRIALS):
        rows = range(trial * SAMPLES, (trial + 1) * SAMPLES)
        samples = [single_sample(model, session, index, trial, g0[r], co[:, r]) for r in rows]
        for key in ("factors", "gen_states", "controller_outputs", "gen_ics", "rates"):
            expected = np.mean([s[key] for s in samples], axis=0)
            name = "output_dist_params" if key == "rates" else key
            np.testing.assert_allclose(got[name][trial], expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())
        log_p, kl_ic, kl_co, correlation = (
            np.array([s[key] for s in samples]) for key in ("log_p", "kl_ic", "kl_co", "correlation")
        )
        kl = hp.kl_ic_weight * kl_ic + hp.kl_co_weight * kl_co
        bound = log_p - kl
        total = np.mean(-log_p + kl_weight * kl + hp.co_mean_corr_scale * correlation) + l2_weight * l2
        iwae = np.log(np.mean(np.exp(bound - bound.max()))) + bound.max()
        np.testing.assert_allclose(got["nll_bound_vaes"][trial], -bound.mean(), rtol=1e-5)
        np.testing.assert_allclose(got["nll_bound_iwaes"][trial], -iwae, rtol=1e-5)
        np.testing.assert_allclose(got["costs"][trial], total, rtol=1e-5)
    assert np.all(got["nll_bound_iwaes"] <= got["nll_bound_vaes"] + 1e-6)
    assert set(got["train_steps"]) == {step}


@pytest.mark.parametrize("rows", [1, 2, 4, 5, 7, 1000])
def test_without_noise_every_chunk_size_gives_the_same(rows, old, monkeypatch):
    """Trials (4) and samples (5) are cut in every way, evenly and not."""
    model, sessions = old
    monkeypatch.setattr(inference.noise, "draw_noise", lambda spec, n, seed: inference.noise.no_noise(spec, n))
    whole = Inference(model, 0, 200).posterior_push_mean(0, trials_of(sessions[0]))
    monkeypatch.setattr(inference, "rows_within_budget", lambda spec: rows)
    got = Inference(model, 0, 200).posterior_average(0, trials_of(sessions[0]), 5)
    got.pop("controller_outputs_sd", None)
    assert set(got) == set(whole)
    for key, value in whole.items():
        np.testing.assert_allclose(got[key], value, rtol=2e-5, atol=2e-6 * np.abs(value).max(), err_msg=key)


@pytest.mark.parametrize("rows", [7, 48, 10000])
def test_samples_scatter_as_they_should(rows, old, monkeypatch):
    """gen_ics is linear in the code: its average's error is known exactly. Shared draws would make it too large."""
    model, sessions = old
    samples = 200
    monkeypatch.setattr(inference, "rows_within_budget", lambda spec: rows)
    run = Inference(model, 3, 200)
    got, mean = (
        run.posterior_average(0, trials_of(sessions[0]), samples),
        run.posterior_push_mean(0, trials_of(sessions[0])),
    )
    kernel = np.asarray(model.generator.from_code.kernel, np.float64)
    covariance = [kernel.T @ np.diag(np.exp(v)) @ kernel / samples for v in mean["post_g0_logvar"]]
    scores = [
        (g - m) / np.sqrt(np.diag(c)) for g, m, c in zip(got["gen_ics"], mean["gen_ics"], covariance, strict=True)
    ]
    assert np.abs(scores).max() < 4.5
    # 4 trials x 5 independent codes.
    codes = [s * np.sqrt(np.diag(c)) for s, c in zip(scores, covariance, strict=True)]
    chi2 = sum(x @ np.linalg.pinv(c, rcond=1e-6) @ x for x, c in zip(codes, covariance, strict=True))
    low, high = scipy.stats.chi2.ppf([1e-4, 1 - 1e-4], 4 * 5)
    assert low < chi2 < high
    # Trials have draws of their own.
    assert np.all(np.abs(np.corrcoef(scores) - np.eye(4))[np.triu_indices(4, 1)] < 0.999)


def test_seeds_decide_the_samples(old):
    model, sessions = old
    one, same, other = (
        Inference(model, seed, 200).posterior_average(0, trials_of(sessions[0], 2), 3)["factors"] for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, same)
    assert np.any(one != other)


def test_a_single_trial_and_a_single_sample(old):
    model, sessions = old
    run = Inference(model, 0, 200)
    got = run.posterior_average(0, trials_of(sessions[0], 1), 1)
    assert got["factors"].shape == (1, 20, 4) and got["costs"].shape == (1,)
    np.testing.assert_allclose(got["nll_bound_vaes"], got["nll_bound_iwaes"], rtol=1e-6)


def test_trials_do_not_depend_on_their_neighbours(old):
    model, sessions = old
    run = Inference(model, 0, 200)
    together = run.posterior_push_mean(0, trials_of(sessions[0], 5))
    alone = run.posterior_push_mean(0, Trials(sessions[0].valid.data[3:4]))
    for key in together.keys() - SAMPLED:
        np.testing.assert_allclose(together[key][3], alone[key][0], rtol=1e-5, atol=1e-6, err_msg=key)


def test_large_results_lie_in_files(old, monkeypatch, tmp_path):
    """Whatever their size, the same numbers; a file of results is written from there."""
    model, sessions = old
    run = Inference(model, 1, 0)
    expected = run.posterior_average(0, sessions[0].valid, 3)
    monkeypatch.setattr(storage, "RESIDENT_BYTES", 1000)
    found = run.posterior_average(0, sessions[0].valid, 3)
    assert storage.is_mapped(found["output_dist_params"]) and storage.is_mapped(found["gen_states"])
    results.write_runs(tmp_path / "runs", found, {})
    written, _ = results.read_runs(tmp_path / "runs")
    for key, value in expected.items():
        np.testing.assert_array_equal(found[key], value, err_msg=key)
        np.testing.assert_array_equal(written[key], value, err_msg=key)


def test_memory_budget():
    hp = HyperParameters(gen_dim=64, co_dim=0, factors_dim=8)
    spec = ModelSpec(hp, 100, (SessionShape("a", 30),))
    assert inference.rows_within_budget(spec, 0) == 1, "one row at least"
    one, two = inference.rows_within_budget(spec, 10**9), inference.rows_within_budget(spec, 2 * 10**9)
    assert one > 100 and abs(two - 2 * one) <= 1
    longer = dataclasses.replace(spec, num_bins=1000)
    assert inference.rows_within_budget(longer, 10**9) in (one // 10, one // 10 + 1)


# Several sessions, Gaussian output


def small_model(tmp_path, widths, **settings):
    for index, width in enumerate(widths):
        write_spikes(tmp_path / f"s{index}.h5", channels=width, seed=index)
    hp = HyperParameters(
        data_dir=str(tmp_path), co_dim=2, factors_dim=3, gen_dim=6, ic_dim=4, ic_enc_dim=5, ci_enc_dim=4, con_dim=4
    )
    hp = dataclasses.replace(hp, **settings)
    sessions = read_sessions(hp)
    return LFADS(resolve(hp, sessions), seed=1), sessions


@pytest.mark.parametrize("dist", ["poisson", "gaussian"])
def test_padding_to_the_widest_session_is_cropped(dist, tmp_path):
    model, sessions = small_model(tmp_path, (7, 5), output_dist=dist)
    got = Inference(model, 0, 0).posterior_push_mean(1, sessions[1].valid)
    whole, cropped = got["output_dist_params"], session_results(model, sessions[1], got)["output_dist_params"]
    per_channel = 2 if dist == "gaussian" else 1
    assert whole.shape == (6, 9, 7 * per_channel) and cropped.shape == (6, 9, 5 * per_channel)
    kernel = np.asarray(model.observation.mean_map.kernel)[1, :, :5]
    bias = np.asarray(model.observation.mean_map.bias)[1, :, :5]
    expected = got["factors"] @ kernel + bias
    if dist == "poisson":
        np.testing.assert_allclose(cropped, np.exp(expected), rtol=1e-5)
    else:
        np.testing.assert_allclose(cropped[..., :5], expected, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(cropped[..., 5:], np.e, rtol=1e-5, err_msg="log-variances start at 1")


def test_crop():
    row = np.array([[1, 2, 0, 10, 20, 0]])
    np.testing.assert_array_equal(crop_channels(row, 2, 2), [[1, 2, 10, 20]])
    np.testing.assert_array_equal(crop_channels(row, 5, 1), [[1, 2, 0, 10, 20]])


@pytest.mark.parametrize("settings", [{"co_dim": 0}, {"ic_dim": 0}, {"co_dim": 0, "ic_dim": 0}], ids=str)
def test_parts_that_the_model_lacks_are_absent(settings, tmp_path):
    model, sessions = small_model(tmp_path, (7,), **settings)
    run = Inference(model, 0, 5)
    for got in (run.posterior_average(0, sessions[0].valid, 3), run.posterior_push_mean(0, sessions[0].valid)):
        assert ("controller_outputs" in got) == (settings.get("co_dim") != 0)
        for key in ("prior_g0_mean", "prior_g0_logvar", "post_g0_mean", "post_g0_logvar"):
            assert (key in got) == (settings.get("ic_dim") != 0)
        assert all(np.all(np.isfinite(value)) and len(value) == 6 for value in got.values())
    drawn = run.prior_sample(0, 5, None)
    assert ("prior_zs_ar_con" in drawn) == (settings.get("co_dim") != 0)


# The priors


def prior_of(tau, variance) -> AutoregressivePrior:
    prior = AutoregressivePrior(len(tau))
    prior.build()
    prior.log_tau.assign(np.log([tau]))
    prior.log_noise_variance.assign(np.log([variance]))
    return prior


def test_prior_samples_have_the_moments_of_the_process(tmp_path):
    model, _ = small_model(tmp_path, (7,), batch_size=4)
    tau, variance, count = np.array([1.5, 12.0]), np.array([0.3, 0.05]), 6000
    model.co_prior.log_tau.assign(np.log([tau])), model.co_prior.log_noise_variance.assign(np.log([variance]))
    model.ic_prior.mean.assign([[0.5, -1.0, 0.0, 2.0]])
    got = Inference(model, 11, 0).prior_sample(0, count, None)
    u, phi = got["prior_zs_ar_con"].astype(np.float64), np.exp(-1 / tau)
    stationary = variance / (1 - phi**2)
    assert u.shape == (count, 9, 2)
    standard_error = np.sqrt(stationary / count)
    assert np.abs(u.mean(axis=0) / standard_error).max() < 4.5
    for lag in (0, 1, 4, 8):
        products = u[:, lag:] * u[:, : 9 - lag]
        expected = stationary * phi**lag
        # Var(xy) = σ⁴ (1 + ρ²) for a bivariate normal.
        error = stationary * np.sqrt((1 + phi ** (2 * lag)) / count)
        assert np.abs((products.mean(axis=0) - expected) / error).max() < 4.5, lag
    assert abs(np.corrcoef(u[:, 3, 0], u[:, 3, 1])[0, 1]) < 4.5 / np.sqrt(count), "inputs are independent"
    kernel, bias = (
        np.asarray(w, np.float64) for w in (model.generator.from_code.kernel, model.generator.from_code.bias)
    )
    mean = np.array([[0.5, -1.0, 0.0, 2.0]]) @ kernel + bias
    spread = np.sqrt(0.1 * np.sum(kernel**2, axis=0))
    assert np.abs((got["gen_ics"].mean(axis=0) - mean) / spread).max() < 4.5 / np.sqrt(count)
    assert np.abs(got["gen_ics"].std(axis=0) / spread - 1).max() < 4.5 / np.sqrt(2 * count)


@pytest.mark.parametrize("steps", [1, 2, 30])
@pytest.mark.parametrize("compiled", [False, True])
def test_ar1_density_against_a_dense_gaussian(steps, compiled):
    tau, variance = np.array([0.4, 10.0, 300.0]), np.array([0.1, 0.02, 1.3])
    prior = prior_of(tau, variance)
    u = np.random.default_rng(0).normal(size=(steps, 4, 3)).astype(np.float32)
    log_prob = tf.function(prior.log_prob) if compiled else prior.log_prob
    got = np.asarray(log_prob(tf.constant(u)), np.float64).sum(axis=0)
    times = np.arange(steps)
    for d in range(3):
        phi = np.exp(-1 / tau[d])
        covariance = variance[d] / (1 - phi**2) * phi ** np.abs(times[:, None] - times)
        dense = scipy.stats.multivariate_normal(np.zeros(steps), covariance)
        np.testing.assert_allclose(got[:, d], dense.logpdf(u[:, :, d].T), rtol=1e-4, atol=1e-4)


def test_kl_of_the_inferred_inputs_is_unbiased():
    """The mean of the one-sample estimate is the KL between two Gaussians over all bins, which is known."""
    steps, count = 6, 40000
    prior = prior_of(np.array([5.0]), np.array([0.2]))
    random = np.random.default_rng(1)
    mean, logvar = random.normal(size=steps) * 0.5, random.normal(size=steps) * 0.3 - 1
    shape = (steps, count, 1)
    means, logvars = (np.broadcast_to(x[:, None, None], shape).astype(np.float32) for x in (mean, logvar))
    sample = means + np.exp(0.5 * logvars) * random.normal(size=shape).astype(np.float32)
    got = np.asarray(kl_inferred_inputs(prior, tf.constant(sample), tf.constant(means), tf.constant(logvars)))
    phi, times = np.exp(-1 / 5.0), np.arange(steps)
    covariance = 0.2 / (1 - phi**2) * phi ** np.abs(times[:, None] - times)
    precision = np.linalg.inv(covariance)
    expected = np.trace(precision @ np.diag(np.exp(logvar))) + mean @ precision @ mean - steps
    expected = 0.5 * (expected + np.linalg.slogdet(covariance)[1] - logvar.sum())
    assert abs(got.mean() - expected) < 4.5 * got.std() / np.sqrt(count)


def test_kl_of_the_initial_condition_by_quadrature():
    random = np.random.default_rng(2)
    post_mean, post_logvar, prior_mean = random.normal(size=(3, 3, 2)).astype(np.float32)
    prior_logvar = np.full((3, 2), np.log(0.1), np.float32)
    got = np.asarray(kl_initial_condition(post_mean, post_logvar, prior_mean, prior_logvar))
    x = np.linspace(-40, 40, 400001)[:, None, None]
    q, p = normal_log_density(x, post_mean, post_logvar), normal_log_density(x, prior_mean, prior_logvar)
    expected = np.trapezoid(np.exp(q) * (q - p), x[:, 0, 0], axis=0).sum(axis=-1)
    np.testing.assert_allclose(got, expected, rtol=1e-4)
    np.testing.assert_allclose(kl_initial_condition(post_mean, post_logvar, post_mean, post_logvar), 0, atol=1e-6)


@pytest.mark.parametrize(("limits", "expected"), [((0.1, 0.1, 0.1), 0.1), ((0.05, 0.2, 1.05), None)])
def test_prior_variance_of_the_initial_condition(limits, expected, tmp_path):
    low, scale, high = limits
    model, _ = small_model(tmp_path, (7,), ic_prior_var_min=low, ic_prior_var_scale=scale, ic_prior_var_max=high)
    variance = np.exp(model.ic_prior(tf.constant(3))[1])
    # The original's rule for a learned variance: sigmoid(exp(p)) between the limits, p = log(scale) at the start.
    expected = expected or 1 / (1 + np.exp(-scale)) * (high - low) + low
    np.testing.assert_allclose(variance, np.full((3, 4), expected), rtol=1e-5)


# The observation models


def observation(dist):
    spec = ModelSpec(HyperParameters(output_dist=dist, factors_dim=3), 5, (SessionShape("a", 4),))
    return OBSERVATION_MODELS[dist](spec)


def test_poisson_density():
    counts, log_rates = np.meshgrid(np.arange(60.0), np.linspace(-8, 5, 40))
    got = observation("poisson").log_prob(counts.astype(np.float32), log_rates.astype(np.float32))
    expected = scipy.stats.poisson.logpmf(counts, np.exp(log_rates))
    np.testing.assert_allclose(got, expected, rtol=2e-5, atol=2e-5)


def test_gaussian_density():
    random = np.random.default_rng(3)
    values, mean, logvar = random.normal(size=(3, 50, 4)).astype(np.float32) * 3
    got = observation("gaussian").log_prob(values, np.concatenate([mean, logvar], axis=-1))
    np.testing.assert_allclose(got, normal_log_density(values, mean, logvar), rtol=1e-4, atol=1e-4)


def test_reported_parameters_are_limited():
    rates = observation("poisson").distribution_parameters(tf.constant([-200.0, 0.0, 200.0]))
    np.testing.assert_allclose(rates, np.exp([-80.0, 0.0, 80.0]), rtol=1e-4)
    both = observation("gaussian").distribution_parameters(tf.constant([[-200.0, 300.0, 200.0, -1.0]]))
    np.testing.assert_allclose(both, [[-200.0, 300.0, np.exp(80.0), np.exp(-1.0)]], rtol=1e-4)


# Files of variables


def test_parameters_of_a_file_round_trip(tmp_path):
    model, sessions = small_model(tmp_path, (7, 5))
    path = results.write_params(tmp_path / "model_params", model_io.parameters(model, model_io.Loaded(12, 0.004)))
    other = LFADS(resolve(model.spec.hyperparameters, sessions), seed=9)
    loaded = model_io.load_original(other, path)
    assert loaded.step == 12 and loaded.learning_rate == np.float32(0.004)
    for (name, one), two in zip(original_names(model).items(), original_names(other).values(), strict=True):
        np.testing.assert_array_equal(one.numpy(), two.numpy(), err_msg=file_key(name))
