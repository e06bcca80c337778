"""Checkpoints: a manager for each state file (``checkpoint``, ``checkpoint_lve``), and how they are read.

TensorFlow's own manager always calls its state file ``checkpoint``; the original has two state files side by side.
Which checkpoints a folder holds is told without TensorFlow (``checkpoint_files``).
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import tensorflow as tf

from lfads_tf2.files import write_text
from lfads_tf2.settings.checkpoint_files import saved_checkpoints

# What reading a truncated or overwritten checkpoint raises.
DAMAGED = (IndexError, RuntimeError, ValueError, tf.errors.OpError)


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


@contextlib.contextmanager
def readable(prefix: Path) -> Iterator[str]:
    """The prefix as TensorFlow reads it: brackets, stars and the like stand for patterns there, in folders too."""
    if not set("*?[]\\") & set(str(prefix.absolute())):
        yield str(prefix)
        return
    with tempfile.TemporaryDirectory(prefix="lfads_") as folder:
        alias = Path(folder) / "run"
        alias.symlink_to(prefix.parent.absolute(), target_is_directory=True)
        yield str(alias / prefix.name)


def why(error: BaseException) -> str:
    """The first line of an error of TensorFlow, which tells all that a user can use."""
    return f"{str(error).strip().partition(chr(10))[0]:.200}"


def is_original(prefix: Path) -> bool:
    """Whether a checkpoint was written by the original TensorFlow 1 program."""
    with readable(prefix) as path:
        names = {name for name, _ in tf.train.list_variables(path)}
    return "_CHECKPOINTABLE_OBJECT_GRAPH" not in names
