"""One command at a time in a run folder, whatever becomes of the others."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys

import pytest
from conftest import ROOT

from lfads_tf2.errors import RunError
from lfads_tf2.program import run_lock as module
from lfads_tf2.program.run_lock import LOCK_FILE, run_lock

HOLDER = """
import sys
from pathlib import Path
from lfads_tf2.program.run_lock import run_lock
with run_lock(Path(sys.argv[1]), "training"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


def without_system_locks(monkeypatch):
    """As on a file system that knows none."""
    monkeypatch.setattr(module, "_lock", lambda descriptor: None)


@pytest.mark.parametrize("system", [True, False])
def test_the_second_is_refused_and_told_who_works_there(tmp_path, holder, system, monkeypatch):
    if not system:
        without_system_locks(monkeypatch)
    expected = rf"{tmp_path} is in use by training \(process {holder.pid} on {socket.gethostname()}, since 20"
    with pytest.raises(RunError, match=expected), run_lock(tmp_path, "another"):
        pass
    holder.stdin.close()
    holder.wait()
    with run_lock(tmp_path, "another"):
        assert json.loads((tmp_path / LOCK_FILE).read_text())["pid"] == os.getpid()
        with pytest.raises(RunError, match="in use by another"), run_lock(tmp_path, "a third"):
            pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("system", [True, False])
def test_the_lock_of_a_killed_process_is_taken_over(tmp_path, holder, system, monkeypatch, caplog):
    holder.kill()
    holder.wait()
    assert (tmp_path / LOCK_FILE).exists()
    if not system:
        without_system_locks(monkeypatch)
    with caplog.at_level("INFO", "lfads_tf2"), run_lock(tmp_path, "another"):
        pass
    assert f"Taking over the folder from training (process {holder.pid} on" in caplog.text
    assert list(tmp_path.iterdir()) == []


def test_a_number_that_another_process_has_now(tmp_path, monkeypatch):
    without_system_locks(monkeypatch)
    known = {"what": "training", "host": socket.gethostname(), "pid": os.getpid(), "since": "then", "started": "1"}
    (tmp_path / LOCK_FILE).write_text(json.dumps(known))
    with run_lock(tmp_path, "another"):
        pass
    (tmp_path / LOCK_FILE).write_text(json.dumps(known | {"host": "elsewhere"}))
    expected = r"process .* on elsewhere, since then.*remove .*lfads_lock"
    with pytest.raises(RunError, match=expected), run_lock(tmp_path, "another"):
        pass


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"pid": "x"}', "\x00\xff"])
def test_a_lock_file_that_says_nothing(tmp_path, content):
    (tmp_path / LOCK_FILE).write_text(content)
    with run_lock(tmp_path, "training"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_an_error_inside_frees_the_lock(tmp_path):
    with pytest.raises(ZeroDivisionError), run_lock(tmp_path, "training"):
        1 / 0  # noqa: B018
    with run_lock(tmp_path, "training"):
        pass


def test_a_folder_that_cannot_be_written_to(tmp_path):
    (tmp_path / LOCK_FILE).mkdir()
    with pytest.raises(RunError, match=f"cannot write to the folder {tmp_path}"), run_lock(tmp_path, "training"):
        pass
