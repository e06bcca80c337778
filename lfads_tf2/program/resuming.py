"""Whether a training goes on with what a run folder holds, and with what it must not be mixed."""

from __future__ import annotations

import dataclasses
import logging
import shutil
from pathlib import Path
from typing import Any

from lfads_tf2.data import fingerprint
from lfads_tf2.errors import RunError
from lfads_tf2.hyperparameters import HyperParameters, declared
from lfads_tf2.settings import checkpoint_files, run_folder
from lfads_tf2.settings.run_folder import RunRecord

log = logging.getLogger("lfads_tf2")

# Everything that a training, and what follows it, leaves in a run folder.
LEFT_BY_A_RUN = (
    "hyperparameters-*.txt", "*.ckpt-*", checkpoint_files.ROLLING, checkpoint_files.LOWEST_VALIDATION, "metrics.csv",
    "auto.txt", "lfads_log", "report", "model_runs_*", "*model_params", run_folder.SAVED_MODEL,
)  # fmt: skip
# Settings of each command by itself are not the run's.
OF_THE_RUN = [n for n, f in declared().items() if f.metadata["section"] != "run" or n == "seed"]


def prepare(folder: Path, hp: HyperParameters, record: RunRecord | None, data: dict[str, dict[str, Any]]) -> bool:
    """Whether there is a run in the folder to go on with; says what has changed since.

    Args:
        folder: the run folder.
        hp: all settings of this command, ``resume`` among them.
        record: of the run folder, None if there is none.
        data: fingerprints of the data now.

    Raises:
        RunError: the data are not those of the run, there is nothing to resume and there must be, or the folder holds
            a run that cannot be gone on with.
    """
    if hp.resume == "never":
        _put_aside(folder, hp)
        return False
    remove_litter(folder)
    if not checkpoint_files.for_resume(folder):
        if hp.resume == "must":
            raise RunError(f"--resume=must: there is no checkpoint in {folder} to go on from; leave the flag out")
        _refuse_lost_run(folder, hp)
        return False
    if record is None:
        return True
    wrong = fingerprint.differences(record.data, data)
    if wrong:
        raise RunError(
            f"--data_dir: the data are not those that the model in {folder} was trained on:\n  " + "\n  ".join(wrong)
            + "\nTrain in a new --lfads_save_dir (or with --resume=never, which puts the old run aside), or bring the "
            "old data back; to go on from the old weights, give --model_params_file with a new --lfads_save_dir."
        )  # fmt: skip
    known, now = record.hyperparameters, dataclasses.asdict(hp)
    changed = [f"{n} {now[n]!r} (was {known[n]!r})" for n in OF_THE_RUN if n in known and known[n] != now[n]]
    if changed:
        log.warning("Going on with other settings than before: %s.", ", ".join(changed))
    return True


def check_other_data(record: RunRecord | None, data: dict[str, dict[str, Any]]) -> None:
    """One line when inference sees other data than the model was trained on.

    Raises:
        RunError: they have bins of another width: rates and time constants would be off by the ratio.
    """
    known = {} if record is None else record.data
    for name, now in data.items():
        before = known.get(name, now)
        widths = before.get("bin_width_ms"), now["bin_width_ms"]
        differ = widths[0] != widths[1] and all(isinstance(width, int | float) for width in widths)
        # The same counts under another width are a label that was put right.
        if differ and fingerprint.other_values(before, now):
            raise RunError(
                f"--data_dir: the model in {record.path.parent} was trained on bins of {widths[0]:g} ms, and those of "
                f"session {name} are {widths[1]:g} ms wide; give data with bins of {widths[0]:g} ms (lfads import "
                f"--bin-ms {widths[0]:g}), or train on these in a new --lfads_save_dir"
            )
    wrong = fingerprint.differences(known, data)
    if wrong:
        log.warning("These are not the data that the model was trained on: %s.", "; ".join(wrong))


def _refuse_lost_run(folder: Path, hp: HyperParameters) -> None:
    """Raises RunError for a folder without a checkpoint that has had one: starting anew would bury what is left."""
    path = folder / f"{hp.csv_log}.csv"
    text = path.read_bytes() if path.is_file() else b""
    # The first epoch's line is written before the first checkpoint.
    if text.count(b"\n") > 1:
        raise RunError(
            f"--lfads_save_dir: {folder} holds the log of a training ({path.name}) but none of its checkpoints; bring "
            "them back, train in a new --lfads_save_dir, or give --resume=never, which puts the old run aside"
        )


def remove_litter(folder: Path) -> None:
    """Removes what commands that were killed have left half-written; only one command at a time works here."""
    for path in [*folder.glob(".*.tmp"), *folder.glob("*.tempstate*")]:
        path.unlink(missing_ok=True)
    for path in folder.glob("*ckpt-*_temp"):
        shutil.rmtree(path, ignore_errors=True)


def _put_aside(folder: Path, hp: HyperParameters) -> None:
    patterns = (*LEFT_BY_A_RUN, f"{hp.csv_log}.csv")
    found = sorted({path for pattern in patterns for path in folder.glob(pattern)})
    if not found:
        return
    number = 1 + max([int(p.name.rpartition("_")[2]) for p in folder.glob("earlier_*") if p.name[8:].isdigit()] or [0])
    aside = folder / f"earlier_{number}"
    try:
        aside.mkdir()
        for path in found:
            path.rename(aside / path.name)
    except OSError as error:
        raise RunError(f"--resume=never: cannot put the earlier run in {folder} aside: {error}") from error
    log.info("The run that was in %s is in %s now.", folder, aside)
