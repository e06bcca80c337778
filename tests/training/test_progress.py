"""What a person sees while a model trains and while posterior samples are averaged, read from a pseudo-terminal."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import itertools
import logging
import os
import pty
import re
import struct
import sys
import termios
import threading
from unittest import mock

import numpy as np
import pytest
from small_models import trainer_of
from small_runs import write_spikes

from lfads_tf2.training import status_line
from lfads_tf2.training.fit_log import read
from lfads_tf2.training.progress import Progress, at_full_weight, digits
from lfads_tf2.training.schedules import TrainingState
from lfads_tf2.training.status_line import CountLine, duration, fitted

EPOCHS = 20


@pytest.fixture(autouse=True)
def draws_everything(monkeypatch):
    monkeypatch.setattr(status_line, "SECONDS_BETWEEN_DRAWINGS", 0.0)
    monkeypatch.setattr(status_line, "SECONDS_BETWEEN_LINES", 0.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_spikes(folder / "data" / "one.h5")
    return folder


@pytest.fixture(scope="module")
def epochs(folder):
    """What is told of each epoch of a training whose standard error leads to a full disk."""
    told, patch = [], pytest.MonkeyPatch()
    trainer = trainer_of(folder, max_epochs=EPOCHS, kl_increase_steps=24, l2_increase_steps=30)
    trainer.show_progress, original = True, Progress.update

    def update(self, state, row):
        told.append((dataclasses.replace(state), dict(row)))
        original(self, state, row)

    patch.setattr(Progress, "update", update)
    # What it could not write it tries again when it is closed.
    with contextlib.suppress(OSError), open("/dev/full", "w") as full:
        patch.setattr(sys, "stderr", full)
        trainer.train()
        patch.undo()
    assert list(read(folder / "run" / "fitlog.csv")["epoch"]) == list(range(EPOCHS))
    return trainer.hp, told


def shown(epochs, message: str = "") -> None:
    """Draws all epochs, a quarter of a second each."""
    hp, told = epochs
    start = TrainingState(learning_rate=hp.learning_rate_init)
    clock = mock.Mock(monotonic=itertools.count(0, 0.25).__next__)
    with mock.patch("lfads_tf2.training.progress.time", clock):
        progress = Progress(hp, start, True)
        for state, row in told:
            progress.update(state, row)
            if message:
                logging.getLogger("lfads_tf2").warning(message)
        progress.close()


@contextlib.contextmanager
def screen(monkeypatch, columns: int | None):
    """Standard error as a terminal of so many columns, or a pipe; gives a list that holds what it saw at the end."""
    ours, theirs = os.pipe() if columns is None else pty.openpty()
    if columns is not None:
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    seen, parts = [], []

    def listen():
        # A terminal whose other end has gone gives an error, a pipe gives nothing.
        with contextlib.suppress(OSError):
            while part := os.read(ours, 4096):
                parts.append(part)

    listener = threading.Thread(target=listen)
    listener.start()
    stream = os.fdopen(theirs, "w")
    handler = logging.StreamHandler(stream)
    logging.getLogger().addHandler(handler)
    monkeypatch.setattr(sys, "stderr", stream)
    try:
        yield seen
    finally:
        monkeypatch.undo()
        logging.getLogger().removeHandler(handler)
        stream.close()
        listener.join()
        os.close(ours)
        seen.append(b"".join(parts).decode())


@pytest.mark.parametrize("columns", [80, 120])
def test_one_line_on_a_terminal(folder, epochs, monkeypatch, columns):
    with screen(monkeypatch, columns) as seen:
        shown(epochs)
    lines = [text.strip() for text in re.split(r"[\r\n]+", seen[0]) if text.strip()]
    assert len(lines) >= EPOCHS and all(text.startswith("epoch ") and len(text) < columns for text in lines), lines
    assert seen[0].count("\n") <= 1, "one line, drawn over itself"
    # Three steps an epoch: after the second, 6 of 30.
    assert "warm-up 20 %" in lines[1] and not any("warm-up" in line for line in lines[10:])
    left = [re.search(r"about (\d+) s left$", line) for line in lines[1:EPOCHS]]
    assert [int(found[1]) for found in left] == [round(0.25 * (EPOCHS - n)) for n in range(2, EPOCHS + 1)]
    log = read(folder / "run" / "fitlog.csv")
    costs = re.search(r"train (\S+)  valid (\S+)", lines[EPOCHS - 1])
    for text, half in zip(costs.groups(), ("train", "valid"), strict=True):
        assert float(text) == pytest.approx(log[f"total_{half}"][-1], abs=0.01), "after the warm-up: the log's total"
    # At full weight from the start: what it shows does not rise with the ramps.
    first = float(re.search(r"train (\S+)", lines[0])[1])
    assert first > log["total_train"][0] + 1 and f"epoch {EPOCHS}/{EPOCHS}" in lines[-1]


def test_messages_do_not_end_in_the_line(epochs, monkeypatch):
    with screen(monkeypatch, 80) as seen:
        shown(epochs, "a word of warning")
    assert len(re.findall(r"(?:^|[\r\n])a word of warning\r?\n", seen[0])) == EPOCHS


def test_lines_in_a_pipe(epochs, monkeypatch):
    with screen(monkeypatch, None) as seen:
        shown(epochs)
    lines = seen[0].splitlines()
    assert "\r" not in seen[0] and len(lines) == EPOCHS
    assert re.fullmatch(rf"epoch 3/{EPOCHS}  warm-up 30 %  train \S+  valid \S+  rate 0\.01  about 4 s left", lines[2])


@pytest.mark.parametrize("kind", ["no reader", "closed", "none", "a terminal that went"])
def test_without_a_screen(epochs, monkeypatch, kind):
    ours, theirs = pty.openpty() if "terminal" in kind else os.pipe()
    stream = os.fdopen(theirs, "w", buffering=1)
    if kind == "closed":
        stream.close()
    os.close(ours)
    monkeypatch.setattr(sys, "stderr", None if kind == "none" else stream)
    shown(epochs)
    monkeypatch.undo()
    with contextlib.suppress(OSError):
        stream.close()


@pytest.mark.parametrize("columns", [40, 80, 100, 120])
def test_what_fits_never_cuts_the_time_left(columns):
    parts = [
        (5, "epoch 12345/20000"), (2, "warm-up 99 %"), (3, "train 123456"), (4, "valid 0.012345"), (1, "rate 0.00012"),
        (6, "at most 1440 min left"),
    ]  # fmt: skip
    line = fitted(parts, columns - 1)
    assert len(line) < columns and line.endswith("at most 1440 min left")
    if columns >= 80:
        assert "valid 0.012345" in line and "train 123456" in line


def test_costs_have_five_digits_whatever_their_unit():
    for value, text in (
        (1234567.8, "1234568"), (12345.67, "12346"), (987.6543, "987.65"), (0.4567891, "0.45679"),
        (0.001234567, "0.001235"), (-1.5, "-1.5000"), (0.0, "0"), (float("nan"), "nan"),
    ):  # fmt: skip
        assert digits(value) == text
    row = {"kl_weight": 0.25, "l2_weight": 0.5, "l2": 4.0, "train/kl": 8.0, "train/total": 100 + 0.25 * 8 + 0.5 * 4}
    assert at_full_weight(row, "train") == pytest.approx(112.0)
    assert [duration(s) for s in (12.4, 95, 5399, 7200)] == ["12 s", "2 min", "90 min", "2.0 h"]


@pytest.mark.parametrize("columns", [80, None])
def test_averaging_counts_trials(folder, monkeypatch, columns):
    from lfads_tf2 import inference
    from lfads_tf2.data import read_sessions

    trainer = trainer_of(folder)
    monkeypatch.setattr(inference, "rows_within_budget", lambda spec: 6)
    with screen(monkeypatch, columns) as seen, contextlib.closing(CountLine("one train", "trials")) as watch:
        trials = read_sessions(trainer.hp)[0].train
        found = inference.Inference(trainer.model, 0, 0, watch=watch).posterior_average(0, trials, 3)
    assert np.all(np.isfinite(found["costs"]))
    lines = [text.strip() for text in re.split(r"[\r\n]+", seen[0]) if text.strip()]
    assert lines[0] == "one train  2/20 trials  10 %" and lines[-1] == "one train  20/20 trials  100 %"
    assert re.fullmatch(r"one train  12/20 trials  60 %  about \d+ s left", lines[5])
