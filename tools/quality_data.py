"""The data sets of ``quality.py --suite``: those with known rates that it makes, and files, perhaps cut."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np


class DataSet(NamedTuple):
    """One set that the suite makes itself."""

    simulate: list[str]  # words after ``lfads simulate``
    published: str = ""  # the preset with the settings that were published for such data
    flags: tuple[str, ...] = ()  # that every contender needs


SUITE = {
    "lorenz": DataSet(["lorenz", "--sessions=1"], "lorenz"),
    "lorenz_few_trials": DataSet(
        ["lorenz", "--sessions=1", "--conditions=12", "--trials_min=10", "--trials_max=10"], "lorenz"
    ),
    "lorenz_stitched": DataSet(["lorenz", "--sessions=2", "--conditions=30"], "lorenz"),
    "chaotic_rnn": DataSet(["chaotic-rnn", "--conditions=60", "--trials=5", "--channels=30"], "chaotic_rnn_no_inputs"),
    "chaotic_rnn_inputs": DataSet(
        ["chaotic-rnn", "--preset=chaotic_rnn_inputs_g1p5", "--conditions=300", "--trials=1"], "chaotic_rnn_inputs_g1p5"
    ),
    "integration_to_bound": DataSet(
        ["chaotic-rnn", "--preset=itb_rnn", "--conditions=150", "--trials=2"], "integration_to_bound"
    ),
    "gaussian": DataSet(
        ["chaotic-rnn", "--preset=chaotic_rnn_no_inputs_gaussian", "--conditions=60", "--trials=5"],
        "chaotic_rnn_gaussian",
        ("--output_dist=gaussian",),
    ),
}


def fewer_trials(source: Path, target: Path, trials: int) -> None:
    """Copies a data file with so many of its training trials, spread evenly over it."""
    with h5py.File(source) as f, h5py.File(target, "w") as g:
        number = len(f["train_data"])
        rows = np.unique(np.linspace(0, number - 1, min(trials, number)).round().astype(int))
        for name, values in f.items():
            g[name] = values[rows] if name.startswith("train_") else values[()]


def folders_of(output: Path, files: list[Path], run: Callable, names: Iterable[str] = SUITE) -> dict[str, Path]:
    """Folders of files and of data sets of SUITE by name, made where they are not there yet.

    Args:
        output: folder for everything.
        files: with :TRIALS cut to so many training trials.
        run: of ``quality.py``.
        names: of data sets of SUITE.
    """
    folders = {name: output / name / "data" for name in names}
    for name, folder in folders.items():
        if not folder.exists():
            run("simulate", *SUITE[name].simulate, f"--output_dir={folder.absolute()}")
    for path in files:
        source, _, trials = str(path).partition(":")
        name = Path(source).stem + (f"_{trials}" if trials else "")
        folders[name] = output / name / "data"
        if not folders[name].exists():
            folders[name].mkdir(parents=True)
            target = folders[name] / f"{name}.h5"
            fewer_trials(Path(source), target, int(trials)) if trials else shutil.copy(source, target)
    return folders
