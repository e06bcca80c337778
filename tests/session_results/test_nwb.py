"""Results put into NWB files: read by pynapple, inspected, and beside them nothing changed."""

from __future__ import annotations

import logging

import h5py
import numpy as np
import pytest
from small_runs import disk_of

from lfads_tf2.files import hdf5
from lfads_tf2.session_results import ResultsError, load_results

from .recorded import UNIT_IDS, known, write_nwb, write_results, write_session

pytest.importorskip("pynwb", reason="pynwb is not installed")
STARTS = 1.0 + 2 * np.arange(12) + 0.0123
VALID = np.arange(12) % 4 == 1


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    return write_nwb(tmp_path_factory.mktemp("recording") / "monday.nwb")


def results_of(folder, source, starts=STARTS, valid=VALID, **options):
    session = write_session(folder / "data", starts, valid, source=source, **options)
    return load_results(write_results(folder / "run", session), folder / "data")["monday"]


def content(path):
    """Every dataset and attribute of a file but what the export adds; references as the names that they lead to."""

    def plain(value, dtype, file):
        if h5py.check_ref_dtype(dtype) is not None:
            return [file[one].name for one in np.ravel(np.asarray(value, object))]
        return np.asarray(value).tolist() if dtype.kind == "O" else (dtype.str, np.asarray(value).tobytes())

    found = {}
    with h5py.File(path) as file:

        def visit(name, item):
            if "lfads" in name or name == "processing/ecephys":
                return
            for key in item.attrs:
                found[name, key] = plain(item.attrs[key], item.attrs.get_id(key).dtype, file)
            found[name] = (item.shape, plain(item[()], item.dtype, file)) if isinstance(item, h5py.Dataset) else "group"

        visit("/", file)
        file.visititems(visit)
    return found


def messages(path):
    from nwbinspector import Importance, inspect_nwbfile

    found = inspect_nwbfile(nwbfile_path=path, importance_threshold=Importance.BEST_PRACTICE_VIOLATION)
    return [(m.importance.name, m.check_function_name, m.object_name, m.message) for m in found]


def test_a_copy_with_the_results(tmp_path, recording):
    nap = pytest.importorskip("pynapple", reason="pynapple is not installed")
    one = results_of(tmp_path, recording)
    path = one.to_nwb(tmp_path / "with_rates.nwb")
    before = content(recording)
    assert content(path) == before and len(before) > 100 and ("units/spike_times", "resolution") in before
    opened = nap.load_file(str(path))
    rates = opened["lfads_rates"]
    assert rates.shape == (240, 4)
    middles = STARTS[:, None] + (np.arange(20) + 0.5) * 0.01
    np.testing.assert_allclose(rates.times(), middles.ravel(), atol=1e-9)
    np.testing.assert_allclose(np.asarray(rates.values), known(middles, 4).reshape(240, 4) * 100, rtol=1e-6)
    # One trial by its window, as it went in.
    windows = opened["lfads_windows"]
    one_trial = opened["lfads_factors"].restrict(windows[3])
    np.testing.assert_allclose(np.asarray(one_trial.values), one.factors[3], rtol=1e-6)
    np.testing.assert_array_equal(windows["half"] == "valid", VALID)
    assert list(windows["condition"][:3]) == ["target 0", "target 1", "target 2"]
    np.testing.assert_allclose(np.asarray(opened["lfads_inputs_sd"].values), one.inputs_sd.reshape(240, 2), rtol=1e-6)
    with h5py.File(path) as file:
        module = file["processing/ecephys"]
        assert module["lfads_rates/data"].attrs["unit"] == "spikes/s"
        assert "columns are the rows of lfads_units" in module["lfads_rates"].attrs["description"]
        table = module["lfads_units"]
        np.testing.assert_array_equal(table["id"][()], UNIT_IDS)
        np.testing.assert_array_equal(file["units/id"][()][table["units"][()]], UNIT_IDS)


@pytest.mark.parametrize(
    ("kind", "ids", "in_file", "rows", "said"),
    [
        ("phy", UNIT_IDS[[1, 0, 3, 2]], UNIT_IDS, [1, 0, 3, 2], None), ("phy", UNIT_IDS, UNIT_IDS + 1, None, "unit 11"),
        ("phy", UNIT_IDS, [3, 3, 7, 20], None, "unit 11"), ("phy", UNIT_IDS, [3, 7, 11, 11], None, "unit 20"),
        ("phy", [1, 0, 3, 2], [0, 1, 2, 3], None, "its ids only count its rows, and the recording is no NWB file"),
        ("nwb", [1, 0, 3, 2], [0, 1, 2, 3], [1, 0, 3, 2], None), ("nwb", UNIT_IDS, [20, 11, 7, 3], [3, 2, 1, 0], None),
    ],
)  # fmt: skip
def test_units_of_another_file_are_told_by_their_ids(tmp_path, recording, caplog, kind, ids, in_file, rows, said):
    """``unit_index``, here 0 to 3, counts the units of what was imported."""
    session, other = write_session(tmp_path / "data", STARTS, VALID, source_format=kind), tmp_path / "other.nwb"
    other.write_bytes(recording.read_bytes())
    with h5py.File(session, "a") as file, h5py.File(other, "a") as given:
        file["recording/unit_ids"][...], given["units/id"][...] = ids, in_file
    one = load_results(write_results(tmp_path / "run", session), tmp_path / "data")["monday"]
    with h5py.File(one.to_nwb(tmp_path / "out.nwb", source=other, any_source=True)) as file:
        table = file["processing/ecephys/lfads_units"]
        assert (table["units"][()].tolist() if "units" in table else None) == rows
    assert ("monday.h5: lfads_units has no references to the units table" in caplog.text) == (rows is None)
    assert said is None or said in caplog.text


def test_windows_end_where_their_trials_end(tmp_path, recording):
    own = np.where(np.arange(12) % 2, 10, 20)
    path = results_of(tmp_path, recording, own_bins=own).to_nwb(tmp_path / "padded.nwb")
    with h5py.File(path) as file:
        lengths = file["intervals/lfads_windows/stop_time"][()] - file["intervals/lfads_windows/start_time"][()]
        np.testing.assert_allclose(lengths, own * 0.01, atol=1e-9)
        assert file["processing/ecephys/lfads_factors/data"][()].max() < 99
        assert len(file["processing/ecephys/lfads_factors/timestamps"]) == own.sum()


def test_inspected_without_criticism(tmp_path, recording):
    pytest.importorskip("nwbinspector", reason="nwbinspector is not installed")
    before = messages(recording)
    assert before == [], "the made-up recording itself is without fault"
    aligned = results_of(tmp_path / "a", recording).to_nwb(tmp_path / "aligned.nwb")
    starts = np.append(np.arange(0, 9.7, 0.05), 9.73)
    continuous = results_of(tmp_path / "b", recording, starts, starts > 7, mode="chopped", overlap_ms=150.0)
    merged = continuous.to_nwb(tmp_path / "merged.nwb")
    new = results_of(tmp_path / "c", None, source_format="phy", session_start_time="2024-05-17T10:30:00+00:00")
    subject = {"subject_id": "M1", "species": "Macaca mulatta", "sex": "F", "age": "P5Y"}
    fresh = new.to_nwb(tmp_path / "new.nwb", subject=subject)
    assert messages(aligned) == messages(merged) == messages(fresh) == []


def test_continuous_recordings_become_one_regular_series(tmp_path, recording):
    starts = np.append(np.arange(0, 9.7, 0.05), 9.73)
    one = results_of(tmp_path, recording, starts, starts > 7, mode="chopped", overlap_ms=150.0)
    path = one.to_nwb(tmp_path / "merged.nwb")
    with h5py.File(path) as file:
        series = file["processing/ecephys/lfads_factors"]
        assert series["starting_time"].attrs["rate"] == 100 and series["starting_time"][()] == pytest.approx(0.005)
        np.testing.assert_allclose(series["data"][()], known(0.005 + 0.01 * np.arange(993), 3), rtol=1e-6)
        np.testing.assert_allclose(file["intervals/lfads_windows/start_time"][()], starts)


def test_a_source_that_moved_or_changed(tmp_path, recording, caplog):
    moved = tmp_path / "moved.nwb"
    moved.write_bytes(recording.read_bytes())
    session = write_session(tmp_path / "data", STARTS, VALID, source=moved)
    one = load_results(write_results(tmp_path / "run", session), tmp_path / "data")["monday"]
    out = tmp_path / "out.nwb"
    with pytest.raises(ResultsError, match="is the recording itself, which is never written to"):
        one.to_nwb(moved)
    assert moved.read_bytes() == recording.read_bytes()
    moved.unlink()
    with pytest.raises(ResultsError, match=r"moved\.nwb, .* is not there; if it was moved, give its path \(--source\)"):
        one.to_nwb(out)
    one.to_nwb(out, source=recording)
    out.unlink()
    moved.write_bytes(recording.read_bytes())
    with h5py.File(moved, "a") as file:
        file["units/quality"][0] = "bad"
    with pytest.raises(ResultsError, match=r"is not the file that .* was imported from, or was changed since"):
        one.to_nwb(out)
    assert not out.exists() and [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    with caplog.at_level(logging.WARNING, "lfads_tf2"):
        one.to_nwb(out, any_source=True)
    assert "has changed since" in caplog.text and out.exists()


def test_results_of_several_runs_in_one_file(tmp_path, recording):
    one = results_of(tmp_path, recording)
    first = one.to_nwb(tmp_path / "first.nwb")
    with pytest.raises(ResultsError, match=r"the recording holds lfads_rates, .* already; give other names"):
        one.to_nwb(tmp_path / "second.nwb", source=first, any_source=True)
    assert not (tmp_path / "second.nwb").exists()
    both = one.to_nwb(tmp_path / "second.nwb", source=first, any_source=True, prefix="push")
    with h5py.File(both) as file:
        assert {"lfads_rates", "push_rates", "push_units"} <= set(file["processing/ecephys"])
        assert set(file["intervals"]) == {"trials", "lfads_windows", "push_windows"}


def test_a_new_file_for_other_recordings(tmp_path):
    from pynwb import NWBHDF5IO

    one = results_of(tmp_path, None, source_format="phy")
    out = tmp_path / "new.nwb"
    with pytest.raises(ResultsError, match="--session-start-time 2024"):
        one.to_nwb(out)
    with pytest.raises(ResultsError, match="must be an ISO date and time"):
        one.to_nwb(out, session_start_time="yesterday")
    with pytest.raises(ResultsError, match=r"subject: .*height"):
        one.to_nwb(out, session_start_time="2024-05-17T10:30:00+00:00", subject={"height": "1"})
    assert not out.exists()
    one.to_nwb(out, session_start_time="2024-05-17T10:30:00+00:00")
    with NWBHDF5IO(str(out), "r") as reader:
        file = reader.read()
        assert file.session_start_time.isoformat() == "2024-05-17T10:30:00+00:00"
        table = file.processing["ecephys"]["lfads_units"]
        assert list(table.id[:]) == list(UNIT_IDS) and list(table["quality"][:]) == ["good"] * 4
        assert file.units is None, "spike times are not known here"
        np.testing.assert_allclose(file.processing["ecephys"]["lfads_rates"].data[:20], one.rates[0], rtol=1e-6)


def test_what_is_no_nwb_file(tmp_path, recording):
    damaged = tmp_path / "damaged.nwb"
    damaged.write_bytes(recording.read_bytes()[:5000])
    one = results_of(tmp_path, recording)
    with pytest.raises(ResultsError, match="cannot be read as an NWB file"):
        one.to_nwb(tmp_path / "out.nwb", source=damaged, any_source=True)
    assert not (tmp_path / "out.nwb").exists()


def test_a_full_disk_is_one_error(tmp_path, recording, monkeypatch):
    results, room = results_of(tmp_path, recording), recording.stat().st_size + 2000

    monkeypatch.setattr(hdf5, "Disk", disk_of(room))
    with pytest.raises(OSError, match="No space left"):
        results.to_nwb(tmp_path / "out.nwb")
    assert not list(tmp_path.glob("*out.nwb*"))
