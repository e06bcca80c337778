"""What this room refuses."""

from __future__ import annotations

from lfads_tf2.errors import LFADSError


class ResultsError(LFADSError, ValueError):
    """Results that are not there, do not belong together, or cannot be written as asked; the message says why."""
