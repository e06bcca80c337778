"""Encoding one thing, reconstructing another: wider and longer targets, the benchmark's files, a first segment."""

from __future__ import annotations

import json
import logging

import h5py
import numpy as np
import pytest
import tensorflow as tf
from small_models import trainer_of
from small_runs import SMALL, program, write_spikes

from lfads_tf2 import noise
from lfads_tf2.data import read_sessions, resolve
from lfads_tf2.data.streamed import place
from lfads_tf2.hyperparameters import HyperParameters
from lfads_tf2.inference import Inference, session_results
from lfads_tf2.model.lfads import LFADS
from lfads_tf2.objective import unweighted_log_prob
from lfads_tf2.training.fit_log import read

SIZES = {
    "factors_dim": 3, "gen_dim": 6, "ic_dim": 4, "ic_enc_dim": 5, "ci_enc_dim": 4, "con_dim": 4, "co_dim": 2,
    "batch_size": 8,
}  # fmt: skip
TRIALS = {"train": 20, "valid": 6}
BINS, CHANNELS = 9, 7
RANDOM = np.random.default_rng(5)
WHOLE = {half: RANDOM.poisson(1.0, (count, BINS, CHANNELS)) for half, count in TRIALS.items()}


def second(path, bins=6, channels=5, **extra):
    """A file of the second dialect whose encoders read the first bins and channels of the target."""
    content = {f"{half}_recon_data": whole for half, whole in WHOLE.items()}
    content |= {f"{half}_encod_data": whole[:, :bins, :channels] for half, whole in WHOLE.items()} | extra
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as f:
        for key, value in content.items():
            f[key] = value
    return path


def sessions_of(folder, **settings):
    hp = HyperParameters(data_dir=str(folder), **(SIZES | settings))
    sessions = read_sessions(hp)
    return sessions, resolve(hp, sessions)


def results_of(spec, sessions, native=False, samples=3):
    run = Inference(LFADS(spec, 1, native=native), 0, 0)
    return session_results(run.model, sessions[0], run.posterior_average(0, sessions[0].valid, samples))


def test_wider_and_longer_targets(tmp_path):
    second(tmp_path / "a.h5")
    sessions, spec = sessions_of(tmp_path)
    assert (spec.num_bins, spec.data_bins, spec.max_channels, spec.max_encoded) == (BINS, 6, CHANNELS, 5)
    assert spec.separate_target and not spec.partly_observed
    np.testing.assert_array_equal(sessions[0].train.target, WHOLE["train"])
    assert sessions[0].train.target.dtype == np.uint8
    results = results_of(spec, sessions)
    shapes = {key: value.shape[1:] for key, value in results.items()}
    assert shapes["output_dist_params"] == (BINS, CHANNELS) and shapes["factors"] == (BINS, 3)
    assert shapes["gen_states"] == (BINS, 6) and shapes["controller_outputs"] == (BINS, 2)


def test_the_encoders_never_see_what_is_held_out(tmp_path):
    """Other held-out counts and other future bins change the cost and no rate."""
    results = []
    for name, shift in (("a", 0), ("b", 3)):
        recon = {f"{half}_recon_data": whole.copy() for half, whole in WHOLE.items()}
        for array in recon.values():
            array[:, 6:] += shift
            array[:, :, 5:] += shift
        second(tmp_path / name / "a.h5", **recon)
        sessions, spec = sessions_of(tmp_path / name)
        results.append(results_of(spec, sessions))
    np.testing.assert_array_equal(results[0]["output_dist_params"], results[1]["output_dist_params"])
    assert np.all(results[0]["costs"] != results[1]["costs"])


def test_the_controller_sees_zeros_beyond_the_encoded_bins(tmp_path):
    second(tmp_path / "a.h5")
    sessions, spec = sessions_of(tmp_path, controller_input_lag=2)
    model = LFADS(spec, 1)
    batch = place([sessions[0].train], spec).batch(tf.constant(0), tf.range(4))
    encoding = model.encode(batch)
    code = model.controller_code(encoding).numpy()
    assert code.shape == (BINS, 4, 8)
    np.testing.assert_array_equal(code[2:6, :, :4], encoding.ci_forward[:4])
    np.testing.assert_array_equal(code[:4, :, 4:], encoding.ci_reverse[2:])
    assert not code[:2, :, :4].any() and not code[4:, :, 4:].any() and not code[6:].any()


def test_an_equal_target_is_the_first_dialect(tmp_path):
    second(tmp_path / "a.h5", bins=BINS, channels=CHANNELS)
    sessions, spec = sessions_of(tmp_path)
    assert sessions[0].train.recon is None and not spec.separate_target and spec.sessions[0].num_encoded is None


def test_targets_of_other_values(tmp_path):
    second(tmp_path / "a.h5", BINS, CHANNELS, train_recon_data=WHOLE["train"] + 1, valid_recon_data=WHOLE["valid"] + 1)
    sessions, spec = sessions_of(tmp_path)
    assert spec.separate_target
    batch = place([sessions[0].train], spec).batch(tf.constant(0), tf.range(20))
    np.testing.assert_array_equal(batch.target, batch.data + 1.0)


def test_the_first_segment_serves_the_initial_condition_only(tmp_path):
    """Factors of N + T bins: rates for the last T; the IC encoder reads the first N, the controller the others."""
    second(tmp_path / "a.h5", BINS, CHANNELS)
    sessions, spec = sessions_of(tmp_path, ic_enc_seq_len=4)
    assert (spec.num_bins, spec.data_bins, spec.first_bin) == (BINS - 4, BINS, 4)
    model = LFADS(spec, 1)
    batch = place([sessions[0].train], spec).batch(tf.constant(0), tf.range(8))
    encoding = model.encode(batch)
    assert encoding.ic_forward.shape[0] == 4 and encoding.ci_forward.shape[0] == BINS - 4
    later = tf.concat([batch.data[:4], batch.data[4:] + 1.0], axis=0)
    changed = model.encode(batch._replace(data=later))
    np.testing.assert_array_equal(changed.post_g0_mean, encoding.post_g0_mean)
    assert np.abs(changed.ci_forward - encoding.ci_forward).max() > 1e-3
    outputs = model(batch, noise.no_noise(spec, 8))
    log_rates = outputs.parameters.numpy()
    from scipy.stats import poisson

    expected = poisson.logpmf(batch.data.numpy()[4:], np.exp(log_rates))
    np.testing.assert_allclose(unweighted_log_prob(model, batch, outputs), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "settings",
    [{}, {"co_dim": 0}, {"ic_enc_seq_len": 3}, {"do_causal_controller": True, "controller_input_lag": 0},
     {"ext_input_dim": 2}, {"ext_input_dim": 2, "inject_ext_input_to_gen": True, "ic_enc_seq_len": 2},
     {"feedback_factors_or_rates": "rates"}, {"factors_dim": CHANNELS}, {"output_dist": "gaussian"}],
    ids=str,
)  # fmt: skip
def test_every_variant_infers(tmp_path, settings):
    from lfads_tf2.model import native

    inputs = {f"{half}_ext_input": RANDOM.normal(size=(n, BINS, 2)) for half, n in TRIALS.items()}
    second(tmp_path / "data" / "one.h5", **inputs)
    sessions, spec = sessions_of(tmp_path / "data", **settings)
    results = results_of(spec, sessions, native.available())
    first = settings.get("ic_enc_seq_len", 0)
    width = 2 * CHANNELS if "output_dist" in settings else CHANNELS
    assert results["output_dist_params"].shape == (TRIALS["valid"], BINS - first, width)


def test_sessions_of_different_widths(tmp_path):
    second(tmp_path / "data" / "a.h5", 6, 5)
    narrow = {f"{half}_recon_data": whole[:, :, :4] for half, whole in WHOLE.items()}
    second(tmp_path / "data" / "b.h5", 6, 2, **narrow)
    trainer = trainer_of(tmp_path, max_epochs=1)
    trainer.train()
    assert trainer.model.read_in.inputs == [5, 2] and trainer.model.observation.mean_map.outputs == [7, 4]
    kernel = np.array(trainer.model.read_in.kernel)
    assert kernel.shape[1] == 5 and not kernel[1, 2:].any()


def test_short_external_inputs_are_padded_with_a_warning(tmp_path, caplog):
    inputs = {f"{half}_ext_input": np.ones((n, 6, 2)) for half, n in TRIALS.items()}
    second(tmp_path / "a.h5", **inputs)
    with caplog.at_level(logging.WARNING, "lfads_tf2"):
        sessions, _ = sessions_of(tmp_path, ext_input_dim=2)
    assert "train_ext_input has 6 bins and the target 9" in caplog.text
    assert sessions[0].train.ext_input.shape == (20, BINS, 2) and not sessions[0].train.ext_input[:, 6:].any()


def benchmark_file(path, forward=True, eval_parts=True):
    parts = {"heldin": np.s_[:, :6, :5], "heldout": np.s_[:, :6, 5:]}
    if forward:
        parts |= {"heldin_forward": np.s_[:, 6:, :5], "heldout_forward": np.s_[:, 6:, 5:]}
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as f:
        for name, part in parts.items():
            f[f"train_spikes_{name}"] = WHOLE["train"][part]
            if eval_parts or name == "heldin":
                f[f"eval_spikes_{name}"] = WHOLE["valid"][part]


@pytest.mark.parametrize("forward", [True, False])
def test_files_of_the_benchmark(tmp_path, forward):
    benchmark_file(tmp_path / "data" / "a.h5", forward)
    sessions, spec = sessions_of(tmp_path / "data")
    bins = BINS if forward else 6
    assert (spec.num_bins, spec.data_bins, spec.max_channels, spec.max_encoded) == (bins, 6, CHANNELS, 5)
    for half, whole in WHOLE.items():
        trials = getattr(sessions[0], half)
        np.testing.assert_array_equal(trials.target, whole[:, :bins])
        np.testing.assert_array_equal(trials.data, whole[:, :6, :5])


def test_a_benchmark_file_without_evaluation_targets(tmp_path):
    """What is not there is not scored, and is predicted all the same."""
    benchmark_file(tmp_path / "data" / "a.h5", eval_parts=False)
    sessions, spec = sessions_of(tmp_path / "data")
    assert spec.partly_observed and np.isnan(sessions[0].valid.target[:, 6:]).all()
    trainer_of(tmp_path, max_epochs=2).train()
    assert np.all(np.isfinite(read(tmp_path / "run" / "fitlog.csv")["total_valid"]))
    results = results_of(spec, sessions)
    assert results["output_dist_params"].shape == (6, BINS, CHANNELS) and np.all(np.isfinite(results["costs"]))


def test_from_the_command_line(tmp_path):
    truth = {f"{half}_truth": np.ones((n, BINS, CHANNELS)) * np.arange(1, 8) for half, n in TRIALS.items()}
    second(tmp_path / "data" / "a.h5", **truth)
    small = [flag for flag in SMALL if flag != "--noreport"]
    run = tmp_path / "run"
    where = [f"--data_dir={tmp_path / 'data'}", f"--lfads_save_dir={run}"]
    program("--kind=train", *where, *small, "--max_epochs=3", "--ic_enc_seq_len=2")
    stored = json.loads(next(run.glob("hyperparameters-*.txt")).read_text())
    assert stored["dataset_encoded_dims"] == {"a.h5": 5} and stored["dataset_dims"] == {"a.h5": 7}
    program("--kind=posterior_push_mean", *where, "--device=cpu:0")
    with h5py.File(run / "model_runs_a.h5_valid_posterior_push_mean") as f:
        assert f["output_dist_params"].shape == (6, BINS - 2, CHANNELS) and f.attrs["first_bin"] == 2
    assert (run / "report" / "index.html").exists() and list((run / "report").glob("*truth.png"))
    # Other channels for the encoders do not fit the model.
    second(tmp_path / "data" / "a.h5", channels=4)
    done = program("--kind=posterior_push_mean", *where, "--device=cpu:0", check=False)
    assert done.returncode == 2 and "the encoders read 4 channels in the data and 5 in the model" in done.stderr


def test_exclusive_segments():
    from lfads_tf2.hyperparameters import problems

    assert any("exclude each other" in p for p in problems(HyperParameters(ic_enc_seq_len=3, num_steps_for_gen_ic=5)))
    assert any("--ic_dim of at least 1" in p for p in problems(HyperParameters(ic_enc_seq_len=3, ic_dim=0)))


def test_alignment_with_held_out_channels(tmp_path):
    from lfads_tf2.model.affine import align

    matrix, bias = RANDOM.normal(size=(CHANNELS, 3)), RANDOM.normal(size=CHANNELS)
    second(tmp_path / "a.h5", alignment_matrix_cxf=matrix, alignment_bias_c=bias)
    sessions, spec = sessions_of(tmp_path)
    model = LFADS(spec, 1)
    align(model.read_in, model.observation.mean_map, sessions)
    np.testing.assert_allclose(np.array(model.read_in.kernel)[0], matrix[:5], rtol=1e-6)
    np.testing.assert_allclose(np.array(model.read_in.bias)[0, 0], -bias[:5] @ matrix[:5], rtol=1e-5)
    np.testing.assert_allclose(np.array(model.observation.mean_map.kernel)[0], matrix.T, rtol=1e-6)


def test_first_dialect_files_are_untouched(tmp_path):
    write_spikes(tmp_path / "one.h5")
    sessions, spec = sessions_of(tmp_path)
    batch = place([sessions[0].train], spec).batch(tf.constant(0), tf.range(4))
    assert batch.target is None and batch.counted is None and batch.flow is None
