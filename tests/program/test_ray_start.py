"""Ray gets a folder whose path leaves room for its sockets."""

import os
import tempfile

import pytest

from lfads_tf2.program.ray_start import LONGEST_FOLDER, local_options


@pytest.mark.parametrize("variable", ["TMPDIR", "RAY_TMPDIR"])
def test_a_long_temporary_folder_is_not_used(tmp_path, monkeypatch, variable):
    folder = tmp_path / ("scratch_" * 8)
    folder.mkdir()
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.setenv(variable, str(folder))
    monkeypatch.setattr(tempfile, "tempdir", str(folder) if variable == "TMPDIR" else "/tmp")
    chosen = local_options()["_temp_dir"]
    assert len(chosen) <= LONGEST_FOLDER and os.path.isdir(os.path.dirname(chosen))


def test_a_short_one_is_left_to_ray(monkeypatch):
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", "/tmp")
    assert local_options() == {"include_dashboard": False}
