"""Spike times on the session's clock and the times of events: in Python, and as vectors in the same file."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from lfads_tf2 import Recording
from lfads_tf2.recordings import RecordingError, command
from lfads_tf2.session_results.recording_link import read_link
from recordings.made import nwb_file, phy_folder, spikes

GO = np.sort(np.random.default_rng(2).uniform(1.0, 58.0, 30))
TARGET, SIDE = np.arange(30) % 3, np.array(["left", "right"] * 15)
WINDOW = (-200.0, 600.0)


def brute_force(times, events=GO, window=WINDOW, bin_ms=20.0):
    """Counts of windows around events, by a histogram of each."""
    edges = np.arange(window[0], window[1] + bin_ms / 2, bin_ms) / 1000.0
    counts = [[np.histogram(unit - event, edges)[0] for unit in times] for event in events]
    return np.swapaxes(counts, 1, 2)


def tables():
    """The same trials in every kind of table."""
    columns = {"go": GO, "target": TARGET.tolist(), "side": SIDE}
    found = {"dict": columns}
    try:
        import pandas

        found["pandas"] = pandas.DataFrame(columns, index=np.arange(100, 130))
    except ModuleNotFoundError:
        pass
    return found


@pytest.mark.parametrize("kind", ["dict", "pandas"])
def test_a_table_beside_spike_times(tmp_path, kind):
    if kind not in tables():
        pytest.skip("pandas is not installed")
    recording = Recording.of(dict(enumerate(spikes())), trials=tables()[kind])
    cut = recording.cut(align="go", window=WINDOW, bin_ms=20.0, condition="side", where="target != 1", halves="every")
    rows = np.flatnonzero(TARGET != 1)
    np.testing.assert_array_equal(cut.counts, brute_force(spikes(), GO[rows]))
    np.testing.assert_array_equal(cut.conditions, SIDE[rows])
    assert f"10 trials (not target != 1): {'101' if kind == 'pandas' else '1'}, " in cut.report()
    link = read_link(cut.write(tmp_path, "a"))
    np.testing.assert_allclose(np.sort(np.concatenate(list(link.start_s.values()))), GO[rows] - 0.2)


def test_one_vector_of_times(tmp_path):
    cut = Recording.of(dict(enumerate(spikes())), trials=GO[::-1]).cut(window=(0.0, 900.0), bin_ms=10.0)
    np.testing.assert_array_equal(cut.counts, brute_force(spikes(), window=(0.0, 900.0), bin_ms=10.0))
    assert cut.windows.index.tolist() == list(range(30))[::-1], "in order of time"
    whole = Recording.of(spikes(), trials={"start_time": GO, "stop_time": GO + 0.5}).cut(bin_ms=20.0)
    np.testing.assert_array_equal(whole.counts, brute_force(spikes(), window=(0.0, 500.0)))
    sorted_spikes = Recording.read(phy_folder(tmp_path / "sorted"), trials=list(GO))
    expected = brute_force(sorted_spikes.spike_times, window=(0.0, 500.0))
    np.testing.assert_array_equal(sorted_spikes.cut(window=(0.0, 500.0), bin_ms=20.0).counts, expected)


def test_counts_of_a_session_have_trials_too():
    counts = np.random.default_rng(0).poisson(0.4, (6000, 3))
    recording = Recording.of(counts, bin_ms=10.0, axes="time,units", trials=np.round(GO, 2))
    first = np.round(100 * GO).astype(int)
    expected = counts[first[:, None] + np.arange(40)].reshape(30, 20, 2, 3).sum(axis=2)
    np.testing.assert_array_equal(recording.cut(window=(0.0, 400.0), bin_ms=20.0).counts, expected)


def test_tables_that_do_not_fit(tmp_path):
    units = dict(enumerate(spikes()))
    for trials, said in (
        ({"go": GO, "target": TARGET[:4]}, "must be equally long, one value a trial, but go has 30, target has 4"),
        ({"start_time": []}, "but start_time has 0"),
        ({}, "but there are none"),
        (7.0, "start_time must be a vector, one number or text a trial, got float 7.0; give a DataFrame"),
        ("go", "start_time must be a vector, .* got str 'go'"),
        (np.ones((3, 2)), "start_time must be a vector"),
        ({"go": [[1.0], [2.0, 3.0]]}, "trials: go must be a vector"),
        ({"start_time": SIDE}, r"trials: start_time must hold times, one number a trial, got <U5 \(left first\)"),
        ({"go": GO, "day": GO.astype("M8[s]")}, "trials: day must hold one number or text a trial"),
    ):
        with pytest.raises(RecordingError, match=said):
            Recording.of(units, trials=trials)
    for options, said in (
        ({"align": "side"}, r"table trials of the dict: side must hold times, one number a trial, got <U5"),
        ({"align": "got"}, "has no column 'got'; did you mean go"),
    ):
        with pytest.raises(RecordingError, match=said):
            Recording.of(units, trials=tables()["dict"]).cut(window=WINDOW, **options)
    with pytest.raises(RecordingError, match="has a table of trials of its own; leave trials= out"):
        Recording.of([[np.array([0.1, 0.3])]] * 4, trials=[1, 2, 3, 4])
    with pytest.raises(RecordingError, match=r"a\.nwb has a table of trials of its own"):
        Recording.read(nwb_file(tmp_path / "a.nwb"), trials=GO)
    with pytest.raises(RecordingError, match=r"has no trials\. Name a vector .* --align, .*trials=.*--chop"):
        Recording.of(units).cut(window=WINDOW)


def files(folder):
    """The same spikes and events in every kind of file, with the words that name them."""
    scipy = pytest.importorskip("scipy.io", reason="scipy is not installed")
    cell = np.empty(5, object)
    cell[:] = spikes()
    beside = {"go": GO, "target": TARGET, "side": SIDE.astype(object), "depth": np.arange(5.0)}
    scipy.savemat(folder / "cell.mat", {"spk": cell, **beside})
    in_ms = np.empty(5, object)
    in_ms[:] = [1000 * one for one in spikes()]
    events = beside | {"go": 1000 * GO}
    scipy.savemat(folder / "structs.mat", {"s": {"spk": in_ms, "depth": np.arange(5.0)}, "e": events})
    times, units = np.concatenate(spikes()), np.repeat(np.arange(5), [len(one) for one in spikes()])
    np.savez(folder / "flat.npz", spike_times=times, units=units, **beside | {"side": SIDE})
    with h5py.File(folder / "groups.h5", "w") as file:
        for n, one in enumerate(spikes()):
            file[f"spk/unit{n}"] = one
        file["go"], file["target"], file["side"] = GO[:, None], TARGET, SIDE.tolist()
    plain = "--align go --condition target --where"
    return {
        "cell.mat": f"--key spk {plain}", "flat.npz": plain, "groups.h5": f"--key spk {plain}",
        "structs.mat": "--key s.spk --time-unit ms --align e.go --condition e.target --where",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["cell.mat", "flat.npz", "groups.h5", "structs.mat"])
def test_vectors_of_events_in_files(tmp_path, name, capsys):
    words = files(tmp_path)[name].split()
    where = "e.side == 'left'" if name == "structs.mat" else "side == 'left'"
    shared = f"--halves every --window -200 600 --bin-ms 20 --name a -o {tmp_path / 'data'}".split()
    assert command.main([str(tmp_path / name), *words, where, *shared]) == 0
    assert "left out: 15 trials (not " in capsys.readouterr().out
    with h5py.File(tmp_path / "data" / "a.h5") as file:
        for half in ("train", "valid"):
            rows = 2 * file[f"{half}_inds"][()]
            np.testing.assert_array_equal(file[f"{half}_data"][()], brute_force(spikes(), GO[rows]))
            np.testing.assert_array_equal(file[f"{half}_conditions"][()], TARGET[rows])
            np.testing.assert_allclose(file[f"recording/{half}_align_s"][()], GO[rows])


def test_whole_trials_between_vectors_of_times(tmp_path):
    np.savez(tmp_path / "a.npz", counts=np.ones((6000, 3)), start_time=1000 * GO, stop_time=1000 * GO + 500)
    recording = Recording.read(tmp_path / "a.npz", axes="time,units", bin_ms=10.0, time_unit="ms")
    assert recording.cut(bin_ms=20.0).counts.shape == (30, 25, 3)


def test_vectors_that_do_not_fit(tmp_path):
    files(tmp_path)
    recording = Recording.read(tmp_path / "cell.mat", key="spk")
    for options, said in (
        ({"align": "goo"}, r"has no vector 'goo'; did you mean go\?; its vectors are go, target, depth\. Name"),
        ({}, r"has no trials; its vectors are go, target, depth\. Name a vector of the trials' times .* --align"),
        ({"align": "side"}, "side must hold times, one number a trial, got <U5"),
        ({"align": "go", "condition": "depth"}, "depth has 5 values and go, the trials' times, has 30; both need"),
        ({"align": "go", "where": "target == 1 and depth > 2"}, "depth has 5 values and go, .* has 30"),
        ({"align": "go", "where": "target =="}, "is no condition"),
        ({"align": "go", "condition": "sid"}, "has no column 'sid'; did you mean side"),
    ):
        with pytest.raises(RecordingError, match=said):
            recording.cut(window=WINDOW, **options)
    in_ms = Recording.read(tmp_path / "structs.mat", key="s.spk", time_unit="ms")
    in_ms.vectors["e.go"] = GO
    with pytest.raises(RecordingError, match=r"no window is left .* are its times in seconds"):
        in_ms.cut(align="e.go", window=WINDOW)
