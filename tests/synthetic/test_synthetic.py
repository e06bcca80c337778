"""Synthetic recordings: same seed, same data; spikes agree with their truth; the dynamics are the stated ones."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from lfads_tf2.synthetic import spikes as synthetic
from lfads_tf2.synthetic.presets import RNN_PRESETS, LorenzSettings, RnnSettings, check

TOOLS = Path(__file__).resolve().parents[2] / "tools"
SMALL_LORENZ = LorenzSettings(sessions=2, channels_min=4, channels_max=7, conditions=5, trials_min=6, trials_max=9)
SMALL_RNN = RnnSettings(units=30, channels=12, conditions=20, trials=10, bins=40)


def small(preset: str) -> RnnSettings:
    return dataclasses.replace(RNN_PRESETS[preset], units=40, channels=8, conditions=20, trials=10, bins=40)


@pytest.mark.parametrize(
    ("make", "settings"), [(synthetic.lorenz_recordings, SMALL_LORENZ), (synthetic.rnn_recordings, SMALL_RNN)]
)
def test_the_seed_decides_everything(make, settings):
    first, again = make(settings), make(settings)
    other = make(dataclasses.replace(settings, seed=settings.seed + 1))
    more = make(dataclasses.replace(settings, sessions=settings.sessions + 1))
    for a, b, c in zip(first, again, more, strict=False):
        np.testing.assert_array_equal(a.data, b.data)
        np.testing.assert_array_equal(a.data, c.data)  # sessions do not depend on how many there are
    assert first[0].data.shape != other[0].data.shape or (first[0].data != other[0].data).any()


def test_lorenz_sessions_have_the_asked_shapes():
    first, second = synthetic.lorenz_recordings(SMALL_LORENZ)
    for r in (first, second):
        trials, bins, channels = r.data.shape
        assert bins == 100 and 4 <= channels <= 7 and 6 <= trials / 5 <= 9
        assert r.truth.shape == (5, 100, channels) and r.truth.dtype == np.float32
        assert r.readout_matrix.shape == (3, channels) and r.readout_bias.shape == (channels,)
        np.testing.assert_array_equal(r.conditions, np.repeat(np.arange(5), trials // 5))
        assert (np.diff(r.readout_matrix[0]) >= 0).all() and (abs(r.readout_matrix) >= 1).all()
        assert r.data.max() <= 10  # at most one spike a millisecond
    np.testing.assert_array_equal(first.latents, second.latents)


def test_the_lorenz_step_follows_the_lorenz_system():
    start, horizon, steps = np.array([3.0, -2.0, 25.0]), 0.06, 6000

    def slope(_, s):
        return [10 * (s[1] - s[0]), s[0] * (28 - s[2]) - s[1], s[0] * s[1] - 8 / 3 * s[2]]

    exact = solve_ivp(slope, (0, horizon), start, rtol=1e-10, atol=1e-10).y[:, -1]
    errors = []
    for refinement in (1, 2):
        state = start
        for _ in range(steps * refinement):
            state = synthetic.lorenz_step(state, horizon / steps / refinement)
        errors.append(np.abs(state - exact).max())
    assert errors[0] < 1e-3
    assert errors[1] == pytest.approx(errors[0] / 2, rel=0.05)  # Euler: first order


def test_lorenz_latents_are_centred_with_maximum_one():
    latents = synthetic.lorenz_latents(np.random.default_rng(0), conditions=4, steps=300)
    np.testing.assert_allclose(latents.mean(axis=1), 0, atol=1e-12)
    np.testing.assert_allclose(latents.max(axis=1), 1)


def test_lorenz_rates_where_the_latents_are_zero():
    settings = dataclasses.replace(SMALL_LORENZ, bins=1, bin_ms=1, mean_rate=40.0)  # one step: latents are 0
    for r in synthetic.lorenz_recordings(settings):
        np.testing.assert_allclose(r.truth, -np.expm1(-0.04), rtol=1e-6)


def agrees_with_truth(recording: synthetic.Recording, variance: np.ndarray) -> None:
    """Condition averages scatter around the truth with exactly the standard error."""
    trials = len(recording.data) // len(recording.truth)
    average = recording.data.reshape(-1, trials, *recording.truth.shape[1:]).mean(axis=1)
    z = (average - recording.truth) / np.sqrt(np.maximum(variance, 1e-12) / trials)
    z = z[np.broadcast_to(variance > 1e-4, z.shape)]
    assert abs(z.mean()) < 4 / np.sqrt(z.size)
    assert abs(z.var() - 1) < 0.1


def test_lorenz_spikes_agree_with_their_truth():
    settings = dataclasses.replace(SMALL_LORENZ, trials_min=60, trials_max=60, mean_rate=20.0)
    for r in synthetic.lorenz_recordings(settings):
        agrees_with_truth(r, r.truth * (1 - r.truth / 10))  # nearly: ten unequal chances a bin


@pytest.mark.parametrize("preset", RNN_PRESETS)
def test_network_recordings(preset):
    settings = small(preset)
    recordings = synthetic.rnn_recordings(settings)
    assert len(recordings) == settings.sessions
    for r in recordings:
        assert r.data.shape == (200, 40, 8) and r.truth.shape == (20, 40, 8)
        np.testing.assert_allclose(r.latents @ r.readout_matrix + r.readout_bias, r.truth, atol=1e-6)
        if settings.observations == "poisson":
            assert r.data.dtype.kind == "u" and r.truth.min() >= 0 and r.truth.max() <= 0.3 + 1e-6
            assert 0.1 < r.data.mean() < 0.2  # around half the largest rate: 0.15 spikes a bin
            agrees_with_truth(r, r.truth)
        else:
            assert r.data.dtype == np.float32 and abs(r.truth).max() <= 1
            agrees_with_truth(r, np.full_like(r.truth, settings.noise_sd**2))
        assert (r.true_input is not None) == (settings.pulse > 0 or settings.task == "integration_to_bound")
        assert (r.ext_input is not None) == (settings.task == "labelled")
        assert (r.alignment_matrix is not None) == (settings.sessions > 1)


def test_the_network_step_follows_its_equation():
    rng = np.random.default_rng(1)
    recurrent, state, drive = rng.normal(size=(4, 4)), rng.normal(size=4), rng.normal(size=4)

    def slope(_, x):
        return -x + recurrent @ np.tanh(x) + drive

    exact = np.tanh(solve_ivp(slope, (0, 1), state, rtol=1e-9, atol=1e-9).y[:, -1])
    constant = np.broadcast_to(drive, (1, 4001, 4))
    got = synthetic.run_network(state[None], recurrent, constant, step=1 / 4000)
    np.testing.assert_allclose(got[0, 0], np.tanh(state))
    np.testing.assert_allclose(got[0, -1], exact, atol=2e-3)


def test_the_bound_network_integrates_and_stays_at_its_bounds():
    weights, bias, feedback = synthetic.bound_network(np.random.default_rng(2), units=50)
    start = np.array([-1.2, -1.0, -0.2, 0.0, 0.2, 1.0, 1.2])

    def variable(inputs: np.ndarray) -> np.ndarray:
        drive = inputs[..., None] * weights + bias
        activity = synthetic.run_network(start[:, None] * weights + bias, np.outer(weights, feedback), drive, 0.4)
        return ((np.arctanh(activity) - bias) @ weights) / (weights @ weights)

    rest = variable(np.zeros((7, 60)))
    wanted = start.copy()
    for _ in range(59):
        wanted += 0.4 * 0.4 * wanted**3 * (1 - wanted**2)
    np.testing.assert_allclose(rest[:, -1], wanted, atol=0.02)
    np.testing.assert_allclose(rest[[0, 1, 5, 6], -1], [-1, -1, 1, 1], atol=0.01)
    pushed = variable(np.pad(np.full((7, 5), 0.1), ((0, 0), (0, 1))))
    assert pushed[3, -1] == pytest.approx(5 * 0.4 * 0.1, abs=0.02)  # the integral of the input


def test_labels_choose_the_network_and_are_told_to_the_model():
    (r,) = synthetic.rnn_recordings(dataclasses.replace(small("chaotic_rnns_labeled"), initial_sd=0.0, pulse=5.0))
    labels = r.ext_input[:, 0, 0]
    assert set(labels) == {0.0, 1.0} and (r.ext_input == labels[:, None, None]).all()
    when = r.true_input[..., 0].argmax(axis=1)
    assert ((when >= 10) & (when < 30)).all() and (r.true_input.sum(axis=1) == 5.0).all()


def test_alignment_maps_every_session_to_the_same_components():
    recordings = synthetic.rnn_recordings(
        dataclasses.replace(small("chaotic_rnn_multisession"), sessions=2, units=16, trials=200, alignment_factors=2)
    )
    mapped = []
    for r in recordings:
        average = r.data.reshape(20, 200, 40, 8).mean(axis=1)
        np.testing.assert_allclose(r.alignment_bias, average.mean((0, 1)), rtol=1e-5)
        mapped.append(((average - r.alignment_bias) @ r.alignment_matrix).reshape(-1, 2))
    for a, b in zip(mapped[0].T, mapped[1].T, strict=True):
        assert np.corrcoef(a, b)[0, 1] > 0.5


def test_file_content(tmp_path):
    settings = small("chaotic_rnns_labeled")
    (r,) = synthetic.rnn_recordings(settings)
    synthetic.write_recording(tmp_path / "a_dataset001.h5", r, dataclasses.asdict(settings))
    with h5py.File(tmp_path / "a_dataset001.h5") as file:
        np.testing.assert_array_equal(file["valid_inds"][()], np.arange(0, 200, 5))
        everything = np.sort(np.concatenate([file["train_inds"], file["valid_inds"]]))
        np.testing.assert_array_equal(everything, np.arange(200))
        for half in ("train", "valid"):
            indices, conditions = file[f"{half}_inds"][()], file[f"{half}_conditions"][()]
            np.testing.assert_array_equal(file[f"{half}_data"][()], r.data[indices])
            np.testing.assert_array_equal(file[f"{half}_truth"][()], r.truth[conditions])
            np.testing.assert_array_equal(file[f"{half}_ext_input"][()], r.ext_input[conditions])
            assert file[f"{half}_data"].dtype == np.int64 and file[f"{half}_truth"].dtype == np.float32
        assert file["conversion_factor"][()] == 1 and file.attrs["bin_width_ms"] == 10
        assert json.loads(file.attrs["info"])["task"] == "labelled"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (LorenzSettings(sessions=0), "--sessions must be at least 1, got 0"),
        (LorenzSettings(mean_rate=float("nan")), "--mean_rate must be greater than 0, got nan"),
        (LorenzSettings(channels_min=9, channels_max=8), "--channels_min must be at most --channels_max, got 9 and 8"),
        (LorenzSettings(conditions=1, trials_min=1), "cannot be split into train and valid"),
        (RnnSettings(task="other"), "--task must be one of .*chaotic.*, got other"),
        (RnnSettings(channels=51), r"--channels must be at most --units \(50\), got 51"),
        (RnnSettings(task="integration_to_bound", units=9, channels=9), "needs --units of at least 20 .*, got 9"),
        (RnnSettings(bin_ms=25.0), r"--bin_ms must be less than --tau_ms \(25.0\)"),
        (RnnSettings(alignment_factors=51), r"--alignment_factors must be at most all channels \(50\), got 51"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        check(settings)


def run_tool(name: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, TOOLS / name, *arguments], cwd=cwd, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("name", "arguments", "files"),
    [
        ("generate_lorenz.py", "--sessions=2 --conditions=3 --bins=20 --stem=l --output_dir=.", 2),
        ("generate_chaotic_rnn.py", "--preset=itb_rnn --conditions=4 --bins=20 --stem=l --output_dir=.", 1),
    ],
)
def test_tools_run_from_end_to_end(tmp_path, name, arguments, files):
    done = run_tool(name, *arguments.split(), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == [f"l_dataset{n:03d}.h5" for n in range(1, files + 1)]
    assert "lfads train . --data_filename_stem=l --co_dim=" in done.stdout
    with h5py.File(tmp_path / "l_dataset001.h5") as file:
        assert file["train_data"].shape[1] == 20


@pytest.mark.parametrize("name", ["generate_lorenz.py", "generate_chaotic_rnn.py"])
@pytest.mark.parametrize("bad", ["--conditions=0", "--stem=a/b", "--no_such_option=1", "--output_dir=file/below"])
def test_tools_answer_mistakes_in_one_line(tmp_path, name, bad):
    (tmp_path / "file").write_text("")
    done = run_tool(name, bad, "--bins=5", "--conditions=2" if "conditions" not in bad else bad, cwd=tmp_path)
    assert done.returncode in (1, 2)
    assert "error:" in "".join(done.stderr.splitlines()[-2:]) and "Traceback" not in done.stderr
