"""The queue on Ray: each run a task that asks for cores, a share of a GPU and memory."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from lfads_tf2.program.ray_start import local_options
from lfads_tf2.run_manager.queue import commands, stages
from lfads_tf2.run_manager.queue.progress_table import ProgressTable
from lfads_tf2.run_manager.queue.stages import FAILED, STOPPED, Outcome, StageOptions

log = logging.getLogger("lfads_tf2")
POLL_SECONDS = 0.5


def _task(folder: str, options: tuple) -> tuple:
    """What a worker does; plain values only go there and back."""
    return tuple(stages.run_stages(Path(folder), StageOptions(*options)))


def run_on_ray(
    folders: list[Path],
    options: StageOptions,
    table: ProgressTable,
    max_parallel: int | None,
    gpus: float,
    cpus: int | None,
    memory_gb: float | None,
    address: str | None,
    retries: int,
) -> dict[Path, Outcome]:
    """Runs the folders as Ray tasks; see queue.run_folders. All machines must see the folders under the same path."""
    import ray

    started = not ray.is_initialized()
    if started:
        logging.getLogger("ray").setLevel(logging.WARNING)
        # A worker that is not installed finds the package through this.
        paths = commands.child_environment()["PYTHONPATH"]
        local = {} if address else local_options() | {"num_cpus": _cores(max_parallel, cpus)}
        ray.init(address=address, log_to_driver=False, runtime_env={"env_vars": {"PYTHONPATH": paths}}, **local)
    try:
        request = {"num_cpus": cpus or 1, "num_gpus": gpus}
        if memory_gb:
            request["memory"] = int(memory_gb * 2**30)
        # A run is started again only as often as the user says: an idle worker that comes back would be a surprise.
        remote = ray.remote(_task).options(max_retries=0, **request)
        return _drive(ray, remote, folders, options, table, max_parallel or len(folders), retries)
    finally:
        if started:
            ray.shutdown()


def _cores(max_parallel: int | None, cpus: int | None) -> int:
    """Cores that Ray counts on this machine: enough for the runs that are wanted side by side."""
    return max(os.cpu_count() or 1, (max_parallel or 1) * (cpus or 1))


def _drive(ray, remote, folders, options, table: ProgressTable, parallel: int, retries: int) -> dict[Path, Outcome]:
    waiting, running, found = [(folder, 0) for folder in folders], {}, {}
    try:
        while waiting or running:
            while waiting and len(running) < parallel:
                folder, attempt = waiting.pop(0)
                running[remote.remote(str(folder), tuple(options))] = (folder, attempt)
            ready, _ = ray.wait(list(running), timeout=POLL_SECONDS)
            for reference in ready:
                folder, attempt = running.pop(reference)
                outcome = _outcome(ray, reference, folder)
                if outcome.state == FAILED and attempt < retries:
                    waiting.append((folder, attempt + 1))
                else:
                    found[folder] = outcome
            table.update()
    except KeyboardInterrupt:
        log.warning("Interrupted: ending the running stages; start again to go on.")
        for reference in running:
            ray.cancel(reference)
        ray.wait(list(running), num_returns=len(running), timeout=stages.SECONDS_TO_STOP + 5) if running else None
        for folder, _ in [*running.values(), *waiting]:
            found[folder] = Outcome(folder.name, STOPPED, "interrupted")
    return found


def _outcome(ray, reference, folder: Path) -> Outcome:
    try:
        return Outcome(*ray.get(reference))
    except ray.exceptions.RayError as error:
        # The worker itself went: killed, out of memory, its machine lost.
        first = str(error).strip().splitlines()[0] if str(error).strip() else ""
        outcome = Outcome(folder.name, FAILED, f"its worker ended unexpectedly ({type(error).__name__}: {first})")
        status = stages.read_status(folder) | {"state": FAILED, "message": outcome.message}
        stages.write_status(folder, status)
        return outcome
