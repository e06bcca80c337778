"""Trials of equal length in two halves, what was asked for, and an account of all that was left out."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from lfads_tf2.errors import did_you_mean
from lfads_tf2.recordings.halves import KINDS, TRAIN, VALID
from lfads_tf2.recordings.recording import RecordingData, RecordingError
from lfads_tf2.recordings.unit_selection import Dropped
from lfads_tf2.recordings.windows import Windows

UNOBSERVED = ("nan", "drop-unit", "drop-trial")
LENGTHS = ("pad", "cut", "leave")
BEHAVIOR = ("interpolate", "mean")


@dataclasses.dataclass(frozen=True)
class CutOptions:
    """What ``lfads import`` can be told. Lengths and times in ms."""

    bin_ms: float = 10.0
    table: str = "trials"
    where: str = ""
    units: str = ""
    align: str = ""
    window: tuple[float, float] | None = None
    lengths: str = ""
    chop: float | None = None
    overlap: float = 0.0
    condition: str = ""
    behavior: tuple[str, ...] = ()
    lag: float = 0.0
    behavior_how: str = "interpolate"
    min_rate: float = 0.0
    min_presence: float = 0.0
    max_crosstalk: float = 0.3
    halves: str = "auto"
    halves_column: str = "split"
    valid_share: float = 0.2
    seed: int = 0
    unobserved: str = "nan"

    @classmethod
    def of(cls, given: dict[str, Any]) -> CutOptions:
        """Options by name. Raises RecordingError for a name that is none."""
        known = [field.name for field in dataclasses.fields(cls)]
        for name in given:
            if name not in known:
                raise RecordingError(f"there is no option {name!r}{did_you_mean(name, known)}; {', '.join(known)} are")
        return cls(**given)

    def check(self) -> None:
        """Raises RecordingError for values out of range."""
        problems = [
            (not 0 < self.bin_ms < math.inf, f"--bin-ms must be above 0, got {self.bin_ms}"),
            (not 0 < self.valid_share < 1, f"--valid-share must be between 0 and 1, got {self.valid_share}"),
            (not 0 <= self.overlap < math.inf, f"--overlap must be 0 or above, got {self.overlap}"),
            (not math.isfinite(self.lag), f"--lag must be a number, got {self.lag}"),
            (self.seed < 0, f"--seed must be 0 or above, got {self.seed}"),
            *(
                (value not in words, f"{flag} must be one of {', '.join(words)}, got {value!r}")
                for flag, value, words in (
                    ("--unobserved", self.unobserved, UNOBSERVED),
                    ("--halves", self.halves, KINDS),
                    ("--lengths", self.lengths or LENGTHS[0], LENGTHS),
                    ("--behavior-how", self.behavior_how, BEHAVIOR),
                )
            ),
            (
                self.window is not None and not -math.inf < self.window[0] < self.window[1] < math.inf,
                f"--window must be two numbers that rise, such as -250 450, got {self.window}",
            ),
            (
                self.chop is not None and not 0 < self.chop < math.inf,
                f"--chop must be above 0, such as 1000, got {self.chop}",
            ),
            (not 0 <= self.min_rate < math.inf, f"--min-rate must be 0 or above, got {self.min_rate}"),
            (not 0 <= self.min_presence <= 1, f"--min-presence must be from 0 to 1, got {self.min_presence}"),
            (
                self.chop is not None and (self.align or self.window),
                "--chop is for whole recordings: leave --align and --window out",
            ),
            (not 0 <= self.max_crosstalk <= 1, f"--max-crosstalk must be from 0 to 1, got {self.max_crosstalk}"),
        ]
        found = [text for wrong, text in problems if wrong]
        if found:
            raise RecordingError("\n".join(found))


@dataclasses.dataclass
class CutTrials:
    """Trials of one session, all halves together in order of time, and what was left out."""

    recording: RecordingData
    options: CutOptions
    windows: Windows
    counts: np.ndarray  # N x T x D; float32 with NaN where something was not observed
    units: np.ndarray  # numbers of the D units, held-out ones last
    num_encoded: int  # units that the encoders are to read
    half: np.ndarray  # N: TRAIN, VALID, NEITHER
    conditions: np.ndarray | None
    behavior: np.ndarray | None  # N x T x dimensions
    behavior_names: list[str]
    behavior_units: list[str]
    dropped: list[Dropped]
    notes: list[str]

    def report(self) -> str:
        """What was kept, and what was left out and why, in a few lines."""
        trials, bins, units = self.counts.shape
        seen = np.isfinite(self.counts) if self.counts.dtype.kind == "f" else None
        mean = float(np.nanmean(self.counts)) / self.options.bin_ms * 1000.0
        lines = [
            f"{trials} trials x {bins} bins of {self.options.bin_ms:g} ms x {units} units, {mean:.3g} spikes/s a unit; "
            f"{int((self.half == TRAIN).sum())} for training, {int((self.half == VALID).sum())} for validation"
        ]
        if self.num_encoded < units:
            lines.append(f"{units - self.num_encoded} held-out units, which the encoders do not read")
        if seen is not None:
            share = 1.0 - float(seen.mean())
            lines.append(
                f"{share:.1%} of the entries were not observed (NaN); train with --augmentations=selective_backprop"
            )
        return "\n".join([*lines, *left_out(self.dropped), *(f"note: {note}" for note in self.notes)])


def left_out(dropped: Iterable[Dropped]) -> list[str]:
    """A line for each reason, with how many it concerns and the first of them."""
    groups: dict[tuple[str, str], list[str]] = {}
    for one in dropped:
        groups.setdefault((one.what, one.why), []).append(one.id)
    return [
        f"left out: {len(ids)} {what}{'s' if len(ids) > 1 else ''} ({why}): {first_of(ids)}"
        for (what, why), ids in groups.items()
    ]


def first_of(ids: Sequence) -> str:
    """The first ids of many, for a message."""
    return ", ".join(map(str, ids[:8])) + (" ..." if len(ids) > 8 else "")
