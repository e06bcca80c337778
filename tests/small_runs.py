"""Small data and runs that several tests share."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
from conftest import ROOT

from lfads_tf2.files import hdf5

# A model that trains in a fraction of a second.
SMALL = (
    "--co_dim=1", "--factors_dim=3", "--gen_dim=6", "--ic_dim=4", "--ic_enc_dim=5", "--ci_enc_dim=4", "--con_dim=4",
    "--batch_size=8", "--kl_increase_steps=6", "--l2_increase_steps=6", "--device=cpu:0", "--noreport",
)  # fmt: skip


def write_spikes(path: Path, train=20, valid=6, bins=9, channels=7, seed=0, **extra) -> Path:
    """A file of the first dialect with smooth rates; ``extra`` keys are added or replace the standard ones."""
    random = np.random.default_rng(seed)
    phase = random.uniform(0, 2 * np.pi, (train + valid, 1, 1))
    time = np.arange(bins)[None, :, None]
    rates = np.exp(0.8 * np.sin(0.7 * time + phase + random.uniform(0, 6, channels))).astype(np.float32)
    counts = random.poisson(rates)
    content = {
        "train_data": counts[:train],
        "valid_data": counts[train:],
        "train_truth": rates[:train],
        "valid_truth": rates[train:],
    } | extra
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as f:
        for key, value in content.items():
            if value is not None:
                f[key] = value
    return path


def disk_of(room: int) -> type[hdf5.Disk]:
    """A disk on which no HDF5 file may be longer than so many bytes."""

    class SmallDisk(hdf5.Disk):
        def write(self, data) -> int:
            if self.error is None and self.tell() + len(data) > room:
                self.error = OSError(errno.ENOSPC, "No space left on device")
            return super().write(data)

    return SmallDisk


def program(*arguments: str, check=True, **options) -> subprocess.CompletedProcess:
    """Runs run_lfads.py in a process of its own."""
    command = [sys.executable, str(ROOT / "run_lfads.py"), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, **options)
    if check:
        assert done.returncode == 0, done.stderr
    return done
