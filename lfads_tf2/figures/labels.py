"""What times, trials and channels are called in figures: as in the recording, where the session's file knows it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

LONGEST = 16  # of a name, in letters


class Names(NamedTuple):
    """What one half's trials and channels are called: by their positions where nothing else is known."""

    numbers: Sequence[int] | None = None  # of the trials in the recording, counted from 0
    units: Sequence[str] | None = None  # of each channel, short; empty: it would not tell the channel from others

    def number(self, trial: int) -> str:
        return str(trial if self.numbers is None else self.numbers[trial])

    def trial(self, trial: int) -> str:
        return f"trial {self.number(trial)}"

    def channel(self, channel: int) -> str:
        unit = self.units[channel] if self.units is not None else ""
        if not unit:
            return f"channel {channel}"
        return unit if unit.lower().startswith("unit") else f"unit {unit}"

    def beside_channels(self, count: int) -> list[str]:
        """What stands beside the rows of an image, under a label that says ``unit`` or ``channel``."""
        if self.units is None:
            return [str(channel) for channel in range(count)]
        return [self.units[channel] or self.channel(channel) for channel in range(count)]


BY_POSITION = Names()


class SessionLabels(NamedTuple):
    """What a session's file knows of the recording that it was cut from."""

    event: str = ""  # what time is counted from; empty: not known
    start_ms: float = 0.0  # middle of the results' first bin, from the event
    numbers: Mapping[str, np.ndarray] = {}  # by half: of the trials in the recording, counted from 0; empty: not known
    unit_ids: np.ndarray | None = None  # of each channel

    def names(self, half: str) -> Names:
        if self.unit_ids is None:
            return Names(self.numbers.get(half))
        found = [short(str(one)) for one in self.unit_ids]
        times = Counter(found)
        return Names(self.numbers.get(half), [one if times[one] == 1 else "" for one in found])

    def __str__(self) -> str:
        """A sentence on the figures; empty where they go by positions."""
        said = ["trials have their numbers in the recording, counted from 0"] if self.numbers else []
        said += ["channels the ids of their units"] if self.unit_ids is not None else []
        return f"In these figures {', and '.join(said)}." if said else ""


def short(text: str) -> str:
    """A name on one line that fits into a title, as plain letters for matplotlib; long ones lack their middle."""
    text = " ".join(text.split())
    if len(text) > LONGEST:
        text = f"{text[: LONGEST // 2 - 1]}…{text[-LONGEST // 2 :]}"
    # A pair of these would be set as a formula.
    return text.replace("$", r"\$")
