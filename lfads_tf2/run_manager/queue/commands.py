"""The three stages of a run as command lines of run_lfads.py, and their file in the run's folder."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from lfads_tf2.errors import LFADSError
from lfads_tf2.files import write_text
from lfads_tf2.run_manager.protocols import PlannedRun

COMMANDS_FILE = "commands.json"
STAGES = ("train", "posterior_mean_sample", "write_model_params")
# These stages work on single trials and change no weight.
_NOT_AFTER_TRAINING = ("temporal_spike_jitter_width",)
LOWEST_VALIDATION = "--checkpoint_pb_load_name=checkpoint_lve"


class ProgramNotFound(LFADSError, FileNotFoundError):
    """run_lfads.py is nowhere to be found."""


def stage_flags(run: PlannedRun) -> dict[str, list[str]]:
    """Flags of each stage, but for the folders."""
    params, count = run.params, len(run.datasets)
    samples = f"--batch_size={params.num_samples_posterior}"
    return {
        "train": params.command_line(count),
        "posterior_mean_sample": [
            *params.command_line(count, (*_NOT_AFTER_TRAINING, "batch_size")),
            f"--kind={params.posterior_mean_kind}", samples, LOWEST_VALIDATION,
        ],
        "write_model_params": [
            *params.command_line(count, _NOT_AFTER_TRAINING), "--kind=write_model_params", LOWEST_VALIDATION,
        ],
    }  # fmt: skip


def folder_flags(run_folder: str | Path) -> list[str]:
    """Where a run's data and results are."""
    return [
        f"--data_dir={run_folder}/lfadsInput", "--data_filename_stem=lfads",
        f"--lfads_save_dir={run_folder}/lfadsOutput",
    ]  # fmt: skip


def write_commands(run: PlannedRun) -> None:
    """Notes the stages in the run's folder, without paths, so that the folder can be moved and run elsewhere."""
    content = {
        "name": run.name,
        "param_hash": run.params.param_hash,
        "data_hash": run.params.data_hash,
        "datasets": [d.name for d in run.datasets],
        "parameters": run.params.differences,
        "stages": stage_flags(run),
    }
    write_text(run.path / COMMANDS_FILE, json.dumps(content, indent=1))


def read_commands(run_folder: Path) -> dict[str, Any]:
    """What :func:`write_commands` noted."""
    return json.loads((Path(run_folder) / COMMANDS_FILE).read_text(encoding="utf-8"))


def find_program(given: str | Path | None = None) -> Path:
    """run_lfads.py: as given, in the environment variable RUN_LFADS, beside the package, or on the PATH.

    Raises:
        ProgramNotFound: it is in none of these places.
    """
    places = [Path(p) for p in (given, os.environ.get("RUN_LFADS")) if p]
    if not places:
        places = [Path(__file__).resolve().parents[3] / "run_lfads.py"]
        places += [Path(folder) / "run_lfads.py" for folder in os.environ.get("PATH", "").split(os.pathsep) if folder]
    for place in places:
        if place.is_file():
            return place.resolve()
    shown = places[0]
    raise ProgramNotFound(
        f"run_lfads.py was not found (first looked for as {shown}); give its path as program=... (--program on the "
        "command line) or in the environment variable RUN_LFADS"
    )


def python() -> str:
    """The interpreter that runs the stages: this one."""
    return sys.executable
