"""NWB files and spike times for datasets: against NumPy and pynapple, and nothing lost in silence."""

from __future__ import annotations

import datetime
import re
import sys

import numpy as np
import pytest

from lfads_tf2.run_manager import Dataset, DatasetCollection
from lfads_tf2.run_manager.loading import LoadError, counts_from_spike_times, load_nwb
from lfads_tf2.run_manager.recordings.datasets import DatasetError

GOOD = [{"start_time": float(n), "stop_time": n + 0.9} for n in range(10)]
NAN = float("nan")


@pytest.mark.parametrize("start", [0.0, 0.1, 3.2, 123.456])
def test_spikes_on_bin_edges_count_in_the_bin_that_they_begin(start):
    times = np.round(start * 1000 + np.arange(2000)) / 1000.0
    assert (counts_from_spike_times([times], np.array([start]), 2000, 1.0)[0, 0] == 1).all()


def test_samples_of_a_recorder_as_bins():
    found = counts_from_spike_times([np.array([61529 / 30000])], np.array([61528 / 30000]), 2, 1000 / 30000)
    assert found[0, 0].tolist() == [0, 1]


def test_spike_times_that_make_no_counts():
    with pytest.raises(LoadError, match="at least one bin"):
        counts_from_spike_times([np.ones(3)], np.zeros(2), -5, 1.0)
    with pytest.raises(LoadError, match="starts holds NaN"):
        counts_from_spike_times([np.ones(3)], np.array([0.0, np.nan]), 5, 1.0)
    with pytest.raises(LoadError, match=r"spike_times\[1\] holds NaN"):
        counts_from_spike_times([np.ones(3), np.array([np.nan])], np.zeros(2), 5, 1.0)
    assert counts_from_spike_times([np.full(70000, 0.5)], np.zeros(1), 1, 1000.0)[0, 0, 0] == 70000


def nwb(path, trials=None, columns=(), units=None, observed=None, table="trials"):
    """An NWB file with three units of 10 spikes/s over 20 s, in trials of 0.9 s each second; and its spike times."""
    pynwb = pytest.importorskip("pynwb", reason="pynwb is not installed")
    rng = np.random.default_rng(2)
    file = pynwb.NWBFile("x", "id", datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC))
    units = [np.sort(rng.uniform(0, 20, 200)) for _ in range(3)] if units is None else units
    for number, times in enumerate(units):
        more = {} if observed is None else {"obs_intervals": observed[number]}
        file.add_unit(**({} if times is None else {"spike_times": times}), **more)
    rows = pynwb.epoch.TimeIntervals(name=table, description="of the task")
    for column in columns:
        rows.add_column(column, column)
    for trial in GOOD if trials is None else trials:
        rows.add_interval(**trial)
    if table == "trials":
        file.trials = rows
    else:
        file.add_time_intervals(rows)
    with pynwb.NWBHDF5IO(str(path), "w") as writer:
        writer.write(file)
    return path, units


def test_an_nwb_file_gives_what_numpy_counts(tmp_path):
    trials = [row | {"go": row["start_time"] + 0.2, "target": "lr"[n % 2]} for n, row in enumerate(GOOD)]
    trials[3]["go"] = NAN
    path, units = nwb(tmp_path / "a.nwb", trials[::-1], ("go", "target"))
    data = load_nwb(path, 20.0, length_ms=500.0, align_to="go", offset_ms=-100.0, condition_column="target")
    rows = [0, 1, 2, 3, 4, 5, 7, 8, 9]
    assert data["trial_index"].tolist() == data["trial_ids"].tolist() == rows and data["counts"].shape == (9, 25, 3)
    np.testing.assert_allclose(data["start_s"], 9 - np.array(rows) + 0.1)
    assert list(data["condition_id"]) == [trials[9 - n]["target"] for n in rows]
    np.testing.assert_allclose(data["time_vec_ms"], -100 + 20.0 * np.arange(25))
    for trial, start in enumerate(data["start_s"]):
        for unit, times in enumerate(units):
            expected = np.histogram(times, start + 0.02 * np.arange(26))[0]
            np.testing.assert_array_equal(data["counts"][trial, :, unit], expected)
    options = {"align_to": "go", "length_ms": 500.0, "offset_ms": -100.0, "bin_ms": 20.0}
    dataset = Dataset(DatasetCollection(tmp_path), "a.nwb", **options)
    np.testing.assert_array_equal(dataset.session_data().counts, data["counts"].swapaxes(1, 2))
    assert dataset.session_data().bin_ms == 20.0
    with pytest.raises(DatasetError, match="unknown arguments aling_to"):
        Dataset(DatasetCollection(tmp_path), "a.nwb", aling_to="go")


def test_counts_of_nwb_equal_those_of_pynapple(tmp_path):
    nap = pytest.importorskip("pynapple", reason="pynapple is not installed")
    path, units = nwb(tmp_path / "a.nwb")
    data = load_nwb(path, 10.0)
    group = nap.TsGroup({n: nap.Ts(times) for n, times in enumerate(units)})
    for trial, start in enumerate(data["start_s"]):
        expected = group.count(0.01, nap.IntervalSet(start, start + 0.9)).values
        np.testing.assert_array_equal(data["counts"][trial], expected[:90])


ODD = {
    "an aborted trial": (
        [*GOOD, {"start_time": 11.0, "stop_time": 11.05}], {},
        r"all 11 trials are cut to the 50 ms of trial 10 \(half of them last 900 ms",
    ),
    "a stop that is NaN": (
        [*GOOD, {"start_time": 11.0, "stop_time": NAN}], {},
        r"left out: 1 trial \(its end is not known or not after it\): 10",
    ),
    "a trial after the end": (
        [*GOOD, {"start_time": 100.0, "stop_time": 101.0}], {},
        r"1 trials begin after the last spike \(19\.\d+ s\): 10",
    ),
    "a window beyond the trials": (GOOD, {"length_ms": 1500.0}, "10 of 10 windows reach beyond their own trial"),
    "a window beyond the recording": (
        [*GOOD, {"start_time": 19.5, "stop_time": 20.0}], {"length_ms": 900.0},
        r"left out: 1 trial \(beyond the recording .*\): 10",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ODD)
def test_nothing_of_an_nwb_file_is_lost_in_silence(tmp_path, caplog, name):
    trials, options, said = ODD[name]
    path, _ = nwb(tmp_path / "a.nwb", trials)
    data = load_nwb(path, 10, **options)
    assert re.search(said, caplog.text), caplog.text
    gone = "NaN" in name or "beyond the recording" in name
    assert data["trial_index"].tolist() == list(range(len(trials) - gone))


def test_clocks_that_do_not_fit(tmp_path, caplog):
    rng = np.random.default_rng(3)
    in_ms, _ = nwb(tmp_path / "ms.nwb", units=[np.sort(rng.uniform(0, 20e3, 200)) for _ in range(3)])
    relative, _ = nwb(tmp_path / "relative.nwb", units=[np.sort(rng.uniform(0, 0.9, 50)) for _ in range(3)])
    load_nwb(in_ms, 10)
    assert "are all times in seconds" in caplog.text
    load_nwb(relative, 10)
    assert "only 1 of 10 trials have spikes" in caplog.text


def test_a_good_nwb_file_is_read_without_a_word(tmp_path, caplog):
    load_nwb(nwb(tmp_path / "a.nwb")[0], 10)
    assert not [record for record in caplog.records if record.name == "lfads_tf2"]


def test_a_unit_that_was_lost_is_not_silent(tmp_path, caplog):
    observed = [np.array([[0.0, 20.0]]), np.array([[0.0, 20.0]]), np.array([[0.0, 5.0]])]
    path, _ = nwb(tmp_path / "a.nwb", observed=observed)
    counts = load_nwb(path, 10)["counts"]
    assert np.isnan(counts[5:, :, 2]).all() and np.isfinite(counts[:5]).all() and np.isfinite(counts[:, :, :2]).all()
    assert "were not observed (obs_intervals) and are NaN" in caplog.text


REFUSED = {
    "start = stop": ([{"start_time": 0.0, "stop_time": 0.0}] * 5, {}, "every trial has length 0"),
    "NaN in the column": ([row | {"go": NAN} for row in GOOD], {"align_to": "go"}, "go is NaN in every row"),
    "no such column": (GOOD, {"align_to": "go"}, "has no column 'go'"),
    "no such condition": (GOOD, {"condition_column": "tgt"}, "has no column 'tgt'"),
    "no such table": (GOOD, {"table": "trails"}, "no table of intervals 'trails'; it has trials"),
    "an offset beyond the trial": (
        GOOD,
        {"offset_ms": 2000.0},
        "has no bin of 10 ms 2000 ms after start_time",
    ),
    "no length": (GOOD, {"length_ms": 0.0}, "length_ms must be at least one bin of 10 ms, got 0"),
    "no width": (GOOD, {"bin_ms": 0.0}, "bin_ms must be above 0"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_nwb_that_gives_no_trials(tmp_path, name):
    trials, options, said = REFUSED[name]
    path, _ = nwb(tmp_path / "a.nwb", trials, ("go",) if "go" in trials[0] else ())
    with pytest.raises(LoadError, match=said):
        load_nwb(path, **{"bin_ms": 10.0} | options)


def test_nwb_that_is_none(tmp_path, monkeypatch):
    nwb(tmp_path / "no_times.nwb", units=[None] * 3)
    (tmp_path / "junk.nwb").write_bytes(b"junk")
    for name, said in (("no_times.nwb", "spike_times"), ("junk.nwb", "not a readable NWB file"), ("gone", "no file")):
        with pytest.raises(LoadError, match=said):
            load_nwb(tmp_path / name)
    monkeypatch.setitem(sys.modules, "pynwb", None)
    with pytest.raises(LoadError, match=r"needs pynwb: pip install 'lfads-tf2\[nwb\]'"):
        load_nwb(tmp_path / "junk.nwb")


def test_another_table_of_intervals(tmp_path):
    path, _ = nwb(tmp_path / "a.nwb", table="reaches")
    assert load_nwb(path, 10.0, table="reaches")["counts"].shape == (10, 90, 3)
