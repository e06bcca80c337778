"""The only writer and reader of ``model_runs_*`` and ``model_params`` files, which tell when they were damaged."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lfads_tf2.files import atomic_path
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
        for name, value in attributes.items():
            if value is not None:
                f.attrs[name] = value
        for key, value in results.items():
            value = np.asarray(value)
            dataset = sealed_hdf5.store(f, key, value, compressed=value.size > 1000)
            unit = attributes.get("units") if key == "output_dist_params" else UNITS.get(key)
            for name, text in (("units", unit), ("axes", AXES.get(key))):
                if text:
                    dataset.attrs[name] = text
    return path


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
