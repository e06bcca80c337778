"""Results of runs with their axes: trials in order, times, units; and their way into other programs' files."""

from lfads_tf2.session_results.errors import ResultsError
from lfads_tf2.session_results.loading import RunResults, load_results, load_session
from lfads_tf2.session_results.merging import merge_windows

__all__ = ["ResultsError", "RunResults", "load_results", "load_session", "merge_windows"]
