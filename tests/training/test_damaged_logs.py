"""Logs that a kill or a bad disk has touched: what can be read stays, and what cannot goes with a word."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from small_models import trainer_of
from small_runs import write_spikes

from lfads_tf2.training.fit_log import read
from lfads_tf2.training.metrics_log import read_metrics


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of six epochs, and its logs after twelve."""
    folder = tmp_path_factory.mktemp("trained")
    write_spikes(folder / "data" / "one.h5")
    trainer_of(folder, "whole", max_epochs=12).train()
    trainer_of(folder, max_epochs=6).train()
    return folder


LOGS = {name: [name] for name in ("fitlog.csv", "metrics.csv")} | {"both": ["fitlog.csv", "metrics.csv"]}


@pytest.mark.parametrize("log", LOGS)
@pytest.mark.parametrize("damage", [b"\xff\xfe", b"x", b"\x00", b",", b"\n", b'"'], ids=repr)
def test_training_goes_on_and_says_what_it_left_out(trained, tmp_path, caplog, log, damage):
    from shutil import copytree

    copytree(trained, tmp_path, dirs_exist_ok=True)
    run = tmp_path / "run"
    for name in LOGS[log]:
        content = (run / name).read_bytes()
        last = content[:-1].rfind(b"\n") + 1
        middle = last + 30
        (run / name).write_bytes(content[:middle] + damage + content[middle + 1 :])
    with caplog.at_level(logging.WARNING, "lfads_tf2"):
        trainer_of(tmp_path, max_epochs=12).train()
    for name in LOGS[log]:
        assert f"{name}: " in caplog.text and "cannot be read" in caplog.text
    for name, reader in (("fitlog.csv", read), ("metrics.csv", read_metrics)):
        found, whole = reader(run / name), reader(tmp_path / "whole" / name)
        kept = [n for n in range(12) if n != 5 or name not in LOGS[log]]
        assert found["epoch"].tolist() == kept
        for column in whole:
            if column != "valid/recon_smth":
                np.testing.assert_array_equal(found[column], whole[column][kept], err_msg=column)


def test_a_header_that_is_gone_starts_the_log_anew(trained, tmp_path, caplog):
    from shutil import copytree

    copytree(trained, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "run" / "metrics.csv"
    path.write_bytes(b"\x00" + path.read_bytes()[1:])
    trainer_of(tmp_path, max_epochs=12).train()
    assert "metrics.csv: 7 lines cannot be read" in caplog.text
    assert read_metrics(path)["epoch"].tolist() == list(range(6, 12))
