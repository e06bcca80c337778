#!/usr/bin/env python3
"""Compares population-based training with random search of the same epochs, on data whose true rates are known.

usage: search_quality.py DATA.h5 OUTPUT_FOLDER [--trials=300] [--seeds=1,2] [flags of lfads_tf2.autolfads]

Keeps so many training trials, spread evenly over the file, and all validation trials. Reports R² of inferred against
true rates on the validation trials: of the best model of each search, and of every member of the random one.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import h5py
import numpy as np
from quality_data import fewer_trials

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from lfads_tf2.autolfads import command_line, outputs, run, slot
from lfads_tf2.data import read_sessions
from lfads_tf2.hyperparameters import HyperParameters
from lfads_tf2.metrics.rates import r2_truth
from lfads_tf2.program import devices
from lfads_tf2.program.model_building import model_spec, new_model


def valid_r2(path: Path) -> float:
    """R² of a session's outputs against its true rates."""
    with h5py.File(path) as f:
        return r2_truth(f["valid_output_params"][()], f["valid_truth"][()])


def members_r2(population, sessions, folder: Path) -> list[float]:
    """R² of every member of a search as it was at the end."""
    hp = population.search.hyperparameters
    device = devices.configure(hp)
    model, found = new_model(model_spec(hp, sessions), sessions, 0, device.native), []
    for member in population.state["members"]:
        state = slot.Snapshot.from_bytes(population.records.model_state(member["state"]))
        for weight, value in zip(model.weights, state.weights, strict=True):
            weight.assign(value)
        found.append(valid_r2(outputs.write_outputs(model, state.step, sessions, folder, device)[0]))
    return found


def main(arguments: list[str]) -> int:
    """Both searches for every seed."""
    names = [a for a in arguments if not a.startswith("--")]
    if len(names) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    ours = dict(a[2:].split("=", 1) for a in arguments if a.startswith(("--trials=", "--seeds=")))
    flags = [a for a in arguments if a.startswith("--") and not a.startswith(("--trials=", "--seeds="))]
    source, output = (Path(name) for name in names)
    data = output / "data"
    data.mkdir(parents=True, exist_ok=True)
    fewer_trials(source, data / source.name, int(ours.get("trials", 300)))
    sessions = read_sessions(HyperParameters(data_dir=str(data)))
    for seed in ours.get("seeds", "1,2").split(","):
        for search in ("pbt", "random"):
            own = [f"--data_dir={data}", f"--seed={seed}", f"--search={search}"]
            config, options = command_line.parse([*flags, *own])
            result = run.run_search(config, output / f"{search}{seed}", options.population_mode)
            best = valid_r2(next(result.folder.glob("lfads_output_*.h5")))
            print(f"seed {seed}, {search}: best model R2 {best:.4f}", flush=True)
            if search == "random":
                scratch = output / "members"
                scratch.mkdir(exist_ok=True)
                scores = members_r2(result.population, sessions, scratch)
                listed = " ".join(f"{score:.4f}" for score in sorted(scores))
                print(f"seed {seed}, random: members {listed}; median {np.median(scores):.4f}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
