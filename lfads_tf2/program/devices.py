"""Where TensorFlow runs: device, memory growth, threads, and whether XLA pays."""

from __future__ import annotations

import logging
from typing import NamedTuple

import tensorflow as tf

from lfads_tf2.hyperparameters import HyperParameters
from lfads_tf2.model import native as kernels
from lfads_tf2.model.kernels import usable_cores
from lfads_tf2.tracing import worth_saying

log = logging.getLogger("lfads_tf2")


class Device(NamedTuple):
    """Where and how a command computes."""

    name: str  # for tf.device
    native: bool  # the loops over time run in the compiled CPU kernels
    xla: bool  # the training step is compiled with XLA
    num_gpus: int  # GPUs that share each training batch; 0 or 1: nothing is shared


def configure(hp: HyperParameters) -> Device:
    """Sets threads and memory growth, and says where and how to run.

    Must come before TensorFlow's first operation. A device that is not there falls back to the CPU with one line.
    """
    tf.get_logger().addFilter(worth_saying)
    name = _device_name(hp)
    # XLA fuses away a GPU's many launches; a CPU's products are slower in it.
    xla = hp.jit_compile == "true" or (hp.jit_compile == "auto" and "gpu" in name)
    native = "cpu" in name and not xla and kernels.available()
    threads = hp.num_threads or usable_cores()
    within = threads
    if not xla:
        # TensorFlow's graph optimiser gains nothing here, takes as long as tracing, and breaks on the plain loops at
        # large sizes ("TmpVar").
        tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    if native and hp.kind == "train":
        # The scans have threads of their own. Most products of a gradient come in pairs that do not wait for each
        # other, one of each direction: side by side they gain more than one after the other, each split over all.
        within = max(1, threads // 2)
    elif not native and not xla and "cpu" in name:
        # These loops are many small products: whole loops side by side gain more than products split over threads.
        within = 1
    try:
        tf.config.threading.set_intra_op_parallelism_threads(within)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
    except RuntimeError:
        log.debug("TensorFlow is already running; its threads stay as they are.")
    return Device(name, native, xla, min(hp.num_gpus, len(tf.config.get_visible_devices("GPU"))))


def _device_name(hp: HyperParameters) -> str:
    wanted = hp.device.lower().lstrip("/").removeprefix("device:")
    kind, _, index = wanted.partition(":")
    gpus = tf.config.list_physical_devices("GPU")
    if kind == "gpu":
        number = int(index) if index.isdigit() else 0
        chosen = gpus[number : number + hp.num_gpus]
        if chosen:
            if len(chosen) < hp.num_gpus:
                log.info("--num_gpus=%d: only %d there from %s on.", hp.num_gpus, len(chosen), hp.device)
            for gpu in chosen:
                tf.config.experimental.set_memory_growth(gpu, hp.allow_gpu_growth)
            tf.config.set_visible_devices(chosen, "GPU")
            return "/gpu:0"
        log.info("--device=%s is not there: running on the CPU.", hp.device)
    return "/cpu:0"
