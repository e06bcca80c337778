"""Two logical devices give the numbers of one, in a process of its own, since devices are fixed once in use."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
from conftest import ROOT
from small_runs import write_spikes

SCRIPT = """
import sys, json, pathlib
sys.path[:0] = [{root!r}, {root!r} + "/tests"]
import tensorflow as tf
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)
from lfads_tf2.data import read_sessions, resolve
from lfads_tf2.hyperparameters import HyperParameters
from lfads_tf2.model.lfads import LFADS
from lfads_tf2.training import replicas
from lfads_tf2.training.trainer import Trainer

folder = pathlib.Path({folder!r})
hp = HyperParameters(
    data_dir=str(folder / "data"), co_dim=1, factors_dim=3, gen_dim=6, ic_dim=4, ic_enc_dim=5, ci_enc_dim=4, con_dim=4,
    batch_size=8, kl_increase_steps=6, l2_increase_steps=6, max_epochs=4, max_grad_norm=5.0, ext_input_dim=2,
)
sessions = read_sessions(hp)
weights = {{}}
for name, strategy in (("one", None), ("two", tf.distribute.MirroredStrategy(["/cpu:0", "/cpu:1"]))):
    (folder / name).mkdir()
    with replicas.scope(strategy):
        model = LFADS(resolve(hp, sessions), 1, native={native})
    trainer = Trainer(model, sessions, folder / name, 5, show_progress=False, strategy=strategy)
    trainer.train()
    weights[name] = [v.numpy().tolist() for v in trainer.optimizer.trained]
    resumed = Trainer(model, sessions, folder / name, 5, show_progress=False, strategy=strategy)
    assert resumed.state.epoch == 4 and resumed.step == 12, (resumed.state, resumed.step)
(folder / "weights.json").write_text(json.dumps(weights))
"""


def test_two_devices_equal_one(tmp_path):
    from lfads_tf2.model import native
    from lfads_tf2.training.fit_log import read

    random = np.random.default_rng(0)
    inputs = {f"{half}_ext_input": random.normal(size=(n, 9, 2)) for half, n in (("train", 20), ("valid", 6))}
    write_spikes(tmp_path / "data" / "one.h5", **inputs)
    script = SCRIPT.format(root=str(ROOT), folder=str(tmp_path), native=native.available())
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    one, two = (read(tmp_path / name / "fitlog.csv") for name in ("one", "two"))
    for column in one:
        np.testing.assert_allclose(two[column], one[column], rtol=1e-5, atol=0.011)  # the log has two decimals
    weights = json.loads((tmp_path / "weights.json").read_text())
    for first, second in zip(weights["one"], weights["two"], strict=True):
        first, second = np.array(first), np.array(second)
        assert np.abs(second - first).max() <= 1e-5 * max(np.abs(first).max(), 1e-3)
