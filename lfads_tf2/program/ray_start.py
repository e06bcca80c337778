"""Starting Ray on this machine."""

from __future__ import annotations

import os
import tempfile
from typing import Any

# Ray puts sockets, whose paths an operating system limits to about 104 characters, some 60 below its folder.
LONGEST_FOLDER = 40


def local_options() -> dict[str, Any]:
    """Further arguments of ``ray.init`` for a Ray of its own: no dashboard, and a folder with a short path."""
    options: dict[str, Any] = {"include_dashboard": False}
    folder = os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()
    if len(folder) > LONGEST_FOLDER and os.access("/tmp", os.W_OK | os.X_OK):
        options["_temp_dir"] = "/tmp/ray"
    return options
