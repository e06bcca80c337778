"""Behaviour is found where files keep it, with the names of its dimensions."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from lfads_tf2.session_results.behavior import read_behavior
from lfads_tf2.session_results.errors import ResultsError
from session_results.recorded import write_session

SERIES = {"train_behavior": np.arange(24.0).reshape(2, 4, 3), "valid_behavior": np.ones((1, 4, 3))}


def session(path, arrays, names=None, units=None, listed=None):
    with h5py.File(path, "w") as file:
        for key, value in arrays.items():
            file[key] = value
        for key, value in (("names", names), ("units", units)):
            if value is not None:
                file["train_behavior"].attrs[key] = value
        if listed is not None:
            file.attrs["behavior_names"] = listed
    return path


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ({}, ["0", "1", "2"]),
        ({"names": ["x", "y", "speed"]}, ["x", "y", "speed"]),
        ({"names": ["x", "y", "speed"], "units": ["cm", "cm", ""]}, ["x (cm)", "y (cm)", "speed"]),
        ({"listed": "x, y,speed (cm, cm, cm/s)"}, ["x", "y", "speed"]),
        ({"listed": '["x", "y", "speed"]'}, ["x", "y", "speed"]),
        ({"listed": "hand"}, ["0", "1", "2"]),
    ],
)
def test_names(tmp_path, how, expected):
    found = read_behavior(session(tmp_path / "a.h5", SERIES, **how))
    assert found.names == expected
    for half in ("train", "valid"):
        np.testing.assert_array_equal(found.halves[half], SERIES[f"{half}_behavior"])


def test_an_imported_recordings_behaviour(tmp_path):
    path = write_session(tmp_path, np.arange(6) * 1.0, np.arange(6) > 3)
    found = read_behavior(path)
    assert found.names == ["time (s)"] and {k: v.shape for k, v in found.halves.items()} == {
        "train": (4, 20, 1), "valid": (2, 20, 1)
    }  # fmt: skip


def test_other_files(tmp_path):
    arrays = {"train_data": np.ones((2, 4, 5)), "eval_behavior": SERIES["valid_behavior"]}
    assert list(read_behavior(session(tmp_path / "one.h5", arrays)).halves) == ["valid"]
    # One row a trial (condition and produced time) is no time series.
    assert read_behavior(session(tmp_path / "rows.h5", {"train_behavior": np.ones((2, 4))})) is None
    assert read_behavior(session(tmp_path / "none.h5", {"train_data": np.ones((2, 4, 5))})) is None
    with pytest.raises(ResultsError, match="train_behavior: holds text"):
        read_behavior(session(tmp_path / "text.h5", {"train_behavior": [["left"]]}))
    uneven = SERIES | {"valid_behavior": np.ones((1, 4, 2))}
    with pytest.raises(ResultsError, match=r"same dimensions, got \{'train': 3, 'valid': 2\}"):
        read_behavior(session(tmp_path / "uneven.h5", uneven))
