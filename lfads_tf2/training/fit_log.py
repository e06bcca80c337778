"""The fit log: one line an epoch, in the original's format, read back into columns."""

from __future__ import annotations

import contextlib
import logging
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lfads_tf2.files import write_text
from lfads_tf2.training.schedules import TrainingState

log = logging.getLogger("lfads_tf2")

# What a whole line says at least.
REQUIRED = {"epoch", "step", "total_train", "recon_train", "kl_train", "l2", "kl_weight", "l2_weight"}


class EpochCosts(NamedTuple):
    """Costs of one half in one epoch, nats a trial."""

    total: float
    recon: float
    kl: float


def format_line(epoch: int, step: int, train: EpochCosts, valid: EpochCosts | None, l2, kl_weight, l2_weight) -> str:
    """One line, without its end. The runs of blanks are the original's; its readers split at commas."""
    gap = " " * 7
    if valid is None:
        return (
            f"epoch,{epoch}, step,{step}, total,{train.total:.2f}, recon,{train.recon:.2f}, kl,{train.kl:.2f},"
            f"{gap}l2,{l2:.5f}, klweight,{kl_weight:.2f}, l2weight,{l2_weight:.2f}"
        )
    pairs = [f"{t:.2f},{v:.2f}" for t, v in zip(train, valid, strict=True)]
    return (
        f"epoch,{epoch}, step,{step}, total,{pairs[0]},{gap}recon,{pairs[1]}, kl,{pairs[2]}, l2,{l2:.5f},"
        f"{gap}klweight,{kl_weight:.2f}, l2weight,{l2_weight:.2f}"
    )


def parse_line(line: str) -> dict[str, float]:
    """Label/value pairs of a line; a label with two values gives ``<label>_train`` and ``<label>_valid``.

    Raises ValueError, KeyError or IndexError for a line that is damaged.
    """
    values: dict[str, list[float]] = {}
    label = ""
    for part in line.strip().split(","):
        part = part.strip()
        if part and part[0].isalpha() and part not in ("nan", "inf"):
            label = {"klweight": "kl_weight", "l2weight": "l2_weight"}.get(part, part)
            values[label] = []
        elif part:
            values[label].append(float(part))
    row = {}
    for label, numbers in values.items():
        if label in ("total", "recon", "kl"):
            row |= dict(zip((f"{label}_train", f"{label}_valid"), numbers, strict=False))
        else:
            row[label] = numbers[0]
    return row


def lines_of(path: Path) -> list[str]:
    """Lines of a log, with their ends; bytes that are no text become characters that no number has."""
    return path.read_bytes().decode("utf-8", "replace").splitlines(keepends=True)


def say_left_out(path: Path, lines: int) -> None:
    """Says that some lines of a log could not be read."""
    if lines:
        log.warning("%s: %d line%s cannot be read and went.", path, lines, "" if lines == 1 else "s")


def say_if_changed(path: Path, checksum: int, known: dict[str, int]) -> None:
    """Says when a log does not hold what was written; ``known``: checksums of logs by file name."""
    if known.get(path.name, checksum) != checksum:
        log.warning("%s: earlier epochs are missing or were changed after they were written.", path)


def _parsed(path: Path) -> tuple[list[tuple[str, dict[str, float]]], int]:
    """Its lines with what they say, and how many say nothing: a kill left them half-written, or they are damaged."""
    lines, found = lines_of(path), []
    for line in lines:
        with contextlib.suppress(ValueError, KeyError, IndexError):
            row = parse_line(line)
            if set(row) >= REQUIRED:
                found.append((line, row))
    return found, len(lines) - len(found)


def read(path: Path) -> dict[str, np.ndarray]:
    """Columns of a fit log (ours or the original's); a line that a kill or damage left unreadable is passed over."""
    rows = [row for _, row in _parsed(path)[0]]
    labels = list(rows[0]) if rows else []
    return {label: np.array([row.get(label, np.nan) for row in rows]) for label in labels}


class FitLog:
    """Appends to ``path``; on resume the lines after the resumed epoch go, since they will be written again.

    Args:
        path: of the file.
        state: of training: the epochs that it has finished are kept; it holds the log's checksum.
    """

    def __init__(self, path: Path, state: TrainingState):
        self.path, self.state = path, state
        found, unreadable = _parsed(path) if path.exists() else ([], 0)
        say_left_out(path, unreadable)
        kept = "".join(line for line, row in found if row["epoch"] < state.epoch and line.endswith("\n"))
        checksum = zlib.crc32(kept.encode())
        say_if_changed(path, checksum, state.logged)
        state.logged[path.name] = checksum
        write_text(path, kept)

    def append(self, line: str) -> None:
        """Adds one line in one write."""
        with self.path.open("a") as f:
            f.write(line + "\n")
        self.state.logged[self.path.name] = zlib.crc32(f"{line}\n".encode(), self.state.logged[self.path.name])
