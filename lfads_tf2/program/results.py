"""The only writer and reader of ``model_runs_*`` and ``model_params`` files, which tell when they were damaged."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np

from lfads_tf2.files import atomic_path, hdf5
from lfads_tf2.program import sealed_hdf5

UNITS = {
    "output_dist_params": "spikes/bin",
    "costs": "nats/trial",
    "nll_bound_vaes": "nats/trial",
    "nll_bound_iwaes": "nats/trial",
}
AXES = {
    "gen_states": "trials, bins, generator units",
    "factors": "trials, bins, factors",
    "controller_outputs": "trials, bins, inferred inputs",
    "controller_outputs_sd": "trials, bins, inferred inputs",
    "prior_zs_ar_con": "samples, bins, inferred inputs",
    "output_dist_params": "trials, bins, channels",
    "gen_ics": "trials, generator units",
}

# What the original's files hold beside the weights: endings of keys.
OPTIMISER_SLOTS = ("_Adam:0", "_Adam_1:0", "_beta1_power:0", "_beta2_power:0")
COUNTERS = ("_global_step:0", "_learning_rate:0")


def runs_path(folder: Path, output_stem: str, kind: str, session: str = "", half: str = "") -> Path:
    """Where the results of one half of a session go (of no session for prior samples), named as the original did.

    An output stem comes without prefix or separator: ``<stem><session>_<half>_<kind>``.
    """
    ending = "_".join(part for part in (session, half, kind) if part)
    return folder / (f"{output_stem}{ending}" if output_stem else f"model_runs_{ending}")


def params_path(folder: Path, output_stem: str) -> Path:
    """Where the model's variables go."""
    return folder / (f"{output_stem}_model_params" if output_stem else "model_params")


def write_runs(path: Path, results: dict[str, np.ndarray], attributes: dict[str, object]) -> Path:
    """Writes one result file: compressed HDF5, a unit and axis names on each array, ``attributes`` on the file."""
    with atomic_path(path) as temporary, sealed_hdf5.writing(temporary) as f:
        for key, value in results.items():
            sealed_hdf5.store(f, key, np.asarray(value), compressed=_compressed(np.shape(value)))
        _describe(f, attributes)
    return path


class RunsFile:
    """A result file that is written, by another thread, while the next trials are computed.

    Args:
        f: the file, empty.
        trials: how many there will be.
    """

    def __init__(self, f: hdf5.WritableHDF5, trials: int):
        self._file, self._trials = f, trials
        self._arrays: dict[str, sealed_hdf5.Rows] = {}
        self._writer, self._last = ThreadPoolExecutor(1), None

    def add(self, block: dict[str, np.ndarray]) -> None:
        """Results of the next trials, which must not change any more. Raises OSError when an earlier block failed."""
        self.wait()
        self._last = self._writer.submit(self._write, block)

    def wait(self) -> None:
        """Until all that was added is written."""
        if self._last is not None:
            self._last.result()

    def describe(self, attributes: dict[str, object]) -> None:
        """At the end: attributes of the file, units and axes of its arrays."""
        self.wait()
        _describe(self._file, attributes)

    def _write(self, block: dict[str, np.ndarray]) -> None:
        for key, rows in block.items():
            if key not in self._arrays:
                shape = self._trials, *rows.shape[1:]
                self._arrays[key] = sealed_hdf5.Rows(self._file, key, shape, rows.dtype, _compressed(shape))
            self._arrays[key].add(rows)
        self._file.check()

    def close(self) -> None:
        """Ends the thread."""
        self._writer.shutdown()


@contextlib.contextmanager
def writing_runs(path: Path, trials: int) -> Iterator[RunsFile]:
    """A ``RunsFile`` at ``path``, which is there when the block has ended well, and is as it was when not."""
    with (
        atomic_path(path) as temporary,
        sealed_hdf5.writing(temporary) as f,
        contextlib.closing(RunsFile(f, trials)) as runs,
    ):
        yield runs
        runs.wait()


def _compressed(shape: tuple[int, ...]) -> bool:
    return int(np.prod(shape, dtype=np.int64)) > 1000


def _describe(f: h5py.File, attributes: dict[str, object]) -> None:
    for name, value in attributes.items():
        if value is not None:
            f.attrs[name] = value
    for key in f:
        unit = attributes.get("units") if key == "output_dist_params" else UNITS.get(key)
        for name, text in (("units", unit), ("axes", AXES.get(key))):
            if text:
                f[key].attrs[name] = text


def read_runs(path: Path) -> tuple[dict[str, np.ndarray], dict[str, object]]:
    """Arrays and attributes of a result file, ours or the original's.

    Raises:
        DamagedFile: it is damaged, or no HDF5 file.
    """
    return sealed_hdf5.read(path)


def write_params(path: Path, values: dict[str, np.ndarray]) -> Path:
    """Writes variables under the original's names, ``/`` as ``_``."""
    with atomic_path(path) as temporary, sealed_hdf5.writing(temporary) as f:
        for name, value in values.items():
            sealed_hdf5.store(f, name.replace("/", "_"), np.asarray(value))
    return path


def read_params(path: Path) -> dict[str, np.ndarray]:
    """Variables of a model_params file by key, ours or the original's. Raises DamagedFile as ``read_runs`` does."""
    return sealed_hdf5.read(path)[0]
