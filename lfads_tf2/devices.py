"""Where TensorFlow runs: device, memory growth, threads, and whether XLA pays."""

from __future__ import annotations

import logging
import os

import tensorflow as tf

from lfads_tf2.hyperparameters import HyperParameters
from lfads_tf2.model import native_ops

log = logging.getLogger("lfads_tf2")


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def configure(hp: HyperParameters) -> str:
    """Sets threads and memory growth, and returns the name of the device to run on.

    Must come before TensorFlow's first operation. A device that is not there falls back to the CPU with one line.
    """
    threads = hp.num_threads or usable_cores()
    try:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
    except RuntimeError:
        log.info("--num_threads has no effect: TensorFlow is already running.")
    wanted = hp.device.lower().lstrip("/").removeprefix("device:")
    kind, _, index = wanted.partition(":")
    gpus = tf.config.list_physical_devices("GPU")
    if kind == "gpu":
        number = int(index) if index.isdigit() else 0
        if number < len(gpus):
            if hp.allow_gpu_growth:
                tf.config.experimental.set_memory_growth(gpus[number], True)
            tf.config.set_visible_devices(gpus[number], "GPU")
            return "/gpu:0"
        log.info("--device=%s is not there: running on the CPU.", hp.device)
    return "/cpu:0"


def use_xla(hp: HyperParameters, device: str) -> bool:
    """Whether the step is compiled with XLA. It fuses away a GPU's many launches; a CPU's products are slower in it."""
    return hp.jit_compile == "true" or (hp.jit_compile == "auto" and "gpu" in device)


def use_native(hp: HyperParameters, device: str) -> bool:
    """Whether the loops over time run in the compiled CPU kernels; compiles them the first time."""
    return "cpu" in device and not use_xla(hp, device) and native_ops.available()
