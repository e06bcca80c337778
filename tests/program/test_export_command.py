"""``lfads export``: from a trained model to files of other programs."""

from __future__ import annotations

import csv

import h5py
import numpy as np
import pytest
from session_results.recorded import UNIT_IDS, write_nwb, write_results, write_session
from small_runs import SMALL

from lfads_tf2.program.command_line import main

STARTS = 1.0 + 2 * np.arange(12)
VALID = np.arange(12) % 4 == 1


def test_a_model_without_results_is_asked_for_them(tmp_path):
    pytest.importorskip("pynwb", reason="pynwb is not installed")
    recording = write_nwb(tmp_path / "monday.nwb")
    write_session(tmp_path / "data", STARTS, VALID, source=recording)
    data = str(tmp_path / "data")
    assert main(["train", data, "--max_epochs=1", *SMALL]) == 0
    assert main(["export", data, "--to", "nwb"]) == 0
    with h5py.File(tmp_path / "data" / "lfads_output" / "export" / "monday.nwb") as file:
        module = file["processing/ecephys"]
        assert module["lfads_rates/data"].shape == (240, len(UNIT_IDS)) and np.all(module["lfads_rates/data"][()] > 0)
        assert np.all(module["lfads_inputs_sd/data"][()] > 0)
        assert "training step: " in module["lfads_rates"].attrs["description"]
    with h5py.File(tmp_path / "data" / "lfads_output" / "model_runs_monday.h5_valid_posterior_sample_and_average") as f:
        valid = f["output_dist_params"][()]
    out = tmp_path / "out"
    assert main(["export", data, "--to=npz", f"--out={out}"]) == 0
    with np.load(out / "monday.npz") as file:
        np.testing.assert_allclose(file["rates"][file["half"] == "valid"], valid * 100, rtol=1e-6)


def test_the_folder_of_a_search(tmp_path):
    """Its model, of which there is the best checkpoint alone, is asked for results as that of a training is."""
    write_session(tmp_path / "data", STARTS, VALID)
    search = tmp_path / "data" / "autolfads_output"
    model = search / "best_model"
    assert main(["train", str(tmp_path / "data"), f"--lfads_save_dir={model}", "--max_epochs=5", *SMALL]) == 0
    for path in (model / "checkpoint", *model.glob("lfads_vae.ckpt-*")):
        path.unlink()
    for folder in (search, model, tmp_path / "data"):
        out = tmp_path / f"out_{folder.name}"
        assert main(["export", str(folder), "--to=npz", f"--out={out}"]) == 0
        assert (out / "monday.npz").is_file()


def test_the_other_files(tmp_path, capsys):
    session = write_session(tmp_path / "data", STARTS, VALID)
    run = write_results(tmp_path / "data" / "lfads_output", session)
    assert main(["export", str(run), "--to", "csv", "--long", "--merge"]) == 0
    names = [f"monday_{quantity}.csv" for quantity in ("factors", "inputs", "inputs_sd", "rates")]
    assert sorted(path.name for path in (run / "export").iterdir()) == names
    with (run / "export" / "monday_rates.csv").open() as file:
        assert next(csv.reader(file)) == ["time_s", "unit", "rates (spikes/s)"]
    assert main(["export", str(run), "--to", "nlb", "--dataset", "mc_rtt"]) == 0
    with h5py.File(run / "export" / "submission.h5") as file:
        assert set(file["mc_rtt"]) == {"train_rates_heldin", "eval_rates_heldin"}
    capsys.readouterr()
    for words, message in (
        ([str(tmp_path), "--to", "npz"], "holds no results"),
        ([str(run), "--to", "npz", "--session", "tuesday"], "no results of a session 'tuesday'"),
        ([str(run), "--to", "nwb"], "an NWB file says when the session began"),
        ([str(run), "--to", "nwb", "--subject", "M1"], "--subject must be KEY=VALUE"),
    ):
        assert main(["export", *words]) == 2
        said = capsys.readouterr().err
        assert message in said and "Traceback" not in said and len(said.splitlines()) < 8
