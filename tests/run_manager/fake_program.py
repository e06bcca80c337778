"""Stands for the program in tests of the queue: leaves the files of each stage, or does what behave.json says.

``fail``: a stage that ends with exit code 3. ``kill_parent``: a stage that kills the process that started it.
``sleep``: seconds of each stage. ``kill``: a stage that kills itself. What each stage was asked goes to calls.txt.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

flags = dict(argument.lstrip("-").split("=", 1) for argument in sys.argv[1:])
output = Path(flags["lfads_save_dir"])
folder = output.parent
stage = {"write_model_params": "write_model_params"}.get(flags.get("kind", ""), "posterior_mean_sample")
stage = "train" if "kind" not in flags else stage
with (folder / "calls.txt").open("a") as calls:
    calls.write(f"{stage} {os.environ.get('CUDA_VISIBLE_DEVICES', '-')} {flags.get('num_threads', '-')}\n")
behave = json.loads((folder / "behave.json").read_text()) if (folder / "behave.json").exists() else {}
try:
    time.sleep(behave.get("sleep", 0))
except KeyboardInterrupt:
    print("saved after Ctrl-C")
    sys.exit(0)
if behave.get("kill_parent") == stage:
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(60)
if behave.get("kill") == stage:
    os.kill(os.getpid(), signal.SIGKILL)
if behave.get("fail") == stage:
    print("working\nValueError: the moon is in the wrong place", file=sys.stderr)
    sys.exit(3)
if stage == "train":
    line = "epoch,0, step,8, total,9.00,8.00, recon,1.00,1.00, kl,1.00,1.00, l2,0.1, klweight,1.00, l2weight,1.00"
    (output / "fitlog.csv").write_text(line + "\n")
    (output / "checkpoint_lve").write_text("")
print("done", stage)
