"""A stitched run with the real program: prepared, run by the queue, read back; then a session is added to it."""

from __future__ import annotations

import sys

import h5py
import numpy as np
import pytest
from conftest import ROOT

from lfads_tf2.run_manager import Dataset, DatasetCollection, RunCollection, RunFolder, RunParams, RunSpec
from lfads_tf2.run_manager.new_session import NewSessionError, changed_weights, prepare_start

from .small_sessions import SMALL, collection, session

sys.path.insert(0, str(ROOT / "tools"))


@pytest.fixture(scope="module")
def stitched(tmp_path_factory):
    """A trained stitched run of two sessions."""
    params = RunParams(**SMALL, useAlignmentMatrix=True)
    runs = collection(tmp_path_factory.mktemp("stitched"), specs=("all",), params=params)
    runs.prepare_for_lfads()
    outcomes = runs.run(backend="local", cpus=1, show=False)
    assert [outcome.state for outcome in outcomes] == ["done"], outcomes[0].message
    return runs.runs[0, 0]


@pytest.fixture(scope="module")
def third(tmp_path_factory):
    """The prepared file of a third session with the same conditions."""
    sessions = DatasetCollection("here", "more")
    Dataset(sessions, "day3.mat", data=session(channels=8, seed=5))
    runs = RunCollection(tmp_path_factory.mktemp("third"), "more", sessions)
    runs.add_run_spec(RunSpec("new", sessions))
    runs.add_params(RunParams(**SMALL))
    runs.prepare_for_lfads()
    return runs.runs[0, 0].input_path / "lfads_day3.h5"


def test_results_of_a_stitched_run(stitched):
    means = stitched.load_posterior_means()
    assert (means["day1"].rates.shape, means["day2"].rates.shape) == ((40, 10, 6), (40, 10, 5))
    for one in means.values():
        assert np.isfinite(one.rates).all() and one.rates.min() >= 0
        assert one.is_valid.sum() == 8 and one.controller_outputs.shape == (40, 10, 1)
    assert len(stitched.load_fit_log().columns["epoch"]) == 3
    params = stitched.load_trained_params()
    assert params.datasets == ["day1.h5", "day2.h5"] and params.all_readouts()[0].shape == (3, 11)
    # Trained under the lengthened ramps of two datasets: full from the fifth step on.
    assert (stitched.output_path / "checkpoint_lve").exists()
    assert np.isfinite(stitched.run_collection.compare().rows[0].r2_valid)


def test_a_second_start_does_nothing(stitched):
    before = (stitched.path / "lfads_train.out").read_text()
    assert [o.state for o in stitched.run_collection.run(backend="local", show=False)] == ["done"]
    assert (stitched.path / "lfads_train.out").read_text() == before


def test_add_session(stitched, third, tmp_path):
    from lfads_tf2.run_manager import add_session_command as add_session

    model = stitched.output_path
    arguments = ["--model_dir", model, "--data_dir", stitched.input_path, "--new_file", third, "--output_dir", tmp_path]
    assert add_session.main([*map(str, arguments), "--max_epochs=2", "--learning_rate_init=0.02", "--noreport"]) == 0
    result = tmp_path / "maps"
    assert changed_weights(model / "model_params", result / "model_params") == []
    with h5py.File(model / "model_params") as before, h5py.File(result / "model_params") as after:
        generator = [key for key in before if key.startswith("LFADS_gen_")]
        assert len(generator) >= 6
        for key in generator:
            assert before[key][()].tobytes() == after[key][()].tobytes()
    with h5py.File(tmp_path / "start" / "model_params") as start, h5py.File(result / "model_params") as after:
        key = "LFADS_glm_fac_2_logrates_day3.h5_W:0"
        assert not np.array_equal(start[key][()], after[key][()])
    means = RunFolder(result, data_dir=tmp_path / "data").load_posterior_means()["day3"]
    assert means.rates.shape == (40, 10, 8) and np.isfinite(means.rates).all()


def test_sessions_that_cannot_be_added(stitched, third, tmp_path):
    model, data = stitched.output_path, stitched.input_path
    start = prepare_start(model, data, "lfads", third, tmp_path / "a")
    assert (start.session, start.shared_conditions) == ("day3.h5", 5)
    with pytest.raises(NewSessionError, match=r"has a session 'day1\.h5' already"):
        prepare_start(model, data, "lfads", data / "lfads_day1.h5", tmp_path / "b")
    with pytest.raises(NewSessionError, match="holds no exported model"):
        prepare_start(tmp_path, data, "lfads", third, tmp_path / "b")
    short = tmp_path / "lfads_short.h5"
    with h5py.File(short, "w") as file:
        file["train_data"] = np.ones((4, 3, 8))
    with pytest.raises(NewSessionError, match="has 3 bins a trial, the model 10"):
        prepare_start(model, data, "lfads", short, tmp_path / "b")
    with h5py.File(short, "w") as file:
        file["train_data"] = np.ones((4, 10, 8))
    assert prepare_start(model, data, "lfads", short, tmp_path / "b").shared_conditions == 0


@pytest.mark.slow
def test_lorenz_example(tmp_path):
    import run_lorenz_example

    small = [
        part
        for item in SMALL.items()
        if item[0] not in ("spikeBinMs", "c_gen_dim")
        for part in ("--set", *map(str, item))
    ]
    small = [part.lower() if part in ("True", "False") else part for part in small]
    options = ["--output_dir", str(tmp_path), "--conditions", "6", "--trials_min", "6", "--trials_max", "8"]
    options += ["--bins", "12", "--gen_dims", "5", "6", "--max_parallel", "2", *small]
    assert run_lorenz_example.main(options) == 0
    assert len(list((tmp_path / "figures").glob("*.png"))) == 4
    assert run_lorenz_example.main(options) == 0
