"""A population in one program: each member's numbers are those that it has alone."""

from __future__ import annotations

import math
from collections import deque
from unittest import mock

import numpy as np
import pytest

from lfads_tf2.autolfads.batched import BatchedExecutor
from lfads_tf2.autolfads.config import config_from, with_data
from lfads_tf2.autolfads.population import Population, SearchFailed
from lfads_tf2.autolfads.records import Records, read_fit_log
from lfads_tf2.autolfads.slot import SerialExecutor, Slot, Snapshot
from lfads_tf2.model import native
from lfads_tf2.program.devices import Device

from .test_slot import CPU, HPS, MODEL, data, search_of, task  # noqa: F401

KERNELS = Device("/cpu:0", True, False, 1)
needs_kernels = pytest.mark.skipif(not native.available(), reason="the native kernels cannot be built here")
WAYS = [
    pytest.param(CPU, id="vectorised"),
    pytest.param(KERNELS, id="kernels", marks=needs_kernels),
]
VARIANTS = {
    "controller, coordinated dropout": {"cd_rate": True},
    "no controller, jitter, sample validation": {
        "co_dim": 0, "augmentations": "spike_jitter,sample_validation", "temporal_spike_jitter_width": 1,
        "sv_rate": 0.2,
    },
    "means of costs, decay, causal": {
        "recon_reduce": "mean", "loss_scale": 100.0, "weight_decay": 0.01, "do_causal_controller": True,
        "ic_prior": "student_t", "co_mean_corr_scale": 1.0, "co_dim": 2,
    },
}  # fmt: skip


def search_for(folder, settings, workers=3):
    settings, hps = dict(settings), dict(HPS)
    if settings.pop("cd_rate", False):
        hps["cd_rate"] = {"min": 0.01, "max": 0.7, "init": 0.5}
    options = {"num_workers": workers, "perturbation_interval": 2, "burn_in_period": 2, "max_epochs": 6, "patience": 0}
    content = MODEL | settings | {"data_dir": str(folder), "pbt": options | {"hps": hps}}
    return with_data(config_from(content, "here"), 9, 7, 3)


def tasks_for(search, epochs, states=(None, None, None), first=0):
    searches_rate = any(one.target == "cd_rate" for one in search.searched)
    dials = [{"cd_rate": rate} if searches_rate else {} for rate in (0.0, 0.3, 0.5)]
    return [
        task(0, 3, first, epochs, states[0], **dials[0]),
        task(1, 8, first, epochs, states[1], keep_prob=0.6, learning_rate_init=0.03, **dials[1]),
        task(2, 5, first, epochs, states[2], kl_ic_weight=0.1, l2_gen_scale=5.0, **dials[2]),
    ]


def assert_same(ours, theirs):
    """Done by Done: every figure of every epoch, and the models at the end."""
    for one, other in zip(ours, theirs, strict=True):
        assert one.worker == other.worker
        for mine, its in zip(one.rows, other.rows, strict=True):
            for name, value in its.items():
                assert mine[name] == pytest.approx(value, rel=1e-4, abs=1e-5, nan_ok=True), name
        mine, its = Snapshot.from_bytes(one.state), Snapshot.from_bytes(other.state)
        assert mine.step == its.step
        for part in ("weights", "first", "second"):
            for a, b in zip(getattr(mine, part), getattr(its, part), strict=True):
                # Gradients differ more than what they have moved.
                tolerance = 1e-4 if part == "weights" else 2e-3
                np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * max(np.abs(b).max(), 1e-3))


@pytest.mark.parametrize("device", WAYS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_members_have_the_numbers_they_have_alone(data, variant, device):  # noqa: F811
    """Twenty and more steps, then a second generation from where these ended."""
    search = search_for(data[0], VARIANTS[variant])
    alone, together = Slot(search, data[1], CPU), BatchedExecutor(search, data[1], device)
    tasks = tasks_for(search, 7)
    expected, found = [alone.train(one) for one in tasks], list(together.run(deque(tasks)))
    assert expected[0].rows[-1]["step"] >= 20
    assert_same(found, expected)
    tasks = tasks_for(search, 2, [done.state for done in expected], first=7)
    assert_same(list(together.run(deque(tasks))), [alone.train(one) for one in tasks])
    assert together.epochs.traces == {"train": 1, "validate": 1}


@pytest.mark.parametrize("device", WAYS)
def test_a_member_that_goes_bad_is_given_up_and_the_others_go_on(data, device):  # noqa: F811
    search = search_for(data[0], {"co_dim": 0})
    together = BatchedExecutor(search, data[1], device)
    states = [done.state for done in together.run(deque(tasks_for(search, 1)))]
    broken = Snapshot.from_bytes(states[1])
    broken.weights[3][:] = np.nan
    states[1] = broken.to_bytes()
    tasks = tasks_for(search, 3, states, first=1)
    found, alone = list(together.run(deque(tasks))), Slot(search, data[1], CPU)
    assert [row["epoch"] for row in found[1].rows] == [1, 2, 3]
    assert all(math.isnan(row["valid/recon_smth"]) for row in found[1].rows)
    assert_same([found[0], found[2]], [alone.train(tasks[0]), alone.train(tasks[2])])
    # What a kill left of a generation takes the same program.
    assert_same(list(together.run(deque(tasks[2:]))), found[2:])
    assert together.epochs.traces == {"train": 1, "validate": 1}


def test_a_search_equals_one_worker_after_the_other(data, tmp_path):  # noqa: F811
    model = MODEL | {"learning_rate_schedule": "cosine", "max_epochs": 6}
    search, device = search_of(data[0], model, polish_epochs=2), KERNELS if native.available() else CPU
    Population(search, SerialExecutor(search, data[1], device), Records(tmp_path / "serial"), 5).run()
    executor = BatchedExecutor(search, data[1], device)
    Population(search, executor, Records(tmp_path / "batched"), 5).run()
    assert executor.epochs.traces == {"train": 1, "validate": 1}
    serial, batched = (read_fit_log(tmp_path / name / "fitlog.csv") for name in ("serial", "batched"))
    for column in serial:
        np.testing.assert_allclose(batched[column], serial[column], rtol=1e-3, atol=1e-5, err_msg=column)


def test_data_that_stay_on_disk_are_refused(data):  # noqa: F811
    on_disk = mock.patch("lfads_tf2.training.epochs.place", return_value=mock.Mock(spec=["counts"], counts=[23]))
    with on_disk, pytest.raises(SearchFailed, match="population_mode=serial or ray"):
        BatchedExecutor(search_for(data[0], {}), data[1], CPU)


def test_a_controller_that_reads_rates_is_refused_where_it_cannot_be_vectorised(data):  # noqa: F811
    search = search_for(data[0], {"feedback_factors_or_rates": "rates"})
    with pytest.raises(SearchFailed, match="feedback_factors_or_rates"):
        BatchedExecutor(search, data[1], CPU)
