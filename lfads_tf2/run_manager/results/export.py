"""All results of some runs in one HDF5 file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import h5py
import numpy as np

from lfads_tf2.files import atomic_path, hdf5
from lfads_tf2.run_manager.loading import LoadError
from lfads_tf2.run_manager.results.load import FitLog, PosteriorMeans, TrainedParams


class Readable(Protocol):
    """A run whose results can be read; ``results_of_run.ResultsOfRun`` describes each method."""

    name: str

    def load_posterior_means(self) -> dict[str, PosteriorMeans]: ...

    def load_fit_log(self) -> FitLog: ...

    def load_trained_params(self) -> TrainedParams: ...


def export_runs(runs: Sequence[Readable], path: Path) -> Path:
    """Writes ``<param hash>/<run>/{posterior_means/<dataset>, fit_log, trained_params}``; trials come first.

    Runs without results are left out.

    Raises:
        LoadError: none of the runs has results.
    """
    found = 0
    with atomic_path(path) as temporary, hdf5.writing(temporary) as file:
        for run in runs:
            params = getattr(run, "params", None)
            # Two sets of parameters have runs of the same name.
            group = file.require_group(f"param_{params.param_hash}/{run.name}" if params else run.name)
            if params:
                group.attrs["parameters"] = params.to_json()
            written = [_write(group, run, part) for part in (_posterior_means, _fit_log, _trained_params)]
            found += any(written)
            if not any(written):
                del group.parent[group.name.rsplit("/", 1)[1]]
        if not found:
            raise LoadError("none of these runs has results to export; run them first")
    return path


def _write(group: h5py.Group, run: Readable, part) -> bool:
    try:
        part(group, run)
    except LoadError:
        return False
    return True


def _posterior_means(group: h5py.Group, run: Readable) -> None:
    for name, means in run.load_posterior_means().items():
        of_dataset = group.create_group(f"posterior_means/{name}")
        for field, value in means._asdict().items():
            if field in ("dataset", "kind", "bin_ms"):
                if value is not None:
                    of_dataset.attrs[field] = value
            elif value is not None and field != "raw_counts":
                array = np.asarray(value)
                array = array.astype(object) if array.dtype.kind == "U" else array
                options = {"compression": "gzip", "compression_opts": 1, "shuffle": True} if array.size > 1000 else {}
                of_dataset.create_dataset(field, data=array, **options)
        of_dataset["rates"].attrs["unit"] = "spikes/s" if means.bin_ms else "spikes/bin"


def _fit_log(group: h5py.Group, run: Readable) -> None:
    for name, values in run.load_fit_log().columns.items():
        group[f"fit_log/{name}"] = values


def _trained_params(group: h5py.Group, run: Readable) -> None:
    for name, values in run.load_trained_params().values.items():
        group[f"trained_params/{name}"] = values
