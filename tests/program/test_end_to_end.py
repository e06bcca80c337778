"""The program's commands one after the other, as a person gives them, and the files that they leave."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from small_runs import SMALL, program, write_spikes

import run_lfads
from lfads_tf2.data import storage
from lfads_tf2.metrics import held_out
from lfads_tf2.program import results
from lfads_tf2.training.fit_log import read

TRAIN, VALID, BINS, CHANNELS = 20, 6, 9, 7
EPOCHS = 5
KEYS = {
    "prior_g0_mean", "prior_g0_logvar", "post_g0_mean", "post_g0_logvar", "gen_ics", "gen_states", "factors",
    "controller_outputs", "output_dist_params", "costs", "nll_bound_vaes", "nll_bound_iwaes", "train_steps",
}  # fmt: skip


def run(*argv) -> int:
    return run_lfads.main([str(argument) for argument in argv])


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A data folder with one session, two channel counts aside, and a small model trained on it."""
    data = tmp_path_factory.mktemp("trained")
    write_spikes(data / "one.h5", bin_width_ms=10.0)
    assert run("--kind=train", f"--data_dir={data}", *SMALL, f"--max_epochs={EPOCHS}", "--seed=4") == 0
    return data


@pytest.fixture
def folder(trained, tmp_path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(trained, tmp_path / "data"))


def names(folder: Path) -> set[str]:
    return {path.name for path in (folder / "lfads_output").iterdir()}


def test_the_three_commands_of_the_house(tmp_path):
    """Exactly as documented, at the default sizes, each in a process of its own; only the epochs are limited."""
    write_spikes(tmp_path / "spikes.h5", train=12, valid=4)
    program("--kind=train", f"--data_dir={tmp_path}", "--co_dim=4", "--max_epochs=2")
    program("--kind=posterior_sample_and_average", f"--data_dir={tmp_path}", "--num_samples_posterior=4")
    done = program("--kind=write_model_params", f"--data_dir={tmp_path}")
    assert "lfads_vae" in done.stderr and "step 2" in done.stderr
    written = names(tmp_path)
    assert {
        "hyperparameters-0.txt", "fitlog.csv", "checkpoint", "lfads_log", "report", "model_params",
        "model_runs_spikes.h5_train_posterior_sample_and_average",
        "model_runs_spikes.h5_valid_posterior_sample_and_average",
    } <= written  # fmt: skip
    assert list((tmp_path / "lfads_output" / "report").glob("*.png"))
    runs, _ = results.read_runs(tmp_path / "lfads_output" / "model_runs_spikes.h5_train_posterior_sample_and_average")
    assert runs["controller_outputs"].shape == (12, BINS, 4) and runs["gen_states"].shape == (12, BINS, 100)
    assert results.read_params(tmp_path / "lfads_output" / "model_params")["LFADS_gen_g0_2_gen_ic_W:0"].shape == (
        64,
        100,
    )


def test_what_training_leaves(trained):
    assert {"hyperparameters-0.txt", "fitlog.csv", "checkpoint", "checkpoint_lve", "lfads_log"} <= names(trained)
    assert "report" not in names(trained), "--noreport"
    assert not [name for name in names(trained) if name.startswith(".") or name.endswith(".tmp")]
    log = read(trained / "lfads_output" / "fitlog.csv")
    assert list(log["epoch"]) == list(range(EPOCHS)) and list(log["step"]) == [3 * (n + 1) for n in range(EPOCHS)]
    settings = json.loads((trained / "lfads_output" / "hyperparameters-0.txt").read_text())
    assert settings["gen_dim"] == 6 and settings["seed"] == 4 and settings["report"] == "false"
    assert settings["dataset_dims"] == {"one.h5": CHANNELS} and settings["num_steps"] == BINS


@pytest.mark.parametrize("kind", ["posterior_sample_and_average", "posterior_push_mean"])
def test_posterior_files(kind, folder):
    assert run(f"--kind={kind}", f"--data_dir={folder}", "--device=cpu:0") == 0
    shapes = {
        "prior_g0_mean": (4,), "prior_g0_logvar": (4,), "post_g0_mean": (4,), "post_g0_logvar": (4,), "gen_ics": (6,),
        "gen_states": (BINS, 6), "factors": (BINS, 3), "controller_outputs": (BINS, 1),
        "output_dist_params": (BINS, CHANNELS), "costs": (), "nll_bound_vaes": (), "nll_bound_iwaes": (),
        "train_steps": (),
    }  # fmt: skip
    assert set(shapes) == KEYS
    # Beside the original's keys, the spread of the samples.
    shapes |= {"controller_outputs_sd": (BINS, 1)} if kind.endswith("average") else {}
    lowest = (folder / "lfads_output" / "checkpoint_lve").read_text().split('"')[1]
    step = int(lowest.rsplit("-", 1)[1])
    for half, trials in (("train", TRAIN), ("valid", VALID)):
        path = folder / "lfads_output" / f"model_runs_one.h5_{half}_{kind}"
        arrays, attributes = results.read_runs(path)
        assert {key: value.shape for key, value in arrays.items()} == {k: (trials, *s) for k, s in shapes.items()}
        assert all(np.all(np.isfinite(value)) for value in arrays.values())
        assert np.all(arrays["output_dist_params"] > 0)
        assert set(arrays["train_steps"]) == {step}
        assert attributes["units"] == "spikes/bin" and attributes["kind"] == kind
        assert attributes["checkpoint_step"] == step and attributes["program"].startswith("lfads_tf2 ")
        assert attributes.get("bin_width_ms") == 10.0
        assert attributes.get("num_samples") == (8 if kind.endswith("average") else None), "default: batch_size"
        assert -10 < attributes["r2_truth"] < 1
        with h5py.File(path) as f:
            assert f["output_dist_params"].attrs["units"] == "spikes/bin"
            assert f["costs"].attrs["units"] == "nats/trial"
            assert f["gen_states"].attrs["axes"] == "trials, bins, generator units"
        if kind.endswith("average"):
            assert np.all(arrays["nll_bound_iwaes"] <= arrays["nll_bound_vaes"] + 1e-3)


def test_num_samples_and_batch_size(folder):
    for argument, samples in (("--num_samples_posterior=3", 3), ("--batch_size=5", 5)):
        assert run("--kind=posterior_sample_and_average", f"--data_dir={folder}", argument, "--device=cpu:0") == 0
        path = folder / "lfads_output" / "model_runs_one.h5_valid_posterior_sample_and_average"
        assert results.read_runs(path)[1]["num_samples"] == samples


def test_prior_sample_file(folder):
    assert run("--kind=prior_sample", f"--data_dir={folder}", "--batch_size=11", "--device=cpu:0") == 0
    arrays, attributes = results.read_runs(folder / "lfads_output" / "model_runs_prior_sample")
    assert {key: value.shape for key, value in arrays.items()} == {
        "prior_g0_mean": (11, 4), "prior_g0_logvar": (11, 4), "gen_ics": (11, 6), "gen_states": (11, BINS, 6),
        "factors": (11, BINS, 3), "prior_zs_ar_con": (11, BINS, 1), "output_dist_params": (11, BINS, CHANNELS),
    }  # fmt: skip
    assert attributes["kind"] == "prior_sample" and attributes["read_out_of_session"] == "one.h5"


def test_model_params_file(folder):
    assert run("--kind=write_model_params", f"--data_dir={folder}", "--device=cpu:0") == 0
    values = results.read_params(folder / "lfads_output" / "model_params")
    shapes = {
        "LFADS_gen_GenGRU_Gates_h_2_ru_W:0": (6, 12), "LFADS_gen_GenGRU_Candidate_x_2_c_W:0": (1, 6),
        "LFADS_glm_fac_2_logrates_one.h5_W:0": (3, CHANNELS), "LFADS_con_con_to_post_co_mean_W:0": (4, 1),
        "LFADS_ic_enc_fwd_GRU_Gates_xh_2_ru_W:0": (CHANNELS + 5, 10), "LFADS_z_u_prior_ar1_logatau:0": (1, 1),
        "LFADS_con_GenGRU_Gates_x_2_ru_W:0": (2 * 4 + 3, 8),
    }  # fmt: skip
    assert {key: values[key].shape for key in shapes} == shapes
    assert not [key for key in values if "Adam" in key]
    assert values["LFADS_global_step:0"] > 0 and 0 < values["LFADS_learning_rate:0"] <= np.float32(0.01)


def test_output_stems(folder):
    common = (f"--data_dir={folder}", "--output_filename_stem=mine", "--device=cpu:0", "--ps_nexamples_to_process=2")
    for kind in ("posterior_push_mean", "prior_sample", "write_model_params"):
        assert run(f"--kind={kind}", *common) == 0
    written = {name for name in names(folder) if name.startswith("mine")}
    assert written == {
        "mineone.h5_train_posterior_push_mean", "mineone.h5_valid_posterior_push_mean", "mineprior_sample",
        "mine_model_params",
    }  # fmt: skip
    assert not [name for name in names(folder) if name.startswith("model_runs")]


@pytest.mark.parametrize("limit", [1, 4, 1000])
def test_only_the_first_trials(limit, folder):
    argv = ("--kind=posterior_push_mean", f"--data_dir={folder}", f"--ps_nexamples_to_process={limit}")
    assert run(*argv, "--device=cpu:0") == 0
    for half, trials in (("train", TRAIN), ("valid", VALID)):
        path = folder / "lfads_output" / f"model_runs_one.h5_{half}_posterior_push_mean"
        assert len(results.read_runs(path)[0]["factors"]) == min(limit, trials)


@pytest.mark.parametrize("limit", [0, 5])
def test_behaviour_in_the_file_is_decoded_in_the_report(limit, folder, caplog):
    caplog.set_level(logging.INFO, "lfads_tf2")
    with h5py.File(folder / "one.h5", "r+") as file:
        for half in ("train", "valid"):
            file[f"{half}_behavior"] = np.cumsum(file[f"{half}_truth"][:, :, :2], axis=1)
        file["train_behavior"].attrs["names"] = ["left", "right"]
    argv = ("--kind=posterior_push_mean", f"--data_dir={folder}", "--device=cpu:0", "--report")
    assert run(*argv, *([f"--ps_nexamples_to_process={limit}"] if limit else [])) == 0
    assert "one.h5: Behaviour decoded, R² of left, right: from inferred rates" in caplog.text
    report = folder / "lfads_output" / "report"
    assert (report / "one_behavior.png").exists() and (report / "fit.png").exists()
    page = (report / "index.html").read_text(encoding="utf-8")
    used = f"{limit or TRAIN} training trials and scored on {limit or VALID} validation trials"
    assert "<th>left</th>" in page and used in page


def test_a_session_too_large_for_memory_gives_the_same_and_is_not_drawn(folder, monkeypatch, caplog):
    caplog.set_level(logging.INFO, "lfads_tf2")
    argv, found = ("--kind=posterior_push_mean", f"--data_dir={folder}", "--device=cpu:0", "--report"), []
    paths = [folder / "lfads_output" / f"model_runs_one.h5_{half}_posterior_push_mean" for half in ("train", "valid")]
    for resident in (storage.RESIDENT_BYTES, 1000):
        monkeypatch.setattr(storage, "RESIDENT_BYTES", resident)
        monkeypatch.setattr(held_out, "BLOCK_ENTRIES", resident)  # of the scores
        assert run(*argv) == 0
        found.append([results.read_runs(path) for path in paths])
    for (arrays, attributes), (others, described) in zip(*found, strict=True):
        assert arrays.keys() == others.keys() and all(np.array_equal(arrays[key], others[key]) for key in arrays)
        assert attributes.keys() == described.keys()
        for name, value in attributes.items():
            if isinstance(value, str):
                assert described[name] == value
            else:
                np.testing.assert_allclose(described[name], value, rtol=1e-12, err_msg=name)
    assert "one.h5: its results, 0.0 GB, are too large to be drawn" in caplog.text


def test_which_checkpoint_inference_uses_is_said(folder, caplog):
    caplog.set_level(logging.INFO, "lfads_tf2")
    run_folder = folder / "lfads_output"
    names_of = {state: (run_folder / state).read_text().split('"')[1] for state in ("checkpoint", "checkpoint_lve")}
    push_mean = ("--kind=posterior_push_mean", f"--data_dir={folder}", "--device=cpu:0")

    def used(*argv):
        caplog.clear()
        assert run(*push_mean, *argv) == 0
        (line,) = [r.getMessage() for r in caplog.records if r.getMessage().startswith("Using the weights of")]
        return line

    assert f"{names_of['checkpoint_lve']} (step" in used()
    assert f"{names_of['checkpoint']} (step {3 * EPOCHS})" in used("--checkpoint_pb_load_name=checkpoint")
    # A state file that is gone does not make it take another one.
    (run_folder / "checkpoint_lve").unlink()
    assert f"{names_of['checkpoint_lve']} (step" in used()


def test_a_checkpoint_that_is_not_there(folder, capsys):
    push_mean = ("--kind=posterior_push_mean", f"--data_dir={folder}", "--device=cpu:0")
    assert run(*push_mean, "--checkpoint_pb_load_name=checkpoint_best") == 2
    assert "looked for checkpoint_best" in capsys.readouterr().err
    run_folder = folder / "lfads_output"
    for path in run_folder.glob("*_lve.ckpt-*"):
        path.unlink()
    assert run(*push_mean) == 2
    assert "its files are gone; give --checkpoint_pb_load_name=checkpoint to use" in capsys.readouterr().err
    for path in [*run_folder.glob("checkpoint*"), *run_folder.glob("*.ckpt-*")]:
        path.unlink()
    assert run(*push_mean) == 2
    said = "looked for checkpoint_lve and checkpoint); train first (lfads train DATA, or --kind=train)"
    assert said in capsys.readouterr().err
    assert not [name for name in names(folder) if name.startswith("model_runs")]


@pytest.mark.parametrize("ending", [".data-*", ".index"])
@pytest.mark.parametrize("kind", ["posterior_push_mean", "train"])
def test_a_damaged_checkpoint(kind, ending, folder, capsys):
    parts = list((folder / "lfads_output").glob(f"*{ending}"))
    assert parts
    for path in parts:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert run(f"--kind={kind}", f"--data_dir={folder}", "--device=cpu:0") == 2
    error = capsys.readouterr().err
    assert "lfads_vae" in error and "is damaged" in error and len(error.splitlines()) < 20
    assert ("--resume=never" if kind == "train" else "--checkpoint_pb_load_name") in error


def test_training_again_goes_on(folder, caplog):
    caplog.set_level(logging.INFO, "lfads_tf2")
    run_folder = folder / "lfads_output"
    before = (run_folder / "fitlog.csv").read_text()
    assert run("--kind=train", f"--data_dir={folder}", f"--max_epochs={EPOCHS + 3}", "--device=cpu:0") == 0
    assert "Resuming from" in caplog.text and f"after epoch {EPOCHS}" in caplog.text
    after = (run_folder / "fitlog.csv").read_text()
    assert after.startswith(before) and len(after.splitlines()) == EPOCHS + 3
    assert (run_folder / f"hyperparameters-{3 * EPOCHS}.txt").exists()
    # The sizes came from the run folder, and the default of 100 units did not.
    assert json.loads((run_folder / f"hyperparameters-{3 * EPOCHS}.txt").read_text())["gen_dim"] == 6


def test_another_architecture_is_refused(folder, capsys):
    for kind in ("train", "posterior_push_mean"):
        assert run(f"--kind={kind}", f"--data_dir={folder}", "--gen_dim=7", "--device=cpu:0") == 2
        error = capsys.readouterr().err
        assert "--gen_dim=7 does not fit the model in" in error and "which has gen_dim=6" in error


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"channels": 5}, "train", "session one.h5 has 5 channels, the model has 7"),
        ({"channels": 5}, "posterior_push_mean", "session one.h5 has 5 channels, the model has 7"),
        ({"bins": 8}, "train", "the data have 8 bins, the model was trained with 9"),
    ],
)
def test_data_that_do_not_fit_the_model(changes, kind, message, folder, capsys):
    write_spikes(folder / "one.h5", **changes)
    before = names(folder)
    assert run(f"--kind={kind}", f"--data_dir={folder}", "--device=cpu:0") == 2
    error = capsys.readouterr().err
    assert message in error and "which has one.h5 (7 channels)" in error
    assert "Give the data it was trained on, or train in a new --lfads_save_dir" in error
    assert names(folder) == before


def test_inference_on_new_trials_of_another_length(folder):
    """Trained on 9 bins, used on 12: the networks run over time, so nothing but the fixed sizes must match."""
    write_spikes(folder / "one.h5", train=3, valid=2, bins=12)
    assert run("--kind=posterior_push_mean", f"--data_dir={folder}", "--device=cpu:0") == 0
    path = folder / "lfads_output" / "model_runs_one.h5_train_posterior_push_mean"
    assert results.read_runs(path)[0]["factors"].shape == (3, 12, 3)


def test_several_sessions(tmp_path, capsys):
    data = tmp_path / "data"
    for name, channels in (("a.h5", 7), ("b.h5", 5)):
        write_spikes(data / f"lfads_{name}", channels=channels, seed=channels)
    common = (f"--data_dir={data}", f"--lfads_save_dir={tmp_path / 'run'}", "--device=cpu:0")
    assert run("--kind=train", "--data_filename_stem=lfads", *SMALL, "--max_epochs=1", *common) == 0
    # The stem is remembered, and one session alone will do for inference.
    (data / "lfads_a.h5").rename(tmp_path / "elsewhere.h5")
    assert run("--kind=posterior_push_mean", *common) == 0
    arrays, _ = results.read_runs(tmp_path / "run" / "model_runs_b.h5_valid_posterior_push_mean")
    assert arrays["output_dist_params"].shape == (6, 9, 5)
    assert not (tmp_path / "run" / "model_runs_a.h5_valid_posterior_push_mean").exists()
    assert run("--kind=train", *common) == 2
    assert "session a.h5 of the model is not in the data" in capsys.readouterr().err
    write_spikes(data / "lfads_c.h5")
    assert run("--kind=posterior_push_mean", *common) == 2
    error = capsys.readouterr().err
    assert "session c.h5 has 7 channels, the model does not know it" in error
    assert "a.h5 (7 channels), b.h5 (5 channels)" in error


def test_gaussian_outputs(tmp_path):
    write_spikes(tmp_path / "one.h5", train_truth=None, valid_truth=None)
    assert run("--kind=train", f"--data_dir={tmp_path}", *SMALL, "--max_epochs=1", "--output_dist=gaussian") == 0
    assert run("--kind=posterior_push_mean", f"--data_dir={tmp_path}", "--device=cpu:0") == 0
    arrays, attributes = results.read_runs(tmp_path / "lfads_output" / "model_runs_one.h5_valid_posterior_push_mean")
    assert arrays["output_dist_params"].shape == (VALID, BINS, 2 * CHANNELS)
    assert np.all(arrays["output_dist_params"][..., CHANNELS:] > 0), "variances"
    assert attributes["units"] == "units of the data: means, then variances"
    assert "r2_truth" not in attributes


def test_prior_samples_with_injected_inputs(tmp_path, caplog):
    caplog.set_level(logging.INFO, "lfads_tf2")
    random = np.random.default_rng(0)
    inputs = {f"{half}_ext_input": random.normal(size=(n, 9, 2)) for half, n in (("train", 20), ("valid", 6))}
    write_spikes(tmp_path / "one.h5", **inputs)
    settings = ("--ext_input_dim=2", "--inject_ext_input_to_gen", "--max_epochs=1")
    assert run("--kind=train", f"--data_dir={tmp_path}", *SMALL, *settings) == 0
    assert run("--kind=prior_sample", f"--data_dir={tmp_path}", "--batch_size=5", "--device=cpu:0") == 0
    _, attributes = results.read_runs(tmp_path / "lfads_output" / "model_runs_prior_sample")
    assert attributes["ext_input_from"] == "first 5 training trials of one.h5"
    assert "The external inputs of the samples are those of the first 5 training trials" in caplog.text


def test_training_from_a_models_file(folder, tmp_path):
    """A new run that starts at another's weights: its first costs are near the other's last, at step 0."""
    assert run("--kind=write_model_params", f"--data_dir={folder}", "--device=cpu:0") == 0
    params = folder / "lfads_output" / "model_params"
    fresh = ("--kind=train", f"--data_dir={folder}", "--max_epochs=1", "--device=cpu:0", "--noreport")
    assert run(*fresh, f"--model_params_file={params}", f"--lfads_save_dir={tmp_path / 'new'}") == 0
    log = read(tmp_path / "new" / "fitlog.csv")
    old = read(folder / "lfads_output" / "fitlog.csv")
    assert list(log["step"]) == [3]
    assert abs(log["recon_train"][0] - old["recon_train"][-1]) < abs(log["recon_train"][0] - old["recon_train"][0])


def test_a_configuration_file_runs_everything(folder, tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text(f"kind: posterior_push_mean\ndata_dir: {folder}\nc_device: cpu:0\nps_nexamples_to_process: 3\n")
    assert run(f"--config={config}") == 0
    path = folder / "lfads_output" / "model_runs_one.h5_train_posterior_push_mean"
    assert len(results.read_runs(path)[0]["factors"]) == 3
