"""What a session's file says of the recording that it was cut from, for the figures."""

from __future__ import annotations

import logging
from pathlib import Path

from lfads_tf2.figures.labels import SessionLabels
from lfads_tf2.session_results.errors import ResultsError
from lfads_tf2.session_results.recording_link import RecordingLink, read_link
from lfads_tf2.types import Session

log = logging.getLogger("lfads_tf2")


def recording_labels(session: Session, first_bin: int = 0) -> SessionLabels:
    """Labels of a session's figures.

    Args:
        session: as read.
        first_bin: bin of the data where the results start.
    """
    link, trials = _link(session), {"train": session.train, "valid": session.valid}
    trials = {half: one for half, one in trials.items() if one is not None}
    numbers = {half: one.indices for half, one in trials.items() if one.indices is not None}
    if link is None:
        return SessionLabels(numbers=numbers)
    # An import numbers the trials that it kept in the file's own indices, and here those of the recording's table.
    found = {half: link.trial_index.get(half, ()) for half in trials}
    numbers = found if all(len(found[half]) == len(one.data) for half, one in trials.items()) else numbers
    unit_ids = link.unit_ids if len(link.unit_ids) == session.train.target.shape[2] else None
    if link.bin_ms != session.bin_width_ms:
        return SessionLabels(numbers=numbers, unit_ids=unit_ids)
    # Without a column, time begins where the windows or the recording's own trials do.
    event = link.align or ("window start" if link.mode == "chopped" else "trial start")
    return SessionLabels(event, link.middle_ms(first_bin), numbers, unit_ids)


def _link(session: Session) -> RecordingLink | None:
    try:
        return read_link(Path(session.path)) if session.path else None
    except (ResultsError, OSError, ValueError, TypeError) as error:
        # Figures are of use without it.
        log.info("%s: its figures have no labels of the recording: %s", session.name, error)
        return None
