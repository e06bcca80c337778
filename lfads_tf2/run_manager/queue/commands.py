"""The three stages of a run as command lines of the program, and their file in the run's folder."""

from __future__ import annotations

import json
import logging
import os
import sys
import sysconfig
from pathlib import Path
from typing import Any

from lfads_tf2.errors import LFADSError
from lfads_tf2.files import checksum, write_text
from lfads_tf2.run_manager.protocols import PlannedRun

log = logging.getLogger("lfads_tf2")

COMMANDS_FILE = "commands.json"
STAGES = ("train", "posterior_mean_sample", "write_model_params")
# These stages work on single trials and change no weight.
_NOT_AFTER_TRAINING = ("temporal_spike_jitter_width",)
PACKAGE = "lfads_tf2"
# Holds the package: site-packages, or a checkout.
PACKAGE_FOLDER = Path(__file__).resolve().parents[3]
LOWEST_VALIDATION = "--checkpoint_pb_load_name=checkpoint_lve"


class CommandsError(LFADSError, ValueError):
    """What a prepared run is to do cannot be read."""


class ProgramNotFound(LFADSError, FileNotFoundError):
    """The script that was named in place of the program is not there."""


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
    write_text(run.path / COMMANDS_FILE, json.dumps(content | {"checksum": checksum(content)}, indent=1))


def read_commands(run_folder: Path, say_changes: bool = False) -> dict[str, Any]:
    """What :func:`write_commands` noted; ``say_changes``: with a line where it was changed since.

    Raises:
        CommandsError: the file is not there, cut or damaged.
    """
    path = Path(run_folder) / COMMANDS_FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        known = content.pop("checksum", None)
        stages = content["stages"]
        whole = list(stages) == list(STAGES) and all(
            isinstance(flags, list) and all(isinstance(flag, str) for flag in flags) for flags in stages.values()
        )
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        why = f"{type(error).__name__}: {error!s:.200}"
        raise CommandsError(f"{path} cannot be read ({why}); prepare the run again") from error
    if not whole:
        raise CommandsError(f"{path} does not hold the stages {', '.join(STAGES)}; prepare the run again")
    if say_changes and known not in (None, checksum(content)):
        log.warning("%s was changed after it was written; the run goes by what it says now.", path)
    return content


def program_words(given: str | Path | None = None) -> list[str]:
    """What comes after the interpreter to start the program: the installed package, or a script in its place.

    Args:
        given: path of the script; None: the package.

    Raises:
        ProgramNotFound: there is no such script.
    """
    if given is None:
        return ["-m", PACKAGE]
    if not Path(given).is_file():
        raise ProgramNotFound(f"program={given} (--program on the command line): there is no such file; leave it out")
    return [str(Path(given).resolve())]


def child_environment() -> dict[str, str]:
    """The environment for the program in a process of its own, where the package is found as it is here."""
    if str(PACKAGE_FOLDER) in sysconfig.get_paths().values():
        # Installed: before the standard library it would hide modules of the same name.
        return dict(os.environ)
    folders = [str(PACKAGE_FOLDER), *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {"PYTHONPATH": os.pathsep.join(folders)}


def python() -> str:
    """The interpreter that runs the stages: this one."""
    return sys.executable
