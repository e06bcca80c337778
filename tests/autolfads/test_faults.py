"""Five workers and two drivers killed in one search, and a node lost: slow, started by hand."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from conftest import ROOT
from small_runs import program, write_spikes

from lfads_tf2.autolfads.population import Population, Watcher
from lfads_tf2.autolfads.records import Records

from .test_run import config_file
from .test_slot import data, search_of  # noqa: F401
from .toy import rows_of

pytestmark = pytest.mark.slow
pytest.importorskip("ray")


def descendants(pid: int) -> list[int]:
    """Processes that this one started, and theirs."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(path.parent.name)] = int(path.read_text().rsplit(")", 1)[1].split()[1])
        except (OSError, ValueError):
            continue
    found = [child for child, parent in parents.items() if parent == pid]
    return found + [below for child in found for below in descendants(child)]


def training(pid: int) -> list[int]:
    """Worker processes of this driver that are training now."""
    found = []
    for child in descendants(pid):
        try:
            if b"RemoteSlot.train" in Path(f"/proc/{child}/cmdline").read_bytes():
                found.append(child)
        except OSError:
            continue
    return found


def test_five_workers_and_two_drivers(tmp_path):
    write_spikes(tmp_path / "data" / "one.h5")
    run, epochs, kills = tmp_path / "run", 400, []
    command = [
        sys.executable, "-m", "lfads_tf2.autolfads", "--population_mode=ray", f"--config={config_file(tmp_path)}",
        f"--data_dir={tmp_path / 'data'}", f"--lfads_save_dir={run}", f"--max_epochs={epochs}", "--num_workers=4",
        "--perturbation_interval=20",
    ]  # fmt: skip
    for attempt, (workers, kill_driver) in enumerate([(2, True), (2, True), (1, False)]):
        with (tmp_path / f"log{attempt}").open("w") as log:
            driver = subprocess.Popen([*command, *(["--resume"] if attempt else [])], cwd=ROOT, stderr=log)
            wanted = len(kills) + workers
            while len(kills) < wanted and driver.poll() is None:
                time.sleep(0.2)
                there = training(driver.pid)
                if there:
                    os.kill(random.choice(there), signal.SIGKILL)
                    kills.append("worker")
                    time.sleep(2)
            if kill_driver:
                while not (run / "population" / "generation_0000").exists() and driver.poll() is None:
                    time.sleep(0.2)
                assert driver.poll() is None, (tmp_path / f"log{attempt}").read_text()
                driver.kill()
                kills.append("driver")
            driver.wait(timeout=900)
    assert kills.count("worker") == 5
    assert driver.returncode == 0, (tmp_path / "log2").read_text()
    assert sorted(rows_of(run)) == [(w, e) for w in range(4) for e in range(epochs)]
    program(
        "--kind=posterior_push_mean", f"--data_dir={tmp_path / 'data'}", f"--lfads_save_dir={run / 'best_model'}",
        "--noreport", "--device=cpu:0",
    )  # fmt: skip


def test_a_lost_node(data, tmp_path):  # noqa: F811
    import ray
    from ray.cluster_utils import Cluster

    from lfads_tf2.autolfads.ray_slots import RayExecutor

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    second = cluster.add_node(num_cpus=1)
    search = search_of(data[0], num_workers=4, max_epochs=60, perturbation_interval=5, burn_in_period=5)
    executor, slots = RayExecutor(search, data[1], cluster.address), []

    class LosesANode(Watcher):
        def generation_done(self, population, entry, rows):
            slots.append(len(executor.idle) + len(executor.busy))
            if entry["generation"] == 4:
                threading.Timer(0.2, lambda: cluster.remove_node(second, allow_graceful=False)).start()

    try:
        assert Population(search, executor, Records(tmp_path), 5, LosesANode()).run() == "max_epochs"
    finally:
        executor.close()
        ray.shutdown()
        cluster.shutdown()
    assert sorted(rows_of(tmp_path)) == [(w, e) for w in range(4) for e in range(60)]
    assert slots[-1] == 1
