"""The fit log: one line an epoch, in the original's format, read back into columns."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from lfads_tf2.files import write_text


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
    """Label/value pairs of a line; a label with two values gives ``<label>_train`` and ``<label>_valid``."""
    values: dict[str, list[float]] = {}
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


def read(path: Path) -> dict[str, np.ndarray]:
    """Columns of a fit log (ours or the original's); a line that a kill left half-written is passed over."""
    rows = []
    for line in path.read_text().splitlines():
        if "l2weight," in line and not line.endswith("l2weight,"):
            rows.append(parse_line(line))
    labels = list(rows[0]) if rows else []
    return {label: np.array([row.get(label, np.nan) for row in rows]) for label in labels}


class FitLog:
    """Appends to ``path``; on resume the lines after the resumed epoch go, since they will be written again."""

    def __init__(self, path: Path, epochs_kept: int):
        self.path = path
        kept = []
        if path.exists():
            for line in path.read_text().splitlines(keepends=True):
                fields = line.split(",")
                if line.endswith("\n") and len(fields) > 1 and fields[0] == "epoch" and int(fields[1]) < epochs_kept:
                    kept.append(line)
        write_text(path, "".join(kept))

    def append(self, line: str) -> None:
        """Adds one line in one write."""
        with self.path.open("a") as f:
            f.write(line + "\n")
