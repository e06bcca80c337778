"""``lfads online`` over standard input and UDP, and the export of a run folder."""

from __future__ import annotations

import io
import socket
import sys
import threading

import numpy as np
import pytest

from lfads_tf2.online import OnlineLFADS, command
from lfads_tf2.online.exported import OnlineError, export
from online.exported_models import CAUSAL, SEGMENT, made, trials


@pytest.fixture
def exported(tmp_path):
    model, whole = made(CAUSAL | {"ext_input_dim": 2}, [7])
    path, some = whole.save(tmp_path / "model.npz"), trials(model, 0, count=1)
    stream = OnlineLFADS.load(path)
    rows = np.concatenate([some.data[0], some.ext_input[0]], axis=1)
    expected = np.stack([stream.step(row[:7], row[7:])[0][0].copy() for row in rows])
    return path, rows, expected


def test_lines(exported, monkeypatch, capsys):
    path, rows, expected = exported
    text = "".join(" ".join(map(str, row)) + "\n" for row in rows)
    monkeypatch.setattr(sys, "stdin", io.StringIO(text + "\n" + text.replace(" ", ",")))
    assert command.main([str(path), "--stdin"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for trial in (lines[: len(rows)], lines[len(rows) :]):
        np.testing.assert_allclose([[float(w) for w in line.split()] for line in trial], expected, rtol=1e-4)
    assert np.isnan(expected[:SEGMENT]).all() and np.isfinite(expected[SEGMENT:]).all()


@pytest.mark.parametrize("line, said", [("1 2 x\n", "line 1: could not convert"), ("1 2\n", "line 1 has 2 numbers")])
def test_malformed_lines(exported, monkeypatch, line, said):
    monkeypatch.setattr(sys, "stdin", io.StringIO(line))
    with pytest.raises(OnlineError, match=said):
        command.main([str(exported[0]), "--stdin"])


def test_datagrams(exported, caplog):
    path, rows, expected = exported
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    caplog.set_level("INFO", "lfads_tf2")
    arguments = [str(path), "--udp", str(port), "--bins", str(len(rows))]
    server = threading.Thread(target=command.main, args=(arguments,))
    server.start()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(0.2)
        for _ in range(100):  # until it listens; a wrong length is answered by nothing
            client.sendto(b"abc", ("127.0.0.1", port))
            if "left out" in caplog.text:
                break
            server.join(0.05)
        client.settimeout(20)
        found = []
        for row in rows:
            client.sendto(row.astype("<f4").tobytes(), ("127.0.0.1", port))
            found.append(np.frombuffer(client.recv(4096), "<f4"))
    server.join(20)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert "3 bytes; needed are 9 (uint8) or 36 (float32)" in caplog.text and "bins: median" in caplog.text


def test_folders_without_a_model(tmp_path):
    with pytest.raises(OnlineError, match=r"has no hyperparameters-\*.txt; train there and run lfads export-params"):
        export(tmp_path, tmp_path / "model.npz")
    assert not list(tmp_path.iterdir())
