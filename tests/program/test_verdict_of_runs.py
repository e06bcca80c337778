"""Small runs that are made to be good, copying, flat, cut short or collapsed, and what the program says of them.

``tools/labelled_runs.py`` does the same at full size.
"""

from __future__ import annotations

import logging
from pathlib import Path

import h5py
import pytest
from small_runs import write_spikes

from lfads_tf2.program.command_line import main

SIZES = (
    "--factors_dim=3", "--gen_dim=16", "--ic_dim=8", "--ic_enc_dim=12", "--ci_enc_dim=12", "--con_dim=12",
    "--batch_size=20", "--device=cpu:0", "--noreport", "--seed=1", "--held_out_epochs=0",
)  # fmt: skip
MADE = {
    "good": ("--preset=auto", "--max_epochs=100"),
    "copies single spikes": (
        "--preset=auto", "--co_dim=6", "--keep_prob=1", "--kl_co_weight=0", "--kl_ic_weight=0", "--l2_gen_scale=0",
        "--l2_con_scale=0", "--max_epochs=150",
    ),
    "too flat": ("--preset=auto", "--co_dim=0", "--l2_gen_scale=20000", "--kl_ic_weight=0.1", "--max_epochs=100"),
    "ended too early": ("--co_dim=1", "--max_epochs=20"),
    "latents unused": (
        "--preset=auto", "--kl_ic_weight=50", "--kl_co_weight=50", "--kl_increase_epochs=5", "--max_epochs=60",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """A rotation whose phase differs from trial to trial."""
    folder = tmp_path_factory.mktemp("rotation")
    write_spikes(folder / "rotation.h5", train=80, valid=40, bins=30, channels=16, seed=3)
    return folder


@pytest.mark.parametrize("label", MADE)
def test_labelled(label, data, tmp_path, caplog):
    caplog.set_level(logging.INFO, "lfads_tf2")
    where = (f"--data_dir={data}", f"--lfads_save_dir={tmp_path}")
    assert main(["train", *where, *MADE[label], *SIZES]) == 0
    assert main(["infer", *where, "--noreport", "--device=cpu:0", "--num_samples_posterior=10"]) == 0
    with h5py.File(next(tmp_path.glob("*_valid_posterior_sample_and_average"))) as f:
        assert f.attrs["verdict"] == label, dict(f.attrs)
    # 80 trials are worth more steps than 100 epochs of 4 batches, and nothing in the run's own figures says so.
    assert ("It was trained for 400 steps" in caplog.text) == (label == "good")
