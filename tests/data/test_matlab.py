"""Files of other programs in the data folder: MATLAB's axes, and recordings that were not cut into trials yet."""

from __future__ import annotations

import logging

import h5py
import numpy as np
import pytest

from lfads_tf2.data import DataError, read_sessions
from lfads_tf2.hyperparameters import HyperParameters

RANDOM = np.random.default_rng(4)
TRIALS = RANDOM.poisson(1.0, (40, 12, 5)).astype(np.uint8)  # trials x bins x channels in MATLAB


def save_as_matlab(path, **variables):
    """What ``save -v7.3`` makes of arrays: 512 bytes of text first, axes in reverse, at least two axes, a class."""
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, value in variables.items():
            file[name] = np.atleast_2d(np.asarray(value)).T
            file[name].attrs["MATLAB_class"] = np.bytes_(b"double")
    return path


def read(folder, **settings):
    return read_sessions(HyperParameters(data_dir=str(folder), **{"batch_size": 4, **settings}))


@pytest.mark.parametrize("halves", [{"train_data": TRIALS}, {"train_data": TRIALS[:20], "valid_data": TRIALS[20:]}])
def test_axes_are_as_matlab_shows_them(tmp_path, caplog, halves):
    save_as_matlab(tmp_path / "monday.mat", **halves)
    with caplog.at_level(logging.WARNING, logger="lfads_tf2"):
        (session,) = read(tmp_path)
    np.testing.assert_array_equal(session.train.data, halves["train_data"])
    if "valid_data" in halves:
        np.testing.assert_array_equal(session.valid.data, halves["valid_data"])
    assert "trials x time x channels = " in caplog.text


def test_everything_beside_the_data_too(tmp_path):
    parts = {
        "train_encod_data": TRIALS[:30, :, :3], "train_recon_data": TRIALS[:30], "valid_encod_data": TRIALS[30:, :, :3],
        "valid_recon_data": TRIALS[30:], "train_ext_input": RANDOM.normal(size=(30, 12, 2)),
        "valid_ext_input": RANDOM.normal(size=(10, 12, 2)), "train_truth": TRIALS[:30] + 0.5,
        "valid_truth": TRIALS[30:] + 0.5, "train_inds": np.arange(1, 31), "valid_inds": np.arange(31, 41),
        "train_conditions": np.arange(30) % 3, "valid_conditions": np.arange(10) % 3, "bin_width_ms": 10.0,
        "alignment_matrix_cxf": RANDOM.normal(size=(5, 2)), "alignment_bias_c": np.ones(5),
    }  # fmt: skip
    save_as_matlab(tmp_path / "monday.mat", **parts)
    (session,) = read(tmp_path, ext_input_dim=2, factors_dim=2)
    np.testing.assert_array_equal(session.train.data, parts["train_encod_data"])
    np.testing.assert_array_equal(session.train.recon, parts["train_recon_data"])
    np.testing.assert_array_equal(session.valid.recon, parts["valid_recon_data"])
    np.testing.assert_allclose(session.train.ext_input, parts["train_ext_input"], rtol=1e-6)
    np.testing.assert_allclose(session.valid.truth, parts["valid_truth"], rtol=1e-6)
    np.testing.assert_allclose(session.alignment_matrix, parts["alignment_matrix_cxf"], rtol=1e-6)
    assert session.train.indices.tolist() == list(range(30)) and session.valid.conditions.tolist()[:4] == [0, 1, 2, 0]
    assert session.bin_width_ms == 10.0


def test_a_large_array_is_read_in_blocks_of_trials(tmp_path, monkeypatch):
    from lfads_tf2.data import blocks

    monkeypatch.setattr(blocks, "BLOCK_BYTES", 200)
    with h5py.File(tmp_path / "a.mat", "w") as file:
        file.create_dataset("train_data", data=TRIALS.T, chunks=(2, 5, 7)).attrs["MATLAB_class"] = np.bytes_(b"uint8")
    np.testing.assert_array_equal(read(tmp_path)[0].train.data, TRIALS)


def test_a_place_is_named_as_matlab_shows_it(tmp_path):
    bad = TRIALS.astype(float)
    bad[7, 3, 2] = -1
    save_as_matlab(tmp_path / "a.mat", train_data=bad)
    with pytest.raises(DataError, match=r"negative count: -1\.0 at trial 7, bin 3, channel 2"):
        read(tmp_path)


def test_recordings_are_sent_to_the_import(tmp_path):
    """Whatever holds a recording and no trials is answered with the command that cuts it."""
    nwb = tmp_path / "nwb"
    nwb.mkdir()
    with h5py.File(nwb / "session.nwb", "w") as file:
        file.attrs["nwb_version"] = "2.6.0"
        file.create_group("units")
    save_as_matlab(_made(tmp_path / "mat") / "session.mat", spikes=TRIALS)
    np.savez(_made(tmp_path / "npz") / "session.npz", counts=TRIALS)
    np.save(_made(tmp_path / "phy") / "spike_times.npy", np.arange(5))
    for given, named in (
        (nwb, nwb / "session.nwb"), (nwb / "session.nwb", nwb / "session.nwb"),
        (tmp_path / "mat", tmp_path / "mat" / "session.mat"), (tmp_path / "npz", tmp_path / "npz" / "session.npz"),
        (tmp_path / "npz" / "session.npz", tmp_path / "npz" / "session.npz"), (tmp_path / "phy", tmp_path / "phy"),
    ):  # fmt: skip
        with pytest.raises(DataError) as error:
            read(given)
        assert f"lfads import {named} -o DATA" in str(error.value)


def _made(folder):
    folder.mkdir()
    return folder
