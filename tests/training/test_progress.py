"""What a person sees while a model trains and while posterior samples are averaged, read from a pseudo-terminal."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import pty
import re
import struct
import sys
import termios
import threading

import numpy as np
import pytest
from small_models import trainer_of
from small_runs import write_spikes

from lfads_tf2.training import status_line
from lfads_tf2.training.fit_log import read
from lfads_tf2.training.progress import at_full_weight, digits
from lfads_tf2.training.status_line import CountLine, duration, fitted

EPOCHS = 20


@pytest.fixture(autouse=True)
def draws_everything(monkeypatch):
    monkeypatch.setattr(status_line, "SECONDS_BETWEEN_DRAWINGS", 0.0)
    monkeypatch.setattr(status_line, "SECONDS_BETWEEN_LINES", 0.0)


@pytest.fixture
def folder(tmp_path):
    write_spikes(tmp_path / "data" / "one.h5")
    return tmp_path


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


def trained(folder, **settings):
    trainer = trainer_of(folder, max_epochs=EPOCHS, kl_increase_steps=24, l2_increase_steps=30, **settings)
    trainer.show_progress = True
    return trainer


@pytest.mark.parametrize("columns", [80, 120])
def test_one_line_on_a_terminal(folder, monkeypatch, columns):
    trainer = trained(folder)
    with screen(monkeypatch, columns) as seen:
        trainer.train()
    drawings = [text.strip() for text in re.split(r"[\r\n]+", seen[0]) if text.strip()]
    lines = [text for text in drawings if text.startswith("epoch ")]
    assert len(lines) >= EPOCHS and all(len(text) < columns for text in drawings), drawings
    assert seen[0].count("\n") <= 1, "one line, drawn over itself"
    # Three steps an epoch: after the second, 6 of 30.
    assert "warm-up 20 %" in lines[1] and not any("warm-up" in line for line in lines[10:])
    assert all(re.search(r"(about|at most) \d+ (s|min) left$", line) for line in lines[1:EPOCHS]), lines
    log = read(folder / "run" / "fitlog.csv")
    shown = re.search(r"train (\S+)  valid (\S+)", lines[EPOCHS - 1])
    for text, half in zip(shown.groups(), ("train", "valid"), strict=True):
        assert float(text) == pytest.approx(log[f"total_{half}"][-1], abs=0.01), "after the warm-up: the log's total"
    # At full weight from the start: what it shows does not rise with the ramps.
    first = float(re.search(r"train (\S+)", lines[0])[1])
    assert first > log["total_train"][0] + 1 and f"epoch {EPOCHS}/{EPOCHS}" in lines[-1]
    assert ("rate 0.01" in lines[1]) == (columns == 120), "the least important goes first"


def test_messages_do_not_end_in_the_line(folder, monkeypatch):
    trainer = trained(folder)
    end_epoch = trainer._end_epoch

    def speaking(*arguments):
        end_epoch(*arguments)
        logging.getLogger("lfads_tf2").warning("a word of warning")

    monkeypatch.setattr(trainer, "_end_epoch", speaking)
    with screen(monkeypatch, 80) as seen:
        trainer.train()
    assert re.search(r"(^|[\r\n])a word of warning\r?\n", seen[0])
    assert "left" + "a word" not in seen[0]


def test_lines_in_a_pipe(folder, monkeypatch):
    trainer = trained(folder)
    with screen(monkeypatch, None) as seen:
        trainer.train()
    lines = [line for line in seen[0].splitlines() if line.startswith("epoch ")]
    assert "\r" not in seen[0] and len(lines) >= EPOCHS
    assert re.fullmatch(
        rf"epoch 3/{EPOCHS}  warm-up 30 %  train \S+  valid \S+  rate 0\.01  about \d+ s left", lines[2]
    )


@pytest.mark.parametrize("kind", ["no reader", "full disk", "closed", "none"])
def test_training_goes_on_without_a_screen(folder, monkeypatch, kind):
    trainer = trained(folder)
    if kind == "none":
        stream = None
    elif kind == "full disk":
        stream = open("/dev/full", "w", buffering=1)
    else:
        ours, theirs = os.pipe()
        os.close(ours)
        stream = os.fdopen(theirs, "w", buffering=1)
        if kind == "closed":
            monkeypatch.setattr(os, "fstat", os.fstat)
            with contextlib.suppress(OSError):
                stream.close()
    monkeypatch.setattr(sys, "stderr", stream)
    trainer.train()
    monkeypatch.undo()
    assert list(read(folder / "run" / "fitlog.csv")["epoch"]) == list(range(EPOCHS))
    if stream is not None:
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
