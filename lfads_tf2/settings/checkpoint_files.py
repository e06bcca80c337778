"""Which checkpoints a run folder holds, and which of them training and inference load; from the files' names alone."""

from __future__ import annotations

import logging
import re
from pathlib import Path

log = logging.getLogger("lfads_tf2")

ROLLING, LOWEST_VALIDATION = "checkpoint", "checkpoint_lve"

# A state file's lines, and the end of a checkpoint's name.
_NAMED = re.compile(r'^\s*(all_model_checkpoint_paths|model_checkpoint_path)\s*:\s*"([^"\n]*)"', re.MULTILINE)
_SUFFIX = re.compile(r"ckpt-\d+$")


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


def for_resume(folder: Path) -> list[Path]:
    """All checkpoints of either kind, the highest step first: the least work is lost. Empty in a fresh folder.

    Of two of one step the rolling one comes first: it may have been written later.
    """
    found = [path for name in (ROLLING, LOWEST_VALIDATION) for path in saved_checkpoints(folder / name)]
    return sorted(found, key=step_of, reverse=True)


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
        f"--lfads_save_dir: no trained model in {folder} (looked for {' and '.join(names)}); train first "
        "(lfads train DATA, or --kind=train), or give --model_params_file"
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
