"""HDF5 files to checked sessions to batches."""

from lfads_tf2.data.batches import epoch_batches, validation_batches
from lfads_tf2.data.checks import check_against, resolve, unwise, warnings_about
from lfads_tf2.data.errors import DataError
from lfads_tf2.data.reading import read_sessions

__all__ = [
    "DataError",
    "check_against",
    "epoch_batches",
    "read_sessions",
    "resolve",
    "unwise",
    "validation_batches",
    "warnings_about",
]
