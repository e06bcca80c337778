"""Where a command computes, with GPUs that are there by name only; two logical devices train in test_replicas.py."""

from __future__ import annotations

import pytest
import tensorflow as tf

from lfads_tf2.hyperparameters import HyperParameters
from lfads_tf2.model import native
from lfads_tf2.program import devices


@pytest.fixture
def gpus(monkeypatch):
    """Three GPUs; TensorFlow's settings by name."""
    there = [tf.config.PhysicalDevice(f"/physical_device:GPU:{n}", "GPU") for n in range(3)]
    found = {"visible": there, "grow": [], "options": {}, "there": there}
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: there)
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind: found["visible"])
    monkeypatch.setattr(tf.config, "set_visible_devices", lambda chosen, kind: found.update(visible=chosen))
    monkeypatch.setattr(tf.config.experimental, "set_memory_growth", lambda gpu, grows: found["grow"].append(gpu))
    monkeypatch.setattr(tf.config.optimizer, "set_experimental_options", found["options"].update)
    for name in ("intra", "inter"):
        monkeypatch.setattr(
            tf.config.threading, f"set_{name}_op_parallelism_threads", lambda n, name=name: found.update({name: n})
        )
    monkeypatch.setattr(native, "_loaded", [object()])
    return found


def test_some_of_the_gpus(gpus):
    device = devices.configure(HyperParameters(device="gpu:1", num_gpus=2, num_threads=5))
    assert device == devices.Device("/gpu:0", native=False, xla=True, num_gpus=2)
    assert gpus["visible"] == gpus["grow"] == gpus["there"][1:] and not gpus["options"]
    assert (gpus["intra"], gpus["inter"]) == (5, 5)


def test_fewer_gpus_than_asked_for_and_no_xla(gpus, caplog):
    caplog.set_level("INFO")
    device = devices.configure(HyperParameters(device="/gpu:2", num_gpus=2, jit_compile="false"))
    assert device == devices.Device("/gpu:0", native=False, xla=False, num_gpus=1)
    assert "--num_gpus=2: only 1 there from /gpu:2 on" in caplog.text
    assert gpus["options"] == {"disable_meta_optimizer": True}


def test_a_gpu_that_is_not_there(gpus, caplog):
    caplog.set_level("INFO")
    device = devices.configure(HyperParameters(device="gpu:3", num_threads=2))
    assert (device.name, device.native, device.xla) == ("/cpu:0", True, False)
    assert "--device=gpu:3 is not there: running on the CPU" in caplog.text
    assert (gpus["intra"], gpus["inter"]) == (1, 2)


@pytest.mark.parametrize("kind, within", [("train", 2), ("posterior_sample_and_average", 5)])
def test_a_cpu_with_kernels(kind, within, gpus):
    """Products of a training step run side by side."""
    device = devices.configure(HyperParameters(device="cpu", num_threads=5, kind=kind))
    assert device.native and (gpus["intra"], gpus["inter"]) == (within, 5)


@pytest.mark.parametrize("jit_compile", ["true", "auto"])
def test_a_cpu_without_kernels(jit_compile, gpus, monkeypatch):
    """One thread a product for the plain loops, all for XLA's."""
    monkeypatch.setattr(native, "_loaded", [None])
    device = devices.configure(HyperParameters(device="cpu", num_threads=4, jit_compile=jit_compile))
    assert (device.name, device.native, device.xla) == ("/cpu:0", False, jit_compile == "true")
    assert (gpus["intra"], gpus["inter"]) == ((4, 4) if device.xla else (1, 4))
