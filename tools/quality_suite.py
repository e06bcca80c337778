"""The suite of ``quality.py``: data sets with known rates, contenders, and the table."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
from scipy.ndimage import gaussian_filter1d

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # runs from a checkout without installing

from lfads_tf2.metrics import baselines, held_out
from lfads_tf2.metrics.rates import r2_truth

SUITE = {
    "lorenz": ["lorenz", "--sessions=1"],
    "lorenz_few_trials": ["lorenz", "--sessions=1", "--conditions=12", "--trials_min=10", "--trials_max=10"],
    "lorenz_stitched": ["lorenz", "--sessions=2", "--conditions=30"],
    "chaotic_rnn": ["chaotic-rnn", "--conditions=60", "--trials=5", "--channels=30"],
    "chaotic_rnn_inputs": ["chaotic-rnn", "--preset=chaotic_rnn_inputs_g1p5", "--conditions=300", "--trials=1"],
    "integration_to_bound": ["chaotic-rnn", "--preset=itb_rnn", "--conditions=150", "--trials=2"],
    "gaussian": ["chaotic-rnn", "--preset=chaotic_rnn_no_inputs_gaussian", "--conditions=60", "--trials=5"],
}
CONTENDERS = {"small_data": ["--preset=small_data"], "lfads_torch": ["--preset=lfads_torch_defaults"],
              "auto": ["--preset=auto"]}  # fmt: skip


def simple(path: Path) -> dict[str, dict[str, float]]:
    """Smoothing, condition averages and smoothed principal components, with the width that predicts spikes best."""
    with h5py.File(path) as f:
        train, valid = f["train_data"][()], f["valid_data"][()]
        conditions = [f[f"{half}_conditions"][()] if f"{half}_conditions" in f else None for half in ("train", "valid")]
        truth = f["valid_truth"][()] * f.get("conversion_factor", np.ones(()))[()] if "valid_truth" in f else None
    if train.dtype.kind == "f" and not np.array_equal(train, np.floor(train)):
        return {}
    width = baselines.best_smoothing(valid).width
    unread = {"smoothing": baselines.smoothed_without_itself(valid, width)}
    rates = {"smoothing": gaussian_filter1d(valid.astype(float), width, axis=1)}
    if conditions[0] is not None:
        rates["condition averages"] = baselines.condition_averages(train, *conditions, width / 2)
        unread["condition averages"] = rates["condition averages"]
    smooth = gaussian_filter1d(train.astype(float), width, axis=1)
    mean = smooth.mean((0, 1))
    vectors = np.linalg.svd((smooth - mean).reshape(-1, len(mean)), full_matrices=False)[2]
    best = -np.inf
    for number in range(1, min(13, len(mean))):
        plane = vectors[:number].T @ vectors[:number]
        projected = {key: np.maximum((v["smoothing"] - mean) @ plane + mean, 0.1 * mean)
                     for key, v in (("unread", unread), ("rates", rates))}  # fmt: skip
        bits = held_out.score(projected["unread"], valid).bits
        if bits > best:
            best, rates["PCA + smoothing"], unread["PCA + smoothing"] = bits, projected["rates"], projected["unread"]
    return {
        name: {"r2": np.nan if truth is None else r2_truth(rates[name], truth),
               "bits": held_out.score(unread[name], valid).bits, "minutes": 0.0}
        for name in rates
    }  # fmt: skip


def suite(output: Path, files: list[Path], seeds: list[str], run: Callable, trained: Callable) -> str:
    """Runs what OUTPUT/results.jsonl does not hold yet, and returns the table.

    Args:
        output: folder for everything.
        files: data sets beside those of SUITE.
        seeds: of the trainings.
        run, trained: of ``quality.py``.
    """
    log, done = output / "results.jsonl", {}
    for line in log.read_text().splitlines() if log.exists() else ():
        row = json.loads(line)
        done[row["data"], row["contender"], row["seed"]] = row
    for path in files:
        (output / path.stem / "data").mkdir(parents=True, exist_ok=True)
        shutil.copy(path, output / path.stem / "data")
    names = [*SUITE, *(path.stem for path in files)]
    for name in names:
        folder = output / name / "data"
        if not folder.exists():
            run("simulate", *SUITE[name], f"--output_dir={folder.absolute()}")
        for contender, found in simple(sorted(folder.glob("*.h5"))[0]).items():
            done[name, contender, ""] = found
        extra = ["--output_dist=gaussian"] if name == "gaussian" else []
        for contender, flags in CONTENDERS.items():
            for seed in seeds:
                if (name, contender, seed) not in done:
                    found = trained(folder, output / name / f"{contender}{seed}", seed, flags + extra)
                    done[name, contender, seed] = row = {"data": name, "contender": contender, "seed": seed} | found
                    with log.open("a") as f:
                        f.write(json.dumps(row) + "\n")
    columns = list(dict.fromkeys(contender for _, contender, _ in done))
    lines = [
        "R² of true rates / held-out bits a spike / minutes, medians",
        "",
        "| data | " + " | ".join(columns) + " |",
    ]
    lines.append("|---" * (len(columns) + 1) + "|")
    for name in names:
        cells = []
        for column in columns:
            rows = [row for (data, contender, _), row in done.items() if (data, contender) == (name, column)]
            r2, bits, took = (
                np.median([row[k] for row in rows]) if rows else np.nan for k in ("r2", "bits", "minutes")
            )
            cells.append(f"{r2:.3f} / {bits:.3f} / {took:.1f}" if rows else "–")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"
