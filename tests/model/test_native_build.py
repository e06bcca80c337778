"""How the native kernels are built, checked, kept and done without."""

import logging
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest
import tensorflow as tf

from lfads_tf2.model import native, scans
from lfads_tf2.model.native import building, cache

PREFIX = building.prefix(tf.__version__)
LOAD = "from lfads_tf2.model import native\nassert native.load() is not None"


def test_the_kernels_are_tested_where_they_must_be():
    """Elsewhere a machine without a compiler skips; continuous integration must not."""
    if not native.available():
        assert not os.environ.get("CI"), "continuous integration needs a C++ compiler: all tests of kernels skip"
        pytest.skip("the native kernels cannot be built here")


@pytest.fixture(scope="module")
def library():
    """A whole library for this machine."""
    if not native.available():
        pytest.skip("the native kernels cannot be built here")
    return next(path for folder in cache.folders() if folder.is_dir() for path in cache.libraries(folder, PREFIX))


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A cache folder of this test's own, and no other to fall back on."""
    tmp_path.chmod(0o700)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(cache, "folders", lambda folders=cache.folders: folders()[:1])
    monkeypatch.setattr(native, "_loaded", [])
    return tmp_path


def put(home, library) -> Path:
    folder = home / "lfads_tf2"
    folder.mkdir(mode=0o700, exist_ok=True)
    return Path(shutil.copy(library, folder))


def script(path, body) -> str:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return str(path)


def compiler_that_gives(path, library) -> str:
    """A compiler that takes no time, and knows the answer. It refuses -mcpu, as many do."""
    body = f'echo "$@" >> {path}.log; while [ $# -gt 0 ]; do if [ "$1" = -o ]; then cp {library} "$2"; fi; shift; done'
    return script(path, body)


def start(code, cache_home, **environment):
    """A new process with this cache folder, and a temporary folder in which no other library is."""
    environment = os.environ | {"XDG_CACHE_HOME": str(cache_home), "TMPDIR": str(cache_home)} | environment
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)


def test_concurrent_builds_leave_one_whole_library(home, library):
    folder, built = cache.folders()[0], []
    compiler = compiler_that_gives(home / "c++", library)
    workers = [threading.Thread(target=lambda: built.append(building.build(folder, compiler, tf))) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(built) == 2 and len(set(built)) == 1
    assert [path.name for path in folder.iterdir()] == [built[0].name] == [library.name]
    assert list(cache.libraries(folder, PREFIX)) == [built[0]]


def test_a_broken_compiler_gives_none_and_one_log_line(home, monkeypatch, caplog):
    monkeypatch.setenv("CXX", script(home / "c++", "echo 'kernel.cc: error: cannot compile today' >&2; exit 1"))
    with caplog.at_level(logging.WARNING):
        assert native.load() is None and native.load() is None
    assert len(caplog.records) == 1 and "cannot compile today" in caplog.text
    assert not list((home / "lfads_tf2").iterdir())
    with pytest.raises(RuntimeError, match="available"):
        scans.gru_scan(None, clip=1.0, native=True)


def test_no_compiler_and_no_library_gives_none(home, monkeypatch, caplog):
    monkeypatch.setenv("PATH", str(home))
    monkeypatch.delenv("CXX", raising=False)
    assert native.load() is None
    assert "no C++ compiler found" in caplog.text


def test_a_library_that_does_not_load_gives_none(home, monkeypatch, caplog):
    """As in a folder from which nothing may be executed."""
    (home / "text").write_text("not a library")
    monkeypatch.setenv("CXX", compiler_that_gives(home / "c++", home / "text"))
    assert native.load() is None
    assert "does not load" in caplog.text and len(caplog.records) == 1
    assert not list((home / "lfads_tf2").iterdir())


def test_the_environment_can_switch_the_kernels_off_without_importing_tensorflow(tmp_path):
    code = "from lfads_tf2.model import native\nassert native.load() is None\n"
    done = start(f"{code}import sys\nassert 'tensorflow' not in sys.modules", tmp_path, LFADS_NATIVE="0")
    assert done.returncode == 0, done.stderr
    assert "LFADS_NATIVE=0" in done.stderr


def altered_compiler(path, old, new) -> str:
    """The real compiler, on sources in which one thing is another; unoptimised, which takes less time."""
    sources = path.with_suffix(".sources")
    shutil.copytree(building.SOURCE_FOLDER, sources, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    text = (sources / "gru_step.h").read_text()
    assert text.count(old) == 1
    (sources / "gru_step.h").write_text(text.replace(old, new))
    real = building.find_compiler()
    line = f'exec {real} -O0 $(echo "$@" | sed -e "s/-O3//" -e "s#{building.SOURCE_FOLDER}#{sources}#g")'
    return script(path, line)


@pytest.mark.parametrize(
    "old, new, said",
    [
        ("+ units + col, n)) + 1.0f);", "+ units + col, n)) + 1.01f);", "something else than the plain loops"),
        ("store_n(s.reset_state + at, r * h, n);", "__builtin_trap();", "crash"),
    ],
)
def test_wrong_kernels_are_switched_off(home, library, monkeypatch, caplog, old, new, said):
    monkeypatch.setenv("CXX", altered_compiler(home / "c++", old, new))
    assert native.load() is None
    assert said in caplog.text and len(caplog.records) == 1
    (refusal,) = (home / "lfads_tf2").iterdir()
    # It is known from then on, whatever the compiler.
    caplog.clear()
    monkeypatch.setattr(native, "_loaded", [])
    monkeypatch.setenv("CXX", compiler_that_gives(home / "g++", library))
    assert native.load() is None
    assert said in caplog.text and f"remove {refusal}" in caplog.text
    assert not (home / "g++.log").exists()


def flipped(content):
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@pytest.mark.parametrize("damage", [flipped, lambda content: content[: len(content) // 3], lambda content: b""])
def test_a_damaged_library_is_known_before_it_is_loaded(home, library, damage):
    copy = put(home, library)
    assert list(cache.libraries(copy.parent, PREFIX)) == [copy]
    copy.write_bytes(damage(copy.read_bytes()))
    assert list(cache.libraries(copy.parent, PREFIX)) == []
    assert not copy.exists()


def test_a_truncated_library_is_replaced(home, library):
    """And its folder tidied on the occasion."""
    copy = put(home, library)
    os.truncate(copy, 100_000)
    old = copy.with_name("kernels-0123456789abcdef0123.so")
    old.touch()
    os.utime(old, times=(0, 0))
    done = start(LOAD, home, CXX=compiler_that_gives(home / "c++", library))
    assert done.returncode == 0, done.stderr
    assert "damaged" in done.stderr
    assert [path.name for path in copy.parent.iterdir()] == [library.name]
    assert copy.read_bytes() == library.read_bytes()


def test_a_library_in_a_read_only_cache_needs_no_compiler(library):
    """By another user too, if root owns it."""
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        copy = put(home, library)
        copy.chmod(0o755), copy.parent.chmod(0o555), home.chmod(0o555)
        before = copy.parent.stat().st_mtime_ns
        code = LOAD
        if os.getuid() == 0 and all(path.stat().st_mode & 1 for path in building.SOURCE_FOLDER.parents):
            code = f"import os, tensorflow\nos.setgid(65534), os.setuid(65534)\n{LOAD}"
            code += "\nassert not os.access(os.environ['XDG_CACHE_HOME'] + '/lfads_tf2', os.W_OK)"
        done = start(code, home, PATH="", CXX="")
        home.chmod(0o755), copy.parent.chmod(0o755)
        assert done.returncode == 0, done.stderr
        assert copy.parent.stat().st_mtime_ns == before and list(copy.parent.iterdir()) == [copy]


def give_away(path, monkeypatch):
    if os.getuid() == 0:
        os.chown(path, 12345, -1, follow_symlinks=False)
    else:
        monkeypatch.setattr(os, "getuid", lambda: 12345)


def link_away(path, monkeypatch):
    path.rename(path.with_name("elsewhere"))
    path.symlink_to(path.with_name("elsewhere"))


@pytest.mark.parametrize("level", ["home", "folder", "library"])
@pytest.mark.parametrize(
    "change, said",
    [
        (give_away, "belongs to another user"),
        (lambda path, _: path.chmod(0o775), "can be written by others"),
        (lambda path, _: path.chmod(0o757), "can be written by others"),
        (link_away, "is a link"),
    ],
)
def test_what_others_could_have_put_there_is_not_used(tmp_path, library, monkeypatch, caplog, level, change, said):
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    copy = put(home, library)
    path = {"home": home, "folder": copy.parent, "library": copy}[level]
    change(path, monkeypatch)
    if level == "library":
        assert list(cache.libraries(copy.parent, PREFIX)) == []
        assert said in caplog.text and str(path) in caplog.text
        return
    with pytest.raises(PermissionError, match=said):
        list(cache.libraries(copy.parent, PREFIX))
    with pytest.raises(PermissionError, match=said):
        building.build(copy.parent, compiler_that_gives(tmp_path / "c++", library), tf)
    assert not (tmp_path / "c++.log").exists()
    assert copy.read_bytes() == library.read_bytes()


def test_a_cache_that_its_owner_keeps_elsewhere(tmp_path, monkeypatch):
    """A link of this user's own is followed; one that somebody else made is not."""
    real, link = tmp_path / "large_disk", tmp_path / "cache"
    real.mkdir()
    link.symlink_to(real)
    monkeypatch.setenv("XDG_CACHE_HOME", str(link))
    assert cache.folders()[0] == real / "lfads_tf2"
    give_away(link, monkeypatch)
    assert cache.folders()[0] == link / "lfads_tf2"
    with pytest.raises(PermissionError, match="is a link"):
        cache.make(link / "lfads_tf2")


def test_folders_are_made_for_this_user_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "a" / "b"))
    before = os.umask(0o002)
    try:
        cache.make(cache.folders()[0])
    finally:
        os.umask(before)
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in ("a/b", "a/b/lfads_tf2")] == [0o700, 0o700]


def test_what_is_tidied_away(home, library):
    """Older sources' libraries for this processor, once they are out of use, and what killed builds left."""
    copy = put(home, library)
    processor = PREFIX.split("-")[1]
    week = 8 * 24 * 3600
    ages = {
        f"kernels-{processor}-0123456789abcdef-{'0' * 32}.so": week,
        f"kernels-{processor}-0123456789abcdef.refused": week,
        "kernels-0123456789abcdef0123.so": week,  # as they were once called
        "kernels-0123456789abcdef0123.x1y2.tmp": 4000,
        f".{library.name}.77.abcd.tmp": 4000,
        f"kernels-{processor}-fedcba9876543210-{'0' * 32}.so": week - 2 * 24 * 3600,
        f"kernels-0123456789ab-0123456789abcdef-{'0' * 32}.so": week,  # another processor's
        "kernels-a1b2c3.tmp": 100,
        "notes-of-mine.so": week,
    }
    for name, age in ages.items():
        path = copy.with_name(name)
        path.touch()
        os.utime(path, times=(time.time() - age,) * 2)
    (copy.parent / "kernels-killed.tmp").mkdir()
    (copy.parent / "kernels-killed.tmp" / "kernels.so").touch()
    os.utime(copy.parent / "kernels-killed.tmp", times=(0, 0))
    os.utime(copy, times=(0, 0))
    cache.tidy(copy.parent, PREFIX)
    assert sorted(path.name for path in copy.parent.iterdir()) == sorted([library.name, *list(ages)[5:]])


def test_a_start_marks_use(home, library, monkeypatch):
    copy = put(home, library)
    os.utime(copy, times=(0, 0))
    monkeypatch.setattr(tf, "load_op_library", lambda path: path)
    assert native.load() == str(copy)
    assert copy.stat().st_mtime > time.time() - 600
