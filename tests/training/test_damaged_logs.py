"""Logs that a kill or a bad disk has touched: what can be read stays, and what cannot goes with a word."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from lfads_tf2.training.fit_log import EpochCosts, FitLog, format_line, read
from lfads_tf2.training.metrics_log import MetricsLog, read_metrics
from lfads_tf2.training.schedules import TrainingState

RANDOM = np.random.default_rng(1)
VALUES = RANDOM.random((8, 3))


def opened(folder, epochs_kept: int):
    """Both logs, and what appends an epoch to each."""
    fit, metrics = (
        FitLog(folder / "fitlog.csv", TrainingState(epochs_kept)),
        MetricsLog(folder / "metrics.csv", TrainingState(epochs_kept)),
    )

    def append(epoch: int) -> None:
        costs = EpochCosts(*VALUES[epoch])
        fit.append(format_line(epoch, 3 * epoch, costs, costs, 0.1, 1.0, 1.0))
        metrics.append({"epoch": epoch, "valid/recon": VALUES[epoch][1], "a, b": VALUES[epoch][2]})

    return append


def written(folder, epochs: int) -> None:
    append = opened(folder, 0)
    for epoch in range(epochs):
        append(epoch)


DAMAGE = {
    "bytes that are no text": lambda line: line[:20] + b"\xff\xfe" + line[22:],
    "a letter in a number": lambda line: line[:-4] + b"x" + line[-3:],
    "a zero byte": lambda line: line[:5] + b"\x00" + line[6:],
    "cut": lambda line: line[: len(line) // 2],
    "cut within, and another line after": lambda line: line[:12] + b"\n",
    "a quotation mark": lambda line: b'"' + line[1:],
    "empty": lambda line: b"\n",
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("place", ["last", "middle"])
@pytest.mark.parametrize("name", ["fitlog.csv", "metrics.csv"])
def test_an_unreadable_line_goes_and_the_others_stay(tmp_path, caplog, damage, place, name):
    written(tmp_path, 5)
    lines, header = (tmp_path / name).read_bytes().splitlines(keepends=True), name == "metrics.csv"
    number = (4 if place == "last" else 2) + header
    if damage == "cut" and place == "middle":
        pytest.skip("what is cut takes the line after it along")
    lines[number] = DAMAGE[damage](lines[number])
    (tmp_path / name).write_bytes(b"".join(lines))
    with caplog.at_level(logging.WARNING, "lfads_tf2"):
        append = opened(tmp_path, 5)
    assert f"{name}: 1 line cannot be read" in caplog.text
    append(5), append(6)
    left = [n for n in range(7) if n != number - header]
    found = read(tmp_path / name) if name == "fitlog.csv" else read_metrics(tmp_path / name)
    assert found["epoch"].tolist() == left
    column, which = ("recon_valid", 1) if name == "fitlog.csv" else ("a, b", 2)
    np.testing.assert_allclose(found[column], VALUES[left, which], atol=6e-3)
    # The other log is whole, and nothing is said of it.
    assert read(tmp_path / "fitlog.csv")["epoch"][-1] == read_metrics(tmp_path / "metrics.csv")["epoch"][-1] == 6
    assert caplog.text.count("cannot be read") == 1
    caplog.clear()
    opened(tmp_path, 7)
    assert not caplog.text, "what was left out is gone"


def test_a_header_that_is_gone_starts_the_log_anew(tmp_path, caplog):
    written(tmp_path, 4)
    path = tmp_path / "metrics.csv"
    path.write_bytes(b"\x00" + path.read_bytes()[1:])
    append = opened(tmp_path, 4)
    assert "metrics.csv: 5 lines cannot be read" in caplog.text
    append(4)
    assert read_metrics(path)["epoch"].tolist() == [4]


def test_whole_logs_of_later_epochs_are_cut_without_a_word(tmp_path, caplog):
    written(tmp_path, 6)
    opened(tmp_path, 4)
    assert read(tmp_path / "fitlog.csv")["epoch"].tolist() == read_metrics(tmp_path / "metrics.csv")["epoch"].tolist()
    assert not caplog.text


@pytest.mark.parametrize("name", ["fitlog.csv", "metrics.csv"])
def test_a_changed_digit_is_said_and_changes_nothing_after_it(tmp_path, caplog, name):
    state = TrainingState()
    fit, metrics = FitLog(tmp_path / "fitlog.csv", state), MetricsLog(tmp_path / "metrics.csv", state)
    for epoch in range(5):
        costs = EpochCosts(*VALUES[epoch])
        fit.append(format_line(epoch, 3 * epoch, costs, costs, 0.1, 1.0, 1.0))
        # A column that comes later changes nothing that was written before.
        metrics.append({"epoch": epoch, "valid/recon": VALUES[epoch][1]} | ({"new": 1.5} if epoch > 2 else {}))
        state.epoch = epoch + 1
    saved, smoothed = TrainingState.from_json(state.to_json()), state.smoothed_recon
    FitLog(tmp_path / "fitlog.csv", saved), MetricsLog(tmp_path / "metrics.csv", saved)
    assert not caplog.text and saved.smoothed_recon == smoothed
    lines = (tmp_path / name).read_text().splitlines(keepends=True)
    lines[-2] = lines[-2].replace(".", ".9", 1)
    (tmp_path / name).write_text("".join(lines))
    FitLog(tmp_path / "fitlog.csv", saved), MetricsLog(tmp_path / "metrics.csv", saved)
    assert caplog.text.count("earlier epochs are missing or were changed") == 1 and name in caplog.text
    assert saved.smoothed_recon == smoothed
