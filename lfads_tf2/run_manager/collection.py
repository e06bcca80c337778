"""RunCollection: all combinations of RunSpecs and parameters in one folder."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from lfads_tf2.errors import LFADSError
from lfads_tf2.files import write_text
from lfads_tf2.run_manager.params.run_params import RunParams
from lfads_tf2.run_manager.params.values import ParamError
from lfads_tf2.run_manager.queue import scripts
from lfads_tf2.run_manager.recordings.datasets import DatasetCollection
from lfads_tf2.run_manager.results.summary import overview, summary_text
from lfads_tf2.run_manager.run import Run, RunSpec

log = logging.getLogger("lfads_tf2")
DEFAULT_VERSION = 20171107


class CollectionError(LFADSError, ValueError):
    """A run collection that cannot do what is asked; the message says why and what to do."""


class RunCollection:
    """Runs of every RunSpec with every set of parameters.

    Args:
        root_path: folder of collections.
        name: of this one, and of its folder in ``root_path``.
        dataset_collection: that all RunSpecs take their datasets from.
        version: date of the layout, YYYYMMDD.
    """

    def __init__(
        self, root_path: str | Path, name: str, dataset_collection: DatasetCollection, version: int = DEFAULT_VERSION
    ):
        if not name or "/" in name or name.startswith("."):
            raise CollectionError(f"a run collection's name must be a folder's name without slashes, got {name!r}")
        self.root_path, self.name, self.comment = Path(root_path).expanduser(), name, ""
        self.dataset_collection, self.version = dataset_collection, RunParams(version=version).version
        self.run_specs: list[RunSpec] = []
        self.params: list[RunParams] = []
        self.runs = np.empty((0, 0), object)

    @property
    def path(self) -> Path:
        """Folder of everything."""
        return (self.root_path / self.name).absolute()

    def add_run_spec(self, *specs: RunSpec) -> None:
        """Adds RunSpecs; one of the same name gives way.

        Raises:
            CollectionError: a RunSpec of another dataset collection.
        """
        for spec in _flat(specs):
            if spec.dataset_collection is not self.dataset_collection:
                raise CollectionError(
                    f"RunSpec {spec.name} takes its datasets from {spec.dataset_collection.name!r}, this run "
                    f"collection from {self.dataset_collection.name!r}; make it with that dataset collection"
                )
            names = [s.name for s in self.run_specs]
            if spec.name in names:
                log.warning("RunSpec %s is replaced.", spec.name)
                self.run_specs[names.index(spec.name)] = spec
            else:
                self.run_specs.append(spec)
        self._regenerate()

    def add_params(self, *params: Any) -> None:
        """Adds copies of sets of parameters, or of whole sweeps; one with the same hash gives way."""
        for one in _flat(params):
            if not isinstance(one, RunParams):
                raise CollectionError(f"add_params takes RunParams and sweeps of them, got {type(one).__name__}")
            one = one.copy(version=self.version)
            hashes = [p.param_hash for p in self.params]
            if one.param_hash in hashes:
                log.warning("Parameters param_%s are replaced.", one.param_hash)
                self.params[hashes.index(one.param_hash)] = one
            else:
                self.params.append(one)
        self._regenerate()

    def clear_run_specs(self) -> None:
        """Removes all RunSpecs."""
        self.run_specs = []
        self._regenerate()

    def clear_params(self) -> None:
        """Removes all parameters."""
        self.params = []
        self._regenerate()

    def filter_run_specs(self, search: Any) -> None:
        """Keeps only these RunSpecs (as in :meth:`find_runs`)."""
        self.run_specs = [self.run_specs[i] for i in self._specs(search)]
        self._regenerate()

    def filter_params(self, search: Any) -> None:
        """Keeps only these parameters (as in :meth:`find_runs`)."""
        self.params = [self.params[i] for i in self._params(search)]
        self._regenerate()

    def _regenerate(self) -> None:
        """The matrix of runs; runs that were there before stay the same objects."""
        before = list(self.runs.ravel())
        self.runs = np.empty((len(self.run_specs), len(self.params)), object)
        for row, spec in enumerate(self.run_specs):
            for column, params in enumerate(self.params):
                made = spec.run_class(self, spec, params)
                self.runs[row, column] = next((run for run in before if run == made), made)

    def find_runs(self, spec: Any = None, params: Any = None) -> np.ndarray:
        """Part of the matrix of runs, RunSpecs x parameters.

        Args:
            spec: name(s), RunSpec(s) or index (indices) from 0; None for all.
            params: hash(es), with or without ``param_``, RunParams, or index (indices) from 0; None for all.

        Raises:
            CollectionError: one that is not there.
        """
        return self.runs[np.ix_(self._specs(spec), self._params(params))]

    def _specs(self, search: Any) -> list[int]:
        names = [s.name for s in self.run_specs]
        keys = {name: i for i, name in enumerate(names)}
        return _find(search, keys, len(names), lambda item: names.index(item.name), RunSpec, "RunSpec")

    def _params(self, search: Any) -> list[int]:
        hashes = [p.param_hash for p in self.params]
        keys = {key: i for i, h in enumerate(hashes) for key in (h, f"param_{h}")}
        return _find(search, keys, len(hashes), lambda item: hashes.index(item.param_hash), RunParams, "parameters")

    def prepare_for_lfads(self, regenerate: bool = False) -> None:
        """Writes the folders and input files of all runs, and summary.txt; what is there stays, unless ``regenerate``.

        Raises:
            CollectionError: there are no RunSpecs or no parameters.
            PrepareError, SessionDataError, AlignmentError: see ``preparation.prepare.prepare_run``.
        """
        if not self.runs.size:
            what = "parameters (add_params)" if self.run_specs else "RunSpecs (add_run_spec)"
            raise CollectionError(f"run collection {self.name} has no {what}; add some before prepare_for_lfads")
        self.path.mkdir(parents=True, exist_ok=True)
        done = set()
        for run in self.runs.ravel():
            # Runs that share their data write it once.
            run.prepare_for_lfads(regenerate and run.data_path not in done)
            done.add(run.data_path)
        self.write_summary_text()

    def generate_summary_text(self) -> str:
        """Content of summary.txt: datasets of each RunSpec, all values of each set of parameters."""
        return summary_text(self)

    def write_summary_text(self) -> Path:
        """Writes summary.txt."""
        write_text(self.path / "summary.txt", self.generate_summary_text())
        return self.path / "summary.txt"

    def write_shell_scripts(self, **options: Any) -> list[Path]:
        """Writes the three scripts of every run and launch_tensorboard.sh; see scripts.write_run_scripts."""
        written = [path for run in self.runs.ravel() for path in scripts.write_run_scripts(run, **options)]
        return [*written, self.write_tensorboard_shell_script()]

    def write_tensorboard_shell_script(self) -> Path:
        """Writes launch_tensorboard.sh, which shows all runs."""
        return scripts.write_tensorboard_script(self)

    def run(self, **options: Any) -> list[Any]:
        """Trains and reads out all runs that are not done; see :func:`lfads_tf2.run_manager.queue.runs.run_folders`.

        Classes of yours that the parameters name are loaded: they are this program's own.
        """
        from lfads_tf2.run_manager.queue.runs import run_folders

        return run_folders([run.path for run in self.runs.ravel()], **({"allow_own_parts": True} | options))

    def load_posterior_means(self, **options: Any) -> None:
        """Reads all runs' posterior means into memory."""
        for run in self.runs.ravel():
            run.load_posterior_means(**options)

    def check_posterior_means_exist(self) -> np.ndarray:
        """Which runs have posterior means of all their datasets, RunSpecs x parameters."""
        exist = [run.check_posterior_means_exist() for run in self.runs.ravel()]
        return np.array(exist, bool).reshape(self.runs.shape)

    def compare(self, runs: Iterable[Run] | None = None):
        """Fit and agreement with truth of all runs: see :func:`lfads_tf2.run_manager.results.compare.compare_runs`."""
        from lfads_tf2.run_manager.results.compare import compare_runs

        return compare_runs(list(self.runs.ravel()) if runs is None else list(runs))

    def export_results_to_h5(self, path: str | Path | None = None) -> Path:
        """All runs' posterior means, fit logs and trained parameters in one HDF5 file."""
        from lfads_tf2.run_manager.results.export import export_runs

        return export_runs(list(self.runs.ravel()), Path(path) if path else self.path / "results.h5")

    def delete_lfads_output(self, confirmed: bool = False) -> None:
        """Removes everything that training and inference wrote, of all runs. Asks first unless ``confirmed``."""
        if not confirmed and input(f"Delete all results in {self.path}? Type yes: ") != "yes":
            return
        for run in self.runs.ravel():
            for item in (run.output_path, run.path / "export"):
                shutil.rmtree(item, ignore_errors=True)
            for file in [*run.path.glob("lfads*.out"), *run.path.glob("lfads.*")]:
                file.unlink(missing_ok=True)

    def __repr__(self) -> str:
        return overview(self)


def _flat(items: Any) -> list[Any]:
    """Elements of nested lists and arrays, first axis fastest."""
    if isinstance(items, np.ndarray):
        items = items.ravel(order="F")
    return [x for i in items for x in _flat(i)] if isinstance(items, list | tuple | np.ndarray) else [items]


def _find(search: Any, keys: dict[str, int], count: int, of_object, kind: type, what: str) -> list[int]:
    if search is None or (isinstance(search, list | tuple) and not search):
        return list(range(count))
    found = []
    for item in _flat([search]):
        try:
            if isinstance(item, kind):
                found.append(of_object(item))
            elif isinstance(item, int | np.integer):
                found.append(range(count)[item])
            else:
                found.append(keys[item])
        except (KeyError, ValueError, IndexError, TypeError):
            known = ", ".join(key for key in keys if not key.startswith("param_")) or "none"
            raise CollectionError(f"no {what} {item!r}; there are {known}, counted from 0") from None
    return found


__all__ = ["CollectionError", "ParamError", "RunCollection"]
