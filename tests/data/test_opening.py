"""Files that lead elsewhere, hold less than they declare, or are in use: said in words, and nothing is followed."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest

from lfads_tf2.data import DataError, apart, read_sessions, storage, text
from lfads_tf2.hyperparameters import HyperParameters

COUNTS = (np.arange(6 * 5 * 4) % 7).reshape(6, 5, 4).astype("u1")


def read(folder, **settings):
    return read_sessions(HyperParameters(data_dir=str(folder), batch_size=2, **settings))


def refused(folder, said: str, **settings) -> None:
    started = time.monotonic()
    with pytest.raises(DataError, match=said):
        read(folder, **settings)
    assert time.monotonic() - started < 20


@pytest.fixture
def outside(tmp_path):
    """A file beside the data folder, and the folder."""
    folder = tmp_path / "data [1]"
    folder.mkdir()
    with h5py.File(tmp_path / "other.h5", "w") as f:
        f["x"] = COUNTS
    (tmp_path / "secret").write_bytes(b"root:x:0:0" * 60)
    return tmp_path, folder


def test_a_link_into_another_file(outside):
    place, folder = outside
    with h5py.File(folder / "a.h5", "w") as f:
        f["train_data"] = h5py.ExternalLink("../other.h5", "/x")
    refused(folder, r"train_data: a link out of this file, to \.\./other\.h5; store the array itself \(--allow_outside")
    assert np.array_equal(read(folder, allow_outside_files=True)[0].train.data, COUNTS)
    (place / "other.h5").unlink()
    os.mkfifo(place / "other.h5")
    refused(folder, "train_data: a link that leads nowhere", allow_outside_files=True)


def test_soft_links_do_not_hide_a_link_out_or_go_round_for_ever(outside):
    _, folder = outside
    with h5py.File(folder / "a.h5", "w") as f:
        f["train_data"], f["b"] = h5py.SoftLink("/b"), h5py.SoftLink("c/x")
        f["c"] = h5py.ExternalLink("../other.h5", "/")
    refused(folder, "train_data: a link out of this file")
    with h5py.File(folder / "a.h5", "w") as f:
        f["train_data"], f["b"] = h5py.SoftLink("/b"), h5py.SoftLink("/train_data")
    refused(folder, "train_data: a link that leads nowhere")
    with h5py.File(folder / "a.h5", "w") as f:
        f["group/inner"] = COUNTS
        f["train_data"], f["also"] = h5py.SoftLink("/also/inner"), h5py.SoftLink("group")
    assert np.array_equal(read(folder)[0].train.data, COUNTS)


def test_storage_in_another_file(outside):
    place, folder = outside
    with h5py.File(folder / "a.h5", "w") as f:
        f.create_dataset("train_data", (6, 5, 4), "u1", external=[(str(place / "secret"), 0, 120)])
    refused(folder, "train_data: stored outside this file, in .*secret")
    assert read(folder, allow_outside_files=True)[0].train.data[0, 0, 0] == ord("r")
    (place / "secret").write_bytes(b"short")
    refused(folder, "not there or shorter than declared: the rest would be zeros", allow_outside_files=True)


def virtual(folder, source: str, name: str = "x") -> None:
    layout = h5py.VirtualLayout((6, 5, 4), "u1")
    layout[...] = h5py.VirtualSource(source, name, (6, 5, 4))
    with h5py.File(folder / "a.h5", "w") as f:
        f["y"] = COUNTS
        f.create_virtual_dataset("train_data", layout)


def test_virtual_datasets(outside):
    place, folder = outside
    virtual(folder, "gone.h5")
    refused(folder, "a virtual dataset whose source gone.h5 is not there: its entries would be zeros")
    virtual(folder, "../other.h5")
    refused(folder, r"whose source \.\./other\.h5 lies outside the data folder; move it there")
    assert np.array_equal(read(folder, allow_outside_files=True)[0].train.data, COUNTS)
    (folder / "sources").mkdir()
    (place / "other.h5").rename(folder / "sources" / "one.h5")
    virtual(folder, "sources/one.h5")
    assert np.array_equal(read(folder)[0].train.data, COUNTS)
    virtual(folder, "sources/one.h5", "z")
    refused(folder, "source sources/one.h5 has no dataset z: its entries would be zeros")
    virtual(folder, ".", "y")
    assert np.array_equal(read(folder)[0].train.data, COUNTS)
    virtual(folder, ".", "train_data")
    refused(folder, "a virtual dataset whose source train_data is not an array of this file")


def test_blocks_that_were_never_written(outside):
    _, folder = outside
    with h5py.File(folder / "a.h5", "w") as f:
        f.create_dataset("train_data", (6, 5, 4), "u1", chunks=(1, 5, 4))[:4] = COUNTS[:4]
    refused(folder, "train_data: 2 of its 6 blocks were never written")
    with h5py.File(folder / "a.h5", "w") as f:
        f.create_dataset("train_data", (6, 5, 4), "u1")
    refused(folder, "train_data: was declared and never written")


@pytest.mark.parametrize("settings, is_refused", [({}, True), ({"kind": "posterior_push_mean"}, False)])
def test_counts_that_are_all_zero(outside, settings, is_refused):
    _, folder = outside
    with h5py.File(folder / "a.h5", "w") as f:
        f["train_data"] = np.zeros((6, 5, 4))
    if is_refused:
        refused(folder, "every count of the training trials is 0", **settings)
    else:
        assert not read(folder, **settings)[0].train.data.any()


def test_damaged_text_does_not_keep_the_program_busy(outside, monkeypatch):
    _, folder = outside
    with h5py.File(folder / "a.h5", "w") as f:
        f["train_data"] = COUNTS
        f["train_conditions"] = ["left", "right", "left", "naïve", "right", "left"]
    assert read(folder)[0].train.conditions.tolist() == ["left", "right", "left", "naïve", "right", "left"]
    monkeypatch.setattr(text, "_READ", "import time; time.sleep(60)")
    monkeypatch.setattr(apart, "SECONDS", 0.5)
    refused(folder, "a.h5: cannot be read .*still reading after 0.5 s")
    monkeypatch.setattr(apart, "SECONDS", 30)
    monkeypatch.setattr(text, "_READ", "import os; os.abort()")
    refused(folder, r"a.h5: cannot be read .*the reader was ended by signal 6")


def test_a_file_that_is_open_elsewhere(outside):
    _, folder = outside
    code = (
        "import h5py, sys\nf = h5py.File(sys.argv[1], 'w')\nf['train_data'] = 1.0\nf.flush()\nprint(1, flush=True)\n"
        "sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(folder / "a.h5")], stdout=subprocess.PIPE, stdin=subprocess.PIPE
    ) as other:
        other.stdout.readline()
        refused(folder, r"open for writing in another program \(a notebook\?\); close it there")
        other.stdin.close()


def test_external_inputs_that_are_not_wanted_are_not_read(outside, caplog):
    _, folder = outside
    inputs = np.ones((6, 5, 2))
    inputs[3] = np.nan
    with h5py.File(folder / "a.h5", "w") as f:
        f["train_data"], f["train_ext_input"] = COUNTS, inputs
    assert read(folder)[0].train.ext_input is None
    assert "are ignored because --ext_input_dim is 0; --ext_input_dim=2 uses them" in caplog.text
    for settings in ({}, {"augmentations": "selective_backprop"}):
        refused(folder, "store 0 where there was no input$", ext_input_dim=2, **settings)


def test_a_folder_for_temporary_files_that_is_too_small(monkeypatch):
    monkeypatch.setattr(storage, "RESIDENT_BYTES", 10)
    array = storage.empty((4, 5), np.float32)
    array[...] = 3
    assert storage.is_mapped(array) and array.sum() == 60
    with pytest.raises(storage.NoRoom, match="set the environment variable TMPDIR to a folder with more room"):
        storage.empty((2**40, 2**10), np.float32)
