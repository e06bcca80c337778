"""Times, trials and channels are called in every figure as the session's recording calls them."""

from __future__ import annotations

import numpy as np
import pytest

from figures.test_plots import make_half
from lfads_tf2.figures import report
from lfads_tf2.figures import trials as plots
from lfads_tf2.figures.labels import SessionLabels, short
from lfads_tf2.metrics.decoding import Half, decode
from lfads_tf2.types import Session

BINS = 20


@pytest.fixture
def figures_of(monkeypatch, tmp_path):
    """Draws a report of a session with behaviour and returns its figures by kind."""
    drawn = {}

    def collect(figure, path):
        drawn[path.stem.removeprefix("s_")] = figure
        path.write_bytes(b"")

    monkeypatch.setattr(plots, "save", collect)

    def figures(labels: SessionLabels | None, bin_width_ms=10.0, channels=6):
        halves = {"train": make_half(12, BINS, channels), "valid": make_half(9, BINS, channels)}
        session = Session("s", "", *(trials for trials, _ in halves.values()), bin_width_ms=bin_width_ms)
        results = {"s": {half: result for half, (_, result) in halves.items()}}
        decoding = decode(*(Half(result["output_dist_params"], trials.data, result["factors"])
                            for trials, result in halves.values()))  # fmt: skip
        given = {} if labels is None else {"labels": {"s": labels}}
        report.write_report(tmp_path, [session], results, decodings={"s": decoding}, **given)
        return drawn

    return figures


def time_panels(figures):
    """Panels over time: of each figure those whose axis says so, and those of the columns above them."""
    labelled = [axes for figure in figures.values() for axes in figure.axes if axes.get_xlabel().startswith("time")]
    return labelled, [axes for axes in labelled if axes.axison]


def zero_lines(axes):
    return [line for line in axes.lines if list(line.get_xdata()) == [0, 0]]


def test_time_from_the_event(figures_of):
    figures = figures_of(SessionLabels("go_time", -95.0))
    timed = {"trials", "traces", "psth", "behavior", "factors", "inputs"}
    for kind in timed:
        panels, shown = time_panels({kind: figures[kind]})
        assert {axes.get_xlabel() for axes in panels} == {"time from go_time (ms)"}, kind
        assert all(len(zero_lines(axes)) == 1 for axes in shown), kind
    np.testing.assert_allclose(figures["traces"].axes[0].lines[-1].get_xdata(), [0, 0])
    np.testing.assert_allclose(figures["traces"].axes[0].lines[0].get_xdata(), -95 + 10.0 * np.arange(BINS))
    np.testing.assert_allclose(figures["trials"].axes[0].get_images()[0].get_extent()[:2], [-100, 100])
    # In panels above the lowest row too, which have no label.
    assert all(zero_lines(axes) for axes in figures["traces"].axes)
    for kind in figures.keys() - timed:
        assert not any(zero_lines(axes) for axes in figures[kind].axes), kind


@pytest.mark.parametrize("start", [5.0, 105.0, -205.0], ids=["at the edge", "before", "after"])
def test_no_line_where_the_event_is_not_inside(figures_of, start):
    figures = figures_of(SessionLabels("go_time", start))
    assert not any(zero_lines(axes) for figure in figures.values() for axes in figure.axes)
    assert time_panels(figures)[0][0].get_xlabel() == "time from go_time (ms)"


@pytest.mark.parametrize(("bin_width_ms", "label"), [(10.0, "time (ms)"), (None, "time (bins)")])
def test_time_from_the_first_bin_where_nothing_is_known(figures_of, bin_width_ms, label):
    figures = figures_of(None, bin_width_ms)
    panels, _ = time_panels(figures)
    assert {axes.get_xlabel() for axes in panels} == {label}
    assert not any(zero_lines(axes) for axes in panels)
    assert figures["traces"].axes[0].lines[0].get_xdata()[0] == 0


def test_short_names():
    assert short("unit  7\n") == "unit 7" and short("a" * 16) == "a" * 16
    assert short("session_2023_probe00_unit_0012") == "session…nit_0012"
    # Else matplotlib takes what is between for a formula.
    assert short("$a$") == r"\$a\$"
