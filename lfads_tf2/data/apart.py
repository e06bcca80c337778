"""Reading in a process of its own: damaged files can keep HDF5 or SciPy busy for ever, or end the process."""

from __future__ import annotations

import subprocess
import sys

SECONDS = 30


class Unreadable(OSError):
    """The reading process was ended by a signal, or took too long."""


def answer(code: str, *words: str, seconds: float | None = None) -> str | None:
    """What a Python program prints; None where it ended with an error of its own.

    Args:
        code: the program.
        words: its arguments.
        seconds: that it may take; None: SECONDS.

    Raises:
        Unreadable: it was ended by a signal, or took longer.
    """
    limit = SECONDS if seconds is None else seconds
    command = [sys.executable, "-I", "-c", code, *words]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        raise Unreadable(f"still reading after {limit:g} s") from None
    if done.returncode < 0:
        raise Unreadable(f"the reader was ended by signal {-done.returncode}")
    return done.stdout if done.returncode == 0 else None
