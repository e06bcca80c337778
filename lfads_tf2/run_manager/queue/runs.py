"""The queue: all runs that are not done, side by side on Ray where it is installed, else in this process."""

from __future__ import annotations

import importlib.util
import logging
import os
import queue as queues
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lfads_tf2.errors import LFADSError
from lfads_tf2.run_manager.queue import commands, stages
from lfads_tf2.run_manager.queue.progress_table import ProgressTable
from lfads_tf2.run_manager.queue.stages import DONE, FAILED, STOPPED, Outcome, StageOptions

log = logging.getLogger("lfads_tf2")
POLL_SECONDS = 0.5


class QueueError(LFADSError, RuntimeError):
    """A queue that cannot be started; the message says why and what to do."""


def _is_prepared(folder: Path) -> bool:
    """Whether it is a run's; one whose commands are lost, which will fail, is known by what lies beside them."""
    lost = (folder / "params.json").exists() and (folder / "lfadsInput").is_dir()
    return lost or (folder / commands.COMMANDS_FILE).exists()


def find_run_folders(folder: str | Path) -> list[Path]:
    """Prepared runs in a folder: a run's own, a collection's, or one of several collections.

    Raises:
        QueueError: there are none.
    """
    folder = Path(folder)
    if _is_prepared(folder):
        return [folder]
    found = sorted({path.parent for path in folder.rglob("*.json") if _is_prepared(path.parent)})
    if not found:
        raise QueueError(
            f"{folder} holds no prepared runs; call prepare_for_lfads of the run collection first (folders that MATLAB "
            "prepared hold scripts: run those, or prepare the collection again from Python)"
        )
    return found


def run_folders(
    folders: Sequence[Path],
    max_parallel: int | None = None,
    gpus: float | Sequence[int] | None = None,
    cpus: int | None = None,
    memory_gb: float | None = None,
    backend: str = "auto",
    address: str | None = None,
    retries: int = 0,
    rerun: bool = False,
    program: str | Path | None = None,
    show: bool = True,
    allow_own_parts: bool = False,
) -> list[Outcome]:
    """Runs everything that is not done, and returns how each run ended, in the order of ``folders``.

    A run that fails stops no other. Ctrl-C ends running stages in good order; starting again does what is missing.

    Args:
        folders: of prepared runs.
        max_parallel: most runs at the same time; 1 without Ray, as many as fit with it.
        gpus: share of a GPU that a run takes (Ray), or (without Ray) numbers of the GPUs to deal out; None for none.
        cpus: cores a run; by default the machine's divided by ``max_parallel``.
        memory_gb: memory a run, which Ray keeps free for it.
        backend: ``ray``, ``local``, or ``auto``: Ray where it is installed.
        address: of a running Ray cluster, or ``auto``; None starts Ray on this machine.
        retries: how often a failed run is started again.
        rerun: forget what is done and run everything again; training goes on from its checkpoints.
        program: path of a script in place of the installed program.
        show: print the table of runs while they go.
        allow_own_parts: load classes (module:Class) that the folders name; otherwise such runs fail.

    Raises:
        QueueError: no such backend, or Ray is wanted and not installed.
    """
    folders = [Path(folder).absolute() for folder in folders]
    for folder in folders:
        if not _is_prepared(folder):
            raise QueueError(f"{folder} is not prepared; call prepare_for_lfads first")
        if rerun:
            for name in (stages.DONE_FILE, stages.STATUS_FILE):
                (folder / name).unlink(missing_ok=True)
    if backend not in ("auto", "ray", "local"):
        raise QueueError(f"backend must be auto, ray or local, got {backend!r}")
    has_ray = importlib.util.find_spec("ray") is not None
    if backend == "ray" and not has_ray:
        raise QueueError("Ray is not installed: pip install 'lfads-tf2[ray]', or use backend='local'")
    waiting = [folder for folder in folders if not stages.is_done(folder)]
    table = ProgressTable(folders, show)
    found: dict[Path, Outcome] = {folder: Outcome(folder.name, DONE) for folder in folders if folder not in waiting}
    options = _options(program, gpus, cpus, max_parallel)._replace(allow_own_parts=allow_own_parts)
    if waiting and (has_ray if backend == "auto" else backend == "ray"):
        from lfads_tf2.run_manager.queue.ray_runs import run_on_ray

        share = 0.0 if gpus is None else float(gpus) if isinstance(gpus, int | float) else 1.0
        found |= run_on_ray(waiting, options, table, max_parallel, share, cpus, memory_gb, address, retries)
    elif waiting:
        found |= _run_here(waiting, options, table, max_parallel or 1, gpus, retries)
    table.close(found)
    return [found[folder] for folder in folders]


def _options(program, gpus, cpus: int | None, max_parallel: int | None) -> StageOptions:
    threads = cpus or (max(1, (os.cpu_count() or 1) // max_parallel) if max_parallel else None)
    # Without it every run would take all cores.
    extra = (f"--num_threads={threads}",) if threads and not gpus else ()
    return StageOptions(tuple(commands.program_words(program)), commands.python(), extra)


def _run_here(folders, options: StageOptions, table: ProgressTable, parallel: int, gpus, retries: int):
    """Runs on threads of this process, each of which waits for its stages' processes."""
    stop, slots = threading.Event(), queues.SimpleQueue()
    devices = list(gpus) if isinstance(gpus, Sequence) else None
    for number in range(parallel):
        slots.put(None if devices is None else str(devices[number % len(devices)]))

    def one(folder: Path) -> Outcome:
        device = slots.get()
        own = options if device is None else options._replace(environment=(("CUDA_VISIBLE_DEVICES", device),))
        try:
            for _ in range(retries + 1):
                if stop.is_set():
                    return Outcome(folder.name, STOPPED, "not started")
                outcome = stages.run_stages(folder, own, stop)
                if outcome.state != FAILED:
                    break
            return outcome
        finally:
            slots.put(device)

    with ThreadPoolExecutor(parallel) as pool:
        futures = {folder: pool.submit(one, folder) for folder in folders}
        try:
            while not all(future.done() for future in futures.values()):
                table.update()
                stop.wait(POLL_SECONDS)
        except KeyboardInterrupt:
            log.warning("Interrupted: ending the running stages; start again to go on.")
            stop.set()
        return {folder: future.result() for folder, future in futures.items()}
