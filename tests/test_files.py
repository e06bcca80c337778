"""Files are whole or absent."""

import json
import os
import stat
import subprocess

import pytest

from lfads_tf2.files import atomic_path, checksum, write_text


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
