"""Small sessions and collections that several tests share."""

from __future__ import annotations

import numpy as np

from lfads_tf2.run_manager import Dataset, DatasetCollection, RunCollection, RunParams, RunSpec

# Trains in a second or two; the ramps end early so that a lowest-validation checkpoint is made.
SMALL = {
    "spikeBinMs": 2, "c_factors_dim": 3, "c_gen_dim": 6, "c_ic_dim": 4, "c_ic_enc_dim": 5, "c_ci_enc_dim": 4,
    "c_con_dim": 4, "c_co_dim": 1, "c_batch_size": 8, "c_kl_increase_steps": 2, "c_l2_increase_steps": 2,
    "c_device": "cpu:0", "num_samples_posterior": 3, "c_max_epochs": 3, "c_report": False, "c_num_threads": 1,
    "c_seed": 1,
}  # fmt: skip


def session(channels=6, conditions=5, trials=8, time=20, seed=0, **extra):
    """A session's fields: counts trials x channels x time in bins of 1 ms, with smooth true rates."""
    rng = np.random.default_rng(seed)
    phases = np.linspace(0, 5, conditions)[:, None, None]
    ids = np.repeat(np.arange(conditions) + 1, trials)
    shift = np.linspace(0, 6, channels)[:, None]
    truth = 0.4 * np.exp(0.8 * np.sin(0.3 * np.arange(time) + phases + shift))[ids - 1]
    counts = rng.poisson(truth).astype(np.uint8)
    return {"counts": counts, "time_vec_ms": np.arange(time), "condition_id": ids, "truth": truth} | extra


def datasets(count=2, **options):
    """A collection of such sessions, with different channels."""
    collection = DatasetCollection("here", "toy")
    for number in range(count):
        Dataset(collection, f"day{number + 1}.mat", data=session(channels=6 - number, seed=number, **options))
    return collection


def collection(root, count=2, specs=("single", "all"), params=None, **options):
    """A run collection of single-session runs and a stitched one."""
    sessions = datasets(count, **options)
    runs = RunCollection(root, "toy_runs", sessions)
    if "single" in specs:
        runs.add_run_spec([RunSpec(d.single_run_name, sessions, d) for d in sessions.datasets])
    if "all" in specs:
        runs.add_run_spec(RunSpec("all", sessions))
    runs.add_params(RunParams(**SMALL, useAlignmentMatrix=True) if params is None else params)
    return runs
