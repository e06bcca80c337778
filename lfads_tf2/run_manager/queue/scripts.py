"""Shell scripts of a run's stages, for clusters that have a scheduler of their own."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from lfads_tf2.files import atomic_path
from lfads_tf2.run_manager.protocols import PlannedCollection, PlannedRun
from lfads_tf2.run_manager.queue import commands

_NAMES = {stage: f"lfads_{stage}.sh" for stage in commands.STAGES}


def write_run_scripts(
    run: PlannedRun,
    chain: bool = False,
    cuda_visible_devices: str | int | None = None,
    program: str | Path | None = None,
    prepend_path: str | None = None,
    virtualenv: str | None = None,
    posterior_mean_kind: str | None = None,
) -> list[Path]:
    """Writes lfads_train.sh, lfads_posterior_mean_sample.sh and lfads_write_model_params.sh into the run's folder.

    They find the folder by their own place, so that it can be moved, and pass further arguments on to the program.

    Args:
        chain: lfads_train.sh goes on with the other two, and leaves lfads.done when all have succeeded.
        cuda_visible_devices: which GPUs the scripts may use.
        program: path of a script in place of the installed program.
        prepend_path: put before PATH.
        virtualenv: folder of a virtual environment, or name of a conda environment, to activate first.
        posterior_mean_kind: in place of the parameters' own.
    """
    flags = commands.stage_flags(run)
    if posterior_mean_kind:
        kind = [flag for flag in flags["posterior_mean_sample"] if not flag.startswith("--kind=")]
        flags["posterior_mean_sample"] = [*kind, f"--kind={posterior_mean_kind}"]
    head = _head(commands.program_words(program), cuda_visible_devices, prepend_path, virtualenv)
    written = []
    for stage in commands.STAGES:
        lines = [*head, _command(flags[stage])]
        if chain and stage == "train":
            lines = [*head, " &&\n".join([_command(flags[s]) for s in commands.STAGES] + ['touch "$RUN/lfads.done"'])]
        written.append(_write(run.path / _NAMES[stage], lines))
    return written


def _head(program: list[str], gpus: str | int | None, prepend_path: str | None, virtualenv: str | None) -> list[str]:
    lines = ["#!/usr/bin/env bash", "set -o pipefail", 'RUN="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"']
    if virtualenv:
        script = Path(virtualenv).expanduser() / "bin" / "activate"
        lines.append(
            f"source {shlex.quote(str(script))}" if script.exists() else f"source activate {shlex.quote(virtualenv)}"
        )
    if prepend_path:
        lines.append(f'export PATH={shlex.quote(prepend_path)}:"$PATH"')
    if gpus is not None:
        lines.append(f"export CUDA_VISIBLE_DEVICES={shlex.quote(str(gpus))}")
    python = "python" if virtualenv else shlex.quote(commands.python())
    return [
        *lines,
        f"PYTHON=${{LFADS_PYTHON:-{python}}}",
        f"LFADS=({shlex.join(program)})",
    ]


def _command(flags: list[str]) -> str:
    folders = [f'"{flag}"' for flag in commands.folder_flags("$RUN")]
    words = ['"$PYTHON"', '"${LFADS[@]}"', *folders, *(shlex.quote(flag) for flag in flags), '"$@"']
    return " ".join(words)


def write_tensorboard_script(collection: PlannedCollection) -> Path:
    """Writes launch_tensorboard.sh, which shows all runs' logs; it passes further arguments on to TensorBoard."""
    pairs = [
        f"param_{run.params.param_hash}/{run.name}:$HERE/{run.output_path.relative_to(collection.path)}/lfads_log"
        for run in collection.runs.ravel()
    ]
    lines = [
        "#!/usr/bin/env bash",
        'HERE="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"',
        f'tensorboard --logdir_spec="{",".join(pairs)}" "$@"',
    ]
    return _write(collection.path / "launch_tensorboard.sh", lines)


def _write(path: Path, lines: list[str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
        os.chmod(temporary, 0o755)
    return path
