"""What the sessions are, in a few numbers: what settings are chosen from, and what a person reads first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lfads_tf2.data import batches, storage
from lfads_tf2.data.plausibility import mean
from lfads_tf2.types import Session

# Sessions that are described one by one.
MOST_LINES = 5


class Facts(NamedTuple):
    """Of all sessions together; trials are those of the training half."""

    trials_of: tuple[int, ...]  # of each session
    bins: int  # of the target
    channels: int  # of the target, median over sessions
    spikes: float  # mean count (or value) a bin and channel
    ext_inputs: int = 0  # measured inputs a bin, in the first session
    aligned_factors: int = 0  # columns of the alignment matrices; 0: none
    held_out: bool = False  # the target has channels or bins that the encoders do not read
    validated: bool = True  # there are validation trials

    @property
    def trials(self) -> int:
        """Of all sessions."""
        return sum(self.trials_of)

    @property
    def fewest_trials(self) -> int:
        """Of the smallest session."""
        return min(self.trials_of)

    def steps_an_epoch(self, batch_size: int) -> int:
        """Batches of that size, or of the smallest session's trials."""
        return batches.steps_an_epoch(self.trials_of, batch_size)


def facts_of(sessions: Sequence[Session]) -> Facts:
    """The facts of at least one session."""
    trials, first = tuple(len(session.train.data) for session in sessions), sessions[0]
    counts = [mean(session.train.target) for session in sessions]
    return Facts(
        trials_of=trials,
        bins=first.train.target.shape[1],
        channels=int(np.median([session.train.target.shape[2] for session in sessions])),
        spikes=float(np.average(counts, weights=trials)),
        ext_inputs=0 if first.train.ext_input is None else first.train.ext_input.shape[2],
        aligned_factors=0 if first.alignment_matrix is None else first.alignment_matrix.shape[1],
        held_out=any(session.train.target.shape != session.train.data.shape for session in sessions),
        validated=any(session.valid is not None for session in sessions),
    )


def described(sessions: Sequence[Session]) -> list[str]:
    """What was read, a line a session: halves, shape, bin width, rate, and the smallest and largest value."""
    lines = [_line(session) for session in sessions[:MOST_LINES]]
    if len(sessions) > MOST_LINES:
        facts = facts_of(sessions)
        lines.append(f"... and {len(sessions) - MOST_LINES} more: {facts.trials} training trials in all")
    return lines


def _line(session: Session) -> str:
    data, width = session.train.data, session.bin_width_ms
    valid = 0 if session.valid is None else len(session.valid.data)
    count, (low, high) = mean(data), _range(data)
    bins = f"{data.shape[1]} bins" + ("" if width is None else f" of {width:g} ms")
    a_bin = f"{count:.3g} a bin" if width is None else f"{count / width * 1000:.3g} spikes/s a channel"
    if data.dtype.kind == "f":
        a_bin = f"mean {count:.3g}"
    return (
        f"{session.name}: {len(data)} training + {valid} validation trials x {bins} x {data.shape[2]} channels, "
        f"{a_bin}, {'counts' if data.dtype.kind == 'u' else 'values'} from {low:g} to {high:g}"
    )


def _range(array: np.ndarray) -> tuple[float, float]:
    """Smallest and largest entry, block by block."""
    ends = [(array[part].min(), array[part].max()) for part in storage.blocks(array)]
    return float(min(low for low, _ in ends)), float(max(high for _, high in ends))
