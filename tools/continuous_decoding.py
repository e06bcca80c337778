#!/usr/bin/env python3
"""Behaviour decoded from the merged rates of a continuous recording, beside the best smoothing of its counts.

usage: continuous_decoding.py FOLDER [--system=lorenz] [--minutes=10] [--units=60] [--seed=1]
       continuous_decoding.py FOLDER --nwb=session.nwb --behavior=hand_vel            a recording of your own

Makes a recording (spike times of units that one low-dimensional system drives, and a 2-D hand velocity that follows
from the same system), then goes the documented way: lfads import --chop, train --preset=auto, export --to nwb. Ridge
regression is fitted on the bins that only training windows hold and scored on those that only validation windows hold;
the width of the smoothing is the one that cross-validation on the training bins likes best. FOLDER/decoding.json has
the figures.
"""

from __future__ import annotations

import argparse
import datetime
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # runs from a checkout without installing

import numpy as np

from lfads_tf2 import Recording, load_results
from lfads_tf2.metrics.baselines import WIDTHS
from lfads_tf2.metrics.rates import channel_r2
from lfads_tf2.metrics.ridge import ridge_cv
from lfads_tf2.program.command_line import main as lfads
from lfads_tf2.recordings.binning import counts_of_times, window_series
from lfads_tf2.synthetic.spikes import lorenz_step, run_network

STEP_S, BIN_MS, CHOP_MS, OVERLAP_MS = 0.002, 20, 1000, 500
BURN_IN = 2000  # steps
LORENZ_DT = 0.005  # of the system's own time, one step: loops last about 0.3 s
MEDIAN_RATE, RATE_SPREAD = 4.0, 0.7  # spikes/s, and standard deviation of its logarithm over units
MODULATION = 0.6  # standard deviation of a unit's log-rate over time
GAIN, NETWORK_UNITS, TAU_S = 2.5, 50, 0.1  # of the rate network


def trajectory(system: str, random: np.random.Generator, steps: int) -> np.ndarray:
    """steps x latents of one long run, each with mean 0 and standard deviation 1."""
    if system == "lorenz":
        state, path = random.standard_normal(3) + np.array([0.0, 0.0, 25.0]), np.empty((BURN_IN + steps, 3))
        for step in range(len(path)):
            path[step] = state = lorenz_step(state, LORENZ_DT)
    else:
        recurrent = GAIN / np.sqrt(NETWORK_UNITS) * random.standard_normal((NETWORK_UNITS, NETWORK_UNITS))
        drive = np.zeros((1, BURN_IN + steps, NETWORK_UNITS))
        path = run_network(random.standard_normal((1, NETWORK_UNITS)), recurrent, drive, STEP_S / TAU_S)[0]
    path = path[BURN_IN:]
    return (path - path.mean(axis=0)) / path.std(axis=0)


def write_recording(path: Path, system: str, seconds: float, units: int, seed: int) -> None:
    """An NWB file with sorted units and the hand velocity."""
    import pynwb

    random = np.random.default_rng(seed)
    latents = trajectory(system, random, int(seconds / STEP_S))
    weights = random.standard_normal((latents.shape[1], units + 2))
    drives = latents @ (weights / np.linalg.norm(weights, axis=0))
    start = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    file = pynwb.NWBFile(f"synthetic recording: {system}, seed {seed}", f"{system}-{seed}", start)
    median = MEDIAN_RATE * np.exp(RATE_SPREAD * random.standard_normal(units))
    for unit in range(units):
        rates = median[unit] * np.exp(MODULATION * drives[:, unit] / drives[:, unit].std())
        counts = random.poisson(rates * STEP_S)
        steps = np.repeat(np.arange(len(counts)), counts)
        file.add_unit(spike_times=np.sort((steps + random.random(len(steps))) * STEP_S))
    velocity = pynwb.TimeSeries(name="hand_vel", data=drives[:, units:], unit="m/s", rate=1 / STEP_S)
    file.create_processing_module("behavior", "hand").add(velocity)
    with pynwb.NWBHDF5IO(str(path), "w") as writer:
        writer.write(file)


def smoothed(counts: np.ndarray, width: float) -> np.ndarray:
    """Counts, bins x units, through a Gaussian kernel whose standard deviation is ``width`` bins."""
    reach = int(np.ceil(4 * width))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / width) ** 2)
    return np.stack([np.convolve(column, kernel / kernel.sum(), "same") for column in counts.T], axis=1)


def decoded(predictors: np.ndarray, behavior: np.ndarray, train: np.ndarray, test: np.ndarray):
    """R² of each dimension on the test bins, and the least cross-validated loss on the training bins."""
    ridge = ridge_cv(behavior[train], predictors[train])
    mean_x, mean_y = predictors[train].mean(axis=0), behavior[train].mean(axis=0)
    predicted = (predictors[test] - mean_x) @ ridge.weights + mean_y
    return channel_r2(predicted[None], behavior[test][None]).round(4).tolist(), float(ridge.losses.min())


def compared(nwb: Path, data: Path, behavior: str) -> dict[str, object]:
    """R² from merged rates and factors, and from counts at the best width, on the bins of the validation windows."""
    results = next(iter(load_results(data).values()))
    clocked, width_s = results.on_clock("rates"), results.bin_ms / 1000.0
    bins = np.round(clocked.times_s / width_s - 0.5).astype(int)
    held = {half: np.zeros(bins.max() + 1, bool) for half in ("train", "valid")}
    for start, half in zip(results.start_s, results.halves, strict=True):
        first = round(start / width_s)
        held[half][first : first + results.bins] = True
    recording = Recording.read(nwb, behavior=[behavior])
    series = window_series(recording.series[behavior], np.zeros(1), len(held["train"]), width_s, 0.0, "interpolate")[0]
    known = np.isfinite(series).all(axis=1)
    train, test = (held[a] & ~held[b] & known for a, b in (("train", "valid"), ("valid", "train")))
    counts = np.stack([
        counts_of_times(recording.spike_times[unit], np.zeros(1), len(train), width_s)[0]
        for unit in results.link.unit_index
    ], axis=1)  # fmt: skip
    found: dict[str, object] = {"train_bins": int(train.sum()), "test_bins": int(test.sum())}
    tried = [(decoded(smoothed(counts, width), series, train, test), width) for width in WIDTHS]
    (found["smoothed"], _), best = min(tried, key=lambda one: one[0][1])
    found["smoothing_ms"] = best * results.bin_ms
    for name in ("rates", "factors"):
        values = results.on_clock(name).values
        merged = np.full((len(train), values.shape[1]), np.nan)
        merged[bins] = values
        found[name], _ = decoded(merged, series, train, test)
    return found


def main() -> int:
    """Runs what the words ask for; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--system", choices=("lorenz", "chaotic-rnn"), default="lorenz")
    parser.add_argument("--nwb", type=Path)
    parser.add_argument("--behavior", default="hand_vel")
    for name, default in (("minutes", 10.0), ("units", 60), ("seed", 1)):
        parser.add_argument(f"--{name}", type=type(default), default=default)
    options, flags = parser.parse_known_args()  # others go to the training
    options.folder.mkdir(parents=True, exist_ok=True)
    nwb, data = options.nwb or options.folder / "recording.nwb", options.folder / "data"
    if options.nwb is None:
        write_recording(nwb, options.system, options.minutes * 60, options.units, options.seed)
    windows = f"--chop {CHOP_MS} --overlap {OVERLAP_MS} --bin-ms {BIN_MS}".split()
    for words in (
        ["import", str(nwb), "-o", str(data), *windows], ["train", str(data), "--preset=auto", *flags],
        ["infer", str(data), "--noreport"], ["export", str(data), "--to", "nwb"],
    ):  # fmt: skip
        if code := lfads(words):
            return code
    found = compared(nwb, data, options.behavior)
    (options.folder / "decoding.json").write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
