"""Damaged inputs end as promised: a short seeded share in every run, many more where slow tests are asked for."""

import pytest

from torture.inputs import torture


def test_some_damaged_inputs():
    ends, broken = torture(attempts=75, seed=20)
    assert not broken, "\n".join(broken)
    assert sum(count["refused"] for count in ends.values()) > 20


@pytest.mark.slow
def test_many_damaged_inputs():
    ends, broken = torture(attempts=1500, seed=21)
    assert not broken, "\n".join(broken)
    assert sum(count.total() for count in ends.values()) == 1500
