"""Recordings in .npz, .mat of both kinds, HDF5 and spike times, and datasets in collections."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
from scipy.io import savemat

from lfads_tf2.data.blocks import trial_blocks
from lfads_tf2.recordings import variables
from lfads_tf2.run_manager import Dataset, DatasetCollection, RunParams
from lfads_tf2.run_manager.loading import LoadError, counts_from_spike_times, load_file
from lfads_tf2.run_manager.recordings.datasets import DatasetError

from .small_sessions import datasets
from .test_prepared_files import write_mat73

COUNTS = np.random.default_rng(0).integers(0, 3, (7, 4, 5)).astype(float)


def write_npz(path):
    np.savez(path, spikes=COUNTS, timeMs=np.arange(5.0), conditionId=np.arange(7) % 2, subject="s1")


def write_mat5(path):
    savemat(
        path, {"spikes": COUNTS, "timeMs": np.arange(5.0), "conditionId": np.arange(7.0)[:, None] % 2, "subject": "s1"}
    )


def write_mat73_session(path):
    write_mat73(
        path,
        {"spikes": COUNTS, "timeMs": np.arange(5.0)[None], "conditionId": np.arange(7.0)[:, None] % 2, "subject": "s1"},
    )


def write_h5(path):
    with h5py.File(path, "w") as file:
        file["spikes"], file["timeMs"], file["conditionId"] = COUNTS, np.arange(5.0), np.arange(7) % 2
        file["subject"] = "s1"


@pytest.mark.parametrize("lazily", [False, True])
@pytest.mark.parametrize(
    ("name", "write"), [("a.npz", write_npz), ("a.mat", write_mat5), ("b.mat", write_mat73_session), ("a.h5", write_h5)]
)
def test_one_reader_for_all_kinds(tmp_path, monkeypatch, name, write, lazily):
    if lazily:
        monkeypatch.setattr(variables, "LAZY_BYTES", 100)
    write(tmp_path / name)
    collection = DatasetCollection(tmp_path)
    collection.add_files(name)
    dataset = collection.datasets[0]
    data = dataset.session_data()
    np.testing.assert_array_equal(np.asarray(data.counts), COUNTS)
    np.testing.assert_array_equal(np.concatenate([block for _, block in trial_blocks(data.counts)]), COUNTS)
    np.testing.assert_array_equal(data.times, np.arange(5))
    np.testing.assert_array_equal(data.conditions, np.arange(7) % 2)
    collection.load_info()
    assert (dataset.n_trials, dataset.n_channels, dataset.subject) == (7, 4, "s1")
    assert "7" in collection.info_table().splitlines()[1]
    is_lazy = isinstance(dataset.load_data()["spikes"], variables.Lazy)
    assert is_lazy == (lazily and name in ("b.mat", "a.h5"))


def test_text_of_matlab(tmp_path):
    savemat(tmp_path / "a.mat", {"spikes": COUNTS, "conditionId": np.array(["left", "right"] * 3 + [""], object)})
    data = load_file(tmp_path / "a.mat")
    assert list(data["conditionId"]) == ["left", "right"] * 3 + [""]
    with h5py.File(tmp_path / "b.mat", "w") as file:
        words = []
        for index, word in enumerate(("left", "up")):
            item = file.create_dataset(f"#refs#/{index}", data=np.array([[ord(c)] for c in word], np.uint16))
            item.attrs["MATLAB_class"] = np.bytes_(b"char")
            words.append(item.ref)
        cell = file.create_dataset("ids", data=np.array([words], h5py.ref_dtype))
        cell.attrs["MATLAB_class"] = np.bytes_(b"cell")
        file["empty"] = np.zeros(2, np.uint64)
        file["empty"].attrs["MATLAB_class"], file["empty"].attrs["MATLAB_empty"] = np.bytes_(b"double"), 1
        file["flag"] = np.array([[1]], np.uint8)
        file["flag"].attrs["MATLAB_class"] = np.bytes_(b"logical")
    data = load_file(tmp_path / "b.mat")
    assert list(data["ids"]) == ["left", "up"] and data["empty"].size == 0 and data["flag"] is True


def test_unusable_files(tmp_path):
    np.savez(tmp_path / "objects.npz", spikes=np.array([{}, 1], object))
    with pytest.raises(LoadError, match="cannot be read"):
        load_file(tmp_path / "objects.npz")
    with pytest.raises(LoadError, match="there is no file"):
        load_file(tmp_path / "nothing.mat")
    (tmp_path / "text.mat").write_text("hello")
    with pytest.raises(LoadError, match=r"not a readable \.mat file"):
        load_file(tmp_path / "text.mat")
    (tmp_path / "text.csv").write_text("hello")
    with pytest.raises(LoadError, match=r"neither \.npz nor \.mat nor HDF5"):
        load_file(tmp_path / "text.csv")
    np.savez(tmp_path / "rates.npz", rates=COUNTS)
    with pytest.raises(DatasetError, match="neither counts nor spikes"):
        Dataset(DatasetCollection(tmp_path), "rates.npz").session_data()


def test_counts_from_spike_times():
    rng = np.random.default_rng(1)
    spikes = [np.sort(rng.uniform(0, 20, 300)), np.array([1.0, 1.0005, 1.0015, 5.0])]
    starts = np.array([1.0, 4.9985, 12.0])
    counts = counts_from_spike_times(spikes, starts, 3, 1.0)
    assert counts.shape == (3, 2, 3)
    assert counts[0, 1].tolist() == [2, 1, 0] and counts[1, 1].tolist() == [0, 1, 0]
    wide = counts_from_spike_times(spikes, starts, 8, 250.0, offset_ms=-500.0)
    for trial, start in enumerate(starts):
        edges = start - 0.5 + 0.25 * np.arange(9)
        np.testing.assert_array_equal(wide[trial, 0], np.histogram(spikes[0], edges)[0])


def test_collections():
    collection = datasets(3)
    names = [d.name for d in collection.datasets]
    assert names == ["day1", "day2", "day3"]
    assert collection.find_dataset("day2").index_in_collection == 1
    assert [d.name for d in collection.select([True, False, True])] == ["day1", "day3"]
    assert [d.name for d in collection.match_datasets_by_name(["day3", "day1"])] == ["day3", "day1"]
    with pytest.raises(DatasetError, match="no dataset 'day9' in toy; it has day1, day2, day3"):
        collection.select("day9")
    replaced = Dataset(collection, "elsewhere/day2.mat")
    assert len(collection) == 3 and collection.datasets[1] is replaced
    collection = datasets(3)
    assert collection.compute_max_batch_size(4) == 8
    other = collection.copy()
    other.filter([0, 2])
    assert len(other) == 2 and len(collection) == 3
    collection.filter_having_minimum_trials_for_batch_size([RunParams(c_batch_size=9)])
    assert len(collection) == 0
    assert Dataset(collection, "a,b.mat").single_run_name == "single_a_b"
    assert "DatasetCollection" in repr(collection)
    with pytest.raises(DatasetError, match="file name without folders"):
        Dataset(collection, "", name="a/b")
