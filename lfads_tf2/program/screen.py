"""What reaches a person's screen: our own messages, and not those of the libraries underneath."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from typing import TextIO


def show_messages() -> None:
    """Sends the package's messages to standard error, and of other libraries only errors."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    for name in ("absl", "matplotlib"):
        logging.getLogger(name).setLevel(logging.ERROR)


def _open_closed_streams() -> None:
    """Standard streams that were closed lead nowhere instead: else the next file that is opened takes their place, and
    what libraries print goes into it."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode))


def read_no_more(stream: TextIO) -> None:
    """Sends everything further, what waits in the stream's buffer included, nowhere."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


class _Dispensable:
    """A text stream that work does not depend on: once it cannot be written to, everything further is left out."""

    def __init__(self, stream: TextIO):
        self._stream = stream

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError:
            read_no_more(self._stream)
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError:
            read_no_more(self._stream)

    def __getattr__(self, name: str):
        return getattr(self._stream, name)


@contextlib.contextmanager
def dispensable_messages():
    """Lets a command go on without a screen: whoever reads its messages may go away, or their disk become full."""
    _open_closed_streams()
    kept = sys.stderr
    sys.stderr = _Dispensable(kept)
    try:
        yield
        sys.stderr.flush()
    finally:
        sys.stderr = kept


@contextlib.contextmanager
def without_startup_lines():
    """Keeps what TensorFlow's libraries print while they load, before any setting of theirs counts, off the screen."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
