"""``metrics.csv``: every figure of every epoch, one named column each."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path

import numpy as np

from lfads_tf2.files import write_text
from lfads_tf2.training.scalars import SMOOTHED
from lfads_tf2.training.schedules import smoothed


class MetricsLog:
    """Appends rows to ``path``; on resume the rows after the resumed epoch go, since they will be written again.

    Args:
        path: of the file.
        epochs_kept: epochs that the resumed checkpoint has finished.
    """

    def __init__(self, path: Path, epochs_kept: int):
        self.path, self.columns = path, []
        rows = [row for row in read_rows(path) if row["epoch"] < epochs_kept] if path.exists() else []
        known = [row[SMOOTHED] for row in rows if not math.isnan(row.get(SMOOTHED, math.nan))]
        self.smoothed = known[-1] if known else None
        self._rewrite(rows)

    def append(self, row: dict[str, float]) -> None:
        """Adds one epoch; the smoothed validation reconstruction is added to ``row``."""
        if "valid/recon" in row:
            self.smoothed = smoothed(self.smoothed, row["valid/recon"])
            row[SMOOTHED] = self.smoothed
        new_columns = [name for name in row if name not in self.columns]
        if new_columns:
            # A resumed run may measure more than before.
            rows = read_rows(self.path) if self.columns else []
            self.columns += new_columns
            self._rewrite(rows)
        with self.path.open("a", newline="") as f:
            f.write(_line([_text(row.get(name, math.nan)) for name in self.columns]))

    def _rewrite(self, rows: list[dict[str, float]]) -> None:
        for row in rows:
            self.columns += [name for name in row if name not in self.columns]
        lines = [_line(self.columns)] if self.columns else []
        lines += [_line([_text(row.get(name, math.nan)) for name in self.columns]) for row in rows]
        write_text(self.path, "".join(lines))


def _text(value: float) -> str:
    if math.isnan(value):
        return ""
    return str(int(value)) if float(value).is_integer() and abs(value) < 2**53 else repr(float(value))


def _line(fields: list[str]) -> str:
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerow(fields)
    return stream.getvalue()


def read_rows(path: Path) -> list[dict[str, float]]:
    """The epochs of a ``metrics.csv``; an empty field is NaN, a line that a kill left half-written is passed over."""
    text = path.read_text()
    lines = text[: text.rfind("\n") + 1]
    rows = list(csv.reader(io.StringIO(lines)))
    if not rows:
        return []
    whole = [row for row in rows[1:] if len(row) == len(rows[0])]
    return [{n: float(v) if v else math.nan for n, v in zip(rows[0], row, strict=True)} for row in whole]


def read_metrics(path: Path) -> dict[str, np.ndarray]:
    """Columns of a ``metrics.csv`` by name, one entry an epoch."""
    rows = read_rows(path)
    return {name: np.array([row[name] for row in rows]) for name in (rows[0] if rows else ())}
