"""What reaches a person's screen: our own messages, and not those of the libraries underneath."""

from __future__ import annotations

import contextlib
import logging
import os
import sys


def show_messages() -> None:
    """Sends the package's messages to standard error, and of other libraries only errors."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    for name in ("absl", "matplotlib"):
        logging.getLogger(name).setLevel(logging.ERROR)


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
