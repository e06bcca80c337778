"""Result and parameter files: what was written comes back, and what was damaged since is refused."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
from small_runs import disk_of

from lfads_tf2.files import hdf5
from lfads_tf2.program import sealed_hdf5
from lfads_tf2.program.results import read_params, read_runs, write_params, write_runs, writing_runs
from lfads_tf2.program.sealed_hdf5 import DamagedFile

RANDOM = np.random.default_rng(7)
ARRAYS = {
    "output_dist_params": RANDOM.gamma(1.0, 1.0, (20, 9, 7)).astype(np.float32),
    "factors": RANDOM.normal(size=(20, 9, 3)), "costs": RANDOM.normal(size=20), "none": np.zeros((0, 3), np.float32),
}  # fmt: skip
PARAMS = {
    "LFADS/gen/W:0": RANDOM.normal(size=(12, 9)).astype(np.float32), "LFADS/global_step:0": np.array(1234, np.int64),
    "LFADS/learning_rate:0": np.array(0.0123, np.float32), "LFADS/b:0": RANDOM.normal(size=(1, 4)).astype(np.float32),
}  # fmt: skip
ATTRIBUTES = {"units": "spikes/bin", "checkpoint_step": 1234, "bin_width_ms": 5.0, "num_samples": None}


def write(folder, what):
    if what == "runs":
        return write_runs(folder / "runs", ARRAYS, ATTRIBUTES)
    return write_params(folder / "params", PARAMS)


def content(path, what):
    if what == "runs":
        arrays, attributes = read_runs(path)
        return {**arrays, **{f"attribute {name}": np.asarray(value) for name, value in attributes.items()}}
    return read_params(path)


def same(one, other):
    return one.keys() == other.keys() and all(
        np.asarray(one[k]).dtype == np.asarray(other[k]).dtype and np.array_equal(one[k], other[k]) for k in one
    )


def test_what_was_written_comes_back(tmp_path):
    arrays, attributes = read_runs(write(tmp_path, "runs"))
    assert same(arrays, ARRAYS)
    assert attributes == {name: value for name, value in ATTRIBUTES.items() if value is not None}
    assert same(read_params(write(tmp_path, "params")), {key.replace("/", "_"): v for key, v in PARAMS.items()})


def blocks_of(arrays, lengths=(7, 1, 12)):
    """Blocks of 20 trials."""
    ends = np.cumsum(lengths)
    for first, end in zip(ends - lengths, ends, strict=True):
        yield {key: value[first:end] for key, value in arrays.items()}


@pytest.mark.parametrize("chunk", [1, 3 * 9 * 7 * 4, 2**20], ids=["row by row", "some rows", "all"])
def test_blocks_give_the_file_that_the_whole_gives(tmp_path, monkeypatch, chunk):
    arrays = {key: value for key, value in ARRAYS.items() if len(value) == 20}
    monkeypatch.setattr(sealed_hdf5, "_CHUNK_BYTES", chunk)
    write_runs(tmp_path / "whole", arrays, ATTRIBUTES)
    with writing_runs(tmp_path / "blocks", 20) as file:
        for block in blocks_of(arrays):
            file.add(block)
        file.describe(ATTRIBUTES)
    (whole, attributes), (found, described) = (read_runs(tmp_path / name) for name in ("whole", "blocks"))
    assert same(found, whole) and described == attributes
    with h5py.File(tmp_path / "whole") as one, h5py.File(tmp_path / "blocks") as other:
        assert one.keys() == other.keys()
        assert all(dict(one[key].attrs) == dict(other[key].attrs) for key in one)
        assert all(one[key].fletcher32 == other[key].fletcher32 for key in one)


def test_a_file_of_blocks_is_whole_or_as_it_was(tmp_path):
    write(tmp_path, "runs")
    before = (tmp_path / "runs").read_bytes()
    good, bad = {"factors": np.zeros((2, 9, 3))}, {"factors": np.zeros((2, 9, 4))}
    with pytest.raises(ValueError, match="dimensions"), writing_runs(tmp_path / "runs", 6) as file:
        for block in (good, bad, good):
            file.add(block)
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]
    assert (tmp_path / "runs").read_bytes() == before


def test_files_without_checksums_are_read(tmp_path):
    with h5py.File(tmp_path / "old", "w") as f:
        for key, value in PARAMS.items():
            f[key.replace("/", "_")] = value
    assert same(read_params(tmp_path / "old"), {key.replace("/", "_"): v for key, v in PARAMS.items()})


@pytest.mark.parametrize("what", ["runs", "params"])
@pytest.mark.parametrize("kind", ["bit", "zeros", "cut", "noise"])
def test_damage_is_refused_or_changes_nothing(tmp_path, what, kind):
    """Damage to bytes that hold nothing may go unnoticed; other numbers may never come back."""
    path = write(tmp_path, what)
    whole, before = path.read_bytes(), content(path, what)
    refused = 0
    for attempt in range(600):
        random = np.random.default_rng([attempt, len(kind), len(what)])
        damaged, place = bytearray(whole), int(random.integers(len(whole)))
        if kind == "bit":
            damaged[place] ^= 1 << int(random.integers(8))
        elif kind == "cut":
            del damaged[place:]
        else:
            length = int(random.integers(1, 200))
            damaged[place : place + length] = bytes(length) if kind == "zeros" else random.bytes(length)
        path.write_bytes(damaged)
        try:
            after = content(path, what)
        except DamagedFile as error:
            assert str(path) in str(error) and len(str(error).splitlines()) == 1
            refused += 1
        else:
            assert same(before, after), f"attempt {attempt} gave other numbers"
    assert refused > 2


def test_a_file_that_was_edited_is_read_as_long_as_its_arrays_are_whole(tmp_path, caplog):
    path = write(tmp_path, "runs")
    with h5py.File(path, "r+") as f:
        f.attrs["note"] = "mine"
    arrays, attributes = read_runs(path)
    assert same(arrays, ARRAYS) and attributes["note"] == "mine"
    assert "was changed after it was written" in caplog.text
    with h5py.File(path, "r+") as f:
        f["costs"][3] = 0.0
    with pytest.raises(DamagedFile, match="costs: the checksum does not match"):
        read_runs(path)


@pytest.mark.parametrize("written", [b"", b"no HDF5", b"\x89HDF\r\n\x1a\n", b"\x89HDF\r\n\x1a\n\x02" + bytes(300)])
def test_what_is_no_result(tmp_path, written):
    (tmp_path / "x").write_bytes(written)
    with pytest.raises(DamagedFile, match="cannot be read as HDF5"):
        read_params(tmp_path / "x")
    with pytest.raises(FileNotFoundError):
        read_params(tmp_path / "gone")


def test_a_full_disk_ends_long_work_early(tmp_path, monkeypatch):
    monkeypatch.setattr(hdf5, "Disk", disk_of(100_000))
    block, added = np.random.default_rng(0).random((100, 20, 300), np.float32), 0
    with pytest.raises(OSError, match="No space left"), writing_runs(tmp_path / "a", 100 * len(block)) as file:
        for _ in range(100):
            file.add({"factors": block})
            added += 1
    assert added < 5 and not list(tmp_path.iterdir())
