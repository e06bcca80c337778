"""Many runs of many recordings: datasets, parameters, alignment, folders, a queue, and results read back."""

from lfads_tf2.run_manager.collection import RunCollection
from lfads_tf2.run_manager.params.fields import param
from lfads_tf2.run_manager.params.run_params import RunParams
from lfads_tf2.run_manager.recordings.datasets import Dataset, DatasetCollection
from lfads_tf2.run_manager.recordings.session_data import SessionData
from lfads_tf2.run_manager.results.results_of_run import RunFolder
from lfads_tf2.run_manager.run import Run, RunSpec

__all__ = [
    "Dataset",
    "DatasetCollection",
    "Run",
    "RunCollection",
    "RunFolder",
    "RunParams",
    "RunSpec",
    "SessionData",
    "param",
]
