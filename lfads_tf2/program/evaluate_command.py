"""``lfads evaluate``: scores a result file as the Neural Latents Benchmark does: co-bps, fp-bps, velocity R², PSTH R²
and tp correlation.

  lfads evaluate --data=FILE.h5 --results=model_runs_..._valid_... [--train_results=model_runs_..._train_...]

bps is that of the spikes which the encoders read; held_out_bps, of spikes that were masked from them, is the score to
compare models by (docs/quality.md).

The data file is a session in any dialect. Beside the spikes it may hold, for NAME train and valid (or eval):
  NAME_behavior      trials x bins x outputs, velocities: velocity R² (needs --train_results);
                     trials x columns, first three the condition and last the produced time: tp correlation
  NAME_decode_mask   trials x decoders, the trials of each decoder
  psth               conditions x bins x neurons, with valid_conditions as its rows' numbers, and valid_jitter in bins
"""

from __future__ import annotations

import argparse
import functools
import json
from pathlib import Path

import h5py
import numpy as np

from lfads_tf2.data.entries import checked_counts
from lfads_tf2.data.reading import read_session
from lfads_tf2.errors import LFADSError
from lfads_tf2.files import write_text
from lfads_tf2.metrics import neural_latents as benchmark
from lfads_tf2.metrics.rates import bits_per_spike
from lfads_tf2.program.results import read_runs
from lfads_tf2.settings.arguments import Arguments, a_path


class EvaluationError(LFADSError, ValueError):
    """Files that cannot be scored; the message says why."""


def extra(path: Path, name: str, half: str) -> np.ndarray | None:
    """An optional array of the data file."""
    with h5py.File(path, "r") as f:
        for prefix in ("valid", "eval") if half == "valid" else ("train",):
            if f"{prefix}_{name}" in f:
                return f[f"{prefix}_{name}"][()]
    return None


def rates_and_spikes(path: Path, half: str, trials) -> tuple[np.ndarray, np.ndarray, int]:
    """Rates of a result file, the spikes that they predict, and the first bin that both have."""
    results, attributes = read_runs(path)
    if "output_dist_params" not in results:
        raise EvaluationError(f"{path} holds no output_dist_params; give a model_runs file")
    rates, first = results["output_dist_params"].astype(np.float64), int(attributes.get("first_bin", 0))
    spikes = trials.target[:, first:].astype(np.float64)
    if rates.shape != spikes.shape:
        raise EvaluationError(
            f"{path} has rates {rates.shape} and the data's {half} half {spikes.shape}; give files that belong together"
        )
    return rates, spikes, first


def scores(data: Path, results: Path, train_results: Path | None) -> dict[str, float]:
    """Every metric that the files allow."""
    problems: list[str] = []
    session = read_session(data.name, str(data), functools.partial(checked_counts, missing=True), problems, [])
    if session is None:
        raise EvaluationError("\n".join(problems))
    if session.valid is None:
        raise EvaluationError(f"{data} has no validation trials to score; store some as valid_data")
    rates, spikes, first = rates_and_spikes(results, "valid", session.valid)
    kept = read_runs(results)[1]
    # Inference alone can mask spikes from the encoders; it leaves their score in the file.
    unread = {name: float(kept[name]) for name in ("held_out_bps", "held_out_bps_error") if name in kept}
    bins, channels = session.valid.data.shape[1] - first, session.valid.data.shape[2]
    encoded = np.s_[:, :bins, :channels]
    found = {"bps": bits_per_spike(rates[encoded], spikes[encoded])} | unread
    if channels < rates.shape[2]:
        found["co-bps"] = benchmark.co_bps(rates, spikes, channels, bins)
    if bins < rates.shape[1]:
        found["fp-bps"] = benchmark.fp_bps(rates, spikes, bins)
    rates, spikes = rates[:, :bins], spikes[:, :bins]
    behavior, train_behavior = extra(data, "behavior", "valid"), extra(data, "behavior", "train")
    if behavior is not None and behavior.ndim == 2:
        period = ~np.isnan(spikes[:, :, -1])
        found["tp corr"] = benchmark.tp_correlation(rates, period, behavior[:, :3].astype(float), behavior[:, -1])
    elif behavior is not None and train_behavior is not None and train_results is not None:
        train_rates = rates_and_spikes(train_results, "train", session.train)[0][:, :bins]
        masks = (extra(data, "decode_mask", half) for half in ("train", "valid"))
        velocities = (values[:, first : first + bins] for values in (train_behavior, behavior))
        train_velocity, velocity = velocities
        found["vel R2"] = benchmark.velocity_r2(train_rates, train_velocity, rates, velocity, *masks)
    with h5py.File(data, "r") as f:
        psth = f["psth"][()] if "psth" in f else None
    conditions = session.valid.conditions
    if psth is not None and conditions is not None:
        trials_of = [np.flatnonzero(conditions == number) for number in range(len(psth))]
        jitter = extra(data, "jitter", "valid")
        found["psth R2"] = benchmark.psth_r2(psth[:, first : first + bins], rates, trials_of, jitter)
    return found


def main(argv: list[str]) -> int:
    """Runs the command and returns its exit code.

    Raises:
        EvaluationError: the files cannot be scored.
    """
    parser = Arguments("lfads evaluate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=a_path, required=True, help="the session's HDF5 file")
    parser.add_argument("--results", type=a_path, required=True, help="result file of its validation trials")
    parser.add_argument("--train_results", type=a_path, help="result file of its training trials, to fit decoders")
    parser.add_argument("--json", type=a_path, help="write the scores to this file too")
    options = parser.parse_args(argv)
    try:
        found = scores(options.data, options.results, options.train_results)
    except (OSError, ValueError) as error:
        raise EvaluationError(str(error)) from error
    for name, value in found.items():
        print(f"{name:18} {value:.4f}")
    if options.json:
        write_text(options.json, json.dumps(found, indent=1))
    return 0
