#!/usr/bin/env python3
"""Add a session to a trained model; the same as ``lfads add-session``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # runs from a checkout without installing

from lfads_tf2.program.command_line import guarded

if __name__ == "__main__":
    from lfads_tf2.run_manager.add_session_command import main

    sys.exit(guarded("add_session.py", main, sys.argv[1:]))
