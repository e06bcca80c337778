"""The suite of ``quality.py``: contenders and the table."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from quality_data import SUITE, DataSet, folders_of
from quality_measures import simple

PUBLISHED = "published"
CONTENDERS = {
    "small_data": ["--preset=small_data"], "lfads_torch": ["--preset=lfads_torch_defaults"], PUBLISHED: [],
    "auto": ["--preset=auto"], "search": [],
}  # fmt: skip


def suite(
    output: Path, files: list[Path], seeds: list[str], contenders: list[str], run: Callable, trained: Callable
) -> str:  # fmt: skip
    """Runs what OUTPUT/results.jsonl does not hold yet, and returns the table.

    Args:
        output: folder for everything.
        files: data sets beside those of SUITE, with :TRIALS cut to so many training trials.
        seeds: of the trainings.
        contenders: of CONTENDERS.
        run, trained: of ``quality.py``.
    """
    log, done = output / "results.jsonl", {}
    for line in log.read_text().splitlines() if log.exists() else ():
        row = json.loads(line)
        done[row["data"], row["contender"], row["seed"]] = row
    folders = folders_of(output, files, run)
    for name, folder in folders.items():
        for contender, found in simple(sorted(folder.glob("*.h5"))[0]).items():
            done[name, contender, ""] = found
        made = SUITE.get(name, DataSet([]))
        for contender in contenders:
            if contender == PUBLISHED and not made.published:
                continue
            flags = [f"--preset={made.published}"] if contender == PUBLISHED else CONTENDERS[contender]
            for seed in seeds:
                if (name, contender, seed) in done:
                    continue
                command = "auto" if contender == "search" else "train"
                found = trained(folder, output / name / f"{contender}{seed}", seed, [*flags, *made.flags], command)
                done[name, contender, seed] = row = {"data": name, "contender": contender, "seed": seed} | found
                with log.open("a") as f:
                    f.write(json.dumps(row) + "\n")
    return _table(done, list(folders))


def _table(done: dict[tuple[str, str, str], dict[str, float]], names: list[str]) -> str:
    columns = list(dict.fromkeys(contender for _, contender, _ in done))
    lines = [
        "R² of true rates (without these, of behaviour) / held-out bits a spike / minutes, medians over seeds (their "
        "number in brackets)", "",
        "| data | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|",
    ]  # fmt: skip
    for name in names:
        cells = []
        for column in columns:
            rows = [row for (data, contender, _), row in done.items() if (data, contender) == (name, column)]
            cells.append("–")
            if rows:
                r2, bits, took, told = (
                    np.median([row.get(key, np.nan) for row in rows]) for key in ("r2", "bits", "minutes", "behavior")
                )
                r2 = told if np.isnan(r2) else r2
                minutes = f" / {took:.1f} ({len(rows)})" if took else ""
                cells[-1] = f"{r2:.3f} / {bits:.3f}{minutes}".replace("nan", "–")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"
