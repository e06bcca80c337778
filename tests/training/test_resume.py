"""Killed at any moment and started again, a run ends as if nothing had happened, and nothing is ever unreadable."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
import tensorflow as tf
from conftest import ROOT
from small_runs import SMALL, write_spikes

from lfads_tf2.settings.checkpoint_files import saved_checkpoints
from lfads_tf2.training.fit_log import parse_line

EPOCHS, STEPS_AN_EPOCH = 100, 5
PATIENCE_S = 120


def start(data: Path, run: Path, epochs: int) -> subprocess.Popen:
    """One training process, with its output in a file beside the run folder."""
    command = [sys.executable, str(ROOT / "run_lfads.py"), "--kind=train", f"--data_dir={data}", *SMALL]
    command += [f"--lfads_save_dir={run}", f"--max_epochs={epochs}", "--seed=5", "--learning_rate_stop=1e-9"]
    with (run.parent / f"{run.name}.out").open("a") as output:
        return subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)


def lines_of(run: Path) -> int:
    log = run / "fitlog.csv"
    return log.read_text().count("\n") if log.exists() else 0


def kill_after(process: subprocess.Popen, run: Path, lines: int, delay: float) -> bool:
    """Kills once the log has grown by some lines and a moment has passed; whether it was still running."""
    before, waited_since = lines_of(run), time.monotonic()
    # A resumed run first shortens the log to its checkpoint.
    while process.poll() is None and lines_of(run) < before + lines:
        assert time.monotonic() - waited_since < PATIENCE_S, "no progress"
        time.sleep(0.002)
    time.sleep(delay)
    alive = process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    return alive


def check_readable(run: Path) -> None:
    """Every file that a reader may open is whole. Temporary ones, which no reader looks for, may be left behind."""
    for state in ("checkpoint", "checkpoint_lve"):
        named = re.findall(r'"([^"]+)"', (run / state).read_text()) if (run / state).exists() else []
        found = saved_checkpoints(run / state)
        assert {path.name for path in found} == set(named), f"{state} names what is not there"
        for prefix in found:
            reader = tf.train.load_checkpoint(str(prefix))
            for name in reader.get_variable_to_shape_map():
                value = reader.get_tensor(name)
                assert not isinstance(value, np.ndarray) or value.dtype.kind != "f" or np.all(np.isfinite(value)), name
    for path in run.glob("hyperparameters-*.txt"):
        assert json.loads(path.read_text())["gen_dim"] == 6
    for path in run.glob("model_*"):
        h5py.File(path).close()
    if (run / "fitlog.csv").exists():
        *whole, last = (run / "fitlog.csv").read_text().split("\n")
        rows = [parse_line(line) for line in whole]
        assert [row["epoch"] for row in rows] == list(range(len(rows)))
        assert all(len(row) == 11 for row in rows)
        assert len(last) < 300, "at most one line is unfinished"


def killed_and_resumed(tmp_path: Path, kills: int, epochs: int, seed: int) -> None:
    data = tmp_path / "data"
    write_spikes(data / "one.h5", train=8 * STEPS_AN_EPOCH)
    uninterrupted = start(data, tmp_path / "whole", epochs)
    assert uninterrupted.wait(PATIENCE_S * 5) == 0, (tmp_path / "whole.out").read_text()[-3000:]
    random, run, left, restarts = np.random.default_rng(seed), tmp_path / "parts", kills, []
    while left:
        process = start(data, run, epochs)
        # Lines after the first one of this start; the log is as long as it was or shorter until then.
        alive = kill_after(process, run, int(random.integers(0, max(2, epochs // (2 * kills)))), random.uniform(0, 0.2))
        assert alive, f"it ended before the kill; kills left: {left}\n" + (tmp_path / "parts.out").read_text()[-3000:]
        check_readable(run)
        restarts.append(lines_of(run))
        left -= 1
    assert start(data, run, epochs).wait(PATIENCE_S * 5) == 0, (tmp_path / "parts.out").read_text()[-3000:]
    check_readable(run)
    assert (run / "fitlog.csv").read_bytes() == (tmp_path / "whole" / "fitlog.csv").read_bytes(), restarts
    assert lines_of(run) == epochs
    assert max(restarts) > 10, f"no kill came in the middle: {restarts}"
    # The checkpoints are the same ones too, with the same weights.
    for state in ("checkpoint", "checkpoint_lve"):
        ours, others = (saved_checkpoints(tmp_path / folder / state)[-1] for folder in ("parts", "whole"))
        assert ours.name == others.name
        ours, others = (tf.train.load_checkpoint(str(prefix)) for prefix in (ours, others))
        for name in others.get_variable_to_shape_map():
            if name != "_CHECKPOINTABLE_OBJECT_GRAPH":
                np.testing.assert_array_equal(ours.get_tensor(name), others.get_tensor(name), err_msg=name)


def test_two_kills(tmp_path):
    killed_and_resumed(tmp_path, kills=2, epochs=EPOCHS, seed=1)


@pytest.mark.slow
def test_twenty_kills(tmp_path):
    killed_and_resumed(tmp_path, kills=20, epochs=6 * EPOCHS, seed=2)


def test_an_interrupt_from_the_keyboard_keeps_the_last_epoch(tmp_path):
    data, run = tmp_path / "data", tmp_path / "parts"
    write_spikes(data / "one.h5", train=8 * STEPS_AN_EPOCH)
    process = start(data, run, 100000)
    while process.poll() is None and lines_of(run) < 15:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE_S) == 130, (tmp_path / "parts.out").read_text()[-3000:]
    assert "Interrupted" in (tmp_path / "parts.out").read_text()
    assert "Traceback" not in (tmp_path / "parts.out").read_text()
    check_readable(run)
    steps = [int(prefix.name.rsplit("-", 1)[1]) for prefix in saved_checkpoints(run / "checkpoint")]
    assert steps[-1] == STEPS_AN_EPOCH * lines_of(run)
