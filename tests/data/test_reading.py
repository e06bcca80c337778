"""Good files in every form, and a long list of bad ones with what is said of each."""

import logging
import os
import re

import h5py
import numpy as np
import pytest

from lfads_tf2.data import DataError, blocks, read_sessions
from lfads_tf2.hyperparameters import HyperParameters

from .malformed import MALFORMED, D, N, T, counts, good, write_session


def read(folder, **settings):
    """Sessions of the folder, with a batch size that these small sets fill."""
    return read_sessions(HyperParameters(data_dir=str(folder), **{"batch_size": 2, **settings}))


@pytest.mark.parametrize("case", MALFORMED, ids=lambda case: case.name)
def test_malformed_data_are_refused_with_advice(case, tmp_path):
    folder = str(tmp_path / "data")
    case.write(folder)
    with pytest.raises(DataError, match=case.message) as error:
        read(folder, **case.settings)
    assert folder in str(error.value) or "--" in str(error.value)
    assert len(set(error.value.problems)) == len(error.value.problems)


def test_names_of_malformed_cases_differ():
    names = [case.name for case in MALFORMED]
    assert len(set(names)) == len(names) >= 40


INTEGERS = [np.uint8, np.uint16, np.uint32, np.uint64, np.int8, np.int16, np.int32, np.int64]
FLOATS = [np.float16, np.float32, np.float64, np.longdouble, ">f4"]


@pytest.mark.parametrize("dtype", [*INTEGERS, *FLOATS, ">i2"])
def test_counts_of_every_numeric_type(dtype, tmp_path):
    write_session(tmp_path, **good(train_data=counts().astype(dtype), valid_data=counts(3).astype(dtype)))
    (session,) = read(tmp_path)
    assert session.train.data.dtype == session.valid.data.dtype == np.uint8
    np.testing.assert_array_equal(session.train.data, counts())
    np.testing.assert_array_equal(session.valid.data, counts(3))


def test_true_and_false_are_counts(tmp_path):
    write_session(tmp_path, **good(train_data=counts() > 2))
    np.testing.assert_array_equal(read(tmp_path)[0].train.data, counts() > 2)


@pytest.mark.parametrize(
    ("largest", "dtype"),
    [(255, np.uint8), (256, np.uint16), (65535, np.uint16), (65536, np.uint32), (2**32 - 1, np.uint32)],
)
@pytest.mark.parametrize("stored", [np.int64, np.float64])
def test_counts_take_the_smallest_type(largest, dtype, stored, tmp_path):
    data = counts(dtype=stored)
    data[3, 2, 1] = largest
    write_session(tmp_path, **good(train_data=data))
    found = read(tmp_path)[0].train.data
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, data)


@pytest.mark.parametrize("dtype", [*INTEGERS, *FLOATS, bool])
def test_gaussian_values_become_float32(dtype, tmp_path):
    data = (counts() - 3.5).astype(dtype) if np.dtype(dtype).kind == "f" else counts().astype(dtype)
    write_session(tmp_path, **good(train_data=data))
    found = read(tmp_path, output_dist="gaussian")[0].train.data
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, data.astype(np.float32))


@pytest.mark.parametrize("chunks", [None, (2, 2, 2), (N, 1, 1)])
def test_reading_in_small_blocks_changes_nothing(chunks, tmp_path, monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 1)
    data = counts()
    data[1], data[4, 0, 0] = 300, 70000
    path = write_session(tmp_path, **good(train_data=None))
    with h5py.File(path, "a") as file:
        file.create_dataset("train_data", data=data, chunks=chunks, compression="gzip" if chunks else None)
    np.testing.assert_array_equal(read(tmp_path)[0].train.data, data)
    bad = data.astype(float)
    bad[4:, 1, 2] = np.nan
    write_session(tmp_path, **good(train_data=bad))
    with pytest.raises(DataError, match=r"nan at trial 4, bin 1, channel 2 \(counted from 0; 2 such"):
        read(tmp_path)


def test_second_dialect_reads_as_the_first(tmp_path):
    keys = {f"{half}_{what}_data": counts(n) for half, n in (("train", N), ("valid", 3)) for what in ("encod", "recon")}
    write_session(tmp_path, **keys)
    write_session(tmp_path, "b.h5", **{key: value for key, value in keys.items() if "recon" not in key})
    for session in read(tmp_path):
        np.testing.assert_array_equal(session.train.data, counts())
        np.testing.assert_array_equal(session.valid.data, counts(3))


def test_keys_match_without_regard_to_case_when_none_is_exact(tmp_path):
    inputs = {"Train_ext_input": np.ones((N, T, 2)), "VALID_EXT_INPUT": np.zeros((3, T, 2))}
    write_session(tmp_path, Train_Data=counts(), valid_data=counts(3), Valid_Data=counts(4), **inputs)
    (session,) = read(tmp_path, ext_input_dim=2)
    assert session.train.ext_input.shape == (N, T, 2) and session.train.ext_input.dtype == np.float32
    assert len(session.valid.data) == 3 and not session.valid.ext_input.any()


def test_optional_keys(tmp_path):
    path = write_session(
        tmp_path,
        **good(),
        train_truth=np.full((N, T, D), 3.0),
        valid_truth=np.full((3, T, D), 4.0),
        conversion_factor=np.array([[0.5]]),
        alignment_matrix_cxf=np.ones((D, 3)),
        alignment_bias_c=np.arange(D, dtype=float)[:, None],
        train_conditions=np.arange(N)[None],
        valid_condition_id=np.array(["left", "right", "ü"], dtype=h5py.string_dtype()),
        train_behavior=np.ones((N, T, 2)),
        note="kept out of the way",
    )
    with h5py.File(path, "a") as file:
        file.attrs["bin_width_ms"] = 10
    (session,) = read(tmp_path, factors_dim=3)
    assert session.path == path and session.bin_width_ms == 10.0
    np.testing.assert_array_equal(session.train.truth, np.full((N, T, D), 1.5, np.float32))
    np.testing.assert_array_equal(session.valid.truth, np.full((3, T, D), 2.0, np.float32))
    assert session.train.truth.dtype == session.alignment_matrix.dtype == session.alignment_bias.dtype == np.float32
    np.testing.assert_array_equal(session.alignment_bias, np.arange(D))
    np.testing.assert_array_equal(session.train.conditions, np.arange(N))
    assert session.valid.conditions.tolist() == ["left", "right", "ü"]


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("shape", [(-1,), (1, -1), (-1, 1)])
def test_trial_numbers_count_from_0(first, shape, tmp_path):
    train, valid = np.array([7, 2, 4, 3, 6, 8]), np.array([5, 0, 1])
    inds = {"train_inds": (train + first).reshape(shape).astype(float), "valid_inds": (valid + first).reshape(shape)}
    write_session(tmp_path, **good(**inds))
    (session,) = read(tmp_path)
    np.testing.assert_array_equal(session.train.indices, train)
    np.testing.assert_array_equal(session.valid.indices, valid)


def test_without_optional_keys_all_is_none(tmp_path):
    write_session(tmp_path, train_data=counts())
    (session,) = read(tmp_path)
    assert session.valid is None and session.train[1:] == (None,) * 5 and session[4:] == (None,) * 5


@pytest.mark.parametrize(
    ("attributes", "width"),
    [
        ({"bin_ms": 5}, 5.0),
        ({"bin_size_ms": "20"}, 20.0),
        ({"binsize": 5}, None),
        ({"bin_ms": 5, "bin_width_ms": 6}, None),
    ],
)
def test_bin_width_only_where_its_unit_is_said(attributes, width, tmp_path):
    with h5py.File(write_session(tmp_path, **good()), "a") as file:
        file.attrs.update(attributes)
    assert read(tmp_path)[0].bin_width_ms == width


@pytest.mark.parametrize("value", [20, np.full((1, 1), 20.0), b"20"])
def test_bin_width_may_be_a_key(value, tmp_path):
    write_session(tmp_path, **good(Bin_Size_ms=value))
    assert read(tmp_path)[0].bin_width_ms == 20.0


@pytest.mark.parametrize("value", [-1, np.ones(3), "wide", h5py.Empty("f4")])
def test_strange_bin_width_is_left_out_with_a_warning(value, tmp_path, caplog):
    with h5py.File(write_session(tmp_path, **good()), "a") as file:
        file.attrs["bin_ms"] = value
    assert read(tmp_path)[0].bin_width_ms is None
    assert "bin_ms is no bin width in ms" in caplog.text


def test_keys_that_are_not_utf8_are_passed_over(tmp_path):
    with h5py.File(write_session(tmp_path, **good()), "a") as file:
        file[b"caf\xe9"] = 1
    assert len(read(tmp_path)) == 1


def test_session_names_with_a_stem(tmp_path):
    for file in ("lfads_dataset002.h5", "lfads_dataset001.h5", "lfads_x", "other.h5", ".lfads_hidden.h5"):
        write_session(tmp_path, file, **good())
    os.makedirs(tmp_path / "lfads_output")
    names = [session.name for session in read(tmp_path, data_filename_stem="lfads")]
    assert names == ["dataset001.h5", "dataset002.h5", "x"]


def test_without_a_stem_every_hdf5_file_is_a_session(tmp_path):
    for file in ("b.h5", "a.HDF5", "no_ending", ".hidden.h5"):
        write_session(tmp_path, file, **good())
    for file in ("model_runs_b.h5_train_posterior_push_mean", "model_params"):
        write_session(tmp_path, file, factors=np.ones((2, 2, 2)))
    (tmp_path / "README.md").write_text("about the data")
    write_session(tmp_path / "lfads_output", "c.h5", **good())
    os.mkfifo(tmp_path / "pipe.h5")
    assert [session.name for session in read(tmp_path)] == ["a.HDF5", "b.h5", "no_ending"]


def test_all_problems_of_all_files_come_at_once(tmp_path):
    write_session(
        tmp_path, "a.h5", **good(train_data=counts() - 1, valid_data=counts(3, bins=4), train_inds=np.ones(9))
    )
    write_session(tmp_path, "b.h5", spikes=counts())
    with pytest.raises(DataError) as error:
        read(tmp_path)
    text = str(error.value)
    assert re.search(r"a\.h5: train_data: negative.*\n.*a\.h5: valid_data: .*\n.*a\.h5: train_inds.*\n.*b\.h5: ", text)
    assert len(error.value.problems) == 4


def test_long_lists_of_problems_are_cut():
    lines = str(DataError(f"p{i}" for i in range(25))).splitlines()
    assert lines[19:] == ["p19", "... and 5 more"]
    assert str(DataError(["one"])) == "one"


def test_both_dialects_in_one_file_take_the_first(tmp_path, caplog):
    write_session(tmp_path, **good(train_encod_data=counts() + 1))
    np.testing.assert_array_equal(read(tmp_path)[0].train.data, counts())
    assert "train_data is used" in caplog.text


def test_good_data_warn_of_nothing(tmp_path, caplog):
    write_session(tmp_path, **good())
    with caplog.at_level(logging.WARNING, "lfads_tf2"):
        read(tmp_path)
    assert not caplog.records
