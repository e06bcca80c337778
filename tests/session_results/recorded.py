"""Made-up recordings whose results are known: every value says its unit and its time on the session's clock."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path

import h5py
import numpy as np

from lfads_tf2.program.results import runs_path, write_runs
from lfads_tf2.session_results import inferred_from

KIND = "posterior_sample_and_average"
BIN_MS = 10.0
UNIT_IDS = np.array([3, 7, 11, 20])


def known(times_s: np.ndarray, columns: int) -> np.ndarray:
    """Expected spikes a bin at these times (middles of bins), times x columns; single precision."""
    times_s = np.asarray(times_s, np.float64)[..., None]
    return (1.5 + np.sin(times_s * 2.0 + np.arange(columns)) * np.linspace(0.2, 1.2, columns)).astype(np.float32)


def write_nwb(path: Path, trials: int = 12, seconds: float = 30.0) -> Path:
    """A small NWB file with units, trials, electrodes and a behaviour series."""
    import pynwb

    random = np.random.default_rng(3)
    file = pynwb.NWBFile(
        session_description="reaching", identifier="a-recording", experimenter=["Doe, Jane"], lab="lab",
        institution="institute", experiment_description="reaches", keywords=["reaching"],
        session_start_time=datetime(2020, 5, 1, 12, tzinfo=UTC),
        subject=pynwb.file.Subject(subject_id="M1", species="Macaca mulatta", sex="F", age="P5Y"),
    )  # fmt: skip
    file.add_unit_column("quality", "sorting quality")
    for unit in UNIT_IDS:
        times = np.sort(random.uniform(0, seconds, 200))
        file.add_unit(id=int(unit), spike_times=times, quality="good", obs_intervals=[[0.0, seconds]])
    file.units.resolution = 1 / 30000
    file.add_trial_column("target", "number of the target")
    for trial in range(trials):
        file.add_trial(start_time=1.0 + 2 * trial, stop_time=2.0 + 2 * trial, target=trial % 3)
    module = file.create_processing_module("behavior", "processed behaviour")
    hand = pynwb.TimeSeries(
        name="hand", data=random.normal(size=(3000, 2)), unit="m", rate=100.0, description="position of the hand"
    )
    module.add(hand)
    with pynwb.NWBHDF5IO(str(path), "w") as writer:
        writer.write(file)
    return path


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_session(
    data: Path, starts_s: np.ndarray, valid: np.ndarray, bins: int = 20, mode: str = "aligned",
    source: Path | None = None, channels: int = len(UNIT_IDS), name: str = "monday.h5", own_bins=None, **attributes,
) -> Path:  # fmt: skip
    """A session's file as it is imported: windows at these starts, those of ``valid`` held out."""
    data.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    middles = starts_s[:, None] + (np.arange(bins) + 0.5) * BIN_MS / 1000
    counts = random.poisson(known(middles, channels)).astype(np.uint8)
    halves = {"train": ~valid, "valid": valid}
    with h5py.File(data / name, "w") as file:
        file.attrs["bin_width_ms"] = BIN_MS
        group = file.create_group("recording")
        facts = {
            "format_version": 1, "source_path": str(source or ""), "source_sha256": sha256(source) if source else "",
            "source_format": "nwb" if source else "npz", "bin_width_ms": BIN_MS, "mode": mode,
            "window_ms": [0.0, bins * BIN_MS] if mode == "chopped" else [-50.0, bins * BIN_MS - 50.0],
            "align": "" if mode == "chopped" else "start_time", "session_start_time": "", "command": "[]",
        }  # fmt: skip
        for key, value in (facts | attributes).items():
            group.attrs[key] = value
        group["unit_ids"], group["unit_index"] = UNIT_IDS[:channels], np.arange(channels)
        group["unit_quality"] = np.array(["good"] * channels, object)
        for half, rows in halves.items():
            file[f"{half}_data"] = counts[rows]
            # The rows of the table: some trials were left out before.
            group[f"{half}_trial_index"] = np.flatnonzero(rows) * 2
            group[f"{half}_start_s"], group[f"{half}_align_s"] = starts_s[rows], starts_s[rows] + 0.05
            if own_bins is not None:
                group[f"{half}_bins"] = own_bins[rows]
            group[f"{half}_condition"] = np.array([f"target {n % 3}" for n in np.flatnonzero(rows)], object)
            group[f"{half}_behavior"] = middles[rows][..., None].astype(np.float32)
        group["train_behavior"].attrs["names"], group["train_behavior"].attrs["units"] = ["time"], ["s"]
    return data / name


def write_results(
    folder: Path, session: Path, keep: int | None = None, first_bin: int = 0, stamped: bool = True, **attributes
) -> Path:
    """Result files that hold the known values at each window's times, and 99 in bins that pad a window.

    ``stamped``: they know which data they came from, as those of earlier versions do not.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with h5py.File(session) as file:
        for half in ("train", "valid"):
            starts, bins = file[f"recording/{half}_start_s"][:keep], file[f"{half}_data"].shape[1] - first_bin
            channels = file[f"{half}_data"].shape[2]
            middles = starts[:, None] + (first_bin + np.arange(bins) + 0.5) * BIN_MS / 1000
            own_bins = file.get(f"recording/{half}_bins", np.full(len(starts), first_bin + bins))[:keep] - first_bin
            padding = (np.arange(bins) >= own_bins[:, None])[..., None]
            arrays = {
                "output_dist_params": np.where(padding, np.float32(99), known(middles, channels)),
                "factors": np.where(padding, np.float32(99), known(middles, 3)),
                "controller_outputs": known(middles, 2) - 1.5, "controller_outputs_sd": known(middles, 2) / 10,
                "gen_states": np.zeros((len(starts), bins, 5), np.float32), "costs": starts,
            }  # fmt: skip
            facts = {"units": "spikes/bin", "bin_width_ms": BIN_MS, "num_samples": 8, "checkpoint_step": 100}
            facts |= {"first_bin": first_bin} if first_bin else {}
            facts |= {inferred_from.ATTRIBUTE: inferred_from.stamp(session)} if stamped else {}
            write_runs(runs_path(folder, "", KIND, session.name, half), arrays, facts | attributes)
    return folder
