"""Workers on Ray: the numbers of this process's own, and what is lost is done again."""

from __future__ import annotations

import os
import signal
import threading
import time

import numpy as np
import pytest

from lfads_tf2.autolfads.population import Population, SearchFailed
from lfads_tf2.autolfads.records import Records, read_fit_log
from lfads_tf2.autolfads.slot import SerialExecutor

from .test_slot import CPU, data, search_of  # noqa: F401
from .toy import rows_of

ray = pytest.importorskip("ray")

from lfads_tf2.autolfads.ray_slots import RayExecutor  # noqa: E402


@pytest.fixture
def no_ray_after():
    yield
    ray.shutdown()


def pids(executor) -> list[int]:
    slots = [*executor.idle, *(slot for slot, _ in executor.busy.values())]
    return ray.get([slot.ready.remote() for slot in slots])


def test_equals_this_process_and_compiles_once(data, tmp_path, no_ray_after):  # noqa: F811
    search = search_of(data[0], num_workers=3)
    Population(search, SerialExecutor(search, data[1], CPU), Records(tmp_path / "serial"), 5).run()
    executor = RayExecutor(search, data[1])
    Population(search, executor, Records(tmp_path / "ray"), 5).run()
    traces = ray.get([slot.traces.remote() for slot in executor.idle])
    assert traces and all(trace == {"train": 1, "validate": 1} for trace in traces)
    executor.close()
    serial, remote = (read_fit_log(tmp_path / name / "fitlog.csv") for name in ("serial", "ray"))
    for column in serial:
        np.testing.assert_allclose(remote[column], serial[column], rtol=1e-4, err_msg=column)


@pytest.mark.slow
def test_killed_processes_cost_nothing(data, tmp_path, no_ray_after):  # noqa: F811
    search = search_of(data[0], num_workers=4, max_epochs=60, perturbation_interval=10, burn_in_period=10)
    executor = RayExecutor(search, data[1])
    killed, stop = [], threading.Event()

    def kill_now_and_then():
        while not stop.is_set() and len(killed) < 2:
            time.sleep(0.3)
            slots = [slot for slot, _ in list(executor.busy.values())]
            known = executor_pids.get(slots[0]) if slots else None
            if known and known not in killed:
                os.kill(known, signal.SIGKILL)
                killed.append(known)

    executor_pids = {}
    collect = executor._collect

    def noting(reference, waiting):
        slot = executor.starting.get(reference)
        result = collect(reference, waiting)
        if slot is not None and slot in executor.idle:
            executor_pids[slot] = ray.get(reference)
        return result

    executor._collect = noting
    thread = threading.Thread(target=kill_now_and_then)
    thread.start()
    try:
        assert Population(search, executor, Records(tmp_path), 5).run() == "max_epochs"
    finally:
        stop.set()
        thread.join()
        executor.close()
    assert killed
    assert sorted(rows_of(tmp_path)) == [(w, e) for w in range(4) for e in range(60)]


def test_a_cluster_that_is_not_there(data, no_ray_after):  # noqa: F811
    with pytest.raises(SearchFailed, match="nobody answers there"):
        RayExecutor(search_of(data[0]), data[1], "127.0.0.1:1")


def test_more_than_the_machine_has(data, no_ray_after):  # noqa: F811
    search = search_of(data[0], resources_per_worker={"cpu": 10000})
    with pytest.raises(SearchFailed, match="too little for one worker"):
        RayExecutor(search, data[1])
