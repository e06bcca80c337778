"""RunSpec and Run: which datasets, with which parameters, in which folders, and how the lab's data get in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from lfads_tf2.data.blocks import trial_blocks
from lfads_tf2.run_manager.params.run_params import RunParams
from lfads_tf2.run_manager.params.values import ParamError
from lfads_tf2.run_manager.preparation import alignment as alignments
from lfads_tf2.run_manager.preparation.prepare import prepare_run
from lfads_tf2.run_manager.protocols import PlannedCollection
from lfads_tf2.run_manager.recordings.datasets import Dataset, DatasetCollection, DatasetError
from lfads_tf2.run_manager.recordings.session_data import Rebinning, SessionData
from lfads_tf2.run_manager.results.results_of_run import ResultsOfRun


class Run(ResultsOfRun):
    """One run: a RunSpec's datasets with one set of parameters. Made by a RunCollection, not by hand.

    Labs override ``generate_counts_for_dataset`` in a subclass and name it in their RunSpecs.
    """

    def __init__(self, run_collection: PlannedCollection, spec: RunSpec, params: RunParams):
        self.run_collection, self.spec, self.params = run_collection, spec, params.copy()
        self.comment = ""

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Run):
            return NotImplemented
        same = self.spec == other.spec and self.params == other.params
        return same and self.run_collection is other.run_collection

    __hash__ = None

    @property
    def name(self) -> str:
        """The RunSpec's."""
        return self.spec.name

    @property
    def datasets(self) -> list[Dataset]:
        """In the order of the RunSpec."""
        return self.spec.datasets

    @property
    def path(self) -> Path:
        """Folder of this run."""
        return self.run_collection.path / f"param_{self.params.param_hash}" / self.name

    @property
    def data_path(self) -> Path:
        """Folder of its prepared data, shared by runs whose parameters prepare the same data."""
        return self.run_collection.path / f"data_{self.params.data_hash}" / self.name

    @property
    def input_path(self) -> Path:
        """The program's data_dir."""
        return self.path / "lfadsInput"

    @property
    def output_path(self) -> Path:
        """The program's lfads_save_dir."""
        return self.path / "lfadsOutput"

    # What labs override

    def generate_counts_for_dataset(self, dataset: Dataset, mode: str) -> SessionData | dict[str, Any]:
        """The session's data (see SessionData); ``mode`` is ``export`` or ``alignment``.

        By default what the dataset's own file holds. ``alignment`` is only asked for when
        ``uses_different_data_for_alignment`` says so.
        """
        return dataset.session_data()

    def uses_different_data_for_alignment(self) -> bool:
        """Whether alignment gets other data than the model."""
        return False

    def prepare_alignment_matrices(self, sessions: dict[str, SessionData]) -> alignments.Alignment:
        """Alignment of the sessions, in the order of the datasets."""
        params = self.params
        extra = dict(zip(params.alignmentExtraArgs[::2], params.alignmentExtraArgs[1::2], strict=False))
        unknown = sorted(extra.keys() - {"ridgeNormalizeEach"})
        if unknown or len(params.alignmentExtraArgs) % 2:
            raise ParamError(f"alignmentExtraArgs takes pairs of name and value, of ridgeNormalizeEach; got {extra}")
        averages = self.condition_averages(sessions)[0]
        if len({a.shape[1] for a in averages}) > 1:
            bins = ", ".join(f"{name} has {a.shape[1]}" for name, a in zip(sessions, averages, strict=True))
            raise alignments.AlignmentError(f"sessions must have the same number of bins, but {bins}; cut the trials")
        # A logarithm is only of use where the read-out is exponentiated.
        bias = params.alignmentBias if params.c_output_dist == "poisson" else "meanCount"
        return alignments.align(
            averages, params.c_factors_dim, params.alignmentApproach, params.alignmentCv, params.alignmentReadout, bias,
            **extra,
        )  # fmt: skip

    def condition_averages(self, sessions: dict[str, SessionData]) -> tuple[list[np.ndarray], np.ndarray]:
        """Condition averages of each session in counts a bin, conditions x bins x channels, and the conditions."""
        for name, data in sessions.items():
            if data.conditions is None:
                raise alignments.AlignmentError(
                    f"{name}: alignment needs condition_id, a condition for each trial; return it from "
                    "generate_counts_for_dataset, or set useAlignmentMatrix to False"
                )
        conditions = alignments.all_conditions([data.conditions for data in sessions.values()])
        averages = []
        for name, data in sessions.items():
            rebin = Rebinning(name, data, self.params.spikeBinMs)
            parts = (rebin(block) for _, block in trial_blocks(data.counts))
            averages.append(alignments.condition_averages(parts, data.conditions, conditions))
        return averages, conditions

    def generate_extra_lfads_inputs_by_dataset(self, dataset: Dataset, data: SessionData) -> dict[str, np.ndarray]:
        """More arrays for a dataset's input file, by key."""
        return {}

    def generate_extra_lfads_input_files(self) -> None:
        """Last step of preparation; writes whatever else a lab needs."""

    # What the run does

    @property
    def uses_alignment(self) -> bool:
        """Whether alignment matrices are made."""
        several = len(self.datasets) > 1
        return self.params.useAlignmentMatrix if several else self.params.useSingleDatasetAlignmentMatrix

    def load_session(self, dataset: Dataset, mode: str = "export") -> SessionData:
        """The session's data, checked."""
        data = SessionData.of(self.generate_counts_for_dataset(dataset, mode))
        data.check(dataset.name, self.params.c_ext_input_dim if mode == "export" else _inputs_of(data))
        return data

    def prepare_for_lfads(self, regenerate: bool = False) -> None:
        """Writes this run's input files. See RunCollection.prepare_for_lfads."""
        prepare_run(self, regenerate)

    def __repr__(self) -> str:
        hashes = f"param_{self.params.param_hash} data_{self.params.data_hash}"
        return f'{type(self).__name__} "{self.name}" [{hashes}] {self.params.differences} in {self.path}'


def _inputs_of(data: SessionData) -> int:
    return 0 if data.external_inputs is None else int(data.external_inputs.shape[1])


class RunSpec:
    """A name and the datasets that a run gets: one dataset for a single-session run, several for a stitched one.

    Args:
        name: of the run and its folder.
        dataset_collection: where the datasets are.
        datasets: names, indices from 0, mask, objects; None for all.
        run_class: the Run subclass that is made of it.

    Raises:
        DatasetError: no dataset, or one that is not in the collection; a name that is no folder's.
    """

    def __init__(
        self, name: str, dataset_collection: DatasetCollection, datasets: Any = None, run_class: type[Run] = Run
    ):
        if not name or "/" in name or name.startswith("."):
            raise DatasetError(f"a RunSpec's name must be a folder's name without slashes, got {name!r}")
        self.name, self.dataset_collection, self.run_class = name, dataset_collection, run_class
        self.datasets = dataset_collection.select(datasets)
        self.comment = ""
        if not self.datasets:
            raise DatasetError(f"RunSpec {name} has no datasets; choose at least one of {dataset_collection.name}")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RunSpec):
            return NotImplemented
        same_data = [d.name for d in self.datasets] == [d.name for d in other.datasets]
        return self.name == other.name and same_data and self.dataset_collection is other.dataset_collection

    __hash__ = None

    def __repr__(self) -> str:
        return f'{type(self).__name__} "{self.name}" ({len(self.datasets)} datasets)'
