"""How the native kernels are built, kept and done without."""

import logging
import os
import shutil
import stat
import subprocess
import sys
import threading

import numpy as np
import pytest
import tensorflow as tf

from lfads_tf2.model import native, scans

COMPILER = next((path for path in map(shutil.which, native.COMPILERS) if path), None)
needs_compiler = pytest.mark.skipif(COMPILER is None, reason="no C++ compiler, hence no kernels")


@needs_compiler
def test_concurrent_builds_leave_one_whole_library(tmp_path):
    built, count = [], 2
    workers = [
        threading.Thread(target=lambda: built.append(native.build(tmp_path, COMPILER, tf))) for _ in range(count)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(built) == count and len(set(built)) == 1
    assert [path.name for path in tmp_path.iterdir()] == [built[0].name]
    before = built[0].stat().st_mtime_ns
    assert native.build(tmp_path, COMPILER, tf).stat().st_mtime_ns == before


def test_a_broken_compiler_gives_none_and_one_log_line(tmp_path, monkeypatch, caplog):
    broken = tmp_path / "c++"
    broken.write_text("#!/bin/sh\necho 'kernel.cc: error: cannot compile today' >&2\nexit 1\n")
    broken.chmod(broken.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("CXX", str(broken))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(native, "_loaded", [])
    with caplog.at_level(logging.WARNING):
        assert native.load() is None and native.load() is None
    assert len(caplog.records) == 1 and "cannot compile today" in caplog.text
    assert not list((tmp_path / "cache" / "lfads_tf2").iterdir())
    with pytest.raises(RuntimeError, match="available"):
        scans.gru_scan(*(np.zeros([1, 1, 1], np.float32) for _ in range(5)), clip=1.0, native=True)


def test_no_compiler_gives_none(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(native, "_loaded", [])
    assert native.load() is None
    assert "no C++ compiler found" in caplog.text


def test_the_environment_can_switch_the_kernels_off_without_importing_tensorflow():
    code = (
        "import sys\nfrom lfads_tf2 import native\nassert native.load() is None\nassert 'tensorflow' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "LFADS_NATIVE": "0"}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "LFADS_NATIVE=0" in done.stderr


@needs_compiler
def test_a_damaged_library_is_replaced(tmp_path):
    folder = tmp_path / "lfads_tf2"
    folder.mkdir(mode=0o700)
    library = folder.joinpath(native.library_name(native.find_compiler(), tf.__version__))
    library.write_bytes(b"not a library")
    code = "from lfads_tf2 import native\nassert native.load() is not None"
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not library.exists()


def test_folders_that_others_may_write_are_not_used(tmp_path, monkeypatch):
    (tmp_path / "lfads_tf2").mkdir()
    (tmp_path / "lfads_tf2").chmod(0o777)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert tmp_path / "lfads_tf2" not in list(native.cache_folders())
