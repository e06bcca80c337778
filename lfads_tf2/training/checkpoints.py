"""Checkpoints: a manager for each state file (``checkpoint``, ``checkpoint_lve``), and which one to load.

TensorFlow's own manager always calls its state file ``checkpoint``; the original has two state files side by side.
"""

from __future__ import annotations

import contextlib
import logging
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import tensorflow as tf

from lfads_tf2.files import write_text

log = logging.getLogger("lfads_tf2")

ROLLING, LOWEST_VALIDATION = "checkpoint", "checkpoint_lve"
# What reading a truncated or overwritten checkpoint raises.
DAMAGED = (IndexError, RuntimeError, ValueError, tf.errors.OpError)

# A state file's lines, and the end of a checkpoint's name.
_NAMED = re.compile(r'^\s*(all_model_checkpoint_paths|model_checkpoint_path)\s*:\s*"([^"\n]*)"', re.MULTILINE)
_SUFFIX = re.compile(r"ckpt-\d+$")


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
    """Prefixes that a state file names and that exist, oldest first, newest last; ours and the original's alike.

    Where the file is gone, or names nothing that is there, the checkpoints themselves say what there is.
    """
    found = [path for path in _named(state_file) if _is_there(path)]
    return found or _by_files(state_file)


def _named(state_file: Path) -> list[Path]:
    """Prefixes that a state file names, there or not, in the same order."""
    try:
        text = state_file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    # Folders move between machines: only the file names count.
    named = [(kind, state_file.parent / re.split(r"[/\\]", name)[-1]) for kind, name in _NAMED.findall(text)]
    newest = [path for kind, path in named if kind == "model_checkpoint_path"]
    paths = [path for kind, path in named if path not in newest] + newest[-1:]
    return [path for path in paths if _SUFFIX.search(path.name)]


def _is_there(prefix: Path) -> bool:
    return prefix.with_name(prefix.name + ".index").exists()


def _by_files(state_file: Path) -> list[Path]:
    """Prefixes of all checkpoints of a state file's kind beside it, by step; none for a state file of another name."""
    if state_file.name not in (ROLLING, LOWEST_VALIDATION):
        return []
    found = [path.with_suffix("") for path in state_file.parent.glob("*.index")]
    lowest = state_file.name == LOWEST_VALIDATION
    kept = [path for path in found if _SUFFIX.search(path.name) and ("_lve.ckpt-" in path.name) == lowest]
    return sorted(kept, key=step_of)


def newest(folder: Path, state_file: str) -> Path | None:
    """Prefix of the newest checkpoint of this kind in a folder, or None."""
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
        FileNotFoundError: there is none, or the lowest-validation one has been lost; the message says what to do.
    """
    names = [wanted] if wanted else [LOWEST_VALIDATION, ROLLING]
    for name in names:
        prefix = newest(folder, name)
        if prefix is not None:
            _say_passed_over(folder / name, prefix)
            return prefix
        if name != wanted and (folder / name).exists():
            raise FileNotFoundError(
                f"--lfads_save_dir: {folder / name} names a lowest-validation checkpoint, but its files are gone; give "
                f"--checkpoint_pb_load_name={ROLLING} to use the newest weights instead, or bring the files back"
            )
    raise FileNotFoundError(
        f"--lfads_save_dir: no trained model in {folder} (looked for {' and '.join(names)}); train first with "
        "--kind=train, or give --model_params_file"
    )


def _say_passed_over(state_file: Path, prefix: Path) -> None:
    """Says when a newer checkpoint has lost its files, or is there without being named."""
    known = [*_named(state_file), *_by_files(state_file)]
    newer = sorted({path for path in known if step_of(path) > step_of(prefix)}, key=step_of)
    if newer:
        log.warning(
            "%s is passed over: %s. The weights of %s are used.", newer[-1].name,
            f"{state_file} does not name it" if _is_there(newer[-1]) else "its files are gone", prefix.name,
        )  # fmt: skip


def for_resume(folder: Path) -> list[Path]:
    """All checkpoints of either kind, the highest step first: the least work is lost. Empty in a fresh folder.

    Of two of one step the rolling one comes first: it may have been written later.
    """
    found = [path for name in (ROLLING, LOWEST_VALIDATION) for path in saved_checkpoints(folder / name)]
    return sorted(found, key=step_of, reverse=True)


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
