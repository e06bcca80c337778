#!/usr/bin/env python3
"""Times training steps and posterior averaging of standard shapes against the machine's own matrix-product peak.

usage: benchmark.py [--shape=S] [--steps=20] [--json=FILE] [--compare=FILE] [--plain] [--threads=0]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from lfads_tf2.hyperparameters import HyperParameters
from lfads_tf2.types import ModelSpec, SessionShape, Trials

LARGE = {
    "batch_size": 128, "gen_dim": 200, "ic_enc_dim": 128, "ci_enc_dim": 128, "con_dim": 128, "ic_dim": 64,
    "factors_dim": 20, "co_dim": 1, "keep_prob": 0.95,
}  # fmt: skip
# Hyperparameters, bins, channels; P is posterior averaging of 128 trials x 50 samples of L.
SHAPES = {
    "S": (
        {"batch_size": 150, "gen_dim": 64, "ic_enc_dim": 64, "ic_dim": 64, "factors_dim": 8, "co_dim": 0},
        100,
        [30],
    ),
    "L": (LARGE, 100, [50]),
    "LL": (LARGE, 500, [50]),
    "L256": (LARGE | {"batch_size": 256}, 100, [50]),
    "L1024": (LARGE | {"batch_size": 1024}, 100, [50]),
    "M40": (LARGE, 100, [25 + n % 11 for n in range(40)]),
    "P": (LARGE, 100, [50]),
}
POSTERIOR_TRIALS, POSTERIOR_SAMPLES = 128, 50


def flop_per_step(hp: HyperParameters, bins: int, channels: int) -> int:
    """Floating-point operations of the matrix products of a training step: forward, and twice that backward."""
    gru = 3  # matrices of a GRU, as multiples of units
    products = 0
    if hp.ic_dim:
        products += 2 * gru * hp.ic_enc_dim * (channels + hp.ic_enc_dim)
    if hp.co_dim:
        products += 2 * gru * hp.ci_enc_dim * (channels + hp.ci_enc_dim)
        products += gru * hp.con_dim * (2 * hp.ci_enc_dim + hp.factors_dim + hp.con_dim) + 2 * hp.con_dim * hp.co_dim
    products += gru * hp.gen_dim * (hp.co_dim + hp.gen_dim) + hp.gen_dim * hp.factors_dim + hp.factors_dim * channels
    return 3 * 2 * products * bins * hp.batch_size


def matrix_peak(tf) -> float:
    """Largest rate of a float32 matrix product with this process's threads, operations a second."""
    a = tf.random.normal([2048, 2048])
    rates = []
    for _ in range(12):
        start = time.perf_counter()
        tf.matmul(a, a).numpy()
        rates.append(2 * 2048**3 / (time.perf_counter() - start))
    return max(rates)


def measure(shape: str, steps: int, plain: bool, threads: int) -> dict:
    """One shape's figures."""
    import tensorflow as tf

    from lfads_tf2 import devices
    from lfads_tf2.data.resident import ResidentTrials
    from lfads_tf2.inference import Inference
    from lfads_tf2.model.lfads import LFADS
    from lfads_tf2.training.epochs import Epochs
    from lfads_tf2.training.optimizer import Adam, trainable_variables

    settings, bins, channels = SHAPES[shape]
    hp = HyperParameters(**settings, num_threads=threads)
    if plain:
        os.environ["LFADS_NATIVE"] = "0"
    device = devices.configure(hp)
    random = np.random.default_rng(0)
    halves = [Trials(random.poisson(0.2, (hp.batch_size, bins, n)).astype(np.uint8)) for n in channels]
    spec = ModelSpec(hp, bins, tuple(SessionShape(f"s{i}", n) for i, n in enumerate(channels)))
    with tf.device(device.name):
        peak = matrix_peak(tf)
        start = time.perf_counter()
        model = LFADS(spec, native=device.native)
        optimizer = Adam(trainable_variables(model), hp.learning_rate_init)
        trials = ResidentTrials(halves, spec.max_channels, 0)
        epochs = Epochs(model, optimizer, trials, None, 1, device.xla)
        one = tf.constant(np.arange(hp.batch_size, dtype=np.int32)[None])

        def step(index: int) -> float:
            begin = time.perf_counter()
            epochs.train(tf.constant([index % len(channels)], tf.int32), one).costs.total.numpy()
            return time.perf_counter() - begin

        step(0)
        before_first = time.perf_counter() - start
        times = [step(n) for n in range(steps + 3)][3:]
        result = {
            "shape": shape,
            "step_seconds_median": float(np.median(times)),
            "step_seconds_quartiles": [float(q) for q in np.percentile(times, [25, 75])],
            "trials_per_second": hp.batch_size / float(np.median(times)),
            "flop_per_step": flop_per_step(hp, bins, spec.max_channels),
            "peak_flop_per_second": peak,
            "seconds_before_first_step": before_first,
            "training_traces": epochs.traces["train"],
            "native_kernels": device.native,
        }
        result["fraction_of_peak"] = result["flop_per_step"] / result["step_seconds_median"] / peak
        if shape == "P":
            run = Inference(model, 0, 0)
            data = Trials(random.poisson(0.2, (POSTERIOR_TRIALS, bins, channels[0])).astype(np.uint8))
            seconds = []
            for _ in range(4):
                start = time.perf_counter()
                run.posterior_average(0, data, POSTERIOR_SAMPLES)
                seconds.append(time.perf_counter() - start)
            result["posterior_seconds"] = min(seconds[1:])
            result["posterior_first_seconds"] = seconds[0]
            result["posterior_samples_per_second"] = POSTERIOR_TRIALS * POSTERIOR_SAMPLES / min(seconds[1:])
    result["peak_rss_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", choices=SHAPES, default="S")
    parser.add_argument("--steps", type=int, default=20, help="training steps that are timed")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--compare", type=Path, help="print ratios to the figures of this file")
    parser.add_argument("--plain", action="store_true", help="without the compiled kernels")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0: all cores")
    options = parser.parse_args()
    result = measure(options.shape, options.steps, options.plain, options.threads)
    text = json.dumps(result, indent=1)
    print(text)
    if options.json:
        options.json.write_text(text)
    if options.compare:
        other = json.loads(options.compare.read_text())
        for key in ("step_seconds_median", "seconds_before_first_step", "peak_rss_bytes", "fraction_of_peak"):
            print(f"{key}: {result[key] / other[key]:.3f} of {options.compare}")


if __name__ == "__main__":
    main()
