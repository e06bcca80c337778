"""Decoded behaviour in the report: a line, a table with a row a dimension, and curves of the trials' own values."""

from __future__ import annotations

import numpy as np
import pytest

from lfads_tf2.figures.behavior import behavior_figure, behavior_table
from lfads_tf2.figures.drawing import Scale, pixels
from lfads_tf2.figures.report import write_report
from lfads_tf2.metrics.decoding import Half, decode
from lfads_tf2.types import Session, Trials


def made(trials=12, bins=9, dimensions=3, constant=None):
    random = np.random.default_rng(0)
    halves = []
    for count in (trials, trials):
        rates = np.exp(random.normal(size=(count, bins, 6)))
        behavior = rates[..., :dimensions] + 0.1 * random.normal(size=(count, bins, dimensions))
        if constant is not None:
            behavior[..., constant] = 1.0
        halves.append(Half(rates, random.poisson(rates), behavior))
    return halves


def test_a_table_with_a_row_a_dimension():
    decoding = decode(*made(constant=1), names=["x <cm>", "y", "z"])
    table = behavior_table(decoding, Scale(20.0))
    rows = [row for row in table.split("<tr>") if "<td>" in row]
    assert [row.startswith(f"<th>{name}</th>") for row, name in zip(rows, ("x &lt;cm&gt;", "y", "z"), strict=True)]
    assert "<td>–</td><td>–</td><td>–</td>" in rows[1] and rows[0].count("–") == 0
    for row, number in ((rows[0], 0), (rows[2], 2)):
        expected = f"{decoding.from_rates.r2[number]:.3f}</td><td>{decoding.from_smoothed.r2[number]:.3f}"
        assert expected in row and f"<td>{20 * decoding.from_smoothed.widths[number]:g} ms</td>" in row
    assert "fitted on 12 training trials and scored on 12 validation trials" in table and "bins" in table
    assert "0.5 bins" in behavior_table(decoding._replace(from_smoothed=_of_half_a_bin(decoding)), Scale())
    cut = behavior_table(decoding._replace(known=(400, 12)), Scale())
    assert "fitted on 12 of 400 training trials" in cut


def _of_half_a_bin(decoding):
    return decoding.from_smoothed._replace(widths=np.full(3, 0.5))


@pytest.mark.parametrize(
    "odd", [{}, {"dimensions": 6}, {"bins": 1}, {"trials": 2, "dimensions": 1}, {"constant": 0}], ids=str
)
def test_the_curves_are_the_trials(odd):
    decoding = decode(*made(**odd))
    figure = behavior_figure(decoding, Scale(10.0))
    assert (pixels(figure) < 240).any()
    known = np.flatnonzero(~np.isnan(decoding.from_rates.r2))[:4]
    assert len(figure.axes) == len(known) * min(4, len(decoding.trials))
    first, last = figure.axes[0], figure.axes[-1]
    recorded, smoothed, rates = (line.get_ydata() for line in first.lines)
    np.testing.assert_array_equal(recorded, decoding.behavior[0, :, known[0]])
    np.testing.assert_array_equal(smoothed, decoding.from_smoothed.values[0, :, known[0]])
    np.testing.assert_array_equal(rates, decoding.from_rates.values[0, :, known[0]])
    np.testing.assert_array_equal(last.lines[2].get_ydata(), decoding.from_rates.values[-1, :, known[-1]])
    assert ("the first 4 of 6" in figure.get_suptitle()) == (odd.get("dimensions") == 6)


def test_in_the_report(tmp_path):
    train, valid = made()
    decoding = decode(train, valid, names=["x", "y", "z"])
    session = Session("s", "", Trials(train.spikes), Trials(valid.spikes), bin_width_ms=10.0)
    results = {"s": {"train": {"output_dist_params": train.rates}, "valid": {"output_dist_params": valid.rates}}}
    written = write_report(tmp_path, [session], results, decodings={"s": decoding})
    assert [path.stem for path in written] == ["s_trials", "s_traces", "s_behavior", "index"]
    page = written[-1].read_text(encoding="utf-8")
    assert f"<p><strong>s</strong> {decoding}</p>" in page and "<th>z</th>" in page
    assert "behavior" not in write_report(tmp_path, [session], results)[-1].read_text(encoding="utf-8")
