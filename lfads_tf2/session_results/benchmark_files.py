"""Submission files of the Neural Latents Benchmark (Pei et al. 2021)."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from lfads_tf2.data.keys import SessionFile
from lfads_tf2.files import atomic_path
from lfads_tf2.session_results.errors import ResultsError
from lfads_tf2.session_results.session_arrays import SessionArrays

# The benchmark's files call validation trials evaluation trials.
NAMES = {"train": "train", "valid": "eval"}


def to_benchmark(results: SessionArrays, path: Path, dataset: str) -> Path:
    """Writes rates in spikes/bin as ``<dataset>/<train or eval>_rates_<heldin or heldout>[_forward]``.

    Neurons that the encoders read are held in, bins after those that they read are forward. Trials stay in the order
    of the session's file, as the benchmark compares them.

    Args:
        path: of the HDF5 file; other datasets in it are kept.
        dataset: the benchmark's name, such as ``mc_maze_small`` for bins of 5 ms or ``mc_maze_small_20`` for 20 ms.

    Raises:
        ResultsError: the model is not one of counts, a half or trials are missing, or the data file is not known.
    """
    if not results.counts_spikes:
        raise ResultsError(
            f"{results.name}: the benchmark scores rates of spike counts, not {results.attributes['units']}"
        )
    if not results.inferred.all() or set(results.files) != set(NAMES):
        raise ResultsError(
            f"{results.name}: the benchmark needs the rates of all training and evaluation trials; "
            f"{np.sum(~results.inferred)} of {len(results.inferred)} trials were not inferred"
        )
    if results.first_bin:
        raise ResultsError(
            f"{results.name}: the benchmark needs rates from the first bin on; train with ic_enc_seq_len=0"
        )
    bins, neurons = _encoded(results)
    with atomic_path(path) as temporary:
        if path.exists():
            temporary.write_bytes(path.read_bytes())
        with h5py.File(temporary, "a") as file:
            if dataset in file:
                del file[dataset]
            group = file.create_group(dataset)
            for half, name in NAMES.items():
                with h5py.File(results.files[half], "r") as stored:
                    rates = stored["output_dist_params"][()]
                parts = {
                    "heldin": rates[:, :bins, :neurons], "heldout": rates[:, :bins, neurons:],
                    "heldin_forward": rates[:, bins:, :neurons], "heldout_forward": rates[:, bins:, neurons:],
                }  # fmt: skip
                for part, values in parts.items():
                    if values.size:
                        group.create_dataset(f"{name}_rates_{part}", data=values, compression="gzip")
    return path


def _encoded(results: SessionArrays) -> tuple[int, int]:
    """Bins and neurons that the encoders read."""
    if results.data_file is None:
        raise ResultsError(f"{results.name}: which neurons were held out is in its data file; give data_dir")
    with h5py.File(results.data_file, "r") as handle:
        file = SessionFile(handle, str(results.data_file))
        file.keys = [key for key in handle if isinstance(key, str)]
        return handle[file.data_keys()["train"][0]].shape[1:]
