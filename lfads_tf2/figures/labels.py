"""What times, trials and channels are called in figures: as in the recording, where the session's file knows it."""

from __future__ import annotations

from typing import NamedTuple

LONGEST = 16  # of a name, in letters


class SessionLabels(NamedTuple):
    """What a session's file knows of the recording that it was cut from."""

    event: str = ""  # what time is counted from; empty: not known
    start_ms: float = 0.0  # middle of the results' first bin, from the event


def short(text: str) -> str:
    """A name on one line that fits into a title, as plain letters for matplotlib; long ones lack their middle."""
    text = " ".join(text.split())
    if len(text) > LONGEST:
        text = f"{text[: LONGEST // 2 - 1]}…{text[-LONGEST // 2 :]}"
    # A pair of these would be set as a formula.
    return text.replace("$", r"\$")
