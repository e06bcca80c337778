"""Which rows the benchmark's table has, and what a row says."""

from __future__ import annotations

import numpy as np
import pytest

from lfads_tf2.benchmark import command
from lfads_tf2.benchmark.measuring import SHAPES, Way, flop_per_step, measure
from lfads_tf2.hyperparameters import HyperParameters
from lfads_tf2.training.epochs import Epochs

STEP = {
    "step_seconds_median": 0.1234, "fraction_of_peak": 0.5, "seconds_before_first_step": 2.0,
    "peak_rss_bytes": 1e9, "peak_flop_per_second": 4e11,
}  # fmt: skip


@pytest.mark.parametrize("device", ["/cpu:0", "/gpu:0"])
def test_the_table_has_the_rows_of_a_gpu_where_there_is_one(monkeypatch, device):
    asked = []

    def figures(options):
        asked.append(options)
        if "--members=8" in options:
            return {"in_one_seconds": 0.5, "one_after_the_other_seconds": 1.0}
        return None if "--shape=LL" in options else STEP | {"device": device}

    monkeypatch.setattr(command, "figures", figures)
    rows = command.table(steps=7).splitlines()
    ways = ["kernels", "plain", *(["GPU, XLA", "GPU, no XLA"] if device == "/gpu:0" else [])]
    expected = [f"| {shape} | {way} |" for shape in SHAPES for way in ways]
    assert [row for row in expected if not any(line.startswith(row) for line in rows)] == []
    assert sum("GPU" in line for line in rows) == (0 if device == "/cpu:0" else 2 * len(SHAPES) + 3)
    assert "| LL | plain | failed | | | | |" in rows and "| S | kernels | 0.123 | 0.50 | 2.0 | 1.00 | 400 |" in rows
    assert "| plain | 0.500 | 1.000 |" in rows
    assert all("--steps=7" in options for options in asked[1:])


def test_operations_of_a_step_by_hand():
    """One bin, one trial, no controller: two GRUs of 3 x (5 + 4) x 4, a generator of 3 x 6 x 6, 6 x 2, 2 x 5."""
    hp = HyperParameters(ic_enc_dim=4, gen_dim=6, factors_dim=2, co_dim=0, batch_size=1)
    assert flop_per_step(hp, bins=1, channels=5) == 3 * 2 * (2 * 108 + 108 + 12 + 10)


def test_a_step_is_timed_within_epochs(monkeypatch):
    """Three sessions take turns, and epochs of 8 batches need one trace."""
    settings = {"batch_size": 4, "gen_dim": 6, "ic_enc_dim": 5, "ic_dim": 4, "factors_dim": 3, "co_dim": 0}
    monkeypatch.setitem(SHAPES, "tiny", (settings, 5, [4, 3, 4]))
    orders, train = [], Epochs.train
    monkeypatch.setattr(
        Epochs, "train", lambda self, order, rows: orders.append(list(order)) or train(self, order, rows)
    )
    found = measure("tiny", 9, Way())
    assert [len(order) for order in orders] == [8, 8, 8] and np.ravel(orders).tolist() == [n % 3 for n in range(24)]
    assert found["training_traces"] == 1 and 0 < found["step_seconds_median"] < found["seconds_before_first_step"]
