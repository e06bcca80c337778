"""Shell scripts: what they hold, and that they run as they are."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from lfads_tf2.run_manager.queue.commands import ProgramNotFound

from .small_sessions import SMALL, RunParams, collection

FAKE = Path(__file__).with_name("fake_program.py")


@pytest.fixture
def runs(tmp_path):
    made = collection(
        tmp_path / "with space", specs=("all",), params=RunParams(**SMALL, c_temporal_spike_jitter_width=2)
    )
    made.prepare_for_lfads()
    return made


def test_flags_of_the_stages(runs):
    run = runs.runs[0, 0]
    runs.write_shell_scripts(program=FAKE)
    train, posterior, params = (
        (run.path / f"lfads_{stage}.sh").read_text()
        for stage in ("train", "posterior_mean_sample", "write_model_params")
    )
    assert "--temporal_spike_jitter_width=2" in train and "--batch_size=8" in train and "--kind" not in train
    assert "--kl_increase_steps=4" in train  # two datasets
    assert "--kind=posterior_sample_and_average --batch_size=3 --checkpoint_pb_load_name=checkpoint_lve" in posterior
    assert "jitter" not in posterior + params and "--batch_size=8" not in posterior
    assert "--kind=write_model_params --checkpoint_pb_load_name=checkpoint_lve" in params
    board = (runs.path / "launch_tensorboard.sh").read_text()
    assert f'--logdir_spec="param_{run.params.param_hash}/all:$HERE/' in board


def test_scripts_run_as_they_are(runs):
    run = runs.runs[0, 0]
    for path in runs.write_shell_scripts(program=FAKE):
        assert os.access(path, os.X_OK)
        assert subprocess.run(["bash", "-n", path]).returncode == 0
    for stage in ("train", "posterior_mean_sample", "write_model_params"):
        subprocess.run([run.path / f"lfads_{stage}.sh"], check=True, cwd="/")
    assert [line.split()[0] for line in (run.path / "calls.txt").read_text().splitlines()] == [
        "train", "posterior_mean_sample", "write_model_params",
    ]  # fmt: skip


def test_chained_script_leaves_its_marker_only_when_all_succeed(runs):
    run = runs.runs[0, 0]
    runs.write_shell_scripts(program=FAKE, chain=True, cuda_visible_devices=3)
    script = run.path / "lfads_train.sh"
    (run.path / "behave.json").write_text('{"fail": "write_model_params"}')
    assert subprocess.run([script]).returncode == 3
    assert not (run.path / "lfads.done").exists()
    (run.path / "behave.json").unlink()
    assert subprocess.run([script]).returncode == 0
    assert (run.path / "lfads.done").exists()
    assert {line.split()[1] for line in (run.path / "calls.txt").read_text().splitlines()} == {"3"}


def test_a_script_that_is_not_there_is_said(runs):
    with pytest.raises(ProgramNotFound, match=r"nowhere\.py .*there is no such file; leave it out"):
        runs.write_shell_scripts(program="/nowhere.py")


def test_scripts_start_the_installed_program(runs):
    (script, *_) = runs.write_shell_scripts()
    assert "LFADS=(-m lfads_tf2)" in script.read_text()
