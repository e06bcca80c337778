"""Every kind of file and of object, and what is wrong with them."""

from __future__ import annotations

import subprocess
import sys

import h5py
import numpy as np
import pytest

from lfads_tf2 import Recording
from lfads_tf2.errors import LFADSError
from lfads_tf2.recordings import RecordingError, command
from recordings.made import SECONDS, UNITS, nwb_file, phy_folder, spikes, write_struct_array

COUNTS = np.random.default_rng(5).poisson(0.4, (4000, 6)).astype(np.uint8)  # time x units, 1-ms bins
TRIALS = COUNTS.reshape(20, 200, 6)


def continuous_files(folder):
    """The same counts in every kind of file, axes as a lab may have them."""
    scipy = pytest.importorskip("scipy.io", reason="scipy is not installed")
    np.save(folder / "a.npy", COUNTS.T)
    np.savez(folder / "b.npz", counts=COUNTS, bin_width_ms=1.0)
    scipy.savemat(folder / "c.mat", {"spikes": COUNTS.T})
    with h5py.File(folder / "d.mat", "w", userblock_size=512) as f:
        f["counts"] = COUNTS.T  # MATLAB writes 4000 x 6 with its axes in reverse
        f["counts"].attrs["MATLAB_class"] = np.bytes_(b"uint8")
    with h5py.File(folder / "e.h5", "w") as f:
        f["counts"] = COUNTS
    return {
        "a.npy": "units,time", "b.npz": "time,units", "c.mat": "units,time", "d.mat": "time,units",
        "e.h5": "time,units",
    }  # fmt: skip


def test_continuous_counts_of_every_kind(tmp_path):
    for name, axes in continuous_files(tmp_path).items():
        recording = Recording.read(tmp_path / name, axes=axes, bin_ms=1.0)
        cut = recording.cut(chop=100.0, bin_ms=10.0)
        expected = COUNTS.reshape(40, 10, 10, 6).sum(axis=2)
        np.testing.assert_array_equal(cut.counts, expected, err_msg=name)
        assert recording.source_sha256 and recording.source_format in ("npy", "npz", "mat", "hdf5")


def test_trials_of_every_kind(tmp_path):
    scipy = pytest.importorskip("scipy.io", reason="scipy is not installed")
    np.savez(tmp_path / "a.npz", spikes=TRIALS.transpose(2, 0, 1))
    struct = np.array([(trial.T,) for trial in TRIALS], dtype=[("counts", object)])
    scipy.savemat(tmp_path / "b.mat", {"spikes": struct})
    for name, axes in (("a.npz", "units,trials,time"), ("b.mat", "units,time")):
        cut = Recording.read(tmp_path / name, axes=axes, bin_ms=1.0).cut(bin_ms=20.0)
        np.testing.assert_array_equal(cut.counts, TRIALS.reshape(20, 10, 20, 6).sum(axis=2), err_msg=name)


def test_spike_times_with_their_units(tmp_path):
    times, units = np.concatenate(spikes()), np.repeat(np.arange(UNITS), [len(s) for s in spikes()])
    order = np.random.default_rng(0).permutation(len(times))
    np.savez(tmp_path / "a.npz", spike_times=times[order], units=units[order])
    with h5py.File(tmp_path / "b.h5", "w") as f:
        f["spike_times"], f["spike_clusters"] = times[order], units[order]
    for name in ("a.npz", "b.h5"):
        for found, expected in zip(Recording.read(tmp_path / name).spike_times, spikes(), strict=True):
            np.testing.assert_array_equal(found, expected)


def test_lists_of_unequal_trials():
    unequal = [trial[: 200 - 20 * (n % 3)] for n, trial in enumerate(TRIALS)]
    recording = Recording.of(unequal, bin_ms=1.0)
    with pytest.raises(RecordingError, match="intervals last from 160 to 200 ms"):
        recording.cut(bin_ms=10.0)
    padded = recording.cut(bin_ms=10.0, lengths="pad")
    assert padded.counts.shape == (20, 20, 6) and np.isnan(padded.counts[2, 16:]).all()
    np.testing.assert_array_equal(padded.counts[2, :16], TRIALS[2, :160].reshape(16, 10, 6).sum(axis=1))
    assert recording.cut(bin_ms=10.0, lengths="cut").counts.shape == (20, 16, 6)
    assert recording.cut(bin_ms=10.0, lengths="leave").counts.shape[1] == 16


class Sorting:
    """What a SpikeInterface sorting can do."""

    def get_unit_ids(self):
        return ["a", "b"]

    def get_sampling_frequency(self):
        return 20000.0

    def get_unit_spike_train(self, unit_id):
        return np.arange(100, 20000, 400 if unit_id == "a" else 700)


def objects():
    """Objects of other packages, each with the spike times (or counts) that it holds."""
    found = {"dict": (dict(enumerate(spikes())), spikes()), "sorting": (Sorting(), None)}
    try:
        import pynapple as nap

        found["pynapple"] = (nap.TsGroup({n: nap.Ts(t) for n, t in enumerate(spikes())}), spikes())
    except ModuleNotFoundError:
        pass
    try:
        import neo

        found["neo"] = ([neo.SpikeTrain(t * 1000, units="ms", t_stop=SECONDS * 1000) for t in spikes()], spikes())
    except ModuleNotFoundError:
        pass
    return found


@pytest.mark.parametrize("name", objects())
def test_objects_with_spike_times(name):
    value, expected = objects()[name]
    recording = Recording.of(value)
    if expected is None:
        np.testing.assert_allclose(recording.spike_times[1], np.arange(100, 20000, 700) / 20000.0)
    for found, times in zip(recording.spike_times, expected or recording.spike_times, strict=True):
        np.testing.assert_allclose(found, times, atol=1e-8)


def test_tables_of_counts():
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    xarray = pytest.importorskip("xarray", reason="xarray is not installed")
    names = [f"unit{n}" for n in range(6)]
    frame = Recording.of(pandas.DataFrame(COUNTS, columns=names), bin_ms=1.0)
    array = xarray.DataArray(COUNTS.T, dims=("unit", "time"), coords={"unit": names})
    for recording in (frame, Recording.of(array, bin_ms=1.0)):
        np.testing.assert_array_equal(recording.counts, COUNTS)
        assert recording.units.ids.tolist() == names
    trials = xarray.DataArray(TRIALS, dims=("trial", "time", "neuron"))
    assert Recording.of(trials, bin_ms=1.0).cut(bin_ms=10.0).counts.shape == (20, 20, 6)


def labelled(kind, labels, turned=False):
    """The counts with these labels of their bins, as pandas or xarray have them; turned: units x time."""
    package = pytest.importorskip(kind, reason=f"{kind} is not installed")
    names = [f"unit{n}" for n in range(6)]
    if kind == "pandas":
        frame = package.DataFrame(COUNTS, index=labels, columns=names)
        return frame.T if turned else frame
    array = package.DataArray(COUNTS, dims=("time", "unit"), coords={"time": labels, "unit": names})
    return array.T if turned else array


@pytest.mark.parametrize("kind", ["pandas", "xarray"])
@pytest.mark.parametrize("turned", [False, True])
def test_the_axis_of_time_says_when_bins_are(kind, turned):
    """Seconds, in either precision, or timedeltas at the bins' middles; numbers of bins say nothing."""
    axes = {"axes": "units,time"} if turned else {}
    seconds = 100 + 0.01 * np.arange(4000)
    for labels in (seconds, seconds.astype(np.float32), np.round(seconds * 1e9).astype("timedelta64[ns]")):
        for given in ({}, {"bin_ms": 10.0}):
            recording = Recording.of(labelled(kind, labels, turned), **given, **axes)
            assert recording.bin_s == pytest.approx(0.01, rel=1e-5)
            assert recording.start_s == pytest.approx(99.995, abs=1e-5)
            np.testing.assert_array_equal(recording.counts, COUNTS)
            assert recording.units.ids.tolist() == [f"unit{n}" for n in range(6)]
        assert recording.cut(chop=1000.0, bin_ms=20.0).windows.start_s[1] == pytest.approx(100.995, abs=1e-5)
        with pytest.raises(RecordingError, match=r"bin_ms must be what its times say, 10 .*, got 20; leave bin_ms out"):
            Recording.of(labelled(kind, labels, turned), bin_ms=20.0, **axes)
    for labels in (np.arange(4000), np.arange(500, 4500), np.arange(0, 8000, 2)):
        recording = Recording.of(labelled(kind, labels, turned), bin_ms=20.0, **axes)
        assert (recording.start_s, recording.bin_s) == (0.0, 0.02)
        with pytest.raises(RecordingError, match="the width of the stored bins is needed"):
            Recording.of(labelled(kind, labels, turned), **axes)
    for wrong in (np.where(seconds < 120, seconds, seconds + 5), seconds[::-1]):
        with pytest.raises(RecordingError, match=r"its times rise in steps from .* bins of one width"):
            Recording.of(labelled(kind, wrong, turned), **axes)


def test_times_that_labelled_trials_share():
    """Say how wide bins are."""
    xarray = pytest.importorskip("xarray", reason="xarray is not installed")
    trials = xarray.DataArray(TRIALS, dims=("trial", "time", "unit"), coords={"time": -0.05 + 0.001 * np.arange(200)})
    assert Recording.of(trials).cut(bin_ms=10.0).counts.shape == (20, 20, 6)
    with pytest.raises(RecordingError, match="bin_ms must be what its times say, 1 "):
        Recording.of(trials, bin_ms=10.0)


def test_no_package_is_imported_that_is_not_needed():
    code = (
        "import sys, numpy as np\nfrom lfads_tf2 import Recording\n"
        "Recording.of({0: np.arange(5.0)}).cut(chop=1000.0)\n"
        "print({'tensorflow', 'pynwb', 'pynapple', 'neo', 'pandas', 'xarray', 'scipy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "set()", done.stderr


BAD_VALUES = {
    "nothing like it": (object(), "is no recording; give a dict"),
    "no axes": (COUNTS, "say which axis is which"),
    "NaN": (np.where(COUNTS > 2, np.nan, COUNTS), "say which axis is which"),
    "unsorted": ({0: [3.0, 1.0]}, "spike times that do not rise; sort them"),
    "negative": ({0: [-3.0, 1.0]}, "negative spike times"),
    "not finite": ({0: [np.nan, 1.0]}, "NaN or infinite spike times"),
    "text": ({"a": "x"}, "the dict: unit a must have spike times, numbers of seconds .*, got str 'x'; convert them"),
    "text of a number": ({"a": [0.1, 2.0], "b": "12"}, "unit b must have spike times, .*, got str '12'"),
    "nothing known": ({"a": [None, {}]}, r"unit a must have spike times, .*, got list \[None, {}\]"),
    "rows of unequal length": ({"a": [[0.1], [0.2, 0.3]]}, "unit a must have spike times, .*, got list"),
    "dates": ({"a": np.array(["2020-01-01"], "M8[s]")}, "unit a must have spike times, .*, got ndarray"),
    "no spike": ({0: [], 1: []}, "no unit has a spike"),
    "no unit": ({}, "has no units"),
    "trials of different units": ([np.ones((5, 3)), np.ones((5, 4))], "trials have"),
}


@pytest.mark.parametrize("name", BAD_VALUES)
def test_objects_that_are_none(name):
    value, said = BAD_VALUES[name]
    with pytest.raises(RecordingError, match=said):
        Recording.of(value, bin_ms=1.0)


def damaged(folder):
    """Files and folders that must be refused, by what is wrong."""
    nwb = nwb_file(folder / "whole.nwb").read_bytes()
    (folder / "cut.nwb").write_bytes(nwb[: len(nwb) // 2])
    (folder / "junk.nwb").write_bytes(b"junk")
    (folder / "empty.nwb").write_bytes(b"")
    nwb_file(folder / "no_units.nwb", times=[])
    np.savez(folder / "objects.npz", counts=np.array([{}, 1], object))
    np.savez(folder / "none.npz")
    np.savez(folder / "several.npz", a=COUNTS, b=COUNTS)
    (folder / "cut.npz").write_bytes((folder / "several.npz").read_bytes()[:300])
    (folder / "empty.npy").write_bytes(b"")
    (folder / "junk.mat").write_bytes(b"MATLAB 5.0 MAT-file" + bytes(200))
    (folder / "text.txt").write_text("1 2 3")
    (folder / "nothing").mkdir()
    for name, wrong in (("no_rate", "params.py"), ("no_times", "spike_times.npy"), ("bad_table", "cluster_group.tsv")):
        phy_folder(folder / name)
        (folder / name / wrong).write_text("group\ngood\n")
    return [path.name for path in sorted(folder.iterdir()) if path.name != "whole.nwb"]


def test_damaged_files_are_refused_in_words_and_leave_nothing(tmp_path, capsys):
    for name in [*damaged(tmp_path), "gone.npz"]:
        groups = ["--groups", "good"] if (tmp_path / name).is_dir() else []
        with pytest.raises(LFADSError) as error:
            command.main([str(tmp_path / name), "-o", str(tmp_path / "data"), "--chop", "1000", *groups])
        assert len(str(error.value)) < 700 and name.split(".")[0] in str(error.value), name
        assert not (tmp_path / "data").exists()


def test_the_command(tmp_path, capsys):
    path = nwb_file(tmp_path / "monday.nwb")
    words = f"--align go --window -200 600 --bin-ms 20 --condition target -o {tmp_path / 'data'}".split()
    assert command.main([str(path), *words]) == 0
    out = capsys.readouterr().out
    assert "24 trials x 40 bins of 20 ms x 5 units" in out and "go on with: lfads train" in out
    assert [p.name for p in (tmp_path / "data").iterdir()] == ["monday.h5"]


def test_the_command_that_is_to_follow_is_quoted(tmp_path, capsys):
    np.savez(tmp_path / "a.npz", counts=TRIALS)
    data = tmp_path / "o ut"
    words = ["--axes", "trials,time,units", "--stored-bin-ms", "1", "-o", str(data)]
    assert command.main([str(tmp_path / "a.npz"), *words]) == 0
    assert f"go on with: lfads train '{data}'" in capsys.readouterr().out


def test_another_recording_of_the_same_name_is_not_replaced(tmp_path, capsys):
    """The same one is, be it moved or changed."""
    for folder in "abc":
        (tmp_path / folder).mkdir()
    one, two, moved = (tmp_path / folder / "session.npz" for folder in "abc")
    np.savez(one, counts=COUNTS, bin_width_ms=1.0)
    np.savez(two, counts=COUNTS[::-1], bin_width_ms=1.0)
    words = ["--axes", "time,units", "--chop", "100", "-o", str(tmp_path / "data")]
    written = tmp_path / "data" / "session.h5"
    assert command.main([str(one), *words]) == 0
    before = written.read_bytes()
    with pytest.raises(
        RecordingError, match=r"session\.h5 was imported from .*a.session\.npz, and would .*b.session.*--name"
    ):
        command.main([str(two), *words])
    assert written.read_bytes() == before
    assert command.main([str(two), *words, "--name", "tuesday"]) == 0 and written.read_bytes() == before
    moved.write_bytes(one.read_bytes())
    assert command.main([str(moved), *words]) == 0
    np.savez(moved, counts=COUNTS[::-1][:2000], bin_width_ms=1.0)
    assert command.main([str(moved), *words]) == 0
    with h5py.File(written) as file:
        assert file["recording"].attrs["source_path"] == str(moved) and len(file["train_data"]) == 16
    with pytest.raises(RecordingError, match=r"was imported from .* and would be replaced by the dict"):
        Recording.of(dict(enumerate(spikes()))).cut(chop=1000.0).write(tmp_path / "data", "session")
    with h5py.File(written, "w") as file:
        file["train_data"], file["valid_data"] = TRIALS[5:], TRIALS[:5]
    with pytest.raises(RecordingError, match="holds trials that were not imported, and would be replaced by"):
        command.main([str(one), *words])
    written.write_bytes(b"damaged")
    assert command.main([str(one), *words]) == 0


@pytest.mark.parametrize("unequal", [False, True])
def test_a_struct_array_of_matlab_7_3(tmp_path, unequal):
    trials = [trial[: 200 - 25 * (n % 2) * unequal] for n, trial in enumerate(TRIALS)]
    write_struct_array(tmp_path / "a.mat", trials)
    recording = Recording.read(tmp_path / "a.mat", axes="time,units", bin_ms=1.0)
    cut = recording.cut(bin_ms=20.0, lengths="cut")
    bins = 8 if unequal else 10
    np.testing.assert_array_equal(cut.counts, TRIALS[:, : bins * 20].reshape(20, bins, 20, 6).sum(axis=2))
    assert ("550 stored bins at the ends of trials are left out" in cut.report()) == unequal


def test_a_tsdframe_of_counts():
    nap = pytest.importorskip("pynapple", reason="pynapple is not installed")
    group = nap.TsGroup({n: nap.Ts(t) for n, t in enumerate(spikes())})
    counts = group.count(0.02, nap.IntervalSet(10, 30))
    recording = Recording.of(counts)
    assert recording.bin_s == pytest.approx(0.02) and recording.start_s == pytest.approx(10.0)
    np.testing.assert_array_equal(
        recording.cut(chop=500.0, bin_ms=100.0).counts.sum(axis=(0, 1)), counts.values.sum(axis=0)
    )
    with pytest.raises(RecordingError, match="restrict it to one interval"):
        Recording.of(group.count(0.02, nap.IntervalSet([0, 40], [20, 60])))


def test_files_of_pynapple(tmp_path, caplog):
    """As its objects save themselves; the metadata, which are pickled, are named and not loaded."""
    nap = pytest.importorskip("pynapple", reason="pynapple is not installed")
    group = nap.TsGroup({3 + n: nap.Ts(t) for n, t in enumerate(spikes())}, metadata={"area": ["a", "b"] * 2 + ["a"]})
    group.save(tmp_path / "group.npz")
    recording = Recording.read(tmp_path / "group.npz")
    assert recording.units.ids.tolist() == [3, 4, 5, 6, 7] and "are pickled and not read" in caplog.text
    for found, times in zip(recording.spike_times, spikes(), strict=True):
        np.testing.assert_allclose(found, times, atol=1e-8)
    frame = group.count(0.02, nap.IntervalSet(10, 30))
    frame.save(tmp_path / "frame.npz")
    counts = Recording.read(tmp_path / "frame.npz")
    assert counts.start_s == pytest.approx(10.0) and counts.units.ids.tolist() == [3, 4, 5, 6, 7]
    np.testing.assert_array_equal(counts.counts, frame.values)
    nap.Tsd(np.arange(5.0), np.arange(5.0)).save(tmp_path / "tsd.npz")
    with pytest.raises(RecordingError, match=r"tsd\.npz is a Tsd of pynapple; LFADS needs a TsGroup, or a TsdFrame"):
        Recording.read(tmp_path / "tsd.npz")


@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("a.nwb", "--key=x"), ("a.nwb", "--axes=time,units"), ("a.nwb", "--stored-bin-ms=1"),
        ("a.nwb", "--time-unit=ms"), ("a.nwb", "--groups=good"), ("a.npz", "--groups=good"),
        ("a.npz", "--behavior=hand"), ("sorted", "--key=x"), ("sorted", "--allow-outside-files"),
    ],
)  # fmt: skip
def test_options_of_another_kind_of_file_are_refused(tmp_path, name, option):
    nwb_file(tmp_path / "a.nwb")
    np.savez(tmp_path / "a.npz", counts=COUNTS)
    phy_folder(tmp_path / "sorted")
    said = rf"{name} is no .*, which alone has {option.partition('=')[0]}; leave it out"
    with pytest.raises(RecordingError, match=said):
        command.main([str(tmp_path / name), "-o", str(tmp_path / "data"), "--chop", "1000", option])


def test_what_labels_of_a_sorter_leave_out(tmp_path, capsys):
    """Is counted, in the report and in the file; a folder around the sorter's own is answered with that one."""
    folder = phy_folder(tmp_path / "sorter_output")
    words = ["--chop", "1000", "-o", str(tmp_path / "data")]
    assert command.main([str(folder), *words, "--groups", "good"]) == 0
    report = capsys.readouterr().out
    assert "left out: 1 unit (labelled noise): 9" in report and "left out: 1 unit (labelled mua): 11" in report
    with h5py.File(tmp_path / "data" / "sorter_output.h5") as file:
        assert file["recording/dropped_id"].asstr()[()].tolist() == ["9", "11"]
    with pytest.raises(RecordingError, match=r"holds no spike_times\.npy; give .*sorter_output$"):
        Recording.read(tmp_path)
    (folder / "cluster_group.tsv").rename(folder / "cluster_groups.csv")
    assert Recording.read(folder, groups=["mua"]).units.ids.tolist() == [11]


def test_columns_beside_counts_and_arrays_in_groups(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["session/spikes"], file["session/target"], file["session/of_units"] = TRIALS, np.arange(20) % 4, np.ones(6)
    recording = Recording.read(tmp_path / "a.h5", key="session/spikes", axes="trials,time,units", bin_ms=1.0)
    assert recording.tables["trials"].columns.keys() == {"target"}
    np.testing.assert_array_equal(recording.cut(bin_ms=10.0, condition="target").conditions, np.arange(20) % 4)
    with pytest.raises(RecordingError, match="session has no 'x'; it holds of_units, spikes, target"):
        Recording.read(tmp_path / "a.h5", key="session/x")
    with pytest.raises(RecordingError, match="session, spikes: holds no spike times; name the field with --key"):
        Recording.read(tmp_path / "a.h5")
