"""One command at a time in a run folder: training, a search, or the writing of results."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lfads_tf2.errors import RunError

log = logging.getLogger("lfads_tf2")

LOCK_FILE = ".lfads_lock"


@contextlib.contextmanager
def run_lock(folder: Path, what: str) -> Iterator[None]:
    """Holds a run folder's lock, a file that says who works there.

    The system frees it when the process ends, however that happens: what a killed one leaves is taken over. Where the
    file system knows no such locks, a lock counts while its process lives on this host, and for ever on another.

    Args:
        folder: that exists.
        what: the command, for the message that others get.

    Raises:
        RunError: another process works in the folder, or it cannot be written to.
    """
    path = Path(folder) / LOCK_FILE
    try:
        descriptor = _acquired(path, what)
    except OSError as error:
        raise RunError(f"--lfads_save_dir: cannot write to the folder {folder}: {error.strerror}") from error
    try:
        yield
    finally:
        # Removed while it is held, so that nobody takes over a file that is about to go.
        with contextlib.suppress(OSError):
            path.unlink()
        os.close(descriptor)


def _acquired(path: Path, what: str) -> int:
    """Descriptor of the lock, which is ours until it is closed."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            locked, holder = _lock(descriptor), _holder(descriptor)
            if locked is False or (locked is None and holder and _may_live(holder)):
                raise RunError(_busy(path, holder))
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                    if holder:
                        log.info("Taking over the folder from %s, which has ended.", _words(holder))
                    _write(descriptor, what)
                    return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        # Its holder ended, and removed it, between our opening and our locking.
        os.close(descriptor)


def _lock(descriptor: int) -> bool | None:
    """Whether the system gave us the lock; None where it knows none."""
    try:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except (ImportError, OSError):
        return None
    return True


def _write(descriptor: int, what: str) -> None:
    now = time.strftime("%Y-%m-%d %H:%M:%S")
    pid = os.getpid()
    content = {"what": what, "host": socket.gethostname(), "pid": pid, "since": now, "started": _started(pid)}
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(content).encode(), 0)


def _holder(descriptor: int) -> dict[str, Any]:
    """What the file says; empty when it says nothing readable."""
    try:
        content = json.loads(os.pread(descriptor, 10_000, 0))
        return content if isinstance(content, dict) else {}
    except ValueError:
        return {}


def _may_live(holder: dict[str, Any]) -> bool:
    """Whether the process that a lock names may still run."""
    pid = holder.get("pid")
    if holder.get("host") != socket.gethostname() or not isinstance(pid, int):
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    # Numbers of processes are used again: the start tells them apart.
    return holder.get("started") == _started(pid)


def _started(pid: int) -> str | None:
    """When a process started, in the system's own count; None where that cannot be read."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return None


def _words(holder: dict[str, Any]) -> str:
    known = {name: holder.get(name, "?") for name in ("what", "pid", "host", "since")}
    return "{what} (process {pid} on {host}, since {since})".format(**known)


def _busy(path: Path, holder: dict[str, Any]) -> str:
    who = _words(holder) if holder else "another process"
    return (
        f"--lfads_save_dir: {path.parent} is in use by {who}; wait until it has ended, or give another folder. If that "
        f"process no longer runs, remove {path}"
    )
