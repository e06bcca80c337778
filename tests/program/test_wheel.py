"""The wheel, installed elsewhere, is a whole program: command, flags, presets and kernels come with it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import time
import zipfile

import pytest
from conftest import ROOT
from small_runs import write_spikes

TINY = ["--gen_dim=6", "--factors_dim=3", "--ic_dim=4", "--ic_enc_dim=5", "--max_epochs=2", "--device=cpu:0"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from a copy, so that nothing is left in the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    copy = folder / "source"
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".*", "build", "*.egg-info", "__pycache__", "*_output"))
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(copy)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("*.whl")
    return path


def test_what_is_in_it(wheel):
    with zipfile.ZipFile(wheel) as file:
        names = file.namelist()
        entry_points = file.read(next(n for n in names if n.endswith("entry_points.txt"))).decode()
    top = {name.split("/")[0] for name in names}
    assert top == {"lfads_tf2", next(name for name in top if name.endswith(".dist-info"))}
    assert {"lfads_tf2/py.typed", "lfads_tf2/settings/presets/small_data.flags"} <= set(names)
    assert "lfads_tf2/model/native/gru_scan.cc" in names and "lfads_tf2/autolfads/presets/small.yaml" in names
    assert any(name.endswith("LICENSE") for name in names) and "lfads = lfads_tf2.program" in entry_points


def test_it_trains_where_nothing_else_is(wheel, tmp_path):
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    inside = venv / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    command = [sys.executable, "-m", "pip", "--python", str(venv), "install", "--quiet", "--no-deps", str(wheel)]
    subprocess.run(command, check=True, capture_output=True, env=environment)
    # TensorFlow and the rest come from where the tests have them, behind the wheel's own package.
    (inside / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    write_spikes(tmp_path / "work" / "data" / "a.h5")

    def lfads(*words: str) -> str:
        started = time.perf_counter()
        done = subprocess.run(
            [str(venv / "bin" / "lfads"), *words],
            cwd=tmp_path / "work",
            env=environment,
            capture_output=True,
            text=True,
        )
        print(f"lfads {' '.join(words)}: {time.perf_counter() - started:.2f} s")
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    where = subprocess.run(
        [str(venv / "bin" / "python"), "-c", "import lfads_tf2; print(lfads_tf2.__file__)"], cwd=tmp_path / "work",
        env=environment, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert where.startswith(str(inside)), "the checkout was imported, not the wheel"
    assert "add-session" in lfads("--help")
    assert "small_data" in lfads("train", "--help")
    lfads("train", "data", "--preset=small_data", *TINY)
    lfads("infer", "data", "--num_samples_posterior=2", "--device=cpu:0")
    lfads("export-params", "data", "--device=cpu:0")
    found = {path.name for path in (tmp_path / "work" / "data" / "lfads_output").iterdir()}
    assert {"model_params", "report", "model_runs_a.h5_valid_posterior_sample_and_average"} <= found
