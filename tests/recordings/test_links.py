"""Links of NWB files to other files: followed within the file's own folder, or where that is allowed."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
from session_results.recorded import write_results

from lfads_tf2 import Recording, load_results
from lfads_tf2.program.command_line import main
from lfads_tf2.recordings import RecordingError
from lfads_tf2.run_manager.loading import LoadError, load_nwb
from recordings.made import nwb_file

PLACE = "processing/behavior/hand_vel/data"


def move_out(recording, other, name):
    """Moves the hand's velocity into another file, which the recording links to by a name."""
    with h5py.File(recording, "a") as file, h5py.File(other, "w") as target:
        file.copy(file[PLACE], target, "velocity")
        del file[PLACE]
        file[PLACE] = h5py.ExternalLink(str(name), "/velocity")


def test_links_within_the_folder(tmp_path):
    (tmp_path / "here" / "raw").mkdir(parents=True)
    recording = nwb_file(tmp_path / "here" / "a.nwb")
    move_out(recording, tmp_path / "here" / "raw" / "b.nwb", "raw/b.nwb")
    series = Recording.read(recording, behavior=["hand_vel"]).series["hand_vel"]
    np.testing.assert_allclose(series.values[:, 0], np.sin(series.times), atol=1e-12)
    (tmp_path / "here" / "raw" / "b.nwb").write_bytes(b"junk")
    with pytest.raises(RecordingError, match=r"b\.nwb: not an HDF5 file"):
        Recording.read(recording)
    (tmp_path / "here" / "raw" / "b.nwb").unlink()
    with pytest.raises(RecordingError, match=r"is a link to raw/b\.nwb, which is not there; put it beside this file"):
        Recording.read(recording)


@pytest.mark.parametrize("absolute", [True, False])
def test_links_out_of_the_folder(tmp_path, absolute, capsys):
    (tmp_path / "here").mkdir()
    recording, other = nwb_file(tmp_path / "here" / "a.nwb"), tmp_path / "other.h5"
    move_out(recording, other, other if absolute else "../other.h5")
    words = ["import", str(recording), "-o", str(tmp_path / "data"), "--chop", "1000"]
    for refused in (lambda: Recording.read(recording), lambda: load_nwb(recording, 10.0)):
        with pytest.raises((RecordingError, LoadError), match=r"hand_vel/data is a link to .*other\.h5, which lies"):
            refused()
    assert main(words) == 2 and not (tmp_path / "data").exists()
    assert "copy it there, or --allow-outside-files" in capsys.readouterr().err
    assert main([*words, "--allow_outside_files"]) == 0
    assert load_nwb(recording, 10.0, allow_outside_files=True)["counts"].sum() > 0


def test_a_link_of_a_linked_file_and_storage_elsewhere(tmp_path):
    (tmp_path / "here").mkdir()
    recording = nwb_file(tmp_path / "here" / "a.nwb")
    move_out(recording, tmp_path / "here" / "b.h5", "b.h5")
    with h5py.File(tmp_path / "here" / "b.h5", "a") as file:
        file.create_group("group")["further"] = h5py.ExternalLink("/etc/hostname", "/")
        file["group/itself"] = file["group"]
    with pytest.raises(RecordingError, match=r"b\.h5: /group/further is a link to /etc/hostname, which lies outside"):
        Recording.read(recording)
    with h5py.File(tmp_path / "here" / "b.h5", "a") as file:
        del file["group/further"]
        (tmp_path / "secret").write_bytes(bytes(80))
        file.create_dataset("numbers", (10,), "f8", external=[(str(tmp_path / "secret"), 0, 80)])
    with pytest.raises(RecordingError, match=r"b\.h5: /numbers is stored outside this file"):
        Recording.read(recording)


def test_the_copy_with_results_leads_to_the_same_files(tmp_path):
    pynwb = pytest.importorskip("pynwb", reason="pynwb is not installed")
    (tmp_path / "here").mkdir()
    recording = nwb_file(tmp_path / "here" / "a.nwb")
    move_out(recording, tmp_path / "here" / "b.h5", "b.h5")
    session = Recording.read(recording).cut(chop=1000.0, bin_ms=10.0, overlap=200.0).write(tmp_path / "data", "monday")
    written = load_results(write_results(tmp_path / "run", session), tmp_path / "data")["monday"].to_nwb(
        tmp_path / "out.nwb"
    )
    with pynwb.NWBHDF5IO(str(written), "r") as reader:
        file = reader.read()
        moved = file.processing["behavior"]["hand_vel"].data[:9, 0]
        np.testing.assert_allclose(moved, np.sin(np.arange(9) / 100))
        assert "lfads_rates" in file.processing["ecephys"].data_interfaces
