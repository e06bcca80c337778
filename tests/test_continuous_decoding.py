"""The tool that decodes behaviour from merged rates and from smoothed counts."""

from __future__ import annotations

import importlib.util
import json

import numpy as np
import pytest
from conftest import ROOT
from session_results.recorded import write_results

from lfads_tf2 import Recording


@pytest.fixture(scope="module")
def tool():
    pytest.importorskip("pynwb", reason="pynwb is not installed")
    path = ROOT / "tools" / "continuous_decoding.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_its_parts(tool, tmp_path):
    scipy = pytest.importorskip("scipy.ndimage", reason="scipy is not installed")
    random = np.random.default_rng(0)
    counts = random.poisson(1.0, (500, 3)).astype(float)
    by_scipy = scipy.gaussian_filter1d(counts, 2.5, axis=0, mode="constant")
    np.testing.assert_allclose(tool.smoothed(counts, 2.5), by_scipy, atol=1e-12)
    train = np.arange(500) < 400
    scores, loss = tool.decoded(counts, counts @ random.standard_normal((3, 2)) + 5.0, train, ~train)
    assert min(scores) > 0.999 and loss < 1e-6
    for system in ("lorenz", "chaotic-rnn"):
        path = tool.trajectory(system, np.random.default_rng(1), 5000)
        np.testing.assert_allclose(path.std(axis=0), 1.0)
        assert np.abs(np.diff(path, axis=0)).max() < 0.5, "it is continuous"
    # Results that know nothing of the spikes lose against smoothing, bin by bin on the same clock.
    tool.write_recording(tmp_path / "a.nwb", "lorenz", 60.0, 20, 1)
    recording = Recording.read(tmp_path / "a.nwb")
    session = recording.cut(chop=200.0, overlap=100.0, bin_ms=10.0).write(tmp_path / "data", "monday")
    write_results(tmp_path / "data" / "lfads_output", session)
    found = tool.compared(tmp_path / "a.nwb", tmp_path / "data", "hand_vel")
    assert found["train_bins"] > 3 * found["test_bins"] > 1500
    assert min(found["smoothed"]) > 0.2 > max(found["rates"]) and 10 <= found["smoothing_ms"] <= 120


@pytest.mark.slow
def test_merged_rates_decode_better_than_smoothing(tool, tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["continuous_decoding.py", str(tmp_path), "--minutes=3", "--device=cpu:0"])
    assert tool.main() == 0
    found = json.loads((tmp_path / "decoding.json").read_text())
    assert all(rates > smoothed + 0.05 for rates, smoothed in zip(found["rates"], found["smoothed"], strict=True))
