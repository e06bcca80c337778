"""Fingerprints tell data apart, whatever was changed in them, and say what it was."""

from __future__ import annotations

import numpy as np
import pytest

from lfads_tf2.data import storage
from lfads_tf2.data.fingerprint import differences, fingerprints
from lfads_tf2.types import Session, Trials

RANDOM = np.random.default_rng(4)
COUNTS = RANDOM.poisson(1.0, (60, 50, 37)).astype(np.uint8)
VALUES = RANDOM.normal(size=(20, 50, 37)).astype(np.float32)


def of(train=COUNTS, valid=COUNTS[:7], recon=None, ext_input=None, width=None):
    session = Session("a", "a.h5", Trials(train, ext_input, recon=recon), valid if valid is None else Trials(valid))
    return fingerprints([session._replace(bin_width_ms=width)])


def swapped(axis, first, second):
    changed = COUNTS.copy()
    order = np.arange(COUNTS.shape[axis])
    order[[first, second]] = order[[second, first]]
    return changed.take(order, axis)


def with_one_changed(place, by=1):
    changed = COUNTS.copy()
    changed[place] += by
    return changed


OTHERS = {
    "one count": with_one_changed((3, 4, 5)), "the first": with_one_changed((0, 0, 0)),
    "the last": with_one_changed((-1, -1, -1)), "order of trials": COUNTS[::-1],
    "two trials": swapped(0, 2, 50), "two bins": swapped(1, 0, 49), "two channels": swapped(2, 0, 36),
    "neighbours": swapped(2, 8, 16), "fewer trials": COUNTS[:-1], "fewer bins": COUNTS[:, :-1],
    "another type": COUNTS.astype(np.uint16), "zeros": COUNTS * 0,
}  # fmt: skip


@pytest.mark.parametrize("other", OTHERS)
def test_other_data_have_another_fingerprint(other):
    assert of(OTHERS[other]) != of()
    assert of(valid=OTHERS[other]) != of()
    assert differences(of(), of(OTHERS[other]))


def test_large_arrays():
    """Larger than a block of sums, so that what is summed lies far apart."""
    large = RANDOM.poisson(0.3, (700, 100, 120)).astype(np.uint8)
    before = of(large)
    for place in ((0, 0, 0), (349, 50, 60), (699, 99, 119)):
        changed = large.copy()
        changed[place] ^= 1
        assert of(changed) != before
    for first, second in ((0, 1), (0, 699), (100, 500)):
        changed = large.copy()
        changed[[first, second]] = changed[[second, first]]
        assert of(changed) != before


def test_the_same_data_have_the_same_whatever_their_layout(monkeypatch):
    assert of(COUNTS.copy()) == of(np.asfortranarray(COUNTS)) == of()
    monkeypatch.setattr(storage, "RESIDENT_BYTES", COUNTS.nbytes - 1)
    mapped = storage.empty(COUNTS.shape, COUNTS.dtype)
    mapped[...] = COUNTS
    assert storage.is_mapped(mapped) and of(mapped) == of()


def test_what_else_training_reads():
    inputs = VALUES[:, :, :2]
    seen = [of(VALUES), of(VALUES, ext_input=inputs), of(VALUES, ext_input=-inputs), of(VALUES, recon=VALUES + 1)]
    gaps = np.where(VALUES > 1, np.nan, VALUES)
    seen += [of(VALUES, recon=gaps), of(VALUES, None), of(VALUES, width=5.0), of(VALUES, width=10.0)]
    assert len({str(one) for one in seen}) == len(seen)
    assert of(VALUES, recon=gaps) == of(VALUES, recon=gaps.copy()), "NaN is the same as NaN here"


def test_in_words():
    assert differences(of(), of()) == []
    assert differences(of(), of(OTHERS["zeros"])) == ["session a: the same shapes, other values"]
    (text,) = differences(of(width=5.0), of(COUNTS[:50], valid=None, width=10.0))
    assert text == (
        "session a: train 60 x 50 x 37 then, 50 x 50 x 37 now; valid 7 x 50 x 37 then, none now; "
        "bin width ms 5.0 then, 10.0 now"
    )
    assert differences({}, of()) == [] and differences(of(), {}) == []
