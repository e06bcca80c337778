"""The one error of this room: everything that is wrong with the data, said at once."""

from __future__ import annotations

from collections.abc import Iterable

from lfads_tf2.errors import LFADSError

MOST_SHOWN = 20


class DataError(LFADSError, ValueError):
    """The data cannot be used. ``problems`` holds one sentence for each thing to put right."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = list(problems)
        super().__init__(self.problems)

    def __str__(self) -> str:
        more = len(self.problems) - MOST_SHOWN
        tail = [f"... and {more} more"] if more > 0 else []
        return "\n".join(self.problems[:MOST_SHOWN] + tail)


def listing(names: Iterable[object], most: int = 10) -> str:
    """Names separated by commas, at most ``most`` of them."""
    names = [str(name) for name in names]
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def by(shape: tuple[int, ...]) -> str:
    """A shape in words: ``10 x 50 x 7``."""
    return " x ".join(str(size) for size in shape) if shape else "a single value"
