"""The command from end to end, on a small model in this process."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest
import yaml
from conftest import ROOT
from small_runs import program, write_spikes

from lfads_tf2.autolfads.command_line import parse
from lfads_tf2.autolfads.config import Budget
from lfads_tf2.autolfads.files import read_config
from lfads_tf2.autolfads.outputs import stem_of
from lfads_tf2.autolfads.population import Population, SearchFailed
from lfads_tf2.autolfads.records import read_fit_log
from lfads_tf2.autolfads.run import run_search
from lfads_tf2.data import DataError
from lfads_tf2.errors import SettingsError

from .test_config import NEUROCAAS
from .test_slot import HPS, MODEL

OPTIONS = {
    "num_workers": 3, "perturbation_interval": 2, "burn_in_period": 2, "ramp_epochs": 1, "max_epochs": 8, "patience": 0,
}  # fmt: skip


@pytest.fixture
def data(tmp_path):
    write_spikes(tmp_path / "data" / "my.session.h5")
    return tmp_path / "data"


def config_file(folder, **content):
    path = folder / "search.yaml"
    settings = MODEL | {"seed": 4, "num_samples_posterior": 4, "pbt": OPTIONS | {"hps": HPS}}
    path.write_text(yaml.safe_dump(settings | content))
    return path


def command(*arguments) -> list[str]:
    return [sys.executable, "-m", "lfads_tf2.autolfads", "--population_mode=serial", *map(str, arguments)]


def test_the_command_leaves_everything(data, tmp_path):
    done = subprocess.run(
        command(f"--config={config_file(tmp_path)}", f"--data_dir={data}", f"--lfads_save_dir={tmp_path / 'run'}"),
        cwd=ROOT, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("generation ") == 4
    run = tmp_path / "run"
    assert {path.name for path in run.iterdir()} == {
        "best_model", "fitlog.csv", "figures", "lfads_output_my.session.h5", "pbt_history.json", "population",
        "tensorboard",
    }  # fmt: skip
    assert len(list((run / "figures").glob("*.png"))) == 3
    assert len(list((run / "tensorboard").glob("worker_*/events*"))) == 3
    with h5py.File(data / "my.session.h5") as source, h5py.File(run / "lfads_output_my.session.h5") as f:
        for key in source:
            np.testing.assert_array_equal(f[key][()], source[key][()])
        for half, count in (("train", 20), ("valid", 6)):
            shapes = {
                "output_params": (count, 9, 7), "factors": (count, 9, 3), "gen_states": (count, 9, 6),
                "gen_init": (count, 6), "gen_inputs": (count, 9, 1), "co_means": (count, 9, 1),
                "co_stds": (count, 9, 1), "ic_mean": (count, 4), "ic_std": (count, 4),
            }  # fmt: skip
            assert {name: f[f"{half}_{name}"].shape for name in shapes} == shapes
            assert all(np.isfinite(f[f"{half}_{name}"]).all() for name in shapes)
            assert np.all(f[f"{half}_co_stds"][()] > 0)
    # The best model is an ordinary run folder.
    arguments = (f"--data_dir={data}", f"--lfads_save_dir={run / 'best_model'}", "--noreport", "--device=cpu:0")
    program("--kind=posterior_push_mean", *arguments)
    values = json.loads((run / "population" / "population.json").read_text())["best"]["values"]
    saved = json.loads(next((run / "best_model").glob("hyperparameters-*.txt")).read_text())
    assert saved["keep_prob"] == 1 - values["dropout_rate"]
    assert saved["learning_rate_init"] == values["learning_rate_init"]


def test_a_killed_driver_is_resumed(data, tmp_path):
    arguments = command(
        f"--config={config_file(tmp_path)}", f"--data_dir={data}", f"--lfads_save_dir={tmp_path / 'run'}",
        "--max_epochs=60",
    )  # fmt: skip
    for resume in ([], ["--resume"]):
        killed = subprocess.Popen([*arguments, *resume], cwd=ROOT, stderr=subprocess.PIPE, text=True)
        lines = 0
        for line in killed.stderr:
            lines += line.startswith("generation ")
            if lines == 3:
                break
        time.sleep(0.1)
        killed.kill()
        killed.wait()
    done = subprocess.run([*arguments, "--resume"], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    log = read_fit_log(tmp_path / "run" / "fitlog.csv")
    pairs = sorted(zip(log["worker_id"], log["epoch"], strict=True))
    assert pairs == [(w, e) for w in range(3) for e in range(60)]
    assert (tmp_path / "run" / "best_model" / "model_params").exists()


def test_interrupted_leaves_a_usable_model(data, tmp_path):
    arguments = command(
        f"--config={config_file(tmp_path)}", f"--data_dir={data}", f"--lfads_save_dir={tmp_path / 'run'}",
        "--max_epochs=100000",
    )  # fmt: skip
    running = subprocess.Popen(arguments, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    for line in running.stderr:
        if line.startswith("generation   2"):
            running.send_signal(signal.SIGINT)
            break
    rest = running.communicate(timeout=300)[1]
    assert running.returncode == 130, rest
    assert "--resume goes on from here" in rest
    assert (tmp_path / "run" / "best_model" / "checkpoint_lve").exists()
    assert (tmp_path / "run" / "lfads_output_my.session.h5").exists()
    assert (tmp_path / "run" / "figures" / "loss_curves.png").exists()


def test_neurocaas_with_the_two_key_file(tmp_path):
    """Configuration and data dialect of the other program; only the sizes are those of the small data."""
    write_spikes(tmp_path / "data" / "one.h5")
    with h5py.File(tmp_path / "data" / "one.h5", "r+") as f:
        for half in ("train", "valid"):
            for kind in ("encod", "recon"):
                f[f"{half}_{kind}_data"] = f[f"{half}_data"][()]
            del f[f"{half}_data"], f[f"{half}_truth"]
    content = NEUROCAAS | {"trainer": {"max_epochs": 4}}
    content["pbt"] = NEUROCAAS["pbt"] | {"num_samples": 2, "perturbation_interval": 2, "burn_in_period": 2}
    path = tmp_path / "pbt_neurocaas.yaml"
    path.write_text(yaml.safe_dump(content))
    config, _ = parse([f"--config={path}", f"--data_dir={tmp_path / 'data'}", "--num_samples_posterior=2"])
    result = run_search(config, tmp_path / "run", mode="serial")
    assert result.reason == "max_epochs"
    with h5py.File(tmp_path / "run" / "lfads_output_one.h5") as f:
        assert f["valid_output_params"].shape == (6, 9, 7)


@pytest.mark.parametrize("mode", ["serial", "batched"])
def test_random_search(data, tmp_path, mode):
    config, _ = parse([f"--config={config_file(tmp_path)}", f"--data_dir={data}", "--search=random", "--max_epochs=3"])
    result = run_search(config, tmp_path / "run", mode)
    assert not any(entry["replaced"] for entry in result.population.history)
    assert (tmp_path / "run" / "best_model" / "model_params").exists()
    with pytest.raises(SearchFailed, match="holds a search already; give --resume"):
        run_search(config, tmp_path / "run", mode)
    with pytest.raises(SearchFailed, match="there is no search in"):
        run_search(config, tmp_path / "none", mode, resume=True)


def test_interrupted_before_there_is_a_model(data, tmp_path, monkeypatch, caplog):
    def interrupt(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(Population, "run", interrupt)
    config, _ = parse([f"--config={config_file(tmp_path)}", f"--data_dir={data}"])
    result = run_search(config, tmp_path / "run", mode="serial")
    assert (result.reason, result.best) == ("interrupted", None)
    assert "there is no model to write" in caplog.text


def test_no_validation_trials(tmp_path):
    write_spikes(tmp_path / "data" / "one.h5", valid_data=None, valid_truth=None)
    config, _ = parse([f"--config={config_file(tmp_path)}", f"--data_dir={tmp_path / 'data'}"])
    with pytest.raises(DataError, match="no validation trials, by which models are compared"):
        run_search(config, tmp_path / "run", mode="serial")


def test_validation_trials_without_spikes(tmp_path):
    path = tmp_path / "data" / "one.h5"
    write_spikes(path)
    with h5py.File(path, "r+") as f:
        f["valid_data"][...] = 0
    planned, _ = parse([f"--data_dir={tmp_path / 'data'}"])
    with pytest.raises(DataError, match="hold no spikes"):
        run_search(planned, tmp_path / "run", mode="serial")
    assert not (tmp_path / "run").exists()


SIZES = [
    f"--{name}={MODEL[name]}" for name in ("factors_dim", "gen_dim", "ic_dim", "ic_enc_dim", "ci_enc_dim", "con_dim")
]


def test_nothing_but_the_data(data, tmp_path, caplog):
    """The search plans itself, ends, and knows its plan when it goes on."""
    caplog.set_level("INFO", "lfads_tf2")
    flags = [str(data), *SIZES, "--seed=4", "--num_samples_posterior=2", "--budget=30epochs", "--report=false"]
    config, _ = parse(flags)
    own = config.chosen | {"max_epochs": 6, "num_workers": 3}
    result = run_search(dataclasses.replace(config, chosen=own), tmp_path / "run", "serial")
    assert result.reason == "max_epochs"
    assert "Plan: 3 workers x 6 epochs, the first with these settings to its end" in caplog.text
    assert "above that by" in caplog.text
    said = f"For its results and their report: lfads infer {data} --lfads_save_dir={tmp_path / 'run' / 'best_model'}"
    assert said in caplog.text
    assert result.best["score"] <= result.population.history[-1]["scores"][0]
    assert json.loads((tmp_path / "run" / "population" / "plan.json").read_text())["num_workers"] == 4
    again = run_search(
        dataclasses.replace(config, chosen=own, budget=Budget(epochs=99)), tmp_path / "run", "serial", True
    )
    assert again.best == result.best
    assert again.population.options.polish_epochs == result.population.options.polish_epochs
    program("--kind=train", f"--data_dir={data}", f"--lfads_save_dir={tmp_path / 'run' / 'best_model'}", "--noreport")


def test_a_budget_of_time(data, tmp_path, caplog):
    caplog.set_level("INFO", "lfads_tf2")
    config, _ = parse([str(data), *SIZES, "--num_samples_posterior=2", "--budget=2s", "--max_epochs=6"])
    result = run_search(config, tmp_path / "run", "serial")
    assert result.population.options.num_workers == 2, "more than starting takes is not there"
    assert " min." in caplog.text and result.best is not None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no data folder is given: lfads auto DATA"),
        (["--preset=tiny"], "--preset must be one of auto, small, medium, large, got 'tiny'"),
        (["--preset=small"], "no data folder is given: lfads auto DATA"),
        (["--preset=small", "--numworkers=3"], "unknown option --numworkers; did you mean --num_workers"),
        (["--preset=small", "--data_dir=x", "--num_workers=0"], "pbt.num_workers must be at least 1, got 0"),
        (["--preset=small", "--data_dir=x", "--gen_dim=many"], "gen_dim must be a whole number, got 'many'"),
        (["--preset=small", "--data_dir=x", "--search=grid"], "pbt.search must be one of pbt, random"),
        (["--preset=small", "--data_dir=x", "--max_epochs=50"], r"burn_in_period \(105\) must be less than max_epochs"),
        (["--preset=small", "--population_mode=cloud"], "invalid choice: 'cloud'"),
        (["--config=nowhere.yaml"], "there is no file nowhere.yaml"),
    ],
)
def test_refused_arguments(arguments, message):
    with pytest.raises(SettingsError, match=message):
        parse(arguments)


def test_command_line_over_file_over_preset(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("gen_dim: 7\npbt:\n  num_workers: 5\n")
    config, _ = parse(["--preset=small", f"--config={path}", "--data_dir=x", "--max_epochs=200", "--c_co_dim=3"])
    assert (config.given["gen_dim"], config.given["co_dim"], config.given["ic_enc_dim"]) == (7, 3, 64)
    assert (config.options.num_workers, config.options.max_epochs, config.options.perturbation_interval) == (5, 200, 25)
    assert len(config.searched) > 3
    assert read_config(config_file(tmp_path)).options.max_epochs == 8


def test_help_is_quick_and_needs_no_tensorflow():
    started = time.monotonic()
    environment = os.environ | {"PYTHONPROFILEIMPORTTIME": "1"}
    done = subprocess.run(command("--help"), cwd=ROOT, capture_output=True, text=True, env=environment, timeout=60)
    assert "--num_workers" in done.stdout and "--gen_dim" in done.stdout
    assert "tensorflow" not in done.stderr and "ray" not in {
        line.split("|")[-1].strip() for line in done.stderr.splitlines()
    }
    assert time.monotonic() - started < 30


def test_stems():
    assert stem_of("a.b.h5") == "a.b"
    assert stem_of("dataset001") == "dataset001"
    assert stem_of("x.HDF5") == "x"
