"""Workers on Ray: actors that each train one generation at a time, here or on the nodes of a cluster.

Ray's own population-based training is not used: its choice of winners is not open to change (a binary tournament
would override private methods), its checkpoints need storage that all nodes share, and a killed driver costs the
generation. Tasks carry the model with them instead, so any actor on any node can train any worker, and what was lost
with an actor is done again elsewhere.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import socket
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from lfads_tf2.autolfads.config import Search
from lfads_tf2.autolfads.population import Done, SearchFailed, Task
from lfads_tf2.program.ray_start import local_options
from lfads_tf2.types import Session

log = logging.getLogger("lfads_tf2")

SECONDS_BETWEEN_LOOKS = 2.0
# A cluster that lost its last node may get another.
SECONDS_WITHOUT_ANY = 120.0


class RemoteSlot:
    """What runs in a Ray actor: a ``Slot``, compiled once for all the workers that it trains."""

    def __init__(self, search: Search, sessions: list[Session]):
        from lfads_tf2.autolfads.slot import Slot
        from lfads_tf2.program import devices

        options = search.options
        settings = {"device": "/gpu:0" if options.gpu else "/cpu:0", "num_threads": max(1, int(options.cpu))}
        # Several workers share a GPU: none may take all of its memory.
        hp = dataclasses.replace(search.hyperparameters, allow_gpu_growth=True, **settings)
        self.slot = Slot(dataclasses.replace(search, hyperparameters=hp), sessions, devices.configure(hp))

    def ready(self) -> int:
        """The process, once it can train."""
        return os.getpid()

    def train(self, task: Task) -> Done:
        """Carries a task out."""
        return self.slot.train(task)

    def traces(self) -> dict[str, int]:
        """How often each epoch function was compiled."""
        return dict(self.slot.epochs.traces)


def _check_address(address: str) -> None:
    """Refuses ``host:port`` where nobody answers; Ray itself would try for minutes."""
    host, separator, port = address.rpartition(":")
    if not separator or "://" in address or not port.isdigit():
        return
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except OSError as error:
        raise SearchFailed(
            f"--ray_address={address}: nobody answers there ({error}); start a cluster with ray start --head, or leave "
            "--ray_address out"
        ) from None


class RayExecutor:
    """Trains workers on Ray.

    Args:
        search: what is searched; its ``cpu`` and ``gpu`` are what one actor takes.
        sessions: the data; they travel to the nodes once.
        address: of a running cluster, ``auto`` for this machine's; empty: a Ray of our own on this machine.

    Raises:
        SearchFailed: no cluster is there, or nothing in it is large enough for one worker.
    """

    waits_for_all = False

    def __init__(self, search: Search, sessions: list[Session], address: str = ""):
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        import ray

        self.ray, self.options, self.failures = ray, search.options, {}
        self.starting, self.idle, self.busy = {}, deque(), {}
        self.owns_ray = not ray.is_initialized()
        if self.owns_ray:
            self._connect(address)
        if self._room() < 1:
            there = {name: count for name, count in ray.cluster_resources().items() if name in ("CPU", "GPU")}
            self.close()
            raise SearchFailed(
                f"Ray has {there}, too little for one worker of pbt.resources_per_worker (cpu {self.options.cpu:g}, "
                f"gpu {self.options.gpu:g}); ask for less, or use a larger machine"
            )
        self.data = [ray.put(search), ray.put(sessions)]
        actor = ray.remote(RemoteSlot)
        self.actor = actor.options(num_cpus=self.options.cpu, num_gpus=self.options.gpu, max_restarts=0)

    @property
    def parallel(self) -> int:
        """Workers that it trains at the same time."""
        return self._room()

    def run(self, tasks: deque[Task]) -> Iterator[Done]:
        """Carries out all tasks, as many at once as the cluster has room for; each comes back when it is done."""
        waiting, self.failures = tasks, {}
        last_seen = time.monotonic()
        while waiting or self.busy:
            self._fill(len(waiting) + len(self.busy))
            while waiting and self.idle:
                slot, task = self.idle.popleft(), waiting.popleft()
                self.busy[slot.train.remote(task)] = (slot, task)
            if self.busy or self.idle or self.starting:
                last_seen = time.monotonic()
            elif time.monotonic() - last_seen > SECONDS_WITHOUT_ANY:
                raise SearchFailed("Ray has had no room for any worker for two minutes; start again with --resume")
            for reference in self._finished():
                result = self._collect(reference, waiting)
                if result is not None:
                    yield result

    def _finished(self) -> list:
        """References of actors that are ready and tasks that are done, after a little waiting."""
        if not self.busy and not self.starting:
            time.sleep(SECONDS_BETWEEN_LOOKS)
            return []
        return self.ray.wait([*self.busy, *self.starting], num_returns=1, timeout=SECONDS_BETWEEN_LOOKS)[0]

    def close(self) -> None:
        """Ends the actors, and Ray if it was started here."""
        for slot in [*self.starting.values(), *self.idle, *(slot for slot, _ in self.busy.values())]:
            self.ray.kill(slot)
        self.starting, self.idle, self.busy = {}, deque(), {}
        if self.owns_ray:
            self.ray.shutdown()

    def _connect(self, address: str) -> None:
        package = Path(__file__).resolve().parent.parent
        _check_address(address)
        if address:
            environment = {"py_modules": [str(package)]}
        else:
            paths = [str(package.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
            environment = {"env_vars": {"PYTHONPATH": os.pathsep.join(paths)}}
        try:
            self.ray.init(
                address=address or "local", runtime_env=environment, log_to_driver=False, logging_level=logging.ERROR,
                **({} if address else local_options()),
            )  # fmt: skip
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise SearchFailed(
                f"--ray_address={address or 'local'}: cannot connect to Ray ({error}); start it with ray start --head, "
                "or leave --ray_address out"
            ) from error

    def _room(self) -> int:
        """How many actors the living nodes can hold."""
        room = 0
        for node in self.ray.nodes():
            if not node["Alive"]:
                continue
            resources = node["Resources"]
            fits = int(resources.get("CPU", 0) / self.options.cpu + 1e-9)
            if self.options.gpu:
                fits = min(fits, int(resources.get("GPU", 0) / self.options.gpu + 1e-9))
            room += fits
        return room

    def _fill(self, wanted: int) -> None:
        """Starts actors for which there are work and room; gives those up that a lost node left without room."""
        alive = len(self.idle) + len(self.busy)
        room = self._room() - alive
        while self.starting and len(self.starting) > max(room, 0):
            _, slot = self.starting.popitem()
            self.ray.kill(slot)
        for _ in range(min(room, wanted - alive) - len(self.starting)):
            slot = self.actor.remote(*self.data)
            self.starting[slot.ready.remote()] = slot

    def _collect(self, reference, waiting: deque) -> Done | None:
        """Takes in what an actor finished: that it is ready, or a task. What died is noted and its task put back."""
        errors = self.ray.exceptions
        task = None
        if reference in self.starting:
            slot = self.starting.pop(reference)
        else:
            slot, task = self.busy.pop(reference)
        try:
            value = self.ray.get(reference)
        except errors.RayTaskError as error:
            raise SearchFailed(f"a worker failed: {error}") from error
        except (errors.RayActorError, errors.ObjectLostError, errors.NodeDiedError) as error:
            self._note_death(task, error)
            if task is not None:
                waiting.appendleft(task)
            return None
        self.idle.append(slot)
        if task is not None:
            self.failures.pop(task.worker, None)
        return None if task is None else value

    def _note_death(self, task: Task | None, error: Exception) -> None:
        worker = -1 if task is None else task.worker
        self.failures[worker] = self.failures.get(worker, 0) + 1
        if self.failures[worker] > self.options.max_failures:
            what = "a worker before it could start" if task is None else f"the process of worker {worker}"
            raise SearchFailed(
                f"Ray lost {what} {self.failures[worker]} times in one generation (pbt.max_failures is "
                f"{self.options.max_failures}): {error}. Is there memory for so many workers? Give each more in "
                "pbt.resources_per_worker; --resume goes on from the last generation"
            )
        log.warning("Ray lost a worker's process; what it was doing is done again elsewhere.")
