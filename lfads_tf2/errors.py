"""What every error of the package derives from, so that one ``except`` can tell a refusal from a fault in the code."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class LFADSError(Exception):
    """Something that the package refuses or cannot do; the message says what, why and what to do."""


class SettingsError(LFADSError, ValueError):
    """Hyperparameters that cannot be used; the message lists every problem."""

    def __init__(self, found: list[str]):
        super().__init__("\n".join(found))
        self.problems = found


class RunError(LFADSError, RuntimeError):
    """A command that cannot be carried out; the message says why and what to do."""


def nearest(word: str, known: Iterable[str], most: int = 1, likeness: float = 0.5) -> list[str]:
    """At most ``most`` of the known words that are like a word (0: not at all, 1: the same), the nearest first."""
    return difflib.get_close_matches(word.lower(), [name for name in known if name != word], n=most, cutoff=likeness)


def did_you_mean(word: str, known: Iterable[str], before: str = "") -> str:
    """``; did you mean ...?`` with the nearest known word, ``before`` it what it is written with; empty if none is."""
    near = nearest(word, known)
    return f"; did you mean {before}{near[0]}?" if near else ""


def one_of(known: Iterable[str], word: object) -> str:
    """``one of a, b, got 'word'``, with the nearest: the end of a message about a word that is none of those known."""
    names = list(known)
    return f"one of {', '.join(names)}, got {word!r}{did_you_mean(str(word), names)}"
