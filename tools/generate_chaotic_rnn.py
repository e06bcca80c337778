#!/usr/bin/env python3
"""Write synthetic recordings of rate networks; the same as ``lfads simulate chaotic-rnn``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # runs from a checkout without installing

from lfads_tf2.program.command_line import guarded

if __name__ == "__main__":
    from lfads_tf2.synthetic.command import chaotic_rnn

    sys.exit(guarded("generate_chaotic_rnn.py", chaotic_rnn, sys.argv[1:]))
