"""What the rooms of the run manager need of a run and of a collection: nothing below imports these classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np

from lfads_tf2.run_manager.params.run_params import RunParams
from lfads_tf2.run_manager.preparation.alignment import Alignment
from lfads_tf2.run_manager.recordings.datasets import Dataset, DatasetCollection
from lfads_tf2.run_manager.recordings.session_data import SessionData


class PlannedRun(Protocol):
    """Which datasets, with which parameters, in which folder."""

    name: str
    path: Path
    output_path: Path  # the program's lfads_save_dir
    params: RunParams
    datasets: list[Dataset]


class PreparableRun(PlannedRun, Protocol):
    """A run whose input files can be written; ``run.Run`` describes each method."""

    data_path: Path
    input_path: Path
    uses_alignment: bool

    def load_session(self, dataset: Dataset, mode: str = "export") -> SessionData: ...

    def uses_different_data_for_alignment(self) -> bool: ...

    def prepare_alignment_matrices(self, sessions: dict[str, SessionData]) -> Alignment: ...

    def generate_extra_lfads_inputs_by_dataset(self, dataset: Dataset, data: SessionData) -> dict[str, np.ndarray]: ...

    def generate_extra_lfads_input_files(self) -> None: ...


class PlannedSpec(Protocol):
    """A name and its datasets."""

    name: str
    datasets: list[Dataset]


class PlannedCollection(Protocol):
    """All combinations of specifications and parameters in one folder."""

    name: str
    path: Path
    dataset_collection: DatasetCollection
    run_specs: list[PlannedSpec]
    params: list[RunParams]
    runs: np.ndarray[Any, Any]  # of PlannedRun, specifications x parameters
