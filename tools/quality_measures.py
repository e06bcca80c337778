"""What ``quality.py`` measures: of result files, and of simple methods on the same data."""

from __future__ import annotations

import sys
from pathlib import Path

import h5py
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # runs from a checkout without installing

from lfads_tf2.metrics import baselines, decoding, held_out
from lfads_tf2.metrics.rates import r2_truth


def measured(path: Path, folder: Path) -> dict[str, float]:
    """What a result file of validation trials says of its rates.

    Args:
        path: of the result file.
        folder: of the data files; that of the result's session may hold true inputs.

    Returns:
        r2: R² of true rates. bits: held-out bits a spike. behavior: mean R² of the behaviour's dimensions. pulses:
        correlation over trials of the bin in which the inferred inputs are largest with that of the true ones. NaN
        where the data cannot tell.
    """
    session = next((data for data in sorted(folder.glob("*.h5")) if f"_{data.name}_" in path.name), None)
    with h5py.File(path) as f:
        found = {"r2": float(f.attrs.get("r2_truth", np.nan)), "bits": float(f.attrs.get("held_out_bps", np.nan))}
        inputs = f["controller_outputs"][()] if "controller_outputs" in f else np.zeros((1, 1, 0))
    found |= {"behavior": np.nan if session is None else _behavior(path, session), "pulses": np.nan}
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


def _behavior(path: Path, session: Path) -> float:
    """Mean R² of the behaviour that the validation rates of a result file tell; NaN where the session has none."""
    halves = []
    for half in ("train", "valid"):
        results = path.with_name(path.name.replace("_valid_posterior", f"_{half}_posterior"))
        with h5py.File(session) as data, h5py.File(results) as f:
            if f"{half}_behavior" not in data:
                return np.nan
            halves.append(
                decoding.Half(f["output_dist_params"][()], data[f"{half}_data"][()], data[f"{half}_behavior"][()])
            )
    found = decoding.decode(*halves)
    return np.nan if found is None else float(np.nanmean(found.from_rates.r2))


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
    rates = {"smoothing": baselines.smoothed(valid, width)}
    if conditions[0] is not None:
        rates["condition averages"] = baselines.condition_averages(train, *conditions, width / 2)
        unread["condition averages"] = rates["condition averages"]
    smooth = baselines.smoothed(train, width)
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
