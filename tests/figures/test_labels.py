"""Times, trials and channels are called in every figure as the session's recording calls them."""

from __future__ import annotations

import numpy as np
import pytest

from figures.test_plots import make_half
from lfads_tf2.figures import report
from lfads_tf2.figures import trials as plots
from lfads_tf2.figures.labels import Names, SessionLabels, short
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


def titles(figure):
    return [axes.get_title() for axes in figure.axes if axes.get_title()]


def test_trials_and_units_of_the_recording(figures_of):
    numbers = {"train": 100 + np.arange(12), "valid": 3 * np.arange(9) + 3}
    figures = figures_of(SessionLabels(numbers=numbers, unit_ids=np.array([110, 111, 7, 3, 20, 21])))
    assert [text.split(":")[0] for text in titles(figures["trials"])[::3]] == ["trial 3", "trial 15", "trial 27"]
    assert titles(figures["traces"]) == ["trial 3", "trial 15", "trial 27"]
    units = {axes.get_ylabel().split("\n")[0] for axes in figures["traces"].axes if axes.get_ylabel()}
    assert len(units) == 4 and units <= {f"unit {number}" for number in (110, 111, 7, 3, 20, 21)}
    assert titles(figures["psth"])[:6] == [f"unit {number}" for number in (110, 111, 7, 3, 20, 21)]
    assert titles(figures["behavior"]) == ["trial 3", "trial 12", "trial 18", "trial 27"]
    assert titles(figures["factors"])[0] == "trial 3: all 4 factors"
    _, legend = figures["inputs"].axes[1].get_legend_handles_labels()
    assert legend == ["trial 3", "trial 9", "trial 15", "trial 21", "trial 27"]


def test_rows_of_images(figures_of):
    """Trials of three conditions in turn, sorted by condition."""
    figures = figures_of(SessionLabels(numbers={"valid": 10 * np.arange(9)}, unit_ids=np.array([8, 8, 7, 3, 20, 21])))
    rows = figures["trials"].axes[0].yaxis.get_major_formatter()
    assert figures["trials"].axes[0].get_ylabel() == "unit"
    assert [rows(row, 0) for row in (-1, 0, 1, 2, 5, 6)] == ["", "channel 0", "channel 1", "7", "21", ""]
    rows = figures["inputs"].axes[2].yaxis.get_major_formatter()
    assert [rows(row, 0) for row in range(10)] == ["0", "30", "60", "10", "40", "70", "20", "50", "80", ""]


def test_positions_where_nothing_is_known(figures_of):
    figures = figures_of(None)
    assert titles(figures["traces"]) == ["trial 0", "trial 4", "trial 8"]
    assert titles(figures["psth"])[:6] == [f"channel {number}" for number in range(6)]
    assert figures["trials"].axes[0].get_ylabel() == "channel"
    assert figures["trials"].axes[0].yaxis.get_major_formatter()(4, 0) == "4"


def test_the_page_says_how_it_numbers(tmp_path, figures_of):
    said = "trials have their numbers in the recording"
    figures_of(None)
    page = tmp_path / "report" / "index.html"
    assert said not in page.read_text()
    figures_of(SessionLabels(numbers={"train": np.arange(12), "valid": np.arange(9)}))
    assert said in page.read_text() and "ids of their units" not in page.read_text()


def test_names_that_do_not_tell_units_apart():
    long = ["probe_a_2023_x_unit_0012", "probe_b_2023_y_unit_0012", "probe_a_2023_x_unit_0013", "unit4", "5"]
    names = SessionLabels(unit_ids=np.array(long)).names("valid")
    assert [names.channel(row) for row in range(5)] == [
        "unit probe_a…nit_0012", "unit probe_b…nit_0012", "unit probe_a…nit_0013", "unit4", "unit 5"
    ]  # fmt: skip
    names = SessionLabels(unit_ids=np.array([4, 9, 4])).names("valid")
    assert [names.channel(row) for row in range(3)] == ["channel 0", "unit 9", "channel 2"]
    assert Names().channel(2) == "channel 2" and Names().trial(2) == "trial 2"


def test_short_names():
    assert short("unit  7\n") == "unit 7" and short("a" * 16) == "a" * 16
    assert short("session_2023_probe00_unit_0012") == "session…nit_0012"
    # Else matplotlib takes what is between for a formula.
    assert short("$a$") == r"\$a\$"
