#!/usr/bin/env python3
"""How well inferred rates match the truth, and predict spikes that the encoders did not read.

usage: quality.py DATA.h5 OUTPUT_FOLDER [--seeds=1,2,3] [flags of lfads train]    one file, one set of flags
       quality.py --suite OUTPUT_FOLDER [DATA.h5[:TRIALS] ...] [--seeds=1,2,3] [--contenders=auto,small_data]
                                                                    contenders x data sets, as a table

The suite makes its own data sets; files that are given come on top of them, with :300 cut to so many training trials.
It goes on where it was stopped, and writes OUTPUT_FOLDER/suite.md.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from quality_measures import measured
from quality_suite import CONTENDERS, suite

ROOT = Path(__file__).resolve().parent.parent
SAMPLES = 64
LFADS = [sys.executable, "-m", "lfads_tf2"]


def run(*words: str) -> None:
    """One command of the program; its own messages go to the screen."""
    subprocess.run([*LFADS, *words], check=True, cwd=ROOT)


def trained(folder: Path, run_folder: Path, seed: str, flags: list[str], command: str = "train") -> dict[str, float]:
    """Trains, infers, and returns what the result files of the folder's sessions say, averaged, and the minutes.

    Args:
        folder: of the data files.
        run_folder: to train in.
        seed, flags: of the training.
        command: ``train`` or ``auto``, which leaves its run folder within its own.
    """
    data, start = f"--data_dir={folder.absolute()}", time.perf_counter()
    run(command, data, f"--lfads_save_dir={run_folder.absolute()}", f"--seed={seed}", *flags)
    minutes = (time.perf_counter() - start) / 60
    if command == "auto":
        run_folder = run_folder / "best_model"
    run("infer", data, f"--lfads_save_dir={run_folder.absolute()}", f"--num_samples_posterior={SAMPLES}")
    found = [measured(path, folder) for path in sorted(run_folder.glob("*_valid_posterior_sample_and_average"))]
    return {name: float(np.mean([values[name] for values in found])) for name in found[0]} | {"minutes": minutes}


def main(arguments: list[str]) -> int:
    """Runs what the words ask for; returns the exit code."""
    names = [Path(a) for a in arguments if not a.startswith("--")]
    ours = dict(a[2:].split("=", 1) for a in arguments if a.startswith(("--seeds=", "--contenders=")))
    flags = [a for a in arguments if a.startswith("--") and a != "--suite" and a[2:].split("=")[0] not in ours]
    seeds = ours.get("seeds", "1,2,3").split(",")
    if "--suite" in arguments and names:
        chosen = ours["contenders"].split(",") if "contenders" in ours else list(CONTENDERS)
        if unknown := set(chosen) - set(CONTENDERS):
            print(f"--contenders must be of {', '.join(CONTENDERS)}, got {', '.join(unknown)}", file=sys.stderr)
            return 2
        table = suite(names[0], names[1:], seeds, chosen, run, trained)
        (names[0] / "suite.md").write_text(table)
        print(table)
        return 0
    if len(names) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    data, output = names
    (output / "data").mkdir(parents=True, exist_ok=True)
    shutil.copy(data, output / "data")
    scores = [trained(output / "data", output / f"seed{seed}", seed, flags) for seed in seeds]
    for seed, found in zip(seeds, scores, strict=True):
        print(f"seed {seed}: R2 against truth, valid {found['r2']:.4f}, held-out bits/spike {found['bits']:.4f}, "
              f"{found['minutes']:.1f} minutes of training")  # fmt: skip
    print(f"median {np.median([found['r2'] for found in scores]):.4f}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
