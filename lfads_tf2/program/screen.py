"""What reaches a person's screen: our own messages, and not those of the libraries underneath."""

from __future__ import annotations

import contextlib
import logging
import os
import sys


def show_messages() -> None:
    """Sends the package's messages to standard error, and of other libraries only errors."""
    _open_closed_streams()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    for name in ("absl", "matplotlib"):
        logging.getLogger(name).setLevel(logging.ERROR)


def _open_closed_streams() -> None:
    """Standard streams that were closed lead nowhere instead: else the next file that is opened takes their place, and
    what libraries print goes into it."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode))


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
