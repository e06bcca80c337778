"""Commands that are killed, whose disk is full, or that run twice at once: the same command then ends as ever."""

from __future__ import annotations

import collections
import contextlib
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from torture.jobs import JOBS, Ready
from torture.server import Server

DISK_MEGABYTES = 64
GOOD, TOO_LATE = "the same afterwards", "had ended before"


@contextlib.contextmanager
def small_disk(folder: Path, wanted: bool) -> Iterator[Path]:
    """A folder, which is a small file system where that is wanted and we may mount one."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MEGABYTES}m", "tmpfs", str(folder)]
    mounted = wanted and os.geteuid() == 0 and subprocess.run(command, capture_output=True).returncode == 0
    try:
        yield folder
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(folder)], check=True)


def killed(ready: Ready, name: str, random: np.random.Generator) -> str:
    """A command is ended by a signal at any moment."""
    seconds = ready.reference(name)[1]
    ready.fresh(name)
    signal = ("SIGKILL", "SIGTERM")[int(random.integers(2))]
    after = float(random.uniform(0.02, 0.8)) * seconds
    ended = ready.run(name, kill=(signal, after))
    if ended.code >= 0:
        return TOO_LATE if ended.code == 0 and not ended.broken else f"{ended.broken or ended.code}\n{ended.said}"
    time.sleep(1)  # what it started is ended by the system
    wrong = ready.afterwards(name)
    return f"{signal} after {after:.2f} of {seconds:.2f} s: {wrong}" if wrong else GOOD


def full(ready: Ready, name: str, random: np.random.Generator) -> str:
    """The disk, or what a file may hold, ends somewhere within what a command writes."""
    _, _, added = ready.reference(name)
    ready.fresh(name)
    room = int(random.uniform(0, 1) * added)
    if not os.path.ismount(ready.here.parent):
        ended = ready.run(name, largest_file=max(room // 4, 1))
    else:
        ballast = ready.here.with_name("ballast")
        free = os.statvfs(ready.here)
        with ballast.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, max(4096, free.f_bavail * free.f_bsize - room))
        ended = ready.run(name)
        ballast.unlink()
    if ended.broken:
        return f"room for {room} of {added} bytes: {ended.broken}\n{ended.said[-1500:]}"
    wrong = ready.afterwards(name)
    return f"room for {room} of {added} bytes, code {ended.code}: {wrong}\n{ended.said[-800:]}" if wrong else GOOD


def twice(ready: Ready, name: str, random: np.random.Generator) -> str:
    """The same command starts again before it has ended."""
    wanted, seconds, _ = ready.reference(name)
    ready.fresh(name)
    connections = []
    for _ in range(2):
        words, how = ready.how(name)
        connections.append(ready.server.start(words, **how))
        time.sleep(float(random.uniform(0, 0.3)) * seconds * len(connections) % 2)
    ends = [ready.server.end(connection) for connection in connections]
    said = "\n".join(f"code {end.code} {end.broken}\n{end.said[-800:]}" for end in ends)
    shared = JOBS[name].shares_work and all("1 busy" in end.said for end in ends)
    if any(end.broken for end in ends) or (all(end.code for end in ends) and not shared):
        return f"both: {said}"
    found = JOBS[name].step.numbers(ready.here)
    if found != wanted:
        return f"other numbers: {sorted(set(found.items()) ^ set(wanted.items()))}\n{said}"
    return ready.afterwards(name) or GOOD


HOW = {"kills": killed, "full-disk": full, "together": twice}
SKIPPED = {"kills": (), "full-disk": ("kernels",), "together": ("kernels",)}


def torture(how: str, server: Server, place: Path, attempts: int, seed: int, names: tuple[str, ...] = ()):
    """Ends of all attempts by command, and what did not end as promised.

    Args:
        how: of HOW.
        server: that runs commands.
        place: an empty folder.
        attempts: over all commands, turn by turn (a compilation every fifth time only); a command that had ended before
            it was killed is none.
        seed: decides all moments and sizes.
        names: of JOBS; none: all.
    """
    ends, broken = collections.defaultdict(collections.Counter), []
    names = [name for name in names or JOBS if name not in SKIPPED[how]]
    with small_disk(place / "disk", how == "full-disk") as folder, contextlib.suppress(KeyboardInterrupt):
        ready = Ready(server, place, folder / "here")
        for attempt in range(attempts):
            name = names[attempt % len(names)]
            if name == "kernels" and attempt // len(names) % 5 and len(names) > 1:
                continue
            end = HOW[how](ready, name, np.random.default_rng([seed, attempt]))
            if end == TOO_LATE:
                continue
            ends[name][GOOD if end == GOOD else "not as promised"] += 1
            if end != GOOD:
                broken.append(f"{name}, {how}, attempt {attempt} of seed {seed}: {end}")
                print(broken[-1], flush=True)
    return ends, broken
