#!/usr/bin/env python3
"""Time training and inference; the same as ``lfads benchmark``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # runs from a checkout without installing

from lfads_tf2.program.command_line import guarded

if __name__ == "__main__":
    from lfads_tf2.benchmark.command import main

    sys.exit(guarded("benchmark.py", main, sys.argv[1:]))
