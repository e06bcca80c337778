#!/usr/bin/env python3
"""Write synthetic spike counts of a Lorenz system; the same as ``lfads simulate lorenz``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # runs from a checkout without installing

from lfads_tf2.program.command_line import guarded

if __name__ == "__main__":
    from lfads_tf2.synthetic.command import lorenz

    sys.exit(guarded("generate_lorenz.py", lorenz, sys.argv[1:]))
