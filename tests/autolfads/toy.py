"""A search without any model: the score is a function of the hyperparameters and of how long they were good."""

from __future__ import annotations

import json
import math

from lfads_tf2.autolfads.config import config_from, with_data
from lfads_tf2.autolfads.population import Done

HPS = {
    "learning_rate_init": {"min": 1e-5, "max": 1.0, "init": 0.9, "dist": "loguniform"},
    "kl_ic_weight": {"min": 1e-3, "max": 1e3, "dist": "loguniform"},
    "dropout_rate": {"min": 0, "max": 0.6},
}


class Killed(Exception):
    """Stands for a driver that is gone."""


class ToyExecutor:
    """The model is one number that falls faster the nearer kl_ic_weight is to 1; ``bad`` workers give NaN once."""

    def __init__(self, bad=(), kill_after: int | None = None):
        self.bad, self.kill_after, self.tasks, self.finished = set(bad), kill_after, [], 0

    waits_for_all, parallel = False, 1

    def run(self, tasks):
        while tasks:
            task = tasks.popleft()
            if self.kill_after is not None and self.finished >= self.kill_after:
                raise Killed
            value = json.loads(task.state)["value"] if task.state else 100.0
            rows = []
            for epoch in range(task.first_epoch, task.first_epoch + task.epochs):
                value *= 1 - 0.02 / (1 + math.log10(task.hyperparameters["kl_ic_weight"]) ** 2)
                score = math.nan if task.worker in self.bad else 10 + value
                rows.append({"epoch": epoch, "step": epoch + 1, "valid/recon": score, "valid/recon_smth": score})
            rows[-1]["valid/held_out_bps"] = -score
            self.bad.discard(task.worker)
            self.tasks.append(task)
            self.finished += 1
            yield Done(task.worker, rows, json.dumps({"value": value, "trained_by": task.worker}).encode())


def search_of(hps=HPS, given=None, **options):
    settings = {"num_workers": 6, "perturbation_interval": 5, "burn_in_period": 10, "max_epochs": 40, "patience": 0}
    settings["metric"] = "valid/recon_smth"
    content = {"gen_dim": 6, "pbt": settings | {"hps": hps} | options} | (given or {})
    return with_data(config_from(content, "here"), 9, 7, 3)


def rows_of(folder):
    """(worker, epoch) of every line of the fit log, in order."""
    lines = (folder / "fitlog.csv").read_text().splitlines()
    header = lines[0].split(",")
    return [
        (int(line.split(",")[header.index("worker_id")]), int(line.split(",")[header.index("epoch")]))
        for line in lines[1:]
    ]
