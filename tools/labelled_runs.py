#!/usr/bin/env python3
"""Whether the verdict is right: runs made to be good, copying, flat, cut short or collapsed, and what is said of each.

usage: labelled_runs.py OUTPUT_FOLDER [DATA.h5[:TRIALS] ...]

Without files the data are two synthetic sets. It goes on where it was stopped, prints a table and writes it to
OUTPUT_FOLDER/verdicts.md; exit code 1 when a verdict is wrong.
"""

from __future__ import annotations

import sys
from pathlib import Path

import h5py
from quality import run
from quality_data import folders_of

AUTO = "--preset=auto"
# The flags that make each kind, two ways each; files take them in turns.
WAYS = {
    "good": ([AUTO], [AUTO, "--co_dim=2"]),
    "copies single spikes": (
        [AUTO, "--co_dim=4", "--keep_prob=1", "--kl_co_weight=0", "--kl_ic_weight=0", "--l2_gen_scale=0",
         "--l2_con_scale=0"],
        [AUTO, "--co_dim=6", "--keep_prob=1", "--kl_co_weight=0.01", "--kl_ic_weight=0.01"],
    ),
    "too flat": (
        [AUTO, "--co_dim=0", "--keep_prob=0.3", "--l2_gen_scale=20000"],
        [AUTO, "--co_dim=0", "--keep_prob=0.4", "--l2_gen_scale=50000", "--kl_ic_weight=0.3"],
    ),
    "ended too early": (
        ["--max_epochs=60"],
        [AUTO, "--learning_rate_schedule=plateau", "--kl_increase_epochs=10", "--l2_increase_epochs=10",
         "--max_epochs=50"],
    ),
    "latents unused": (
        [AUTO, "--kl_ic_weight=50", "--kl_co_weight=50", "--kl_increase_epochs=5"],
        [AUTO, "--co_dim=0", "--kl_ic_weight=200", "--kl_increase_epochs=2"],
    ),
}  # fmt: skip


def said(folder: Path, run_folder: Path, flags: list[str]) -> tuple[str, float, float]:
    """Trains and infers where that was not done yet; the verdict, held-out bits a spike, and R² of true rates."""
    if not any(run_folder.glob("*_valid_posterior_sample_and_average")):
        where = [f"--data_dir={folder.absolute()}", f"--lfads_save_dir={run_folder.absolute()}"]
        run("train", *where, *flags)
        run("infer", *where)
    with h5py.File(next(run_folder.glob("*_valid_posterior_sample_and_average"))) as f:
        return f.attrs["verdict"], f.attrs["held_out_bps"], f.attrs.get("r2_truth", float("nan"))


def main(arguments: list[str]) -> int:
    """The table; 1 when a verdict is wrong."""
    if not arguments or arguments[0].startswith("-"):
        print(__doc__, file=sys.stderr)
        return 2
    output, files = Path(arguments[0]), [Path(name) for name in arguments[1:]]
    folders = folders_of(output, files, run, () if files else ("lorenz_few_trials", "chaotic_rnn"))
    lines, wrong = ["| data | made to be | verdict | held-out bits/spike | R² of true rates |", "|---" * 5 + "|"], 0
    for number, (name, folder) in enumerate(folders.items()):
        for label, ways in WAYS.items():
            kind, bits, r2 = said(folder, output / name / label.replace(" ", "_"), ways[number % len(ways)])
            wrong += kind != label
            lines.append(f"| {name} | {label} | {kind} | {bits:.3f} | {r2:.3f} |")
            print(lines[-1], flush=True)
    (output / "verdicts.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
