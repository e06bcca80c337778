"""Where compiled libraries are kept between runs, and which of them may be loaded.

A library is called `kernels-PROCESSOR-SOURCE-CONTENT.so`. PROCESSOR, since homes are shared between machines. SOURCE
is what it was made of; not the compiler, so that what is there already needs none. CONTENT is the checksum of the file
itself: a name can be written as it is read, in one step, and a damaged library, whose loading may end the process, is
known before.
"""

import contextlib
import hashlib
import logging
import os
import pathlib
import shutil
import stat
import tempfile
import time

from lfads_tf2.errors import LFADSError
from lfads_tf2.files import atomic_path

logger = logging.getLogger(__name__)

LITTER_SECONDS = 3600  # no build takes as long
UNUSED_SECONDS = 7 * 24 * 3600


class Unavailable(LFADSError):
    """Why there are no kernels, in one line."""


def folders() -> list[pathlib.Path]:
    """Folders for compiled libraries, best first; they need not exist."""
    home = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache"))
    # Many homes have their cache on a larger disk. A link of this user's own is as good as the folder it names.
    with contextlib.suppress(OSError):
        home = home.resolve() if home.lstat().st_uid in _trusted_users(home) else home
    user = os.getuid() if hasattr(os, "getuid") else "user"
    return [home / "lfads_tf2", pathlib.Path(tempfile.gettempdir(), f"lfads_tf2-{user}", "lfads_tf2")]


def libraries(folder: pathlib.Path, prefix: str):
    """Yields the whole libraries in `folder` whose names start with `prefix`; removes damaged ones.

    Raises FileNotFoundError when the folder is not there, and PermissionError when others could have put something
    into it.
    """
    _check_levels(folder)
    for library in sorted(folder.glob(f"{prefix}-*.so")):
        try:
            _check(library, stat.S_ISREG)
            content = library.read_bytes()
        except OSError as error:
            logger.warning("A compiled library is not used: %s", error)
            continue
        if library.name == _name(prefix, content):
            yield library
        else:
            logger.warning("%s is damaged and not loaded", library)
            with contextlib.suppress(OSError):
                library.unlink()


def mark_used(library: pathlib.Path) -> None:
    """Notes that a library is in use, which keeps it from being tidied away."""
    with contextlib.suppress(OSError):
        os.utime(library)


def make(folder: pathlib.Path) -> None:
    """Makes a folder for libraries, where this user alone may write; errors as those of `libraries`."""
    folder.parent.parent.mkdir(parents=True, exist_ok=True)
    for level in (folder.parent, folder):
        level.mkdir(mode=0o700, exist_ok=True)
    _check_levels(folder)


def keep(built: pathlib.Path, folder: pathlib.Path, prefix: str) -> pathlib.Path:
    """Puts a library into `folder` and removes what it replaces: returns its path there."""
    content = built.read_bytes()
    library = folder / _name(prefix, content)
    with atomic_path(library) as temporary:
        temporary.write_bytes(content)
        temporary.chmod(0o755)
    tidy(folder, prefix)
    return library


def tidy(folder: pathlib.Path, prefix: str) -> None:
    """Removes libraries for this processor from other sources that nobody has used lately, and killed builds' litter.

    Libraries for other processors stay: this may be a home that other machines share.
    """
    processor = prefix.rpartition("-")[0]
    for path in [*folder.glob("kernels-*"), *folder.glob(".kernels-*")]:
        before_processors = path.name.count("-") == 1  # names once had one part only
        if path.name.endswith(".tmp"):
            limit = LITTER_SECONDS
        elif not path.name.startswith(prefix) and (path.name.startswith(f"{processor}-") or before_processors):
            limit = UNUSED_SECONDS
        else:
            continue
        with contextlib.suppress(OSError):
            if time.time() - path.lstat().st_mtime > limit:
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def _name(prefix, content):
    return f"{prefix}-{hashlib.sha256(content).hexdigest()[:32]}.so"


def _check_levels(folder):
    for level in (folder.parent, folder):
        _check(level, stat.S_ISDIR)


def _check(path, kind):
    """Raises PermissionError unless `path` is of this kind, no link, and nobody else could have made or changed it."""
    status = path.lstat()
    if not kind(status.st_mode):
        raise PermissionError(f"{path} is a link, or no plain {'folder' if kind is stat.S_ISDIR else 'file'}")
    if status.st_uid not in _trusted_users(path):
        raise PermissionError(f"{path} belongs to another user (number {status.st_uid})")
    if os.name == "posix" and status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise PermissionError(f"{path} can be written by others; `chmod go-w {path}` ends that")


def _trusted_users(path):
    return (0, os.getuid()) if hasattr(os, "getuid") else (path.lstat().st_uid,)
