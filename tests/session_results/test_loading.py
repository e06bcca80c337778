"""Results read back in the recording's order, with their axes."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
from conftest import ROOT

import lfads_tf2
from lfads_tf2.errors import LFADSError
from lfads_tf2.session_results import ResultsError
from lfads_tf2.settings.run_folder import RecordedSession, RunRecord

from .recorded import BIN_MS, KIND, UNIT_IDS, known, write_results, write_session

STARTS = 1.0 + 2 * np.arange(12)
VALID = np.arange(12) % 4 == 1


@pytest.fixture
def run(tmp_path):
    session = write_session(tmp_path / "data", STARTS, VALID)
    return write_results(tmp_path / "data" / "lfads_output", session)


def test_everything_in_the_order_of_the_recording(run):
    results = lfads_tf2.load_results(run)
    assert list(results) == ["monday.h5"] and results["monday"] is results["monday.h5"]
    one = results["monday"]
    assert one.name == "monday.h5" and one.kind == KIND and one.bin_ms == BIN_MS
    np.testing.assert_array_equal(one.trial_index, 2 * np.arange(12))
    np.testing.assert_array_equal(one.is_valid, VALID)
    np.testing.assert_allclose(one.start_s, STARTS)
    np.testing.assert_allclose(one.time_ms, -45 + 10 * np.arange(20))
    np.testing.assert_array_equal(one.unit_ids, UNIT_IDS)
    assert list(one.conditions[:4]) == ["target 0", "target 1", "target 2", "target 0"]
    middles = STARTS[:, None] + (np.arange(20) + 0.5) * 0.01
    np.testing.assert_allclose(one.rates, known(middles, 4) * 100, rtol=1e-6)
    np.testing.assert_array_equal(one.rates_per_bin, known(middles, 4))
    np.testing.assert_array_equal(one.factors, known(middles, 3))
    np.testing.assert_allclose(one.inputs_sd, known(middles, 2) / 10, rtol=1e-6)
    np.testing.assert_array_equal(one.array("costs"), STARTS)
    np.testing.assert_allclose(one.behavior[..., 0], middles, rtol=1e-6)
    assert one.quantities == ["rates", "factors", "inputs", "inputs_sd"]
    assert (one.unit("rates"), one.unit("inputs")) == ("spikes/s", "a.u.")
    with h5py.File(run.parent / "monday.h5") as file:
        np.testing.assert_array_equal(one.counts[VALID], file["valid_data"][()])
    # A run of one session answers for it, and can be given as the folder around it.
    np.testing.assert_array_equal(lfads_tf2.load_results(run.parent).rates, one.rates)
    assert repr(results).startswith("<results of monday.h5")
    with pytest.raises(KeyError, match=r"no results of a session 'tuesday'; it has monday\.h5"):
        results["tuesday"]
    with pytest.raises(ResultsError, match="no 'speed'; it has rates"):
        one.values("speed")
    with pytest.raises(ResultsError, match=r"hold no 'gen_ics'; they hold controller_outputs, .* costs"):
        one.array("gen_ics")


def test_on_the_clock(run):
    """Trials lie apart: their values are unchanged."""
    one = lfads_tf2.load_results(run)["monday"]
    clocked = one.on_clock("rates")
    assert len(clocked.stretches) == 12
    np.testing.assert_allclose(clocked.values.reshape(12, 20, 4), one.rates, rtol=1e-6)
    np.testing.assert_allclose(clocked.times_s.reshape(12, 20), STARTS[:, None] + (np.arange(20) + 0.5) * 0.01)


@pytest.mark.parametrize("overlap", [5, 10, 15])
def test_chopped_windows_are_merged(tmp_path, overlap, monkeypatch):
    starts = np.append(np.arange(0, 2.5, (20 - overlap) * 0.01), 2.83)
    session = write_session(tmp_path / "data", starts, np.arange(len(starts)) >= 8, mode="chopped", overlap_ms=50.0)
    one = lfads_tf2.load_results(write_results(tmp_path / "run", session), tmp_path / "data")["monday"]
    monkeypatch.setattr("lfads_tf2.session_results.session_arrays.BLOCK_BYTES", 4000)
    clocked = one.on_clock("factors")
    np.testing.assert_allclose(clocked.values, known(clocked.times_s, 3), rtol=1e-6)
    covered = sum(part.bins for part in clocked.stretches)
    assert len(clocked.times_s) == covered and np.all(np.diff(clocked.times_s) > 0)
    np.testing.assert_allclose(clocked.times_s[-1], 2.83 + 0.195)


def test_trials_that_inference_left_out(tmp_path):
    session = write_session(tmp_path / "data", STARTS, VALID)
    one = lfads_tf2.load_results(write_results(tmp_path / "run", session, keep=2), tmp_path / "data")["monday"]
    assert list(np.flatnonzero(one.inferred)) == [0, 1, 2, 5]
    np.testing.assert_array_equal(np.isfinite(one.rates).all(axis=(1, 2)), one.inferred)
    assert len(one.on_clock().stretches) == 4


def test_a_half_that_is_gone_is_said(run, caplog):
    lfads_tf2.load_results(run)
    assert not caplog.text
    next(run.glob("model_runs_*_train_*")).unlink()
    one = lfads_tf2.load_results(run)["monday"]
    np.testing.assert_array_equal(np.isfinite(one.rates).all(axis=(1, 2)), VALID)
    assert "the results of the train trials of monday.h5 are missing; their values are NaN" in caplog.text


def test_first_segment_for_the_initial_condition(tmp_path):
    """Rates begin later than the data."""
    session = write_session(tmp_path / "data", STARTS, VALID)
    one = lfads_tf2.load_results(write_results(tmp_path / "run", session, first_bin=3), tmp_path / "data")["monday"]
    np.testing.assert_allclose(one.start_s, STARTS + 0.03)
    assert one.time_ms[0] == -50 + 35


@pytest.mark.parametrize("first_bin", [0, 4, 12])
def test_bins_that_pad_a_trial_are_not_merged(tmp_path, first_bin):
    """Trials of 20 and 10 bins in turn, back to back, and the last one alone: the clock holds what was observed."""
    own = np.where(np.arange(12) % 2, 10, 20)
    starts = np.append(np.cumsum([0, *own[:-1]])[:11] * 0.01, 9.0)
    session = write_session(tmp_path / "data", starts, VALID, own_bins=own)
    one = lfads_tf2.load_results(write_results(tmp_path / "run", session, first_bin=first_bin), tmp_path / "data")
    one = one["monday"]
    np.testing.assert_array_equal(one.trial_bins, np.maximum(own - first_bin, 0))
    there = np.concatenate(
        [start + (np.arange(first_bin, n) + 0.5) * 0.01 for start, n in zip(starts, own, strict=True)]
    )
    clocked = one.on_clock("factors")
    np.testing.assert_allclose(clocked.times_s, np.sort(there), atol=1e-9)
    np.testing.assert_allclose(clocked.values, known(clocked.times_s, 3), rtol=1e-5)
    assert sum(part.bins for part in clocked.stretches) == len(there)
    assert [part.bins for part in clocked.stretches][-1] == max(10 - first_bin, 0) or first_bin == 12


def test_refused_lengths_of_windows(tmp_path):
    session = write_session(tmp_path / "data", STARTS, VALID, own_bins=np.full(12, 20))
    run = write_results(tmp_path / "run", session)
    for bad in (np.full(9, 0.5), np.full(9, -1), np.full(8, 3)):
        with h5py.File(session, "a") as file:
            del file["recording/train_bins"]
            file["recording/train_bins"] = bad
        with pytest.raises(ResultsError, match=r"train_bins must be whole numbers|bins has 8 trials and trial_index 9"):
            lfads_tf2.load_results(run, session.parent)
    with h5py.File(session, "a") as file:
        del file["recording/train_bins"]
    with pytest.raises(ResultsError, match="train_bins must be whole numbers of at least 0, one for each trial"):
        lfads_tf2.load_results(run, session.parent)


def test_results_older_than_the_model(tmp_path, run, caplog):
    """Said with what to run, once the weights that inference would take are others."""

    def checkpoint(name: str, state: str) -> None:
        (run / f"{name}.index").write_bytes(b"")
        (run / state).write_text(f'model_checkpoint_path: "{name}"\n')

    write_results(run, run.parent / "monday.h5", checkpoint_step=120)
    checkpoint("lfads_vae_lve.ckpt-120", "checkpoint_lve")
    checkpoint("lfads_vae.ckpt-240", "checkpoint")
    lfads_tf2.load_results(run)
    assert not caplog.text, "trained on, but these are the lowest-validation weights still"
    checkpoint("lfads_vae_lve.ckpt-360", "checkpoint_lve")
    lfads_tf2.load_results(run, run.parent)
    assert "the results of monday.h5 are older than the model: they come from training step 120" in caplog.text
    assert f"now take step 360. Infer again: lfads infer {run.parent}\n" in caplog.text


def test_plain_files(tmp_path):
    """Without a recording: the file's own trial numbers, from 1 as MATLAB writes them; no clock."""
    with h5py.File(tmp_path / "lfads_a", "w") as file:
        random = np.random.default_rng(0)
        file["train_data"], file["valid_data"] = random.poisson(1.0, (3, 4, 2)), random.poisson(1.0, (2, 4, 2))
        file["train_inds"], file["valid_inds"] = [[5, 1, 3]], [[2, 4]]
        file["train_condition_id"], file["valid_condition_id"] = [50, 10, 30], [20, 40]
    folder = tmp_path / "run"
    folder.mkdir()
    for half, numbers in (("train", [4, 0, 2]), ("valid", [1, 3])):
        rates = np.full((len(numbers), 4, 2), np.array(numbers)[:, None, None] + 1.0)
        with h5py.File(folder / f"model_runs_a_{half}_{KIND}", "w") as file:
            file["output_dist_params"], file["factors"] = rates, rates
    record = RunRecord({"data_filename_stem": "lfads", "data_dir": str(tmp_path)}, {"a": RecordedSession(2, 2)}, 4)
    record.write(folder, 10)
    one = lfads_tf2.load_results(folder)["a"]
    np.testing.assert_array_equal(one.rates[:, 0, 0], [1, 2, 3, 4, 5])
    np.testing.assert_array_equal(one.conditions, [10, 20, 30, 40, 50])
    np.testing.assert_array_equal(one.is_valid, [False, True, False, True, False])
    assert one.unit("rates") == "spikes/bin" and one.time_ms is None and one.start_s is None
    assert lfads_tf2.load_results(folder, bin_ms=20.0).rates[0, 0, 0] == 50
    with pytest.raises(ResultsError, match="a: where its trials lie on the session's clock is not known; import"):
        one.on_clock()
    # Without the data, training trials come first.
    (tmp_path / "lfads_a").unlink()
    bare = lfads_tf2.load_results(folder)["a"]
    np.testing.assert_array_equal(bare.rates[:, 0, 0], [5, 1, 3, 2, 4])
    with pytest.raises(ResultsError, match="the file that its results came from is not known; give data_dir"):
        _ = bare.counts


def test_other_observation_models(tmp_path):
    session = write_session(tmp_path / "data", STARTS, VALID, channels=4)
    folder = write_results(tmp_path / "run", session, units="units of the data: means, then variances")
    one = lfads_tf2.load_results(folder, tmp_path / "data")["monday"]
    assert one.channels == 2 and one.rates.shape == (12, 20, 2) and one.unit("rates") == "units of the data"
    np.testing.assert_array_equal(one.rates, one.array("output_dist_params")[..., :2])
    np.testing.assert_array_equal(one.unit_ids, [0, 1])


def test_results_of_the_original():
    original = ROOT / "tests" / "golden" / "tf1_checkpoint"
    results = lfads_tf2.load_results(original / "run", original / "data")
    assert set(results) == {"a", "b"}
    with pytest.raises(AttributeError, match="several sessions; choose one of 'a', 'b'"):
        _ = results.rates
    a = results["a"]
    # Only validation trials were inferred; without indices they come after the training trials.
    assert a.rates.shape == (80, 20, 10) and list(np.flatnonzero(a.inferred)) == list(range(60, 80))


def test_refusals(tmp_path, run):
    with pytest.raises(ResultsError, match="there is no such folder"):
        lfads_tf2.load_results(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ResultsError, match=r"holds no results .*; infer them first \(lfads infer DATA\)"):
        lfads_tf2.load_results(tmp_path / "empty")
    model = tmp_path / "search" / "best_model"
    model.mkdir(parents=True)
    (model / "lfads_vae_lve.ckpt-10.index").touch()
    RunRecord({"data_dir": "data"}, {}, 9).write(model, 10)
    for folder in (model, model.parent):
        with pytest.raises(ResultsError, match=rf"first \(lfads infer data --lfads_save_dir={model}\)"):
            lfads_tf2.load_results(folder)
    with pytest.raises(ResultsError, match=r"has no file of the session monday\.h5; it would be called monday\.h5"):
        lfads_tf2.load_results(run, tmp_path / "empty")
    few = write_session(tmp_path / "few", STARTS[:6], VALID[:6])
    write_results(run, run.parent / "monday.h5", stamped=False)
    with pytest.raises(ResultsError, match=r"has 9 trials and .*few.monday.h5 has 4 in its train half"):
        lfads_tf2.load_results(run, few.parent)
    with h5py.File(few, "a") as file:
        file["recording"].attrs["format_version"] = 9
    with pytest.raises(ResultsError, match="format_version must be 1 to 1, got 9"):
        lfads_tf2.load_results(run, few.parent)
    with h5py.File(few, "a") as file:
        file["recording"].attrs["format_version"] = 1
        del file["recording/train_start_s"]
        file["recording/train_start_s"] = np.full(4, np.nan)
    with pytest.raises(ResultsError, match="train_start_s must be finite seconds"):
        lfads_tf2.load_results(run, few.parent)
    with h5py.File(few, "a") as file:
        del file["recording/unit_ids"]
    with pytest.raises(ResultsError, match="unit_ids"):
        lfads_tf2.load_results(run, few.parent)
    damaged = run / f"model_runs_monday.h5_valid_{KIND}"
    damaged.write_bytes(damaged.read_bytes()[:300])
    with pytest.raises(ResultsError, match="is no result file, or damaged"):
        lfads_tf2.load_results(run)
    damaged.unlink()
    with h5py.File(damaged, "w") as file:
        file["output_dist_params"] = np.ones((3, 20, 4))
    with pytest.raises(ResultsError, match=r"hold different keys: \['controller_outputs'"):
        lfads_tf2.load_results(run)


@pytest.mark.parametrize("which", ["results", "data"])
def test_damaged_files_are_refused_and_never_end_the_process(run, which):
    path = next(run.glob("model_runs_*_valid_*")) if which == "results" else run.parent / "monday.h5"
    whole, rates, refused = path.read_bytes(), lfads_tf2.load_results(run)["monday"].rates, 0
    damaged = [b"", b"nothing", whole[:100], whole[: len(whole) // 2], bytes(100) + whole[100:]]
    for place in np.linspace(60, len(whole) - 20, 15).astype(int) if which == "results" else ():
        damaged.append(whole[:place] + bytes([whole[place] ^ 16]) + whole[place + 1 :])
    for content in damaged:
        path.write_bytes(content)
        try:
            found = lfads_tf2.load_results(run)["monday"].rates
        except LFADSError as error:
            assert path.name in str(error)
            refused += 1
        else:
            np.testing.assert_array_equal(found, rates)
    assert refused >= len(damaged) - 3, "in gaps and in the checksum itself nothing is lost"


@pytest.mark.parametrize(
    "keys",
    [
        ("train_encod_data", "valid_encod_data"),
        ("train_spikes_heldin", "eval_spikes_heldin"),
        ("Train_Data", "VALID_DATA"),
    ],
)
def test_every_spelling_that_training_reads(tmp_path, keys):
    counts = np.random.default_rng(0).poisson(1.0, (5, 4, 2))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for key, half in zip(keys, (counts[:3], counts[3:]), strict=True):
            file[key] = half
            if "encod" in key:
                file[key.replace("encod", "recon")] = half
    folder = tmp_path / "lfads_output"
    folder.mkdir()
    for half, length in (("train", 3), ("valid", 2)):
        with h5py.File(folder / f"model_runs_a.h5_{half}_{KIND}", "w") as file:
            file["output_dist_params"] = np.ones((length, 4, 2))
    RunRecord({"data_dir": str(tmp_path)}, {"a.h5": RecordedSession(2, 2)}, 4).write(folder, 10)
    one = lfads_tf2.load_results(folder)["a.h5"]
    np.testing.assert_array_equal(one.counts, counts)
