"""Results as labelled arrays and in files of other programs, read back by those programs."""

from __future__ import annotations

import csv
import json
import re

import h5py
import numpy as np
import pytest
from conftest import ROOT

from lfads_tf2.session_results import ResultsError, labelled, load_results
from lfads_tf2.session_results.benchmark_files import to_benchmark
from lfads_tf2.session_results.tables import to_csv, to_npz

from .recorded import KIND, UNIT_IDS, known, write_results, write_session

STARTS = 1.0 + 2 * np.arange(12)
VALID = np.arange(12) % 4 == 1
CHOPPED = np.append(np.arange(0, 2.7, 0.05), 2.73)


@pytest.fixture(scope="module")
def aligned(tmp_path_factory):
    folder = tmp_path_factory.mktemp("aligned")
    session = write_session(folder / "data", STARTS, VALID)
    return load_results(write_results(folder / "run", session), folder / "data")["monday"]


@pytest.fixture(scope="module")
def continuous(tmp_path_factory):
    folder = tmp_path_factory.mktemp("continuous")
    session = write_session(folder / "data", CHOPPED, CHOPPED > 2, mode="chopped", overlap_ms=150.0)
    return load_results(write_results(folder / "run", session), folder / "data")["monday"]


def test_xarray(aligned, continuous):
    pytest.importorskip("xarray", reason="xarray is not installed")
    found = aligned.to_xarray()
    assert dict(found.sizes) == {
        "trial": 12, "time_ms": 20, "unit": 4, "factor": 3, "input": 2, "behavior_dimension": 1
    }  # fmt: skip
    np.testing.assert_array_equal(found["rates"].values, aligned.rates)
    assert found["rates"].attrs["units"] == "spikes/s" and found.attrs["session"] == "monday.h5"
    one = found["rates"].sel(trial=4, unit=11, time_ms=5.0)
    assert one == aligned.rates[2, 5, 2] and one.start_s == 5.0 and one.condition == "target 2" and one.half == "train"
    averaged = found["factors"].groupby("condition").mean()
    np.testing.assert_allclose(averaged.sel(condition="target 1").values, aligned.factors[1::3].mean(axis=0), rtol=1e-6)
    assert list(found["behavior_dimension"].values) == ["time"] and list(found["unit_quality"].values) == ["good"] * 4
    merged = continuous.to_xarray()
    assert merged["rates"].dims == ("time_s", "unit") and merged.sizes["time_s"] == 293
    np.testing.assert_allclose(merged["factors"].values, known(merged["time_s"].values, 3), rtol=1e-6)
    assert continuous.to_xarray(merge=False).sizes["trial"] == len(CHOPPED)


def test_pandas(aligned, continuous):
    pytest.importorskip("pandas", reason="pandas is not installed")
    found = aligned.to_pandas("rates")
    assert list(found.columns) == list(UNIT_IDS) and found.index.names == ["trial", "half", "condition", "time_ms"]
    np.testing.assert_array_equal(found.xs(4, level="trial").to_numpy(), aligned.rates[2])
    merged = continuous.to_pandas("factors")
    assert merged.index.name == "time_s"
    np.testing.assert_allclose(merged.to_numpy(), known(merged.index.to_numpy(), 3), rtol=1e-6)


def test_pynapple(aligned, continuous):
    nap = pytest.importorskip("pynapple", reason="pynapple is not installed")
    found = aligned.to_pynapple()
    assert isinstance(found, nap.TsdFrame) and list(found.columns) == list(UNIT_IDS) and found.shape == (240, 4)
    np.testing.assert_allclose(found.time_support.start, STARTS)
    np.testing.assert_allclose(found.time_support.end, STARTS + 0.2)
    # Its own counts of spikes lie at the same times.
    spikes = nap.TsGroup({0: nap.Ts(np.sort(np.random.default_rng(0).uniform(0, 25, 500)))})
    np.testing.assert_allclose(spikes.count(0.01, found.time_support).times(), found.times(), atol=1e-9)
    assert continuous.to_pynapple("factors").time_support.shape == (1, 2)


def test_npz(tmp_path, aligned, continuous):
    with np.load(to_npz(aligned, tmp_path / "a.npz")) as file:
        np.testing.assert_array_equal(file["rates"], aligned.rates)
        np.testing.assert_array_equal(file["unit_ids"], UNIT_IDS)
        assert {"trial", "half", "time_ms", "condition", "start_s", "inputs_sd"} <= set(file)
        assert json.loads(str(file["axes"]))["factors"] == ["trial", "time_ms", "factor"]
        assert json.loads(str(file["units"]))["rates"] == "spikes/s"
    with np.load(to_npz(continuous, tmp_path / "b.npz")) as file:
        np.testing.assert_allclose(file["rates"], known(file["time_s"], 4) * 100, rtol=1e-6)


def rows_of(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def test_csv(tmp_path, aligned, continuous):
    header, *rows = rows_of(to_csv(aligned, tmp_path / "wide.csv"))
    units = [f"unit {n} (spikes/s)" for n in UNIT_IDS]
    assert header == ["trial", "half", "condition", "start_s", "time_ms", *units] and len(rows) == 240
    assert rows[41][:5] == ["4", "train", "target 2", "5.0", "-35"]
    np.testing.assert_allclose([[float(v) for v in row[5:]] for row in rows], aligned.rates.reshape(240, 4), rtol=1e-6)
    header, *rows = rows_of(to_csv(aligned, tmp_path / "long.csv", "factors", long=True))
    assert header[-2:] == ["factor", "factors (a.u.)"] and len(rows) == 720
    np.testing.assert_allclose([float(row[-1]) for row in rows], aligned.factors.ravel(), rtol=1e-6)
    header, *rows = rows_of(to_csv(continuous, tmp_path / "merged.csv", "inputs"))
    assert header == ["time_s", "input 0 (a.u.)", "input 1 (a.u.)"] and rows[1][0] == "0.015000000"
    with pytest.raises(ResultsError, match="has no 'speed'"):
        to_csv(aligned, tmp_path / "speed.csv", "speed")


def write_benchmark(folder, keep=None):
    """A session of the benchmark: 5 of 7 neurons held in, 4 forward bins, and results that say where they are."""
    random = np.random.default_rng(0)
    shapes = {"heldin": (10, 5), "heldout": (10, 2), "heldin_forward": (4, 5), "heldout_forward": (4, 2)}
    folder.mkdir()
    with h5py.File(folder / "maze.h5", "w") as file:
        for half, trials in (("train", 6), ("eval", 3)):
            for part, shape in shapes.items():
                file[f"{half}_spikes_{part}"] = random.poisson(1.0, (trials, *shape))
        file["train_inds"], file["valid_inds"] = [8, 0, 1, 2, 3, 4], [7, 5, 6]
    rates = {half: random.random((trials, 14, 7)) for half, trials in (("train", 6), ("valid", 3))}
    for half, values in rates.items():
        with h5py.File(folder / f"model_runs_maze.h5_{half}_{KIND}", "w") as file:
            file["output_dist_params"], file["factors"] = values[:keep], np.zeros((len(values[:keep]), 14, 2))
    return rates


def test_benchmark_files(tmp_path):
    rates = write_benchmark(tmp_path / "run")
    one = load_results(tmp_path / "run", tmp_path / "run")["maze"]
    path = tmp_path / "submission.h5"
    to_benchmark(one, path, "mc_maze_small")
    to_benchmark(one, path, "mc_maze_small_20")
    with h5py.File(path) as file:
        assert set(file) == {"mc_maze_small", "mc_maze_small_20"}
        group = file["mc_maze_small"]
        assert len(group) == 8
        for half, name in (("train", "train"), ("valid", "eval")):
            np.testing.assert_array_equal(group[f"{name}_rates_heldin"], rates[half][:, :10, :5])
            np.testing.assert_array_equal(group[f"{name}_rates_heldout"], rates[half][:, :10, 5:])
            np.testing.assert_array_equal(group[f"{name}_rates_heldin_forward"], rates[half][:, 10:, :5])
            np.testing.assert_array_equal(group[f"{name}_rates_heldout_forward"], rates[half][:, 10:, 5:])


def test_benchmark_refusals(tmp_path, aligned):
    write_benchmark(tmp_path / "run", keep=2)
    one = load_results(tmp_path / "run", tmp_path / "run")["maze"]
    with pytest.raises(ResultsError, match="5 of 9 trials were not inferred"):
        to_benchmark(one, tmp_path / "submission.h5", "mc_maze")
    assert not (tmp_path / "submission.h5").exists()


def test_the_page_on_results(tmp_path, monkeypatch):
    for library in ("xarray", "pandas", "pynapple"):
        pytest.importorskip(library, reason=f"{library} is not installed")
    session = write_session(tmp_path / "data", STARTS, VALID)
    write_results(tmp_path / "data" / "lfads_output", session)
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    text = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    for code in re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        exec(compile(code, "docs/results.md", "exec"), names)
    assert names["by_condition"].sizes == {"condition": 3, "time_ms": 20, "unit": 4}
    assert names["frame"].shape == (240, 4) and len(names["table"]) == 240


def test_libraries_that_are_missing(aligned):
    with pytest.raises(ResultsError, match=r"this needs no_such_library: pip install 'lfads-tf2\[io\]'"):
        labelled.needed("no_such_library")
