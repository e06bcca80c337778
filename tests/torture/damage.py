"""Damage to any file of a folder that commands left: the next command gives the same numbers, says, or refuses.

Silence about other numbers is the worst that can happen; a traceback, a signal or a hang is not as promised either.
"""

from __future__ import annotations

import collections
import contextlib
import shutil
from pathlib import Path

import numpy as np

from torture.folders import DAMAGED, KINDS, Step, Whole, copied, digest
from torture.inputs import damaged
from torture.server import Ended, Server

WAYS = ("bytes", "bytes", "bytes", "bytes", "emptied", "removed", "a folder", "a stray name")
# With these words a command says that it goes on with less, or with what is not as it was.
SAID = (
    "damaged", "was changed", "were changed", "cannot be read", "is passed over", "missing", "again", "lacks", "gone",
    "not those", "failed", "not the data", "cannot be run",
)  # fmt: skip
# What attempts take differs a hundredfold.
TURNS = (
    "run folders", "results", "run folders", "searches", "results", "run folders", "results", "run folders", "queues",
    "results",
)  # fmt: skip
SAME, TOLD, REFUSED = "the same numbers", "others, and said so", "refused in words"


def hurt(path: Path, way: str, random: np.random.Generator) -> Path | None:
    """Damages a file, or copies it to a stray name, which it returns."""
    if way == "bytes":
        content = path.read_bytes()
        while (new := damaged(content, random)) == content:
            pass
        path.write_bytes(new)
    elif way == "emptied":
        path.write_bytes(b"")
    elif way == "a stray name":
        number = int(random.integers(4))
        other = [path.name + "~", "generation_x", f"{path.stem}-99{path.suffix}", f"{path.name} (copy)"][number]
        return Path(shutil.copy(path, path.with_name(other)))
    else:
        path.unlink()
        if way == "a folder":
            path.mkdir()
    return None


def verdict(
    ended: Ended, step: Step, folder: Path, reference: dict[str, str], said: str = "", stray: Path | None = None
) -> str:  # fmt: skip
    """How a command on a damaged folder ended.

    Args:
        ended: the command.
        step: what counts.
        folder: that the command worked in.
        reference: what counts, as the same command leaves it in the whole folder.
        said: by that.
        stray: a file that the damage itself added.
    """
    if ended.broken:
        return ended.broken
    if ended.code:
        return REFUSED
    try:
        found = step.numbers(folder)
    except (OSError, ValueError, KeyError) as error:
        found = {"": repr(error)}
    if stray is not None:
        found = {name: value for name, value in found.items() if Path(name).name != stray.name}
    others = {name for name, value in found.items() if value not in (reference.get(name), DAMAGED)}
    if not others:
        # What is gone, or refused by its reader, is taken by nobody for a result.
        return SAME if found == reference else REFUSED
    if any(ended.said.count(word) > said.count(word) for word in SAID):
        return TOLD
    return f"silently other numbers: {sorted(others)}"


def torture(server: Server, place: Path, attempts: int, seed: int, kinds: tuple[str, ...] = tuple(KINDS)):
    """Ends of all attempts by class, and what did not end as promised.

    Args:
        server: that runs commands.
        place: an empty folder.
        attempts: over all classes, turn by turn.
        seed: decides all damage.
        kinds: of KINDS.
    """
    made = {kind: KINDS[kind](server, place / f"whole{number}") for number, kind in enumerate(kinds)}
    turns = [kind for kind in TURNS if kind in kinds]
    ends, broken = collections.defaultdict(collections.Counter), []
    references: dict[tuple, tuple[dict[str, str], str]] = {}
    here = place / "here"
    # Ctrl-C ends the attempts, and what was found so far counts.
    with contextlib.suppress(KeyboardInterrupt):
        for attempt in range(attempts):
            whole = made[turns[attempt % len(turns)]]
            random = np.random.default_rng([seed, attempt])
            step = whole.steps[int(random.integers(len(whole.steps)))]
            key = (whole.name, whole.steps.index(step))
            if key not in references:
                references[key] = _reference(server, whole, step, here)
            end, text = _attempt(server, whole, step, here, references[key], random)
            ends[whole.name][end.partition(":")[0]] += 1
            if end not in (SAME, TOLD, REFUSED):
                broken.append(f"{whole.name}, attempt {attempt} of seed {seed}, {text}")
                print(broken[-1], flush=True)
    return ends, broken


def _reference(server: Server, whole: Whole, step: Step, here: Path) -> tuple[dict[str, str], str]:
    copied(whole.folder, here)
    ended = server.run(step.words(here))
    if ended.code or ended.broken:
        raise RuntimeError(f"a whole folder cannot be gone on with: {ended}")
    return step.numbers(here), ended.said


def _attempt(server: Server, whole: Whole, step: Step, here: Path, reference, random) -> tuple[str, str]:
    copied(whole.folder, here)
    files = sorted(path for path in (here / whole.damaged).rglob("*") if path.is_file() and not path.is_symlink())
    path, way = files[int(random.integers(len(files)))], WAYS[int(random.integers(len(WAYS)))]
    stray = hurt(path, way, random)
    before = digest(path.read_bytes()) if path.is_file() else ""
    ended = server.run(step.words(here))
    end = verdict(ended, step, here, *reference, stray)
    words = " ".join(str(word) for word in step.words(here)[:1])
    return end, f"{words} after {way} at {path.relative_to(here)} ({before}): {end}\n{ended.said[-1500:]}"
