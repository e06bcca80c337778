"""Files of arrays that are damaged, or lead out of themselves."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
from scipy.io import savemat

from lfads_tf2.recordings import variables
from lfads_tf2.recordings.variables import LoadError, load_file

COUNTS = np.arange(35.0).reshape(7, 5)


def damaged(folder):
    """Files that cannot be read, or must not be."""
    whole = {name: folder / f"whole.{name}" for name in ("npz", "h5", "mat")}
    np.savez(whole["npz"], spikes=COUNTS)
    savemat(whole["mat"], {"spikes": COUNTS})
    with h5py.File(whole["h5"], "w") as file:
        file["spikes"] = COUNTS
    for kind, path in whole.items():
        content = path.read_bytes()
        (folder / f"cut.{kind}").write_bytes(content[: len(content) // 2])
    (folder / "empty.npz").write_bytes(b"")
    secret = folder / "secret"
    secret.write_bytes(bytes(280))
    with h5py.File(folder / "self.h5", "w") as file:
        file.create_group("a")["b"] = file["/"]
    with h5py.File(folder / "out.h5", "w") as file:
        file["spikes"] = h5py.ExternalLink("whole.h5", "spikes")
    with h5py.File(folder / "inner_out.h5", "w") as file:
        file.create_group("a")["spikes"] = h5py.ExternalLink("whole.h5", "spikes")
    with h5py.File(folder / "stored_out.h5", "w") as file:
        file.create_dataset("spikes", (7, 5), "f8", external=[(str(secret), 0, 280)])
    with h5py.File(folder / "dangling.h5", "w") as file:
        file["spikes"] = h5py.SoftLink("/gone")
    with h5py.File(folder / "unwritten.h5", "w") as file:
        file.create_dataset("spikes", (7, 5), "f8", chunks=(1, 5))
    return sorted(path.name for path in folder.iterdir() if path.stem not in ("whole", "secret"))


def test_damaged_and_dangerous_files_are_refused_in_words(tmp_path):
    names = damaged(tmp_path)
    assert len(names) == 10
    for name in names:
        with pytest.raises(LoadError) as error:
            load_file(tmp_path / name)
        assert name in str(error.value) and len(str(error.value)) < 600, name


def test_whole_files_are_read(tmp_path):
    damaged(tmp_path)
    for kind in ("npz", "h5", "mat"):
        np.testing.assert_array_equal(load_file(tmp_path / f"whole.{kind}")["spikes"], COUNTS)


def test_a_matlab_file_that_ends_its_reader_does_not_end_the_program(tmp_path, monkeypatch):
    savemat(tmp_path / "a.mat", {"counts": np.ones((3, 4))})
    assert load_file(tmp_path / "a.mat")["counts"].shape == (3, 4)
    monkeypatch.setattr(variables, "_TRY_MAT", "import os; os.abort()")
    with pytest.raises(LoadError, match=r"not a readable .mat file: the reader was ended by signal 6"):
        load_file(tmp_path / "a.mat")
