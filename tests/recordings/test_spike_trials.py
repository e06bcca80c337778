"""Spike times of trials, each on its own clock: cells and struct arrays of every version of MATLAB, and lists."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from lfads_tf2 import Recording
from lfads_tf2.recordings import RecordingError, command
from lfads_tf2.recordings.spike_trials import is_cell, is_trials_of_times
from lfads_tf2.session_results.recording_link import read_link

RANDOM = np.random.default_rng(0)
TRIALS, UNITS = 20, 4
TIMES = [[np.sort(RANDOM.uniform(-0.2, 0.8, RANDOM.poisson(3))) for _ in range(UNITS)] for _ in range(TRIALS)]
TIMES[3] = [np.array([0.1 * unit]) for unit in range(UNITS)]  # one spike each: a row of numbers in version 7.3
TIMES[4] = [np.zeros(0)] * UNITS
GO, TARGET = RANDOM.uniform(0.1, 0.2, TRIALS), np.arange(TRIALS) % 3
# 20 bins of 20 ms around the go cue, by brute force.
EDGES = np.arange(-5, 16) * 0.02
EXPECTED = np.array([
    [np.histogram(row - go, EDGES)[0] for row in trial] for trial, go in zip(TIMES, GO, strict=True)
]).swapaxes(1, 2)  # fmt: skip
WORDS = {"align": "go", "window": (-100.0, 300.0), "bin_ms": 20.0, "condition": "target"}


def cell(rows) -> np.ndarray:
    """An array of objects, as SciPy takes a cell."""
    found = np.empty(len(rows), object)
    found[:] = rows
    return found


def cells() -> np.ndarray:
    """trials x units."""
    return np.stack([cell(trial) for trial in TIMES])


def version_5(folder):
    """A cell beside its columns, its transpose in a struct and in ms, and a struct array of trials."""
    scipy = pytest.importorskip("scipy.io", reason="scipy is not installed")
    beside = {"go": GO, "target": TARGET}
    scipy.savemat(folder / "cell.mat", {"spikes": cells(), **beside})
    in_ms = np.stack([cell([1000 * row for row in trial]) for trial in TIMES]).T
    scipy.savemat(folder / "in_struct.mat", {"data": {"raster": in_ms, "go": 1000 * GO, "target": TARGET}, "x": 1})
    rows = [(cell(trial), go, target) for trial, go, target in zip(TIMES, GO, TARGET, strict=True)]
    scipy.savemat(folder / "structs.mat", {"trials": np.array(rows, [(n, object) for n in ("spikes", *beside)])})


def version_7_3(folder):
    """The same as ``save -v7.3`` lays it out: cells are references, and each field of a struct array is a cell."""

    def put(file, value, kind="double"):
        item = file.create_dataset(f"#refs#/{len(file.require_group('#refs#'))}", data=value)
        item.attrs["MATLAB_class"] = np.bytes_(kind)
        if item.dtype == np.uint64:
            item.attrs["MATLAB_empty"] = np.uint8(1)
        return item.ref

    def row(values):  # MATLAB stores the shape of an empty array, and vectors with two axes
        return np.asarray(values, np.float64).reshape(-1, 1) if np.size(values) else np.array([0, 0], np.uint64)

    with h5py.File(folder / "cell73.mat", "w", userblock_size=512) as file:
        refs = [[put(file, row(times)) for times in trial] for trial in TIMES]
        file["spikes"] = np.array(refs, h5py.ref_dtype).T
        file["spikes"].attrs["MATLAB_class"] = np.bytes_("cell")
        for name, values in (("go", GO), ("target", TARGET.astype(float))):
            file[name] = values[None]
            file[name].attrs["MATLAB_class"] = np.bytes_("double")
    with h5py.File(folder / "structs73.mat", "w", userblock_size=512) as file:
        group = file.create_group("trials")
        group.attrs["MATLAB_class"] = np.bytes_("struct")
        of_trial = [np.array([[put(file, row(times)) for times in trial]], h5py.ref_dtype) for trial in TIMES]
        fields = {"spikes": [put(file, refs, "cell") for refs in of_trial]}
        fields |= {"go": [put(file, row([go])) for go in GO], "target": [put(file, row([t])) for t in TARGET]}
        for name, refs in fields.items():
            group[name] = np.array([refs], h5py.ref_dtype)


FILES = {
    "cell.mat": "--axes trials,units", "cell73.mat": "--axes trials,units", "structs.mat": "", "structs73.mat": "",
    "in_struct.mat": "--key data.raster --axes units,trials --time-unit ms",
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_files(tmp_path, name, capsys):
    version_5(tmp_path)
    version_7_3(tmp_path)
    words = "--align go --window -100 300 --bin-ms 20 --condition target --max-crosstalk 1 --name monday"
    data = tmp_path / "data"
    assert command.main([str(tmp_path / name), "-o", str(data), *words.split(), *FILES[name].split()]) == 0
    assert "20 trials x 20 bins of 20 ms x 4 units" in capsys.readouterr().out
    link = read_link(data / "monday.h5")
    assert not link.start_s and link.mode == "trials" and link.window_ms == (-100.0, 300.0), "there is no clock"
    with h5py.File(data / "monday.h5") as file:
        for half in ("train", "valid"):
            rows = file[f"{half}_inds"][()]
            np.testing.assert_array_equal(file[f"{half}_data"][()], EXPECTED[rows])
            np.testing.assert_array_equal(file[f"{half}_conditions"][()], TARGET[rows])


def test_lists():
    structs = [
        {"spikes": trial, "go": go, "target": int(target)} for trial, go, target in zip(TIMES, GO, TARGET, strict=True)
    ]
    cut = Recording.of(structs).cut(**WORDS, max_crosstalk=1.0)
    np.testing.assert_array_equal(cut.counts, EXPECTED)
    np.testing.assert_array_equal(cut.conditions, TARGET)
    assert cut.units.tolist() == [0, 1, 2, 3]
    plain = Recording.of(TIMES).cut(window=(0.0, 400.0), bin_ms=20.0, where="start_time > 0", max_crosstalk=1.0)
    brute = [[np.histogram(row, np.arange(21) * 0.02)[0] for row in trial] for trial in TIMES]
    np.testing.assert_array_equal(plain.counts, np.swapaxes(brute, 1, 2))
    # Rates and cross-talk are those of the time that was recorded, not of the made-up clock.
    recording = Recording.of([[np.arange(0.0, 1.0, 0.1), np.arange(0.05, 1.0, 0.1)]] * 9)
    assert recording.seconds == pytest.approx(9 * 0.95)
    kept = recording.cut(window=(0.0, 900.0), min_rate=10.0)
    assert kept.counts.shape == (9, 90, 2)
    # A list of the session's units is no list of trials.
    units = Recording.of([np.sort(RANDOM.uniform(0, 30, 90)) for _ in range(UNITS)])
    assert len(units.units) == UNITS and units.trial_span is None
    assert not is_trials_of_times([[[0, 1], [2, 0]], [[1, 1], [0, 0]]]) and not is_cell([[0.0, 1.0], [2.0, 0.0]])


def test_trials_of_their_own_length():
    structs = [{"spikes": trial, "duration": 0.4 + 0.1 * (n % 2)} for n, trial in enumerate(TIMES)]
    recording = Recording.of(structs)
    with pytest.raises(RecordingError, match="intervals last from 400 to 500 ms"):
        recording.cut(bin_ms=20.0)
    padded = recording.cut(bin_ms=20.0, lengths="pad", max_crosstalk=1.0)
    assert padded.counts.shape[1] == 25 and np.isnan(padded.counts[::2, 20:]).all()


def test_windows_around_the_ends_of_trials():
    ends, edges = 0.5 + 0.1 * (np.arange(TRIALS) % 3), np.arange(-10, 6) * 0.02
    both = list(zip(TIMES, ends, strict=True))
    brute = [[np.histogram(row - end, edges)[0] for row in trial] for trial, end in both]
    lasting = [{"spikes": trial, "duration": end} for trial, end in both]
    ending = [{"spikes": trial, "start_time": 70.0, "stop_time": 70.0 + end} for trial, end in both]
    for structs in (lasting, ending):
        cut = Recording.of(structs).cut(align="stop_time", window=(-200.0, 100.0), bin_ms=20.0, max_crosstalk=1.0)
        np.testing.assert_array_equal(cut.counts, np.swapaxes(brute, 1, 2))


def test_what_does_not_fit():
    recording = Recording.of(TIMES)
    for options, message in (
        ({"chop": 100.0}, "each with a clock of its own; give --window for --chop"),
        ({}, "does not say when intervals end; give --window FROM TO, in ms"),
        ({"window": (5000.0, 6000.0)}, "no window is left .*beyond the spikes of all trials"),
        ({"window": (0.0, 400.0), "align": "cue"}, "has no column 'cue'"),
    ):
        with pytest.raises(RecordingError, match=message):
            recording.cut(bin_ms=20.0, **options)
    report = recording.cut(bin_ms=20.0, window=(0.0, 1200.0), max_crosstalk=1.0).report()
    assert "20 windows reach beyond the spikes of all trials" in report
    for value, message in (
        ([[row * 1000 for row in trial] for trial in TIMES], r"if they are in ms, say --time-unit ms"),
        ([TIMES[0], TIMES[1][:3]], r"trials have spike times of \[3, 4\] units"),
        (cells(), "a cell of 20 x 4 rows of spike times; say which axis is which"),
        ([[np.array([0.1, np.nan]), np.array([0.2])]] * 3, "spike times hold NaN or infinity"),
        ([[row[::-1] for row in trial] for trial in TIMES], "spike times that do not rise"),
    ):
        with pytest.raises(RecordingError, match=message):
            Recording.of(value)


def test_columns_of_trials_of_counts(tmp_path):
    """Structs of trials say more than counts, and what would need a clock is refused."""
    counts = RANDOM.poisson(0.5, (TRIALS, 30, UNITS))
    structs = [{"counts": one, "target": int(n % 2), "result": "RF"[n % 5 == 0]} for n, one in enumerate(counts)]
    recording = Recording.of(structs, bin_ms=10.0)
    cut = recording.cut(bin_ms=30.0, condition="target", where="result == 'R'")
    rows = np.flatnonzero(np.arange(TRIALS) % 5)
    np.testing.assert_array_equal(cut.counts, counts[rows].reshape(len(rows), 10, 3, UNITS).sum(axis=2))
    np.testing.assert_array_equal(cut.conditions, rows % 2)
    assert "left out: 4 trials (not result == 'R'): 0, 5, 10, 15" in cut.report()
    for options in ({"align": "target"}, {"window": (0.0, 100.0)}, {"chop": 100.0}):
        with pytest.raises(RecordingError, match="cut into trials already; leave --align, --window and --chop out"):
            recording.cut(bin_ms=10.0, **options)
    with pytest.raises(RecordingError, match=r"--table=epochs: .* has no such table; it has trials"):
        recording.cut(bin_ms=10.0, table="epochs")


def test_axes_of_cells_that_are_turned(tmp_path):
    scipy = pytest.importorskip("scipy.io", reason="scipy is not installed")
    note = "duration has 20 values, as many as your units: are --axes the other way round?"
    options = {"window": (0.0, 400.0), "bin_ms": 20.0, "max_crosstalk": 1.0}
    scipy.savemat(tmp_path / "a.mat", {"spikes": cells(), "duration": np.ones(TRIALS)})
    scipy.savemat(tmp_path / "b.mat", {"spikes": cells(), "duration": np.ones(TRIALS), "depth": np.arange(4.0)})
    scipy.savemat(tmp_path / "c.mat", {"spikes": cells()})
    for name, axes, noted in (
        ("a", "units,trials", True), ("a", "trials,units", False), ("b", "trials,units", False),
        ("b", "units,trials", False), ("c", "units,trials", False),
    ):  # fmt: skip
        report = Recording.read(tmp_path / f"{name}.mat", axes=axes).cut(**options).report()
        assert (note in report) == noted, (name, axes)


def test_other_cells(tmp_path):
    scipy = pytest.importorskip("scipy.io", reason="scipy is not installed")
    units = cell([np.array([1.0]), np.array([2.0, 3.0])])
    others = {"pictures": cell([np.eye(3), np.zeros((2, 2, 2))]), "nested": {"a": units, "b": "text"}}
    scipy.savemat(tmp_path / "a.mat", {"units": units, **others})
    np.testing.assert_array_equal(Recording.read(tmp_path / "a.mat", key="units").spike_times[1], [2.0, 3.0])
    np.testing.assert_array_equal(Recording.read(tmp_path / "a.mat", key="nested.a").spike_times[0], [1.0])
    for key, message in (
        ("pictures", "is a cell of neither spike times nor counts of trials"),
        ("nested", "holds no spike times; name the field with --key STRUCT.FIELD"),
        ("nested.c", r"nested has no 'c'; it holds a, b"),
    ):
        with pytest.raises(RecordingError, match=message):
            Recording.read(tmp_path / "a.mat", key=key)
