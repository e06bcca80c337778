"""One session's results: its arrays, and their way into other programs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lfads_tf2.session_results import labelled, nwb_copy
from lfads_tf2.session_results.session_arrays import SessionArrays

if TYPE_CHECKING:
    import pandas
    import pynapple
    import xarray


class SessionResults(SessionArrays):
    """Results of one session; see SessionArrays for the arrays."""

    def to_xarray(self, merge: bool | None = None) -> xarray.Dataset:
        """See ``labelled.to_xarray``."""
        return labelled.to_xarray(self, merge)

    def to_pandas(self, quantity: str = "rates", merge: bool | None = None) -> pandas.DataFrame:
        """See ``labelled.to_pandas``."""
        return labelled.to_pandas(self, quantity, merge)

    def to_pynapple(self, quantity: str = "rates") -> pynapple.TsdFrame:
        """See ``labelled.to_pynapple``."""
        return labelled.to_pynapple(self, quantity)

    def to_nwb(self, path: str | Path, **options: Any) -> Path:
        """See ``nwb_copy.to_nwb``."""
        return nwb_copy.to_nwb(self, Path(path), **options)
