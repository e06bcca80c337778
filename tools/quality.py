#!/usr/bin/env python3
"""Trains on a data file with several seeds and reports how well the inferred rates match the truth.

usage: quality.py DATA.h5 OUTPUT_FOLDER [--seeds=1,2,3] [flags of run_lfads.py for the training]
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np

ROOT = Path(__file__).resolve().parent.parent
SAMPLES = 64


def run(*flags: str) -> None:
    """One command of the program; its own messages go to the screen."""
    subprocess.run([sys.executable, str(ROOT / "run_lfads.py"), *flags], check=True)


def main(arguments: list[str]) -> int:
    """Trains once a seed, infers from the lowest-validation checkpoint, and prints R² of each and the median."""
    names = [a for a in arguments if not a.startswith("--")]
    if len(names) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    data, output = (Path(name) for name in names)
    seeds = next((a.split("=")[1] for a in arguments if a.startswith("--seeds=")), "1,2,3").split(",")
    flags = [a for a in arguments if a.startswith("--") and not a.startswith("--seeds=")]
    folder = output / "data"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(data, folder)
    scores = []
    for seed in seeds:
        where = [f"--data_dir={folder}", f"--lfads_save_dir={output / f'seed{seed}'}"]
        start = time.perf_counter()
        run("--kind=train", *where, f"--seed={seed}", *flags)
        minutes = (time.perf_counter() - start) / 60
        run("--kind=posterior_sample_and_average", *where, f"--num_samples_posterior={SAMPLES}")
        path = output / f"seed{seed}" / f"model_runs_{data.name}_valid_posterior_sample_and_average"
        with h5py.File(path) as f:
            scores.append(float(f.attrs.get("r2_truth", np.nan)))
        print(f"seed {seed}: R2 against truth, valid {scores[-1]:.4f}, {minutes:.1f} minutes of training")
    print(f"median {np.median(scores):.4f}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
