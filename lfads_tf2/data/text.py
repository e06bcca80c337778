"""Text of varying length, read by a process of its own: damaged, it can keep HDF5 busy for ever or end the process."""

from __future__ import annotations

import json
import subprocess
import sys

import h5py

SECONDS = 30
_READ = """
import json, sys, h5py
with h5py.File(sys.argv[1], "r") as file:
    print(json.dumps(file[sys.argv[2]].asstr(errors="replace")[()].reshape(-1).tolist()))
"""


def is_varying(dataset: h5py.Dataset) -> bool:
    """Whether a dataset of text has entries of varying length."""
    kind = h5py.check_string_dtype(dataset.dtype)
    return kind is not None and kind.length is None


def read_varying(path: str, name: str) -> list[str]:
    """All entries of a dataset of text, in one row.

    Raises:
        OSError: it cannot be read, or not within SECONDS.
    """
    command = [sys.executable, "-I", "-c", _READ, path, name]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        raise OSError(f"its text is damaged: HDF5 was still reading after {SECONDS:g} s") from None
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or [f"the reader ended with {done.returncode}"]
        raise OSError(f"its text is damaged: {last[0]}")
    return json.loads(done.stdout)
