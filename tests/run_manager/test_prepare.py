"""Preparation: folder tree, split, rebinning, alignment in the files, reuse, streaming."""

from __future__ import annotations

import json
import logging
import os

import h5py
import numpy as np
import pytest

from lfads_tf2.data import read_sessions
from lfads_tf2.hyperparameters import HyperParameters
from lfads_tf2.run_manager import Dataset, DatasetCollection, Run, RunCollection, RunParams, RunSpec
from lfads_tf2.run_manager.collection import CollectionError
from lfads_tf2.run_manager.preparation.prepare import PrepareError, split
from lfads_tf2.run_manager.recordings.session_data import Rebinning, SessionData, SessionDataError

from .small_sessions import SMALL, collection, datasets, session


def test_folder_tree(tmp_path):
    runs = collection(tmp_path)
    runs.prepare_for_lfads()
    params = runs.params[0]
    root = tmp_path / "toy_runs"
    param, data = root / f"param_{params.param_hash}", root / f"data_{params.data_hash}"
    for spec, names in (("single_day1", ["day1"]), ("all", ["day1", "day2"])):
        for name in names:
            for file in (f"lfads_{name}.h5", f"inputInfo_{name}.h5"):
                link = param / spec / "lfadsInput" / file
                assert os.readlink(link) == f"../../../data_{params.data_hash}/{spec}/{file}"
                assert link.resolve() == (data / spec / file).resolve()
        assert (param / spec / "lfadsOutput").is_dir()
    assert json.loads((data / "fields.json").read_text())["fields"] == {"c_factors_dim": 3, "useAlignmentMatrix": True}
    summary = (root / "summary.txt").read_text().splitlines()
    assert summary[0] == 'RunCollection "toy_runs" (3 runs total)'
    assert '    [runSpec 3] RunSpec "all" (2 datasets)' in summary
    assert '      [ds 2] Dataset "day2"' in summary
    assert f'    [1 param_{params.param_hash} data_{params.data_hash}] RunParams ""' in summary
    assert "      c_keep_prob: 0.95" in summary
    # No half-written or hidden file stays behind.
    assert not list(root.rglob(".*"))


def test_the_program_reads_what_was_prepared(tmp_path):
    runs = collection(tmp_path)
    runs.prepare_for_lfads()
    run = runs.find_runs("all")[0, 0]
    hp = HyperParameters(data_dir=str(run.input_path), data_filename_stem="lfads", factors_dim=3)
    first, second = read_sessions(hp)
    assert (first.name, second.name) == ("day1.h5", "day2.h5")
    given = session(channels=6)
    binned = given["counts"].reshape(40, 6, 10, 2).sum(-1).swapaxes(1, 2)
    halves = split(40, 4)
    assert list(halves["valid"]) == [0, 5, 10, 15, 20, 25, 30, 35]
    for half in ("train", "valid"):
        trials = getattr(first, half)
        np.testing.assert_array_equal(trials.data, binned[halves[half]])
        np.testing.assert_array_equal(trials.indices, halves[half])
        np.testing.assert_array_equal(trials.conditions, given["condition_id"][halves[half]])
        truth = given["truth"].reshape(40, 6, 10, 2).sum(-1).swapaxes(1, 2)
        np.testing.assert_allclose(trials.truth, truth[halves[half]], rtol=1e-6)
    assert first.bin_width_ms == 2
    assert first.alignment_matrix.shape == (6, 3) and second.alignment_matrix.shape == (5, 3)
    np.testing.assert_allclose(first.alignment_bias, binned.mean(axis=(0, 1)), rtol=1e-5)
    with h5py.File(run.input_path / "lfads_day1.h5") as file:
        np.testing.assert_allclose(file["alignment_readout_bias_c"], np.log(binned.mean(axis=(0, 1))), rtol=1e-5)
        assert file["train_data"].dtype == np.uint16
    assert (run.data_path / "alignment.png").exists()
    # A single session takes no matrix unless asked.
    single = runs.find_runs("single_day1")[0, 0]
    with h5py.File(single.input_path / "lfads_day1.h5") as file:
        assert "alignment_matrix_cxf" not in file


def test_nothing_is_overwritten_unless_asked(tmp_path):
    runs = collection(tmp_path)
    runs.prepare_for_lfads()
    files = sorted(runs.path.glob("data_*/*/lfads_*.h5"))
    before = {f: f.stat().st_mtime_ns for f in files}
    collection(tmp_path).prepare_for_lfads()
    assert {f: f.stat().st_mtime_ns for f in files} == before
    files[0].unlink()
    collection(tmp_path).prepare_for_lfads()
    changed = {f for f in files if f.stat().st_mtime_ns != before[f]}
    assert changed == {files[0]}
    collection(tmp_path).prepare_for_lfads(regenerate=True)
    assert all(f.stat().st_mtime_ns != before[f] for f in files)


def test_regenerated_dataset_gets_its_own_data(tmp_path):
    runs = collection(tmp_path, count=3, specs=("all",))
    runs.prepare_for_lfads()
    run = runs.runs[0, 0]
    contents = {f.name: f.read_bytes() for f in run.data_path.glob("lfads_*")}
    (run.data_path / "lfads_day2.h5").unlink()
    run.prepare_for_lfads()
    with h5py.File(run.data_path / "lfads_day2.h5") as file:
        assert file["train_data"].shape == (32, 10, 5)
    assert contents["lfads_day3.h5"] == (run.data_path / "lfads_day3.h5").read_bytes()


def test_folder_of_other_parameters_is_refused(tmp_path):
    runs = collection(tmp_path)
    runs.prepare_for_lfads()
    path = runs.path / f"data_{runs.params[0].data_hash}" / "fields.json"
    path.write_text(json.dumps({"class": "RunParams", "fields": {"c_factors_dim": 9}}))
    with pytest.raises(PrepareError, match="c_factors_dim: 9 there, 3 now"):
        runs.prepare_for_lfads()
    for content in ("", "{", "[]", '{"fields": 3}', "[" * 100000):
        path.write_text(content)
        with pytest.raises(PrepareError, match=r"fields\.json cannot be read .*; remove it"):
            runs.prepare_for_lfads()


def test_sweep_shares_its_data(tmp_path):
    runs = collection(tmp_path, specs=("all",), params=RunParams(**SMALL).generate_sweep("c_gen_dim", [4, 5]))
    runs.prepare_for_lfads()
    assert len(list(runs.path.glob("data_*"))) == 1 and len(list(runs.path.glob("param_*"))) == 2
    assert runs.find_runs(params=f"param_{runs.params[1].param_hash}").shape == (1, 1)
    assert runs.find_runs("all", 1)[0, 0].params.c_gen_dim == 5
    with pytest.raises(CollectionError, match="no RunSpec 'some'; there are all"):
        runs.find_runs("some")


def test_collection_keeps_its_runs_and_copies_parameters(tmp_path):
    runs = collection(tmp_path, specs=("all",))
    kept, params = runs.runs[0, 0], RunParams(c_gen_dim=77)
    runs.add_params(params)
    params.c_gen_dim = 78
    assert runs.runs[0, 0] is kept and runs.runs[0, 1].params.c_gen_dim == 77
    assert runs.params[1].version == runs.version
    with pytest.raises(CollectionError, match="dataset collection"):
        runs.add_run_spec(RunSpec("other", datasets()))
    with pytest.raises(CollectionError, match="has no parameters"):
        runs.clear_params()
        runs.prepare_for_lfads()
    assert "0 parameter settings" in repr(runs)


def test_batch_size_rule(tmp_path, caplog):
    with caplog.at_level(logging.WARNING, "lfads_tf2"):
        collection(tmp_path, params=RunParams(**(SMALL | {"c_batch_size": 10})), specs=("single",)).prepare_for_lfads()
    assert "50 trials are needed for c_batch_size=10" in caplog.text and "largest batch" in caplog.text
    with pytest.raises(PrepareError, match="leaves none to train on"):
        collection(tmp_path / "b", specs=("single",), conditions=1, trials=1).prepare_for_lfads()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"counts": np.ones((4, 5))}, "trials x channels x time"),
        ({"counts": np.full((40, 6, 20), 0.5)}, "counts: not a whole number: 0.5 at trial 0, channel 0, bin 0"),
        ({"counts": np.full((40, 6, 20), np.nan)}, "NaN or infinity"),
        ({"counts": np.full((40, 6, 20), -1)}, "counts: negative count: -1"),
        ({"time_vec_ms": np.arange(19)}, "time_vec_ms needs one time for each of the 20 bins of counts, got 19"),
        ({"time_vec_ms": np.arange(20) ** 2}, "equal steps"),
        ({"condition_id": [1, 2]}, "condition_id needs one value for each of the 40 trials"),
        ({"truth": np.ones((40, 6, 21))}, "truth must have the shape of counts"),
        ({"external_inputs": np.ones((40, 1, 20))}, r"c_ext_input_dim x time, \(40, 0, 20\), got \(40, 1, 20\)"),
        ({"time_vec_ms": np.arange(20) * 3}, "spikeBinMs=2 must be a whole multiple of the data's bins of 3 ms"),
        ({"spikes": 1}, "unknown fields spikes"),
    ],
)
def test_wrong_data_are_refused(tmp_path, change, words):
    class WrongRun(Run):
        def generate_counts_for_dataset(self, dataset, mode):
            return session() | change

    sessions = datasets(1)
    runs = RunCollection(tmp_path, "wrong", sessions)
    runs.add_run_spec(RunSpec("one", sessions, run_class=WrongRun))
    runs.add_params(RunParams(**SMALL))
    with pytest.raises(SessionDataError, match=words):
        runs.prepare_for_lfads()
    assert not list(runs.path.rglob("*.h5"))


def test_external_inputs_extra_arrays_and_alignment_data(tmp_path):
    modes = []

    class LabRun(Run):
        def generate_counts_for_dataset(self, dataset, mode):
            modes.append(mode)
            inputs = np.ones((40, 2, 20)) * np.array([1.0, 3.0])[:, None]
            return session() | {"external_inputs": inputs, "truth_unit": "spikes/s"}

        def uses_different_data_for_alignment(self):
            return True

        def generate_extra_lfads_inputs_by_dataset(self, dataset, data):
            return {"hand_speed": np.arange(3.0)}

        def generate_extra_lfads_input_files(self):
            (self.path / "extra.txt").write_text("x")

    sessions = datasets(1)
    runs = RunCollection(tmp_path, "lab", sessions)
    runs.add_run_spec(RunSpec("one", sessions, run_class=LabRun))
    base = RunParams(**SMALL, c_ext_input_dim=2, useSingleDatasetAlignmentMatrix=True)
    runs.add_params(base, base.copy(extInputRebinning="mean", alignmentReadout="pinv"))
    runs.prepare_for_lfads()
    assert modes == ["export", "alignment"] * 2
    for run, scale in zip(runs.runs[0], (2, 1), strict=True):
        with h5py.File(run.input_path / "lfads_day1.h5") as file:
            np.testing.assert_allclose(file["train_ext_input"][0, 0], np.array([1, 3]) * scale)
            np.testing.assert_allclose(file["hand_speed"], [0, 1, 2])
            truth = session()["truth"].reshape(40, 6, 10, 2).mean(-1).swapaxes(1, 2) * 2 / 1000
            np.testing.assert_allclose(file["valid_truth"], truth[::5], rtol=1e-5)
            assert file["alignment_matrix_cxf"].shape == (6, 3)
        assert (run.path / "extra.txt").exists()


def test_alignment_needs_conditions(tmp_path):
    with pytest.raises(ValueError, match="day1: alignment needs condition_id"):
        collection(tmp_path, specs=("all",), condition_id=None).prepare_for_lfads()


def test_rebinning_one_channel_and_one_bin():
    data = SessionData(np.ones((3, 1, 7), int))
    rebin = Rebinning("x", data, 7)
    assert rebin(data.counts).tolist() == [[[7]]] * 3
    rebin = Rebinning("x", data, 2)
    assert rebin(data.counts).shape == (3, 3, 1)  # the odd bin at the end goes
    with pytest.raises(SessionDataError, match="shorter than one bin"):
        Rebinning("x", data, 8)


def test_gaussian_values(tmp_path):
    values = np.random.default_rng(0).standard_normal((40, 6, 20))
    sessions = DatasetCollection("here", "toy")
    Dataset(sessions, "day1.mat", data={"counts": values})
    runs = RunCollection(tmp_path, "g", sessions)
    runs.add_run_spec(RunSpec("one", sessions))
    runs.add_params(RunParams(**(SMALL | {"spikeBinMs": 1}), c_output_dist="gaussian"))
    runs.prepare_for_lfads()
    with h5py.File(runs.runs[0, 0].input_path / "lfads_day1.h5") as file:
        np.testing.assert_allclose(file["valid_data"], values[::5].swapaxes(1, 2), rtol=1e-6)


def test_large_counts_are_kept(tmp_path):
    counts = np.full((10, 2, 4), 40_000, np.uint16)
    sessions = DatasetCollection("here", "toy")
    Dataset(sessions, "day1.mat", data={"counts": counts})
    runs = RunCollection(tmp_path, "g", sessions)
    runs.add_run_spec(RunSpec("one", sessions))
    runs.add_params(RunParams(**SMALL))
    runs.prepare_for_lfads()
    with h5py.File(runs.runs[0, 0].input_path / "lfads_day1.h5") as file:
        assert (file["train_data"][()] == 80_000).all()
