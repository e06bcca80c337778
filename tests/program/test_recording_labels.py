"""What a session's file says of its recording reaches the figures, and fits what the loaded results say."""

from __future__ import annotations

import logging

import h5py
import numpy as np
import pytest
from session_results.recorded import write_results, write_session

from lfads_tf2.data.entries import checked_values
from lfads_tf2.data.reading import read_session
from lfads_tf2.figures.labels import SessionLabels
from lfads_tf2.program.recording_labels import recording_labels
from lfads_tf2.session_results import load_session

STARTS, VALID = np.arange(10) * 2.0, np.arange(10) % 3 == 1


def read(path):
    problems = []
    session = read_session(path.name, str(path), checked_values, problems, [])
    assert not problems
    return session


@pytest.mark.parametrize("first_bin", [0, 4])
def test_time_is_that_of_the_loaded_results(tmp_path, first_bin):
    path = write_session(tmp_path / "data", STARTS, VALID, align="go_time")
    results = load_session(write_results(tmp_path / "out", path, first_bin=first_bin), path.name, path)
    labels = recording_labels(read(path), first_bin)
    assert labels.event == "go_time" and labels.start_ms == results.time_ms[0] == -45.0 + 10 * first_bin


@pytest.mark.parametrize(("mode", "event"), [("chopped", "window start"), ("trials", "trial start")])
def test_windows_without_an_event(tmp_path, mode, event):
    labels = recording_labels(read(write_session(tmp_path, STARTS, VALID, mode=mode, align="")), 2)
    assert labels.event == event


def test_trials_and_units_are_those_of_the_loaded_results(tmp_path):
    path = write_session(tmp_path / "data", STARTS, VALID)
    results = load_session(write_results(tmp_path / "out", path), path.name, path)
    labels = recording_labels(read(path))
    np.testing.assert_array_equal(labels.unit_ids, results.unit_ids)
    assert list(labels.numbers["valid"]) == list(results.trial_index[results.is_valid]) == [2, 8, 14]
    assert list(labels.numbers["train"]) == list(results.trial_index[~results.is_valid])
    # Of another cut than the data.
    other = read(path)._replace(valid=None)
    other = other._replace(train=other.train._replace(data=other.train.data[:5, :, :3]))
    assert recording_labels(other) == ("start_time", -45.0, {}, None)


def test_trials_that_the_file_numbers_itself(tmp_path):
    path = write_session(tmp_path, STARTS, VALID)
    with h5py.File(path, "a") as file:
        file["train_inds"], file["valid_inds"] = 1 + np.flatnonzero(~VALID), 1 + np.flatnonzero(VALID)
    # The recording's own come first.
    assert list(recording_labels(read(path)).numbers["valid"]) == [2, 8, 14]
    with h5py.File(path, "a") as file:
        del file["recording"]
    assert list(recording_labels(read(path)).numbers["valid"]) == list(np.flatnonzero(VALID))


def test_nothing_is_known(tmp_path, caplog):
    caplog.set_level(logging.INFO, "lfads_tf2")
    path = write_session(tmp_path, STARTS, VALID)
    assert recording_labels(read(path)._replace(bin_width_ms=20.0)).event == ""
    assert recording_labels(read(path)._replace(path="")) == SessionLabels() and not caplog.records
    with h5py.File(path, "a") as file:
        file["recording"].attrs["format_version"] = 99
    assert recording_labels(read(path)) == SessionLabels()
    assert "monday.h5: its figures have no labels of the recording" in caplog.text
    with h5py.File(path, "a") as file:
        del file["recording"]
    caplog.clear()
    assert recording_labels(read(path)) == SessionLabels() and not caplog.records
