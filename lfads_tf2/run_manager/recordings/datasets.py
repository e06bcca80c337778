"""Datasets: one recording session each, in a collection that keeps their order."""

from __future__ import annotations

import collections
import copy
import inspect
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lfads_tf2.errors import LFADSError
from lfads_tf2.run_manager.loading import load_file, load_nwb
from lfads_tf2.run_manager.recordings.session_data import SessionData

log = logging.getLogger("lfads_tf2")

# Names under which a recording's file may hold what a session needs.
_KEYS = {
    "counts": ("counts", "spikes"),
    "time_vec_ms": ("time_vec_ms", "timeVecMs", "timeMs", "time_ms"),
    "condition_id": ("condition_id", "conditionId", "conditions"),
    "truth": ("truth", "true_rates"),
    "external_inputs": ("external_inputs", "externalInputs", "ext_input"),
    "truth_unit": ("truth_unit",),
    "axes": ("axes",),
    "trial_index": ("trial_index",),
    "trial_ids": ("trial_ids",),
    "start_s": ("start_s",),
    "unit_ids": ("unit_ids",),
}


class DatasetError(LFADSError, ValueError):
    """A dataset that does not exist or cannot be used."""


class Dataset:
    """One recording session. Made with a collection, it registers itself there.

    Args:
        collection: where it belongs.
        rel_path: of its file, within the collection's path; its stem is the dataset's name.
        data: the session itself, in place of a file: SessionData, or a dict with its fields.
        name: in place of the file's stem. It becomes part of file and variable names and must not change later.
        nwb: arguments of ``load_nwb`` for an NWB file, such as ``align_to="go", length_ms=700.0``.

    Subclasses override ``load_data`` for other files and ``load_info_from_data`` for their own metadata.
    """

    def __init__(
        self, collection: DatasetCollection, rel_path: str = "", data: Any = None, name: str | None = None, **nwb: Any
    ):
        name = (name or Path(rel_path).stem).replace(",", "_")
        if not name or "/" in name or name.startswith("."):
            raise DatasetError(f"a dataset's name must be a file name without folders, got {name!r}")
        self.name, self.rel_path, self.comment = name, str(rel_path), ""
        self.collection, self._data, self.nwb = collection, data, nwb
        unknown = nwb.keys() - inspect.signature(load_nwb).parameters.keys() | nwb.keys() & {"path"}
        if unknown:
            raise DatasetError(f"dataset {name}: unknown arguments {', '.join(sorted(unknown))}; see load_nwb")
        self.info_loaded = False
        self.subject, self.save_tags, self.date = "", "", None
        self.n_trials: int | None = None
        self.n_channels: int | None = None
        collection.add(self)

    @property
    def path(self) -> Path:
        """Of the dataset's file."""
        return self.collection.path / self.rel_path

    @property
    def index_in_collection(self) -> int:
        """Counted from 0."""
        return self.collection.datasets.index(self)

    @property
    def single_run_name(self) -> str:
        """Name of the run of this dataset alone."""
        return f"single_{self.name}"

    @property
    def h5_name(self) -> str:
        """What the program calls this session: its input file without the stem ``lfads_``."""
        return f"{self.name}.h5"

    def load_data(self) -> Any:
        """The file's variables by name (see :func:`loading.load_file`), or the data that the dataset was made with."""
        if self._data is not None:
            return self._data
        return load_nwb(self.path, **self.nwb) if self.path.suffix.lower() == ".nwb" else load_file(self.path)

    def session_data(self) -> SessionData:
        """Counts and what belongs to them, from the names that such files usually have.

        Raises:
            DatasetError: the file has no counts under any of these names.
        """
        loaded = self.load_data()
        if isinstance(loaded, SessionData):
            return loaded
        found = {}
        for field, names in _KEYS.items():
            given = [loaded[name] for name in names if name in loaded]
            if given:
                found[field] = given[0]
        if "counts" not in found:
            raise DatasetError(
                f"dataset {self.name} holds {', '.join(loaded) or 'nothing'}, but neither counts nor spikes; override "
                "generate_counts_for_dataset of your Run to say where the counts are"
            )
        return SessionData(**found)

    def load_info(self, reload: bool = False) -> None:
        """Reads the metadata, once."""
        if reload or not self.info_loaded:
            self.load_info_from_data(self.load_data())
            self.info_loaded = True

    def load_info_from_data(self, data: Any) -> None:
        """Sets the metadata from what ``load_data`` gave."""
        session = self.session_data()
        self.n_trials, self.n_channels = session.num_trials, session.num_channels
        if isinstance(data, dict):
            self.subject = str(data.get("subject", ""))
            self.save_tags = str(data.get("saveTags", data.get("save_tags", "")))

    def reload_info(self) -> None:
        """Reads the metadata again."""
        self.load_info(reload=True)

    def __repr__(self) -> str:
        return f'{type(self).__name__} "{self.name}"'


class DatasetCollection:
    """Datasets in order.

    Args:
        path: folder of their files.
        name: default the folder's name.
    """

    def __init__(self, path: str | Path = ".", name: str | None = None):
        self.path = Path(path).expanduser()
        self.name = name if name is not None else self.path.name
        self.comment = ""
        self.datasets: list[Dataset] = []

    def add(self, dataset: Dataset) -> None:
        """Adds a dataset; one of the same name gives way to it."""
        dataset.collection = self
        names = [d.name for d in self.datasets]
        if dataset.name in names:
            log.info("Dataset %s is replaced.", dataset.name)
            self.datasets[names.index(dataset.name)] = dataset
        else:
            self.datasets.append(dataset)

    def add_files(self, pattern: str = "*.mat") -> None:
        """Adds every file of the folder that fits, sorted by name.

        Files of one name in several folders are named after their folders too: ``2020-01-01_spikes``.

        Raises:
            DatasetError: no file fits.
        """
        found = sorted(path for path in self.path.glob(pattern) if not path.name.startswith("."))
        if not found:
            raise DatasetError(f"no file of {self.path} fits {pattern!r}")
        stems = collections.Counter(path.stem for path in found)
        for path in found:
            inside = path.relative_to(self.path)
            Dataset(self, str(inside), name="_".join(inside.with_suffix("").parts) if stems[path.stem] > 1 else None)

    def clear(self) -> None:
        """Removes all datasets."""
        self.datasets = []

    def select(self, chosen: Any) -> list[Dataset]:
        """Datasets by name(s), index or indices (from 0), mask, object(s), or None for all.

        Raises:
            DatasetError: a name, index or object that is not there.
        """
        if chosen is None:
            return list(self.datasets)
        if isinstance(chosen, str | int | np.integer | Dataset):
            chosen = [chosen]
        items = list(chosen)
        if items and all(isinstance(item, bool | np.bool_) for item in items):
            if len(items) != len(self.datasets):
                raise DatasetError(
                    f"a mask needs one entry for each of {len(self.datasets)} datasets, got {len(items)}"
                )
            return [d for d, keep in zip(self.datasets, items, strict=True) if keep]
        return [self._one(item) for item in items]

    def _one(self, item: Any) -> Dataset:
        by_name = {d.name: d for d in self.datasets}
        if isinstance(item, Dataset) and by_name.get(item.name) is item:
            return item
        if isinstance(item, str) and item in by_name:
            return by_name[item]
        if isinstance(item, int | np.integer) and 0 <= item < len(self.datasets):
            return self.datasets[item]
        raise DatasetError(f"no dataset {item!r} in {self.name}; it has {', '.join(by_name) or 'none'}, counted from 0")

    def match_datasets_by_name(self, names: str | Sequence[str]) -> list[Dataset]:
        """Datasets of these names. Raises DatasetError for one that is not there."""
        return self.select([names] if isinstance(names, str) else list(names))

    def find_dataset(self, name: str) -> Dataset:
        """The dataset of this name. Raises DatasetError when there is none."""
        return self._one(name)

    def filter(self, chosen: Any) -> None:
        """Keeps only these (see :meth:`select`)."""
        self.datasets = self.select(chosen)

    def filter_having_minimum_trials(self, minimum: int) -> None:
        """Keeps datasets with at least so many trials."""
        self.load_info()
        self.datasets = [d for d in self.datasets if (d.n_trials or 0) >= minimum]

    def filter_having_minimum_trials_for_batch_size(self, params: Iterable[Any]) -> None:
        """Keeps datasets whose training trials fill a batch for each of these parameters."""
        self.filter_having_minimum_trials(max(p.c_batch_size * (p.trainToTestRatio + 1) for p in params))

    def compute_max_batch_size(self, train_to_test_ratio: int = 4) -> int:
        """Largest batch size that every dataset's trials suffice for."""
        self.load_info()
        return min(d.n_trials for d in self.datasets) // (train_to_test_ratio + 1)

    def load_info(self, reload: bool = False) -> None:
        """Reads all datasets' metadata."""
        for dataset in self.datasets:
            dataset.load_info(reload)

    def reload_info(self) -> None:
        """Reads all datasets' metadata again."""
        self.load_info(reload=True)

    def info_table(self) -> str:
        """Subject, date, save tags, trials and channels of each dataset, as text."""
        rows = [("", "subject", "date", "saveTags", "nTrials", "nChannels")]
        rows += [
            (d.name, d.subject, str(d.date or ""), d.save_tags, str(d.n_trials), str(d.n_channels))
            for d in self.datasets
        ]
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        return "\n".join("  ".join(t.ljust(w) for t, w in zip(row, widths, strict=True)).rstrip() for row in rows)

    def copy(self) -> DatasetCollection:
        """A collection with copies of the datasets (not of their data)."""
        other = copy.copy(self)
        other.datasets = []
        for dataset in self.datasets:
            other.add(copy.copy(dataset))
        return other

    def __len__(self) -> int:
        return len(self.datasets)

    def __repr__(self) -> str:
        lines = [f'{type(self).__name__} "{self.name}"', f"  {len(self)} datasets in {self.path}"]
        return "\n".join([*lines, *(f"  [{i:2d}] {d!r}" for i, d in enumerate(self.datasets))])
