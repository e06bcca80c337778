"""The blocks of docs/from_your_file.md run as they stand there."""

from __future__ import annotations

import re
import shlex

import numpy as np
import pytest
from conftest import ROOT

from lfads_tf2.data import read_sessions
from lfads_tf2.hyperparameters import HyperParameters
from lfads_tf2.program.command_line import main
from recordings.made import nwb_file, phy_folder, spikes

PAGE = (ROOT / "docs" / "from_your_file.md").read_text(encoding="utf-8")


def test_the_blocks(tmp_path, monkeypatch, capsys):
    scipy = pytest.importorskip("scipy.io", reason="scipy is not installed")
    monkeypatch.chdir(tmp_path)
    nwb_file(tmp_path / "session.nwb", columns={"quality": ["good"] * 5})
    phy_folder(tmp_path / "sorted")
    counts = np.random.default_rng(0).poisson(0.05, (30, 200, 6))
    scipy.savemat(tmp_path / "counts.mat", {"spikes": counts})
    cells = np.empty(5, object)
    cells[:] = [times[times < 5] - 1 for times in spikes()]
    trials = [(cells, 0.5, n % 2) for n in range(20)]
    fields = [(name, object) for name in ("spikes", "go", "target")]
    scipy.savemat(tmp_path / "trials.mat", {"trials": np.array(trials, fields)})
    units = np.empty(5, object)
    units[:] = spikes()
    starts = np.arange(1.0, 59.0, 2.0)
    scipy.savemat(tmp_path / "session.mat", {"spk": units, "trial_start": starts, "target": np.arange(29) % 2})
    commands = re.findall(r"```sh\n(lfads .*?)\n```", PAGE)
    assert len(commands) == 5
    for n, command in enumerate(commands):
        words = shlex.split(command.replace("-o data", f"-o data{n}"))[1:]
        assert main(words) == 0, capsys.readouterr().err
        assert read_sessions(HyperParameters(data_dir=f"data{n}"))[0].train.data.sum() > 0
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(blocks) == 3
    names = {"units": dict(enumerate(spikes())), "counts": counts.reshape(-1, 6)}
    for block in blocks:
        exec(block, names)
    assert "left out" in capsys.readouterr().out
    assert read_sessions(HyperParameters(data_dir="data"))[0].name == "monday.h5"
