#!/usr/bin/env python3
"""What it costs to infer rates without the future: R² of true rates, on synthetic data, of each way to have them.

usage: causality.py OUTPUT_FOLDER [--epochs=150] [--seed=1] [flags of lfads train]

Trains a bidirectional and a causal model on spikes of a Lorenz system, and scores the bins after the initial
condition's of the validation trials: of whole trials, bin by bin, and of a sliding window.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import h5py
import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from lfads_tf2.metrics.rates import r2_truth
from lfads_tf2.online import OnlineLFADS
from lfads_tf2.online.exported import export
from lfads_tf2.program.command_line import main as lfads
from lfads_tf2.program.results import read_runs

IC_BINS = 20
DATA = ("--sessions=1", "--conditions=32", "--trials_min=10", "--trials_max=10", "--bins=120")
MODEL = (
    "--batch_size=64", "--factors_dim=4", "--gen_dim=48", "--ic_dim=16", "--ic_enc_dim=48", "--ci_enc_dim=48",
    "--con_dim=48", "--co_dim=3", "--learning_rate_schedule=cosine", "--kl_increase_epochs=40",
    "--l2_increase_epochs=40", "--noreport", "--device=cpu:0",
)  # fmt: skip
MODELS = {"bidirectional": (), "causal": (f"--ic_enc_seq_len={IC_BINS}", "--do_causal_controller")}


def call(*words: str) -> None:
    """One command, which must succeed."""
    if lfads([str(word) for word in words]):
        raise SystemExit(f"lfads {words[0]} failed")


def online_rates(model: Path, spikes: np.ndarray) -> np.ndarray:
    """Rates of all trials, each a stream, bin by bin."""
    stream = OnlineLFADS.load(model, streams=len(spikes))
    return np.stack([stream.step(spikes[:, t])[0].copy() for t in range(spikes.shape[1])], axis=1)


def main(arguments: list[str]) -> int:
    """Prints one line a way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--epochs", type=int, default=150)
    parser.add_argument("--seed", type=int, default=1)
    options, flags = parser.parse_known_args(arguments)
    data = options.folder / "data"
    call("simulate", "lorenz", f"--output_dir={data}", f"--seed={options.seed}", *DATA)
    file = next(data.glob("*.h5"))
    with h5py.File(file) as f:
        spikes, truth = f["valid_data"][()], f["valid_truth"][:, IC_BINS:]
    rates = {}
    for name, own in MODELS.items():
        run = options.folder / name
        given = (data, f"--lfads_save_dir={run}")
        call("train", *given, *MODEL, *own, f"--max_epochs={options.epochs}", f"--seed={options.seed}", *flags)
        call("export-params", *given)
        call("push-mean", *given, "--noreport")
        batch, _ = read_runs(next(run.glob("model_runs_*_valid_posterior_push_mean")))
        rates[f"{name}, whole trials"] = batch["output_dist_params"][:, -truth.shape[1] :]
        stepped = online_rates(export(run, run / "model.npz"), spikes)[:, IC_BINS:]
        rates["causal, bin by bin" if name == "causal" else "bidirectional, sliding window"] = stepped
    for name, found in rates.items():
        print(f"{name}: R² {r2_truth(found, truth):.3f}")
    furthest = np.abs(rates["causal, bin by bin"] - rates["causal, whole trials"]).max()
    print(f"causal, bin by bin against whole trials: at most {furthest:.1e} spikes/bin apart")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
