"""A recording imported, and its results back on its clock: what pynapple finds there is what went in."""

from __future__ import annotations

import numpy as np
import pytest

from lfads_tf2.recordings import Recording
from lfads_tf2.session_results import load_results

from .recorded import write_nwb, write_results

nap = pytest.importorskip("pynapple", reason="pynapple is not installed")
pytest.importorskip("pynwb", reason="pynwb is not installed")
OPTIONS = {
    "aligned": {"align": "start_time", "window": (-250, 450), "condition": "target"},
    "chopped": {"chop": 200, "overlap": 150},
}


@pytest.mark.parametrize("mode", OPTIONS)
def test_there_and_back(tmp_path, mode):
    source = write_nwb(tmp_path / "monday.nwb")
    session = Recording.read(source).cut(bin_ms=10, **OPTIONS[mode]).write(tmp_path / "data")
    one = load_results(write_results(tmp_path / "run", session), tmp_path / "data")["monday"]
    assert one.link.mode == mode
    opened = nap.load_file(str(one.to_nwb(tmp_path / "with_rates.nwb")))
    rates = opened["lfads_rates"]
    if mode == "aligned":
        np.testing.assert_allclose(opened["lfads_windows"].start, np.sort(one.start_s), atol=1e-9)
    for trial in (0, len(one.start_s) // 2, len(one.start_s) - 1):
        window = nap.IntervalSet(one.start_s[trial], one.start_s[trial] + one.bins * 0.01)
        counted = opened["units"].count(0.01, window)
        np.testing.assert_array_equal(np.asarray(counted.values), one.counts[trial])
        inside = rates.restrict(window)
        np.testing.assert_allclose(inside.times(), counted.times(), atol=1e-6)
        np.testing.assert_allclose(np.asarray(inside.values), one.rates[trial], rtol=1e-6)
