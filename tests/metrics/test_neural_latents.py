"""The benchmark's metrics against cases worked out by hand and against scikit-learn."""

from __future__ import annotations

import json
import subprocess
import sys

import h5py
import numpy as np
import pytest
from conftest import ROOT

from lfads_tf2.metrics import neural_latents as benchmark
from lfads_tf2.program.results import write_runs

RANDOM = np.random.default_rng(2)


def test_co_smoothing_by_hand():
    """One held-out neuron with counts 0 and 2 (mean 1): rates that are exact earn ln 2 · 2 nats on two spikes."""
    spikes = np.zeros((2, 1, 2))
    spikes[1, 0, 1] = 2
    rates = np.zeros((2, 1, 2))
    rates[1, 0, 1] = 2
    # Model: −0 + 0 (rate 1e-9 at zero spikes) and 2 ln 2 − 2; null: −1 and −1. Difference 2 ln 2 nats, two spikes.
    assert benchmark.co_bps(rates, spikes, 1, 1) == pytest.approx(1.0, abs=1e-8)
    assert rates[0, 0, 1] == 0, "zeros are replaced on a copy"
    with pytest.raises(ValueError, match="negative or NaN"):
        benchmark.co_bps(rates - 1, spikes, 1, 1)


def test_forward_prediction_counts_the_later_bins_only():
    spikes, rates = RANDOM.poisson(1.0, (5, 6, 3)), RANDOM.random((5, 6, 3)) + 0.5
    expected = benchmark.bits_per_spike(rates[:, 4:], spikes[:, 4:])
    assert benchmark.fp_bps(rates, spikes, 4) == expected
    changed = spikes.copy()
    changed[:, :4] += 5
    assert benchmark.fp_bps(rates, changed, 4) == expected


def test_r2_by_hand():
    truth, predicted = np.array([[0.0, 1, 3], [2, 1, 3]]), np.array([[0.0, 1, 3], [1, 1, 4]])
    # Column 1: error 1 of 2; column 2 constant and met; column 3 constant and missed.
    assert benchmark.r2_mean(truth, predicted) == pytest.approx((0.5 + 1 + 0) / 3)


def test_ridge_is_scikit_learns():
    linear_model = pytest.importorskip("sklearn.linear_model")
    selection = pytest.importorskip("sklearn.model_selection")
    x, e = RANDOM.normal(size=(83, 12)), RANDOM.normal(size=(40, 12))
    w = RANDOM.normal(size=(12, 2))
    y, f = x @ w + RANDOM.normal(size=(83, 2)) + 3, e @ w + RANDOM.normal(size=(40, 2)) + 3
    search = selection.GridSearchCV(linear_model.Ridge(), {"alpha": np.logspace(-4, 0, 9)}).fit(x, y)
    assert benchmark.ridge_r2(x, y, e, f) == pytest.approx(search.score(e, f), abs=1e-9)
    # Samples without known behaviour are left out.
    gaps = np.concatenate([y, np.full((7, 2), np.nan)])
    assert benchmark.ridge_r2(np.concatenate([x, np.full((7, 12), np.nan)]), gaps, e, f) == pytest.approx(
        search.score(e, f), abs=1e-9
    )


def test_ridge_with_fewer_samples_than_neurons_and_equal_neurons():
    linear_model = pytest.importorskip("sklearn.linear_model")
    selection = pytest.importorskip("sklearn.model_selection")
    x = np.repeat(RANDOM.normal(size=(10, 8)), 2, axis=1)
    y = RANDOM.normal(size=(10, 2))
    search = selection.GridSearchCV(linear_model.Ridge(), {"alpha": np.logspace(-4, 0, 9)}).fit(x, y)
    assert benchmark.ridge_r2(x, y, x, y) == pytest.approx(search.score(x, y), abs=1e-6)


def test_velocity_with_masks_averages_decoders():
    rates, velocity = RANDOM.normal(size=(12, 5, 4)), RANDOM.normal(size=(12, 5, 2))
    masks = np.zeros((12, 2), bool)
    masks[:6, 0] = masks[6:, 1] = True
    parts = [benchmark.velocity_r2(rates[m], velocity[m], rates[m], velocity[m]) for m in masks.T]
    assert benchmark.velocity_r2(rates, velocity, rates, velocity, masks, masks) == pytest.approx(np.mean(parts))


def test_delays():
    rates = np.arange(4.0)[:, None]
    np.testing.assert_array_equal(benchmark.delayed(rates, 1)[:, 0], [np.nan, 0, 1, 2])
    np.testing.assert_array_equal(benchmark.delayed(rates, -2)[:, 0], [2, 3, np.nan, np.nan])
    np.testing.assert_array_equal(benchmark.delayed(rates, 0), rates)


def test_psth_by_hand():
    """Two conditions of two bins and one neuron: truth 0, 1, 2, 3; averages 0, 1, 2, 2: R² = 1 − 1/5."""
    psth = np.array([[[0.0], [1]], [[2], [3]]])
    rates = np.array([[[0.0], [0]], [[0], [2]], [[2], [2]]])
    trials = [np.array([0, 1]), np.array([2])]
    assert benchmark.psth_r2(psth, rates, trials) == pytest.approx(0.8)
    # Bins without a known average drop out; so does a condition without trials.
    psth[1, 1] = np.nan
    assert benchmark.psth_r2(psth, rates, trials) == 1.0
    assert benchmark.psth_r2(psth, rates, [trials[0], np.array([], int)]) == 1.0
    # Jitter is undone before averaging.
    psth = np.array([[[np.nan], [1.0], [2.0]]])
    rates = np.array([[[1.0], [2], [9]], [[9], [1], [2]]])
    assert benchmark.psth_r2(psth, rates, [np.arange(2)], np.array([1, 0])) == 1.0
    with pytest.raises(ValueError, match="at least one condition"):
        benchmark.psth_r2(psth, rates, [np.array([], int)])


def test_speed_and_produced_time_by_hand():
    """Speeds 1, 2, 3 against times 3, 2, 1 in one condition (r = −1), and 1, 2 against 1, 2 in another (r = 1)."""
    speed = np.array([1.0, 2, 3, 1, 2])
    rates = speed[:, None, None] * np.arange(4.0)[None, :, None] * np.array([0.6, 0.8])
    rates[:, 3] = 100
    period = np.ones((5, 4), bool)
    period[:, 3] = False
    conditions = np.array([[0.0], [0], [0], [1], [1]])
    assert benchmark.tp_correlation(rates, period, conditions, np.array([3.0, 2, 1, 1, 2])) == pytest.approx(0.0)
    with pytest.raises(ValueError, match="two trials of each condition"):
        benchmark.tp_correlation(rates, period, np.arange(5.0)[:, None], speed)


def test_the_tool(tmp_path):
    bins, channels, trials = 8, 5, {"train": 12, "valid": 6}
    rates = {half: RANDOM.random((n, bins, channels)) + 0.5 for half, n in trials.items()}
    with h5py.File(tmp_path / "a.h5", "w") as f:
        for half, n in trials.items():
            spikes = RANDOM.poisson(rates[half])
            f[f"{half}_recon_data"], f[f"{half}_encod_data"] = spikes, spikes[:, :6, :3]
            f[f"{half}_behavior"] = np.cumsum(rates[half][:, :, :2], axis=1)
            f[f"{half}_conditions"] = np.arange(n) % 2
            write_runs(tmp_path / f"model_runs_{half}", {"output_dist_params": rates[half]}, {"units": "spikes/bin"})
        f["psth"] = np.stack([rates["valid"][c::2].mean(0) for c in (0, 1)])[:, :6]
        held_out, read = f["valid_recon_data"][:, :6, 3:], f["valid_encod_data"][()]
    command = [sys.executable, str(ROOT / "tools" / "evaluate.py"), f"--data={tmp_path / 'a.h5'}"]
    files = [f"--results={tmp_path / 'model_runs_valid'}", f"--train_results={tmp_path / 'model_runs_train'}"]
    subprocess.run([*command, *files, f"--json={tmp_path / 'scores.json'}"], check=True, capture_output=True)
    found = json.loads((tmp_path / "scores.json").read_text())
    assert set(found) == {"bps", "co-bps", "fp-bps", "vel R2", "psth R2"} and found["psth R2"] == pytest.approx(1.0)
    assert found["co-bps"] == pytest.approx(benchmark.bits_per_spike(rates["valid"][:, :6, 3:], held_out))
    assert found["bps"] == pytest.approx(benchmark.bits_per_spike(rates["valid"][:, :6, :3], read))
    done = subprocess.run([*command, f"--results={tmp_path / 'model_runs_train'}"], capture_output=True, text=True)
    assert done.returncode == 2 and "give files that belong together" in done.stderr
