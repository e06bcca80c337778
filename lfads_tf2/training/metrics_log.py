"""``metrics.csv``: every figure of every epoch, one named column each."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import math
import zlib
from pathlib import Path

import numpy as np

from lfads_tf2.files import write_text
from lfads_tf2.training.fit_log import lines_of, say_if_changed, say_left_out
from lfads_tf2.training.scalars import SMOOTHED
from lfads_tf2.training.schedules import TrainingState, smoothed


class MetricsLog:
    """Appends rows to ``path``; on resume the rows after the resumed epoch go, since they will be written again.

    Args:
        path: of the file.
        state: of training: the epochs that it has finished are kept; it holds the log's checksum and running mean.
    """

    def __init__(self, path: Path, state: TrainingState):
        self.path, self.state, self.columns = path, state, []
        rows, unreadable = _parsed(path) if path.exists() else ([], 0)
        say_left_out(path, unreadable)
        rows = [row for row in rows if row["epoch"] < state.epoch]
        checksum = 0
        for row in rows:
            checksum = _checksum(row, checksum)
        say_if_changed(path, checksum, state.logged)
        if path.name not in state.logged:
            # Checkpoints of earlier versions do not hold it.
            known = [row[SMOOTHED] for row in rows if not math.isnan(row.get(SMOOTHED, math.nan))]
            state.smoothed_recon = known[-1] if known else None
        state.logged[path.name] = checksum
        self._rewrite(rows)

    def append(self, row: dict[str, float]) -> None:
        """Adds one epoch; the smoothed validation reconstruction is added to ``row``."""
        if "valid/recon" in row:
            self.state.smoothed_recon = smoothed(self.state.smoothed_recon, row["valid/recon"])
            row[SMOOTHED] = math.nan if self.state.smoothed_recon is None else self.state.smoothed_recon
        new_columns = [name for name in row if name not in self.columns]
        if new_columns:
            # A resumed run may measure more than before.
            rows = read_rows(self.path) if self.columns else []
            self.columns += new_columns
            self._rewrite(rows)
        with self.path.open("a", newline="") as f:
            f.write(_line([_text(row.get(name, math.nan)) for name in self.columns]))
        self.state.logged[self.path.name] = _checksum(row, self.state.logged[self.path.name])

    def _rewrite(self, rows: list[dict[str, float]]) -> None:
        for row in rows:
            self.columns += [name for name in row if name not in self.columns]
        lines = [_line(self.columns)] if self.columns else []
        lines += [_line([_text(row.get(name, math.nan)) for name in self.columns]) for row in rows]
        write_text(self.path, "".join(lines))


def _checksum(row: dict[str, float], before: int) -> int:
    """Of the rows before and of one more; columns that were added later change nothing."""
    measured = {name: text for name, value in row.items() if (text := _text(value))}
    return zlib.crc32(json.dumps(measured, sort_keys=True).encode(), before)


def _text(value: float) -> str:
    if math.isnan(value):
        return ""
    return str(int(value)) if float(value).is_integer() and abs(value) < 2**53 else repr(float(value))


def _line(fields: list[str]) -> str:
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerow(fields)
    return stream.getvalue()


def read_rows(path: Path) -> list[dict[str, float]]:
    """The epochs of a ``metrics.csv``; an empty field is NaN, a line that a kill or damage left unreadable no row."""
    return _parsed(path)[0]


def _parsed(path: Path) -> tuple[list[dict[str, float]], int]:
    """Its rows, and how many lines are none."""
    header, *lines = lines_of(path) or [""]
    columns, rows = next(csv.reader([header]), []), []
    if "epoch" not in columns:
        return [], len(lines) + bool(header)
    for line in lines:
        with contextlib.suppress(ValueError, csv.Error):
            fields = next(csv.reader([line]), [])
            row = {n: float(v) if v else math.nan for n, v in zip(columns, fields, strict=True)}
            if line.endswith("\n"):
                rows.append(row)
    return rows, len(lines) - len(rows)


def read_metrics(path: Path) -> dict[str, np.ndarray]:
    """Columns of a ``metrics.csv`` by name, one entry an epoch."""
    rows = read_rows(path)
    return {name: np.array([row[name] for row in rows]) for name in (rows[0] if rows else ())}
