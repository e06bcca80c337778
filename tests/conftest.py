"""Settings and helpers shared by all tests."""

import gc
import os
import signal
from pathlib import Path

from lfads_tf2.program.command_line import COLLECTIONS

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# As the program does: most of a test is tracing, whose objects stay.
gc.set_threshold(*COLLECTIONS)
# A shell starts what it leaves in the background with Ctrl-C ignored, and every process that tests start inherits that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"
