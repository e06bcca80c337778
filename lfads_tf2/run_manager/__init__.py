"""Many runs of many recordings: datasets, parameters, alignment, folders, a queue, and results read back."""

from lfads_tf2.run_manager.collection import RunCollection
from lfads_tf2.run_manager.datasets import Dataset, DatasetCollection
from lfads_tf2.run_manager.param_fields import param
from lfads_tf2.run_manager.params import RunParams
from lfads_tf2.run_manager.results_mixin import RunFolder
from lfads_tf2.run_manager.run import Run, RunSpec
from lfads_tf2.run_manager.session_data import SessionData

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
