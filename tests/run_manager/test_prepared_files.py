"""The files that preparation leaves: notes about the input in both formats, links, and large data in blocks."""

from __future__ import annotations

import tracemalloc

import h5py
import numpy as np
import pytest

from lfads_tf2.run_manager import Dataset, DatasetCollection, RunCollection, RunParams, RunSpec
from lfads_tf2.run_manager.preparation import prepare
from lfads_tf2.run_manager.preparation.prepare import link
from lfads_tf2.run_manager.recordings.input_info import read_input_info

from .small_sessions import collection, session


def test_input_info(tmp_path):
    runs = collection(tmp_path)
    runs.prepare_for_lfads()
    run = runs.find_runs("single_day1")[0, 0]
    info = run.load_input_info("day1")
    given = session()
    np.testing.assert_array_equal(info.counts, given["counts"])
    np.testing.assert_array_equal(info.valid_inds, np.arange(0, 40, 5))
    np.testing.assert_array_equal(info.times, given["time_vec_ms"])
    assert (info.bin_ms, info.data_hash) == (1.0, run.params.data_hash)


@pytest.mark.parametrize("version", ["5", "7.3"])
def test_input_info_of_matlab(tmp_path, version):
    counts = np.arange(24.0).reshape(2, 3, 4)  # channels x time x trials there
    train, valid = np.array([[2.0, 3.0, 4.0]]), np.array([[1.0]])
    values = {"trainInds": train, "validInds": valid, "counts": counts, "seq_timeVector": np.array([[1.0, 2, 3]])}
    values |= {"seq_binSizeMs": np.array([[1.0]]), "conditionId": np.array([[3.0], [4], [3], [4]])}
    path = tmp_path / "inputInfo_x.mat"
    if version == "5":
        from scipy.io import savemat

        savemat(path, values | {"paramInputDataHash": "abc123"})
    else:
        write_mat73(path, values | {"paramInputDataHash": "abc123"})
    info = read_input_info(path)
    np.testing.assert_array_equal(info.train_inds, [1, 2, 3])
    np.testing.assert_array_equal(info.valid_inds, [0])
    assert info.counts.shape == (4, 2, 3)
    np.testing.assert_array_equal(info.counts[1], counts[:, :, 1])
    np.testing.assert_array_equal(info.conditions, [3, 4, 3, 4])
    assert info.data_hash == "abc123"


def write_mat73(path, values):
    """HDF5 as MATLAB writes it: all axes reversed, its class on every dataset."""
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, value in values.items():
            if isinstance(value, str):
                data, kind = np.array([[ord(c)] for c in value], np.uint16), b"char"
            else:
                data, kind = np.asarray(value).T, b"double"
            file[name] = data
            file[name].attrs["MATLAB_class"] = np.bytes_(kind)


def test_links_fall_back_to_copies(tmp_path, monkeypatch):
    source, target = tmp_path / "a", tmp_path / "sub" / "b"
    target.parent.mkdir()
    source.write_text("1")

    def refuse(*_):
        raise OSError("not supported here")

    link(source, target)
    assert target.is_symlink()
    monkeypatch.setattr(prepare.os, "symlink", refuse)
    target.unlink()
    link(source, target)
    assert not target.is_symlink() and target.stat().st_ino == source.stat().st_ino
    monkeypatch.setattr(prepare.os, "link", refuse)
    target.unlink()
    link(source, target)
    assert target.read_text() == "1" and target.stat().st_ino != source.stat().st_ino


class Counted:
    """Counts made up as they are asked for; 60 MB if they were all in memory."""

    shape, dtype, ndim = (3000, 50, 400), np.dtype(np.uint8), 3

    def __getitem__(self, rows):
        start, stop, _ = rows.indices(self.shape[0])
        return np.random.default_rng(start).integers(0, 2, (stop - start, *self.shape[1:]), np.uint8)


def test_preparation_streams(tmp_path, monkeypatch):
    monkeypatch.setattr("lfads_tf2.data.blocks.BLOCK_BYTES", 2**20)
    sessions = DatasetCollection("here", "toy")
    Dataset(sessions, "day1.mat", data={"counts": Counted()})
    runs = RunCollection(tmp_path, "g", sessions)
    runs.add_run_spec(RunSpec("one", sessions))
    runs.add_params(RunParams(spikeBinMs=2))
    tracemalloc.start()
    runs.prepare_for_lfads()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20e6
