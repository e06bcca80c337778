#!/usr/bin/env python3
"""The LFADS program under its original name, from a checkout: ``python run_lfads.py --kind=train --data_dir=DIR``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from lfads_tf2.program.command_line import run_lfads as main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
