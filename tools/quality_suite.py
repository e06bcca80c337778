"""The suite of ``quality.py``: contenders, what is measured, and the table."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
from quality_data import SUITE, DataSet, folders_of
from scipy.ndimage import gaussian_filter1d

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # runs from a checkout without installing

from lfads_tf2.metrics import baselines, held_out
from lfads_tf2.metrics.rates import r2_truth

PUBLISHED = "published"
CONTENDERS = {
    "small_data": ["--preset=small_data"], "lfads_torch": ["--preset=lfads_torch_defaults"], PUBLISHED: [],
    "auto": ["--preset=auto"], "search": [],
}  # fmt: skip


def measured(path: Path, folder: Path) -> dict[str, float]:
    """What a result file of validation trials says of its rates.

    Args:
        path: of the result file.
        folder: of the data files; that of the result's session may hold true inputs.

    Returns:
        r2: R² of true rates. bits: held-out bits a spike. pulses: correlation over trials of the bin in which the
        inferred inputs are largest with that of the true ones. NaN where the data cannot tell.
    """
    session = next((data for data in sorted(folder.glob("*.h5")) if f"_{data.name}_" in path.name), None)
    with h5py.File(path) as f:
        found = {"r2": float(f.attrs.get("r2_truth", np.nan)), "bits": float(f.attrs.get("held_out_bps", np.nan))}
        inputs = f["controller_outputs"][()] if "controller_outputs" in f else np.zeros((1, 1, 0))
    found["pulses"] = np.nan
    if session is not None and inputs.shape[2]:
        with h5py.File(session) as f:
            true = f["valid_true_input"][()] if "valid_true_input" in f else np.zeros(0)
        # A pulse is a bin or two; noise that is integrated has no time of its own.
        if true.size and np.mean(np.any(true, axis=2)) < 0.1:
            # Inputs that all trials need at their start are not those of one trial.
            swings = np.linalg.norm((inputs - inputs.mean(0)) / inputs.std(0), axis=2)
            times = np.argmax(swings, axis=1), np.argmax(np.linalg.norm(true, axis=2), axis=1)
            found["pulses"] = float(np.corrcoef(*times)[0, 1])
    return found


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


def suite(
    output: Path, files: list[Path], seeds: list[str], contenders: list[str], run: Callable, trained: Callable
) -> str:  # fmt: skip
    """Runs what OUTPUT/results.jsonl does not hold yet, and returns the table.

    Args:
        output: folder for everything.
        files: data sets beside those of SUITE, with :TRIALS cut to so many training trials.
        seeds: of the trainings.
        contenders: of CONTENDERS.
        run, trained: of ``quality.py``.
    """
    log, done = output / "results.jsonl", {}
    for line in log.read_text().splitlines() if log.exists() else ():
        row = json.loads(line)
        done[row["data"], row["contender"], row["seed"]] = row
    folders = folders_of(output, files, run)
    for name, folder in folders.items():
        for contender, found in simple(sorted(folder.glob("*.h5"))[0]).items():
            done[name, contender, ""] = found
        made = SUITE.get(name, DataSet([]))
        for contender in contenders:
            if contender == PUBLISHED and not made.published:
                continue
            flags = [f"--preset={made.published}"] if contender == PUBLISHED else CONTENDERS[contender]
            for seed in seeds:
                if (name, contender, seed) in done:
                    continue
                command = "auto" if contender == "search" else "train"
                found = trained(folder, output / name / f"{contender}{seed}", seed, [*flags, *made.flags], command)
                done[name, contender, seed] = row = {"data": name, "contender": contender, "seed": seed} | found
                with log.open("a") as f:
                    f.write(json.dumps(row) + "\n")
    return _table(done, list(folders))


def _table(done: dict[tuple[str, str, str], dict[str, float]], names: list[str]) -> str:
    columns = list(dict.fromkeys(contender for _, contender, _ in done))
    lines = [
        "R² of true rates / held-out bits a spike / minutes, medians over seeds (their number in brackets)", "",
        "| data | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|",
    ]  # fmt: skip
    for name in names:
        cells = []
        for column in columns:
            rows = [row for (data, contender, _), row in done.items() if (data, contender) == (name, column)]
            cells.append("–")
            if rows:
                r2, bits, took = (np.median([row[key] for row in rows]) for key in ("r2", "bits", "minutes"))
                counted = f" ({len(rows)})" if took else ""
                cells[-1] = f"{r2:.3f} / {bits:.3f} / {took:.1f}{counted}".replace("nan", "–")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"
