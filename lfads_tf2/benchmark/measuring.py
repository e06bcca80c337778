"""What a training step and posterior averaging cost here, against the machine's own matrix-product peak."""

from __future__ import annotations

import os
import resource
import time
from typing import NamedTuple

import numpy as np

from lfads_tf2.hyperparameters import HyperParameters
from lfads_tf2.types import ModelSpec, SessionShape, Trials

LARGE = {
    "batch_size": 128, "gen_dim": 200, "ic_enc_dim": 128, "ci_enc_dim": 128, "con_dim": 128, "ic_dim": 64,
    "factors_dim": 20, "co_dim": 1, "keep_prob": 0.95,
}  # fmt: skip
SMALL = {"batch_size": 150, "gen_dim": 64, "ic_enc_dim": 64, "ic_dim": 64, "factors_dim": 8, "co_dim": 0}
# Hyperparameters, bins, channels of each session.
SHAPES = {
    "S": (SMALL, 100, [30]),
    "L": (LARGE, 100, [50]),
    "LL": (LARGE, 500, [50]),
    "L256": (LARGE | {"batch_size": 256}, 100, [50]),
    "L1024": (LARGE | {"batch_size": 1024}, 100, [50]),
    "M1": (LARGE, 100, [30]),
    "M40": (LARGE, 100, [25 + n % 11 for n in range(40)]),
    "P": (LARGE, 100, [50]),  # posterior averaging instead of training
}
POSTERIOR_TRIALS, POSTERIOR_SAMPLES = 128, 50
# Of the epochs that are timed: a step costs what it costs in training, where an epoch is one call.
EPOCH_BATCHES = 8


def flop_per_step(hp: HyperParameters, bins: int, channels: int) -> int:
    """Floating-point operations of a training step's matrix products: forward, and twice that backward."""
    gru = 3  # a GRU's matrices, as multiples of its units
    products = 0
    if hp.ic_dim:
        products += 2 * gru * hp.ic_enc_dim * (channels + hp.ic_enc_dim)
    if hp.co_dim:
        products += 2 * gru * hp.ci_enc_dim * (channels + hp.ci_enc_dim)
        products += gru * hp.con_dim * (2 * hp.ci_enc_dim + hp.factors_dim + hp.con_dim) + 2 * hp.con_dim * hp.co_dim
    products += gru * hp.gen_dim * (hp.co_dim + hp.gen_dim) + hp.gen_dim * hp.factors_dim + hp.factors_dim * channels
    return 3 * 2 * products * bins * hp.batch_size


def matrix_peak(tf) -> float:
    """Largest rate of float32 matrix products with all of this process's threads, operations a second.

    So many products side by side as it takes with the threads that one may have.
    """
    threads = tf.config.threading
    within = max(1, threads.get_intra_op_parallelism_threads())
    together = max(1, threads.get_inter_op_parallelism_threads() // within)
    matrices = [tf.random.normal([2048, 2048], seed=n) for n in range(together)]
    products = tf.function(lambda: [tf.matmul(a, a)[0] for a in matrices])
    rates = []
    for _ in range(12):
        start = time.perf_counter()
        tf.stack(products()).numpy()
        rates.append(2 * 2048**3 * together / (time.perf_counter() - start))
    return max(rates)


class Way(NamedTuple):
    """How a benchmark runs; the last three as the hyperparameters of these names (``num_threads`` the first)."""

    plain: bool = False  # without the compiled kernels
    threads: int = 0  # CPU threads; 0: all cores
    device: str = "cpu"
    jit_compile: str = "auto"


def measure(shape: str, steps: int, way: Way) -> dict:
    """One shape's figures.

    Args:
        shape: a name in SHAPES.
        steps: training steps that are timed at least, in whole epochs of EPOCH_BATCHES after one that is not.
    """
    if way.plain:
        os.environ["LFADS_NATIVE"] = "0"
    import tensorflow as tf

    from lfads_tf2.program import devices

    settings, bins, channels = SHAPES[shape]
    kind = "posterior_sample_and_average" if shape == "P" else "train"
    hp = HyperParameters(**settings, kind=kind, num_threads=way.threads, device=way.device, jit_compile=way.jit_compile)
    device = devices.configure(hp)
    spec = ModelSpec(hp, bins, tuple(SessionShape(f"s{i}", n) for i, n in enumerate(channels)))
    with tf.device(device.name):
        result = {"shape": shape, "device": device.name, "native_kernels": device.native, "xla": device.xla}
        result |= {"peak_flop_per_second": matrix_peak(tf)}
        result |= _posterior(spec, device) if shape == "P" else _training(spec, device, steps)
    if "flop_per_step" in result:
        rate = result["flop_per_step"] / result["step_seconds_median"]
        result["fraction_of_peak"] = rate / result["peak_flop_per_second"]
    # Kilobytes on Linux.
    result["peak_rss_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return result


def _counts(trials: int, bins: int, channels: int) -> Trials:
    return Trials(np.random.default_rng(0).poisson(0.2, (trials, bins, channels)).astype(np.uint8))


def _training(spec: ModelSpec, device, steps: int) -> dict:
    import tensorflow as tf

    from lfads_tf2.model.lfads import LFADS
    from lfads_tf2.training.epochs import prepare
    from lfads_tf2.types import Session

    hp = spec.hyperparameters
    halves = [_counts(hp.batch_size, spec.num_bins, session.num_channels) for session in spec.sessions]
    sessions = [Session(shape.name, "", half, None) for shape, half in zip(spec.sessions, halves, strict=True)]
    start = time.perf_counter()
    model = LFADS(spec, native=device.native)
    epochs = prepare(model, sessions, 1, device.xla)
    rows = tf.constant(np.tile(np.arange(hp.batch_size, dtype=np.int32), (EPOCH_BATCHES, 1)))

    def epoch(index: int) -> float:
        order = np.arange(index * EPOCH_BATCHES, (index + 1) * EPOCH_BATCHES) % len(sessions)
        return _seconds(lambda: epochs.train(tf.constant(order, tf.int32), rows).costs.total.numpy())

    epoch(0)
    whole_first = time.perf_counter() - start
    times = [epoch(n) / EPOCH_BATCHES for n in range(1, 1 + _epochs(steps))]
    median = float(np.median(times))
    return {
        "step_seconds_median": median,
        "step_seconds_quartiles": [float(q) for q in np.percentile(times, [25, 75])],
        "trials_per_second": hp.batch_size / median,
        "flop_per_step": flop_per_step(hp, spec.num_bins, spec.max_channels),
        "seconds_before_first_step": whole_first - (EPOCH_BATCHES - 1) * median,
        "training_traces": epochs.traces["train"],
    }


def _posterior(spec: ModelSpec, device) -> dict:
    from lfads_tf2.inference import Inference
    from lfads_tf2.model.lfads import LFADS

    run = Inference(LFADS(spec, native=device.native, for_training=False), 0, 0)
    data = _counts(POSTERIOR_TRIALS, spec.num_bins, spec.max_channels)
    seconds = []
    for _ in range(4):
        start = time.perf_counter()
        run.posterior_average(0, data, POSTERIOR_SAMPLES)
        seconds.append(time.perf_counter() - start)
    best = min(seconds[1:])
    return {
        "posterior_seconds": best,
        "posterior_first_seconds": seconds[0],
        "posterior_samples_per_second": POSTERIOR_TRIALS * POSTERIOR_SAMPLES / best,
    }


def measure_population(shape: str, members: int, steps: int, way: Way) -> dict:
    """Epochs of several models in one program against one model after the other, in turns in one process.

    Seconds are those of one step of all models.

    Args:
        shape: a name in SHAPES, of one session.
        members: models.
        steps: as in ``measure``, of each model.
    """
    if way.plain:
        os.environ["LFADS_NATIVE"] = "0"
    import tensorflow as tf

    from lfads_tf2.autolfads.batched import BatchedExecutor
    from lfads_tf2.autolfads.config import config_from, with_data
    from lfads_tf2.autolfads.population import Task
    from lfads_tf2.program import devices
    from lfads_tf2.types import Session

    settings, bins, channels = SHAPES[shape]
    rates = {"learning_rate_init": {"min": 1e-5, "max": 1e-2}, "dropout_rate": {"min": 0, "max": 0.6}}
    content = settings | {"num_threads": way.threads, "device": way.device, "jit_compile": way.jit_compile}
    content |= {"pbt": {"num_workers": members, "hps": rates}}
    search = with_data(config_from(content, "benchmark"), bins, channels[0], 1)
    device = devices.configure(search.hyperparameters)
    trials = _counts(settings["batch_size"], bins, channels[0])
    together = BatchedExecutor(search, [Session("s", "", trials, trials)], device)
    alone = together.slot
    tasks = [Task(n, n, 0, 1, {"learning_rate_init": 1e-3, "keep_prob": 0.95}, None) for n in range(members)]
    rows = np.tile(np.arange(settings["batch_size"], dtype=np.int32), (EPOCH_BATCHES, 1))
    one = tf.zeros([EPOCH_BATCHES], tf.int32), tf.constant(rows)
    every = tf.zeros([members, EPOCH_BATCHES], tf.int32), tf.constant(np.stack([rows] * members))
    result = {"shape": shape, "members": members, "device": device.name, "native_kernels": device.native}
    with tf.device(device.name):
        population, _ = together.enter(tasks)
        alone.enter(tasks[0])

        def in_one() -> None:
            together.epochs.train(population, *every)[1].costs.total.numpy()

        def one_after_the_other() -> None:
            for _ in tasks:
                alone.epochs.train(*one).costs.total.numpy()

        for name, run in (("in_one", in_one), ("one_after_the_other", one_after_the_other)):
            result[f"{name}_first_seconds"] = _seconds(run)
        pairs = [(_seconds(in_one), _seconds(one_after_the_other)) for _ in range(_epochs(steps))]
    batched, separate = (float(np.median(times)) / EPOCH_BATCHES for times in zip(*pairs, strict=True))
    return result | {"in_one_seconds": batched, "one_after_the_other_seconds": separate, "gain": separate / batched}


def _epochs(steps: int) -> int:
    """How many hold at least so many steps."""
    return -(-steps // EPOCH_BATCHES)


def _seconds(run) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start
