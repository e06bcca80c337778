"""What tells the data that a model was trained on from any others, in a fraction of the time of reading them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from lfads_tf2.data import storage
from lfads_tf2.data.errors import by
from lfads_tf2.types import Session

# 64-bit words this far apart are summed before they are hashed: adding is ten times faster than hashing.
_STRIDE, _ROWS = 2**13, 32
_BLOCK = 8 * _STRIDE * _ROWS


def fingerprints(sessions: Sequence[Session]) -> dict[str, dict[str, Any]]:
    """For each session by name: shapes of its halves, bin width, and a hash of everything that training reads."""
    return {session.name: _of(session) for session in sessions}


def differences(known: dict[str, dict[str, Any]], now: dict[str, dict[str, Any]]) -> list[str]:
    """In which sessions the data are others than those known, in words; sessions that only one side has are left out.

    ``known`` and ``now``: as ``fingerprints`` gives them.
    """
    found = []
    for name, data in now.items():
        before = known.get(name)
        if not before or before == data:
            continue
        changed = [
            f"{what.replace('_', ' ')} {_words(before.get(what))} then, {_words(data[what])} now"
            for what in data
            if what != "hash" and before.get(what) != data[what]
        ]
        found.append(f"session {name}: {'; '.join(changed) if changed else 'the same shapes, other values'}")
    return found


def other_values(before: dict[str, Any], now: dict[str, Any]) -> bool:
    """Whether two sessions' fingerprints are of other arrays, whatever their bins are said to be."""
    return any(before.get(what) != now[what] for what in ("train", "valid", "hash"))


def _words(value: Any) -> str:
    return by(tuple(value)) if isinstance(value, list) else "none" if value is None else str(value)


def _of(session: Session) -> dict[str, Any]:
    digest = hashlib.blake2b(digest_size=16)
    facts: dict[str, Any] = {}
    for half in ("train", "valid"):
        trials = getattr(session, half)
        facts[half] = None if trials is None else list(trials.target.shape)
        for name in ("data", "recon", "ext_input"):
            array = None if trials is None else getattr(trials, name)
            digest.update(f"{half} {name} {None if array is None else (array.dtype.str, array.shape)}".encode())
            for part in () if array is None else sums(array):
                digest.update(part)
    return facts | {"bin_width_ms": session.bin_width_ms, "hash": digest.hexdigest()}


def sums(array: np.ndarray) -> Iterator[bytes]:
    """Sums of words of an array, and what is left over at its ends as it is."""
    for part in storage.blocks(array):
        content = np.ascontiguousarray(array[part]).reshape(-1).view(np.uint8)
        for start in range(0, len(content), _BLOCK):
            block = content[start : start + _BLOCK]
            whole = len(block) // (8 * _STRIDE) * (8 * _STRIDE)
            if whole:
                yield np.add.reduce(block[:whole].view(np.uint64).reshape(-1, _STRIDE), axis=0).tobytes()
            yield block[whole:].tobytes()
