"""The queue: what runs, what is noted, what is repeated, failures, stopping. A stand-in plays the program."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import ROOT

from lfads_tf2.errors import SettingsError
from lfads_tf2.run_manager import RunParams
from lfads_tf2.run_manager.__main__ import main
from lfads_tf2.run_manager.queue import stages
from lfads_tf2.run_manager.queue.progress_table import format_table, run_row
from lfads_tf2.run_manager.queue.runs import QueueError, find_run_folders, run_folders

from .small_sessions import SMALL, collection

FAKE = Path(__file__).with_name("fake_program.py")
HAS_RAY = importlib.util.find_spec("ray") is not None
BACKENDS = ["local", pytest.param("ray", marks=pytest.mark.skipif(not HAS_RAY, reason="Ray is not installed"))]


@pytest.fixture
def six(tmp_path):
    """Folders of six prepared runs."""
    sweep = RunParams(**SMALL).generate_sweep("c_gen_dim", [3, 4, 5, 6, 7, 8])
    runs = collection(tmp_path, specs=("single",), count=1, params=sweep)
    runs.prepare_for_lfads()
    return [run.path for run in runs.runs.ravel()]


def behave(folder, **what):
    (folder / "behave.json").write_text(json.dumps(what))


def calls(folder):
    return [line.split()[0] for line in (folder / "calls.txt").read_text().splitlines()]


def states(outcomes):
    return [outcome.state for outcome in outcomes]


ALL = ["train", "posterior_mean_sample", "write_model_params"]


@pytest.mark.parametrize("backend", BACKENDS)
def test_failures_stop_no_other_run_and_are_made_up_for(six, backend, capsys):
    behave(six[1], fail="posterior_mean_sample")
    # With Ray the stage kills its worker, without Ray itself.
    behave(six[3], **{"kill_parent" if backend == "ray" else "kill": "train"})
    options = {"backend": backend, "max_parallel": 2, "program": FAKE, "cpus": 1}
    outcomes = run_folders(six, **options)
    assert states(outcomes) == ["done", "failed", "done", "failed", "done", "done"]
    assert "the moon is in the wrong place" in outcomes[1].message and "exit code 3" in outcomes[1].message
    assert ("worker ended" if backend == "ray" else "killed by signal 9") in outcomes[3].message
    printed = capsys.readouterr().err
    assert "4 done, 2 failed" in printed and "the moon is in the wrong place" in printed
    for index, folder in enumerate(six):
        assert (folder / "lfads.done").exists() == (index not in (1, 3))
        assert stages.read_status(folder)["state"] == ("failed" if index in (1, 3) else "done")
    assert calls(six[0]) == ALL and calls(six[1]) == ALL[:2]
    # Without the faults a second start runs only what is missing, from the stage that failed.
    for index in (1, 3):
        (six[index] / "behave.json").unlink()
    if backend == "ray":
        wait_until_free(six[3])
    assert states(run_folders(six, **options)) == ["done"] * 6
    assert calls(six[0]) == ALL
    assert calls(six[1]) == [*ALL[:2], *ALL[1:]]
    assert calls(six[3]) == ["train", *ALL]


def wait_until_free(folder, seconds=20):
    """A killed worker's process ends a moment later and holds the lock until then."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with stages._lock(folder) as lock:
            if lock is not None:
                return
        time.sleep(0.1)
    raise AssertionError("the stage outlived its worker")


def test_retries_and_rerun(six):
    behave(six[0], fail="train")
    options = {"backend": "local", "program": FAKE, "show": False}
    assert states(run_folders(six[:1], retries=2, **options)) == ["failed"]
    assert calls(six[0]) == ["train"] * 3
    (six[0] / "behave.json").unlink()
    run_folders(six[:1], **options)
    run_folders(six[:1], rerun=True, **options)
    assert calls(six[0]) == ["train"] * 3 + ALL + ALL


def test_a_changed_command_is_run_again(six):
    options = {"backend": "local", "program": FAKE, "show": False}
    behave(six[0], fail="write_model_params")
    run_folders(six[:1], **options)
    (six[0] / "behave.json").unlink()
    content = json.loads((six[0] / "commands.json").read_text())
    content["stages"]["posterior_mean_sample"].append("--seed=3")
    (six[0] / "commands.json").write_text(json.dumps(content))
    run_folders(six[:1], **options)
    assert calls(six[0]) == [*ALL, *ALL[1:]]
    # Of a finished run only the posterior stage is repeated.
    for stage in ALL:
        content["stages"][stage].append("--batch_size=7")
    (six[0] / "commands.json").write_text(json.dumps(content))
    assert not stages.is_done(six[0])
    assert states(run_folders(six[:1], **options)) == ["done"]
    assert calls(six[0]) == [*ALL, *ALL[1:], ALL[1]] and stages.is_done(six[0])


def test_gpus_and_threads_are_dealt_out(six):
    options = {"backend": "local", "program": FAKE, "show": False, "max_parallel": 2}
    run_folders(six[:4], gpus=[4, 7], **options)
    used = {(f / "calls.txt").read_text().split()[1] for f in six[:4]}
    assert used <= {"4", "7"} and used
    run_folders(six[4:], cpus=3, **options)
    assert (six[4] / "calls.txt").read_text().split()[2] == "3"


@pytest.mark.parametrize("backend", BACKENDS)
def test_ctrl_c_ends_in_good_order(six, backend):
    for folder in six[:2]:
        behave(folder, sleep=60)
    command = [sys.executable, "-m", "lfads_tf2.run_manager", "run", str(six[0].parents[1]), "--backend", backend]
    command += ["--max_parallel", "2", "--cpus", "1", "--program", str(FAKE)]
    # The order of folders is that of their names, not ours: make all sleep.
    for folder in six[2:]:
        behave(folder, sleep=60)
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True)
    end = time.monotonic() + 120
    while sum((f / "calls.txt").exists() for f in six) < 2 and time.monotonic() < end:
        time.sleep(0.2)
    time.sleep(0.5)
    os.killpg(process.pid, signal.SIGINT)
    _, printed = process.communicate(timeout=120)
    assert process.returncode == 1, printed
    began = [f for f in six if (f / "calls.txt").exists()]
    assert len(began) == 2
    for folder in began:
        # The stage ended with exit code 0, as training does after Ctrl-C, and yet counts as stopped.
        assert stages.read_status(folder)["state"] == "stopped"
        assert not (folder / "lfads.done").exists()
        wait_until_free(folder)
        assert "saved after Ctrl-C" in stages.stage_log(folder, "train").read_text()
    for folder in six:
        behave(folder)
    assert states(run_folders(six, backend="local", program=FAKE, show=False)) == ["done"] * 6


def test_a_run_that_another_process_is_at_is_left_alone(six):
    with stages._lock(six[0]) as lock:
        assert lock is not None
        assert states(run_folders(six[:1], backend="local", program=FAKE, show=False)) == ["busy"]


def test_command_line_and_table(six, capsys):
    behave(six[2], fail="train")
    root = str(six[0].parents[1])
    assert main(["run", root, "--backend", "local", "--program", str(FAKE)]) == 1
    assert main(["status", root]) == 0
    printed = capsys.readouterr().out
    assert printed.count("done") == 5 and "failed" in printed and "epoch 0, train 9.00, valid 8.00" in printed
    assert "pending" in format_table([run_row(six[0].parent)])
    with pytest.raises(QueueError, match="holds no prepared runs"):
        main(["run", str(FAKE.parent)])
    for words, said in (
        (["run", root, "--max_parallel=0"], "--max_parallel: must be at least 1, got '0'"),
        (["run", root, "--gpu_list=a"], "--gpu_list: needs numbers with commas between, such as 0,1, got 'a'"),
        (["run", root, "--max_paralel=2"], "unknown option --max_paralel; did you mean --max_parallel?"),
        (["rum", root], "did you mean run?"),
    ):
        with pytest.raises(SettingsError, match=re.escape(said)):
            main(words)


def test_refusals(six, tmp_path):
    with pytest.raises(QueueError, match="backend must be"):
        run_folders(six, backend="slurm", program=FAKE)
    with pytest.raises(QueueError, match="is not prepared"):
        run_folders([tmp_path], program=FAKE)
    with pytest.raises(FileNotFoundError, match=r"nowhere\.py .*there is no such file"):
        run_folders(six, program=tmp_path / "nowhere.py")


@pytest.mark.parametrize(
    "file, content",
    [
        ("commands.json", ""), ("commands.json", '{"stages": {"tr'), ("commands.json", "[1, 2]"),
        ("commands.json", '{"stages": {}}'), ("commands.json", "[" * 50000), ("lfads.lock", "a folder"),
    ],
)  # fmt: skip
def test_an_odd_run_fails_alone(six, file, content):
    odd = six[0] / file
    odd.unlink(missing_ok=True)
    odd.mkdir() if content == "a folder" else odd.write_text(content)
    outcomes = run_folders(six[:3], backend="local", program=FAKE, show=False)
    assert states(outcomes) == ["failed", "done", "done"]
    assert "cannot be run" in outcomes[0].message and len(outcomes[0].message) < 500
    assert not (six[0] / "lfads.done").exists() and not (six[0] / "calls.txt").exists()


@pytest.mark.parametrize("content", ["", "[]", '"text"', "{" * 50000, "\0"])
def test_a_damaged_status_is_started_anew(six, content):
    (six[0] / "lfads.status.json").write_text(content)
    assert states(run_folders(six[:1], backend="local", program=FAKE, show=False)) == ["done"]


def test_code_that_a_folder_names_is_not_run(six):
    for folder, flag in zip(six, ("--output_dist=evil:Dist", "--c_co_prior=evil:Prior", "--flagfile=x"), strict=False):
        content = json.loads((folder / "commands.json").read_text())
        content["stages"]["train"].append(flag)
        (folder / "commands.json").write_text(json.dumps(content))
    outcomes = run_folders(six[:4], backend="local", program=FAKE, show=False)
    assert states(outcomes) == ["failed"] * 3 + ["done"]
    assert all("names code of its own" in outcome.message for outcome in outcomes[:3])
    assert not any((folder / "calls.txt").exists() for folder in six[:3])
    outcomes = run_folders(six[:1], backend="local", program=FAKE, show=False, allow_own_parts=True)
    assert states(outcomes) == ["done"]


def test_changed_commands_are_said_and_lost_ones_fail(six, caplog):
    options = {"backend": "local", "program": FAKE, "show": False}
    path = six[0] / "commands.json"
    path.write_text(path.read_text().replace("--batch_size=8", "--batch_size=9"))
    assert states(run_folders(six[:1], **options)) == ["done"]
    assert caplog.text.count(f"{path} was changed after it was written") == 1 == caplog.text.count("commands.json")
    # A run whose commands are gone is a run that failed, and not one fewer.
    (six[1] / "commands.json").unlink()
    found = find_run_folders(six[0].parents[1])
    assert found == sorted(six)
    assert states(run_folders(six[:3], **options)) == ["done", "failed", "done"]
