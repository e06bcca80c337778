"""Checkpoints: a manager for each state file (``checkpoint``, ``checkpoint_lve``), and which one to load.

TensorFlow's own manager always calls its state file ``checkpoint``; the original has two state files side by side.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import tensorflow as tf

from lfads_tf2.files import write_text

ROLLING, LOWEST_VALIDATION = "checkpoint", "checkpoint_lve"
# What reading a truncated or overwritten checkpoint raises.
DAMAGED = (IndexError, RuntimeError, tf.errors.OpError)


class CheckpointManager:
    """Writes ``<name>.ckpt-<step>``, keeps the newest few, and names them in a state file.

    Order matters for a kill at any moment: first the new checkpoint is complete, then the state file names it, and
    only then the oldest goes.

    Args:
        write: saves to a prefix (a string tensor); ``tf.train.Checkpoint.write``, as it is or compiled.
        folder: where.
        name: of the checkpoint files.
        state_file: ``checkpoint`` or ``checkpoint_lve``.
        max_to_keep: newest checkpoints kept.
    """

    def __init__(self, write: Callable, folder: Path, name: str, state_file: str, max_to_keep: int):
        self._write, self.folder, self.name = write, folder, name
        self.state_file, self.max_to_keep = folder / state_file, max_to_keep

    def save(self, step: int) -> Path:
        """Saves at a training step and returns the checkpoint's prefix."""
        prefix = self.folder / f"{self.name}.ckpt-{step}"
        self._write(tf.constant(str(prefix)))
        kept = [*(path for path in saved_checkpoints(self.state_file) if path != prefix), prefix]
        lines = [f'model_checkpoint_path: "{prefix.name}"']
        lines += [f'all_model_checkpoint_paths: "{path.name}"' for path in kept[-self.max_to_keep :]]
        write_text(self.state_file, "\n".join(lines) + "\n")
        for path in kept[: -self.max_to_keep]:
            for part in self.folder.glob(f"{path.name}.*"):
                part.unlink(missing_ok=True)
        return prefix


def saved_checkpoints(state_file: Path) -> list[Path]:
    """Prefixes that a state file names and that exist, oldest first, newest last; ours and the original's alike."""
    if not state_file.exists():
        return []
    state = tf.train.get_checkpoint_state(str(state_file.parent), latest_filename=state_file.name)
    if state is None:
        return []
    # Folders move between machines: only the file names count.
    paths = [state_file.parent / Path(path).name for path in state.all_model_checkpoint_paths]
    newest = state_file.parent / Path(state.model_checkpoint_path).name
    paths = [path for path in paths if path != newest] + [newest]
    return [path for path in paths if path.with_name(path.name + ".index").exists()]


def newest(folder: Path, state_file: str) -> Path | None:
    """Prefix of the newest checkpoint that a state file of this folder names, or None."""
    found = saved_checkpoints(folder / state_file)
    return found[-1] if found else None


def step_of(prefix: Path) -> int:
    """Training step in a checkpoint's name."""
    return int(prefix.name.rsplit("-", 1)[-1])


def for_inference(folder: Path, wanted: str) -> Path:
    """The checkpoint that inference loads.

    Args:
        folder: the run folder.
        wanted: a state file's name, or empty for checkpoint_lve where there is one, else checkpoint.

    Raises:
        FileNotFoundError: there is none; the message says what to do.
    """
    names = [wanted] if wanted else [LOWEST_VALIDATION, ROLLING]
    for name in names:
        prefix = newest(folder, name)
        if prefix is not None:
            return prefix
    raise FileNotFoundError(
        f"--lfads_save_dir: no trained model in {folder} (looked for {' and '.join(names)}); train first with "
        "--kind=train, or give --model_params_file"
    )


def for_resume(folder: Path) -> Path | None:
    """The checkpoint of either kind with the highest step: the least work is lost. None in a fresh folder."""
    found = [prefix for prefix in (newest(folder, ROLLING), newest(folder, LOWEST_VALIDATION)) if prefix is not None]
    return max(found, key=step_of) if found else None


def is_original(prefix: Path) -> bool:
    """Whether a checkpoint was written by the original TensorFlow 1 program."""
    names = {name for name, _ in tf.train.list_variables(str(prefix))}
    return "_CHECKPOINTABLE_OBJECT_GRAPH" not in names
