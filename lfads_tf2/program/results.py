"""The only writer and reader of ``model_runs_*`` and ``model_params`` files.

Every array has a checksum (HDF5's Fletcher-32, and for single values, which cannot have that, an attribute), and so has
the structure of the file: a file that was damaged later is refused rather than read as other numbers.
"""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np

from lfads_tf2.errors import LFADSError
from lfads_tf2.files import atomic_path

# From HDF5 1.8 of 2008 on, headers and attributes have checksums too.
LIBVER = ("v108", "v108")
CHECKSUM = "crc32"


class DamagedFile(LFADSError, OSError):
    """A result or parameter file that cannot be read; the message says what to do."""


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
    with atomic_path(path) as temporary, h5py.File(temporary, "w", libver=LIBVER) as f:
        for name, value in attributes.items():
            if value is not None:
                f.attrs[name] = value
        for key, value in results.items():
            value = np.asarray(value)
            dataset = _stored(f, key, value, compressed=value.size > 1000)
            unit = attributes.get("units") if key == "output_dist_params" else UNITS.get(key)
            for name, text in (("units", unit), ("axes", AXES.get(key))):
                if text:
                    dataset.attrs[name] = text
    return path


def _stored(f: h5py.File, key: str, value: np.ndarray, compressed: bool = False) -> h5py.Dataset:
    """Writes one array with its checksum."""
    options = {"compression": "gzip", "compression_opts": 1, "shuffle": True} if compressed else {}
    if value.size and value.ndim:
        return f.create_dataset(key, data=value, fletcher32=True, **options)
    dataset = f.create_dataset(key, data=value)
    dataset.attrs[CHECKSUM] = zlib.crc32(value.tobytes())
    return dataset


def _read(f: h5py.File) -> dict[str, np.ndarray]:
    """All arrays of a file; HDF5 compares their checksums."""
    values = {key: f[key][()] for key in f if isinstance(f[key], h5py.Dataset)}
    for key, value in values.items():
        known = f[key].attrs.get(CHECKSUM)
        if known is not None and known != zlib.crc32(np.asarray(value).tobytes()):
            raise OSError(f"{key}: the checksum does not match")
    return values


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    """A file to read; whatever HDF5 finds damaged in it becomes a DamagedFile."""
    try:
        with h5py.File(path, "r") as f:
            yield f
    except FileNotFoundError:
        raise
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        text = " ".join(str(error).split())
        raise DamagedFile(
            f"{path} cannot be read as HDF5 ({text:.200}); it is damaged or no result of LFADS: write or copy it again"
        ) from error


def read_runs(path: Path) -> tuple[dict[str, np.ndarray], dict[str, object]]:
    """Arrays and attributes of a result file, ours or the original's.

    Raises:
        DamagedFile: it is damaged, or no HDF5 file.
    """
    with _opened(path) as f:
        return _read(f), dict(f.attrs)


def write_params(path: Path, values: dict[str, np.ndarray]) -> Path:
    """Writes variables under the original's names, ``/`` as ``_``."""
    with atomic_path(path) as temporary, h5py.File(temporary, "w", libver=LIBVER) as f:
        for name, value in values.items():
            _stored(f, name.replace("/", "_"), np.asarray(value))
    return path


def read_params(path: Path) -> dict[str, np.ndarray]:
    """Variables of a model_params file by key, ours or the original's. Raises DamagedFile as ``read_runs`` does."""
    with _opened(path) as f:
        return _read(f)
