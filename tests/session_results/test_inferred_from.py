"""Results are never combined with other data than those that they were inferred from."""

from __future__ import annotations

import os
import shutil

import h5py
import numpy as np
import pytest

import lfads_tf2
from lfads_tf2.session_results import ResultsError, inferred_from

from .recorded import write_results, write_session

STARTS = 1.0 + 2 * np.arange(12)
VALID = np.arange(12) % 4 == 1


@pytest.fixture
def run(tmp_path):
    return write_results(tmp_path / "data" / "lfads_output", write_session(tmp_path / "data", STARTS, VALID))


def changed(run, key, value, attribute=False):
    """The session's file with one thing changed, of another time."""
    with h5py.File(run.parent / "monday.h5", "a") as file:
        if attribute:
            place, _, name = key.rpartition("/")
            file[place or "/"].attrs[name] = value
        else:
            old = file[key][()] if key in file else None
            if key in file:
                del file[key]
            file[key] = value(old) if callable(value) else value
    os.utime(run.parent / "monday.h5", ns=(1, 1))


OTHERS = {
    "window": ("recording/window_ms", [50.0, 250.0], True, "window in ms -50 to 150 then, 50 to 250 now"),
    "times": ("recording/train_start_s", lambda old: old + 0.1, False, "other times of trials"),
    "order": ("recording/train_trial_index", lambda old: old[::-1], False, "other order of trials"),
    "units": ("recording/unit_ids", lambda old: old + 1, False, "other units"),
    "one count": ("train_data", lambda old: old + (np.arange(4) == 3), False, "other values"),
    "fewer bins": ("valid_data", lambda old: old[:, :10], False, "10 now"),
    "bin width": ("recording/bin_width_ms", 20.0, True, "bins of 10 ms then, 20 ms now"),
}


@pytest.mark.parametrize("other", OTHERS)
def test_other_data_are_refused(run, other):
    key, value, attribute, message = OTHERS[other]
    changed(run, key, value, attribute)
    if other == "fewer bins":
        changed(run, "train_data", value)
        message = "20 bins then, 10 now"
    with pytest.raises(ResultsError, match=f"were inferred from other data: .*{message}") as error:
        lfads_tf2.load_results(run)
    assert f"Infer again: lfads infer {run.parent}; or give" in str(error.value)


def test_trials_that_were_added_are_refused(run):
    more = np.append(STARTS, 40.0)
    write_session(run.parent, more, np.append(VALID, False))
    with pytest.raises(ResultsError, match=r"train trials x bins x channels 9 x 20 x 4 then, 10 x 20 x 4 now"):
        lfads_tf2.load_results(run)


HARMLESS = {
    "conditions": ("conditions", np.arange),
    "true rates": ("truth", lambda trials: np.ones((trials, 20, 4))),
    "inputs that the model does not read": ("ext_input", lambda trials: np.ones((trials, 20, 1))),
    "trial numbers, which the recording has": ("inds", lambda trials: np.arange(trials) + 20 * (trials == 3)),
}


@pytest.mark.parametrize("what", HARMLESS)
def test_what_changes_no_result_is_not_refused(run, what):
    rates, (key, made) = lfads_tf2.load_results(run).rates, HARMLESS[what]
    changed(run, f"train_{key}", made(9))
    changed(run, f"valid_{key}", made(3))
    np.testing.assert_array_equal(lfads_tf2.load_results(run).rates, rates)
    changed(run, "train_data", lambda old: old.astype(np.float64))
    changed(run, "recording/train_behavior", lambda old: old * 2)
    np.testing.assert_array_equal(lfads_tf2.load_results(run).rates, rates)


def test_a_folder_that_was_moved_and_got_more_sessions(run, tmp_path):
    shutil.copytree(run.parent, tmp_path / "elsewhere")
    shutil.rmtree(run.parent)
    write_session(tmp_path / "elsewhere", STARTS + 1, VALID, name="tuesday.h5")
    assert lfads_tf2.load_results(tmp_path / "elsewhere").counts.shape == (12, 20, 4)


def test_facts_that_were_added_later(tmp_path):
    """A hand-written file that says its bin width and trial numbers since."""
    random = np.random.default_rng(0)
    session = tmp_path / "a.h5"
    with h5py.File(session, "w") as file:
        file["train_data"], file["valid_data"] = random.poisson(1.0, (3, 4, 2)), random.poisson(1.0, (2, 4, 2))
    before = inferred_from.stamp(session)
    with h5py.File(session, "a") as file:
        file.attrs["bin_width_ms"], file["train_inds"], file["valid_inds"] = 10.0, [0, 2, 4], [1, 3]
    with h5py.File(session) as file:
        opened = inferred_from.opened(file, session)
        now = inferred_from.layout(inferred_from.target_shapes(opened), 10.0, {}, None)
    inferred_from.refuse_other_data(tmp_path, "a", session, {inferred_from.ATTRIBUTE: before}, 4, now)


@pytest.mark.parametrize("other", ["bin width", "fewer bins"])
def test_results_of_earlier_versions(tmp_path, other):
    """They do not say what they came from; what contradicts them is refused all the same."""
    session = write_session(tmp_path / "data", STARTS, VALID)
    run = write_results(tmp_path / "data" / "lfads_output", session, stamped=False)
    changed(run, *OTHERS["one count"][:2])
    assert lfads_tf2.load_results(run).rates.shape == (12, 20, 4)
    changed(run, *OTHERS[other][:3])
    if other == "fewer bins":
        changed(run, "train_data", OTHERS[other][1])
    with pytest.raises(ResultsError, match="were inferred from other data"):
        lfads_tf2.load_results(run)


def test_a_stamp_that_cannot_be_read(run):
    write_results(run, run.parent / "monday.h5", **{inferred_from.ATTRIBUTE: "x"})
    with pytest.raises(ResultsError, match=r"inferred_from of the results of monday\.h5 cannot be read .*infer again"):
        lfads_tf2.load_results(run)


def test_external_inputs_that_the_model_reads(run):
    changed(run, "train_ext_input", np.ones((9, 20, 1)))
    changed(run, "valid_ext_input", np.ones((3, 20, 1)))
    write_results(run, run.parent / "monday.h5", **{
        inferred_from.ATTRIBUTE: inferred_from.stamp(run.parent / "monday.h5", ext_inputs=True)
    })  # fmt: skip
    changed(run, "train_ext_input", np.ones((9, 20, 1)))
    os.utime(run.parent / "monday.h5", ns=(2, 2))
    lfads_tf2.load_results(run)
    changed(run, "train_ext_input", np.zeros((9, 20, 1)))
    os.utime(run.parent / "monday.h5", ns=(3, 3))
    with pytest.raises(ResultsError, match="other values"):
        lfads_tf2.load_results(run)


def test_a_file_that_does_not_say_contradicts_nothing(tmp_path):
    inferred_from.refuse_other_data(tmp_path, "a", tmp_path / "a.h5", {"channels": 3}, 9, {})
