"""Recordings with known content, as files of every kind."""

from __future__ import annotations

import datetime
from pathlib import Path

import h5py
import numpy as np
import pytest

TRIALS, UNITS, SECONDS = 24, 5, 60.0


def spikes(seed: int = 0) -> list[np.ndarray]:
    """Spike times of units with 5 to 25 spikes/s."""
    random = np.random.default_rng(seed)
    return [np.sort(random.uniform(0, SECONDS, int(SECONDS * rate))) for rate in np.linspace(5, 25, UNITS)]


def times_of_trial(n: int) -> dict[str, float]:
    """Trials of 2 s, with a go cue after 0.7 s."""
    return {"start_time": 1 + 2.2 * n, "stop_time": 3 + 2.2 * n, "go": 1.7 + 2.2 * n}


def nwb_file(path: Path, times=None, columns=None, trials=None, observed=None, series=True) -> Path:
    """An NWB file with units, trials of 2 s with a go cue, and a hand velocity at 100 Hz."""
    pynwb = pytest.importorskip("pynwb", reason="pynwb is not installed")
    start = datetime.datetime(2020, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
    file = pynwb.NWBFile("a session", "id", start)
    times = spikes() if times is None else times
    for name in columns or {}:
        file.add_unit_column(name, name)
    for number, one in enumerate(times):
        own = {} if observed is None else {"obs_intervals": observed[number]}
        file.add_unit(spike_times=one, **own, **{name: values[number] for name, values in (columns or {}).items()})
    for name in ("go", "result", "target"):
        file.add_trial_column(name, name)
    for n in range(TRIALS) if trials is None else ():
        file.add_trial(**times_of_trial(n), result="RF"[n % 2], target=n % 3)
    for trial in trials or ():
        file.add_trial(**{"go": np.nan, "result": "R", "target": 0} | trial)
    if series:
        t = np.arange(0, SECONDS, 0.01)
        velocity = pynwb.TimeSeries(name="hand_vel", data=np.column_stack([np.sin(t), t]), unit="m/s", rate=100.0)
        file.create_processing_module("behavior", "hand").add(velocity)
    with pynwb.NWBHDF5IO(str(path), "w") as writer:
        writer.write(file)
    return path


def phy_folder(folder: Path) -> Path:
    """Sorted spikes at 30 kHz; clusters 3 and 8 good, 9 noise, 11 multi-unit."""
    folder.mkdir()
    random = np.random.default_rng(1)
    times = np.sort(random.integers(0, int(30000 * SECONDS), 4000)).astype(np.uint64)
    np.save(folder / "spike_times.npy", times[:, None])
    np.save(folder / "spike_clusters.npy", random.choice([3, 8, 9, 11], 4000).astype(np.int32))
    (folder / "params.py").write_text("dat_path = 'x.dat'\nsample_rate = 30000.\nraise SystemExit('this was run')\n")
    rows = ["cluster_id\tgroup", "3\tgood", "8\tgood", "9\tnoise", "11\tmua"]
    (folder / "cluster_group.tsv").write_text("\n".join(rows) + "\n")
    return folder


def write_struct_array(path, trials):
    """A struct array with the field counts as ``save -v7.3`` writes it: a dataset of references for each field."""
    with h5py.File(path, "w", userblock_size=512) as file:
        refs = []
        for n, trial in enumerate(trials):
            item = file.create_dataset(f"#refs#/{n}", data=trial.T)
            item.attrs["MATLAB_class"] = np.bytes_(b"double")
            refs.append(item.ref)
        group = file.create_group("spikes")
        group.attrs["MATLAB_class"] = np.bytes_(b"struct")
        group["counts"] = np.array([refs], h5py.ref_dtype)
        group["counts"].attrs["MATLAB_class"] = np.bytes_(b"cell")
