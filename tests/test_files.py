"""Files are whole or absent."""

import json
import os
import stat
import subprocess
import sys

import h5py
import numpy as np
import pytest
from conftest import ROOT

from lfads_tf2.files import atomic_path, checksum, hdf5, write_text


def test_the_file_appears_whole_and_only_at_the_end(tmp_path):
    target = tmp_path / "result.h5"
    with atomic_path(target) as temporary:
        temporary.write_bytes(b"new")
        assert temporary.parent == target.parent
        assert temporary.name.startswith(".") and temporary.name.endswith(".tmp")
        assert not target.exists()
    assert target.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["result.h5"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_error_leaves_the_old_content_and_no_litter(tmp_path, error):
    target = tmp_path / "result.h5"
    write_text(target, "old")
    with pytest.raises(error), atomic_path(target) as temporary:
        temporary.write_text("half of the n")
        raise error
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["result.h5"]


def test_a_block_that_writes_nothing_is_an_error(tmp_path):
    write_text(tmp_path / "a", "old")
    with pytest.raises(FileNotFoundError, match=r"nothing was written for .*/a"), atomic_path(tmp_path / "a"):
        pass
    assert (tmp_path / "a").read_text() == "old"


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"the folder .*nowhere does not exist; create it"):
        write_text(tmp_path / "nowhere" / "a", "text")


def test_text_is_utf8_and_permissions_are_the_users_own(tmp_path):
    target = tmp_path / "unit.txt"
    write_text(target, "µV ± R²\n")
    assert target.read_bytes() == "µV ± R²\n".encode()
    plain = tmp_path / "plain.txt"
    plain.write_text("")
    assert stat.S_IMODE(target.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)


def test_the_file_and_the_folder_reach_the_disk_around_the_rename(tmp_path, monkeypatch):
    steps = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (steps.append("fsync"), fsync(fd)))
    monkeypatch.setattr(os, "replace", lambda a, b: (steps.append("replace"), replace(a, b)))
    write_text(tmp_path / "a", "x")
    assert steps == ["fsync", "replace", "fsync"]


def test_two_writers_of_one_file_do_not_share_a_temporary_name(tmp_path):
    target = tmp_path / "a"
    with atomic_path(target) as first, atomic_path(target) as second:
        assert first != second
        first.write_text("first")
        second.write_text("second")
    assert target.read_text() == "first"


def test_what_a_killed_process_left_of_a_file_goes(tmp_path):
    dead = subprocess.Popen(["true"])
    dead.wait()
    litter = tmp_path / f".a.json.{dead.pid}.0123abcd.tmp"
    kept = [tmp_path / name for name in (
        f".a.json.{os.getpid()}.0123abcd.tmp", f".b.json.{dead.pid}.0123abcd.tmp", f".a.json.{dead.pid}.notes.tmp",
    )]  # fmt: skip
    for path in (litter, *kept):
        path.write_text("x")
    write_text(tmp_path / "a.json", "whole")
    assert not litter.exists() and all(path.exists() for path in kept)


def test_a_checksum_is_of_the_content_alone():
    assert checksum({"a": (1, 2.5), "b": None}) == checksum(json.loads('{"b":null,\n "a": [1, 2.5]}'))
    assert checksum({"a": 1}) != checksum({"a": 2})


FULL_DISK = """
import resource, sys
from pathlib import Path
import numpy as np
from lfads_tf2.files import atomic_path, hdf5

values = np.random.default_rng(0).random((200, 64))
options = dict(compression="gzip", fletcher32=True, chunks=(10, 64))
for limit in range(1, 120_000, 1777):
    # What a file may hold; Python ignores the signal that comes with it.
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        with atomic_path("a.h5") as temporary, hdf5.writing(temporary, libver=("v108", "v108")) as f:
            for key in "abc":
                rows = f.create_dataset(key, values.shape, values.dtype, **options)
                rows.attrs["unit"] = "spikes/bin"
                for start in range(0, len(values), 7):
                    rows[start : start + 7] = values[start : start + 7]
    except OSError as error:
        print(type(error).__name__, error.errno)
    else:
        print("whole", limit)
    if any(path.suffix == ".tmp" for path in Path().iterdir()):
        print("litter")
"""


def test_a_full_disk_is_one_error_and_leaves_hdf5_whole(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK], cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert set(done.stdout.split("\n")) == {"OSError 27", ""}, done.stdout


def test_hdf5_is_written_as_by_the_library(tmp_path):
    values = np.random.default_rng(1).random((30, 8))
    with hdf5.writing(tmp_path / "a.h5") as f:
        f["values"], f.attrs["name"] = values, "a"
        f.create_dataset("packed", data=values, compression="gzip", chunks=(4, 8))
    with hdf5.writing(tmp_path / "a.h5", "r+") as f:
        del f["values"]
        f["more"] = ["one", "two"]
        f.check()
    with h5py.File(tmp_path / "a.h5") as f:
        assert sorted(f) == ["more", "packed"] and f.attrs["name"] == "a"
        np.testing.assert_array_equal(f["packed"], values)
    with pytest.raises(TypeError), hdf5.writing(tmp_path / "b.h5") as f:
        f["values"] = object()
    with pytest.raises(FileNotFoundError), hdf5.writing(tmp_path / "none.h5", "r+"):
        pass
