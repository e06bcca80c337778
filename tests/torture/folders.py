"""Whole folders of every kind that commands leave, how each is gone on with, and what it must then hold."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
from small_runs import write_spikes

from lfads_tf2.errors import LFADSError
from lfads_tf2.program import sealed_hdf5
from torture.server import Ended, Server

MODEL = (
    "--co_dim=0", "--factors_dim=2", "--gen_dim=4", "--ic_dim=2", "--ic_enc_dim=3", "--batch_size=8", "--device=cpu:0",
    "--kl_increase_steps=1", "--l2_increase_steps=1", "--held_out_epochs=0", "--num_samples_posterior=2", "--seed=1",
)  # fmt: skip
SEARCH = (
    "--preset=small", "--population_mode=serial", "--num_workers=2", "--perturbation_interval=1", "--burn_in_period=1",
)  # fmt: skip
# Half-written files of ours and of TensorFlow's, and folders that are renamed when they are whole.
LITTER = ("*.tmp", "*.tempstate*", "*_temp", ".best_model.*", ".lfads_lock")
DAMAGED = "refused when it is read"
Words = Callable[[Path], list]


class Step(NamedTuple):
    """One command on a copy of a folder, and what counts of what it leaves."""

    words: Words  # of a folder that holds all that the command needs
    numbers: Callable[[Path], dict[str, str]]  # digests by name


class Whole(NamedTuple):
    """A folder as it was left."""

    name: str  # of the class
    folder: Path
    damaged: str  # the folder inside whose files are damaged
    steps: tuple[Step, ...]  # with which it can be gone on


def digest(content: bytes) -> str:
    """Of a file's content."""
    return hashlib.sha256(content).hexdigest()[:12]


def arrays(path: Path) -> str:
    """Of all arrays of an NPZ or HDF5 file; DAMAGED where the program's own reader refuses it."""
    if path.suffix == ".npz":
        with np.load(path) as file:
            found = {key: file[key] for key in file.files}
    elif path.name.startswith("model_"):
        try:
            found = sealed_hdf5.read(path)[0]
        except LFADSError:
            return DAMAGED
    else:
        found = {}
        with h5py.File(path) as file:
            file.visititems(lambda key, item: found.update({key: item[()]}) if isinstance(item, h5py.Dataset) else None)
    return digest(b"".join(f"{k}{np.shape(v)}".encode() + np.asarray(v).tobytes() for k, v in sorted(found.items())))


def of_run(run: Path) -> dict[str, str]:
    """The logs and the newest checkpoint of a run."""
    newest = max(run.glob("lfads_vae.ckpt-*.data*"), key=lambda path: int(path.name.split("-")[1].split(".")[0]))
    return {name: digest((run / name).read_bytes()) for name in ("fitlog.csv", "metrics.csv")} | {
        newest.name: digest(newest.read_bytes())
    }


def of_results(folder: Path, pattern: str) -> dict[str, str]:
    """Arrays of all files of a pattern."""
    return {str(path.relative_to(folder)): arrays(path) for path in sorted(folder.rglob(pattern)) if path.is_file()}


def of_search(run: Path) -> dict[str, str]:
    """Members, history, log and best model of a search."""
    state = json.loads((run / "population" / "population.json").read_text())
    members = [[member["values"], arrays(run / "population" / member["state"])] for member in state["members"]]
    found = {"members": digest(json.dumps(members).encode()), "best": arrays(run / "best_model" / "model_params")}
    return found | {name: digest((run / name).read_bytes()) for name in ("pbt_history.json", "fitlog.csv")}


def litter(folder: Path) -> list[str]:
    """What killed commands have left."""
    return sorted(str(path.relative_to(folder)) for pattern in LITTER for path in folder.rglob(pattern))


def copied(whole: Path, to: Path) -> Path:
    """A copy in place of the one before, at the same path."""
    shutil.rmtree(to, ignore_errors=True)
    return shutil.copytree(whole, to, symlinks=True)


def train(epochs: int) -> Words:
    return lambda f: [
        "train",
        f / "data",
        f"--lfads_save_dir={f / 'run'}",
        f"--max_epochs={epochs}",
        "--noreport",
        *MODEL,
    ]


def of_kind(name: str) -> Words:
    return lambda f: [
        name, f / "data", f"--lfads_save_dir={f / 'run'}", "--noreport", "--device=cpu:0", "--seed=1",
    ]  # fmt: skip


def search(epochs: int, resume: bool) -> Words:
    return lambda f: [
        "auto", f / "data", f"--lfads_save_dir={f / 'run'}", f"--max_epochs={epochs}", *SEARCH, *MODEL,
        "--report=false", *(["--resume"] if resume or (f / "run" / "population" / "population.json").exists() else []),
    ]  # fmt: skip


def export(to: str) -> Words:
    return lambda f: ["export", f / "run", f"--data_dir={f / 'data'}", "--to", to, "--out", f / "out", "--bin_ms=10"]


def queue(f: Path) -> list:
    stage = Path(__file__).with_name("stage.py")
    return ["runs", "run", f, "--backend=local", f"--program={stage}", "--cpus=1"]


RUN_STEPS = (
    Step(train(5), lambda f: of_run(f / "run")),
    Step(of_kind("push-mean"), lambda f: of_results(f / "run", "model_runs_*_push_mean")),
    Step(of_kind("infer"), lambda f: of_results(f / "run", "model_runs_*_sample_and_average")),
    Step(of_kind("export-params"), lambda f: {"model_params": arrays(f / "run" / "model_params")}),
)
EXPORT = Step(export("npz"), lambda f: of_results(f / "out", "*.npz"))
SEARCH_STEP = Step(search(3, True), lambda f: of_search(f / "run"))
QUEUE_STEP = Step(queue, lambda f: of_results(f, "model_*"))


def good(server: Server, words: list) -> Ended:
    """Runs a command that must succeed."""
    ended = server.run(words)
    if ended.code or ended.broken:
        raise RuntimeError(f"{words}: {ended}")
    return ended


def data_in(folder: Path) -> Path:
    write_spikes(folder / "data" / "a.h5", train=8, valid=3, bins=4, channels=3, train_truth=None, valid_truth=None)
    return folder


def a_run(server: Server, folder: Path) -> Whole:
    """A training of four epochs, with its results."""
    data_in(folder)
    for words in (train(4), *(step.words for step in RUN_STEPS[1:])):
        good(server, words(folder))
    return Whole("run folders", folder, "", RUN_STEPS)


def results(server: Server, folder: Path) -> Whole:
    """The same, to be read."""
    shutil.copytree(a_run(server, folder / "made").folder, folder / "results")
    for path in (folder / "results" / "run").iterdir():
        if not path.name.startswith(("model_", "hyper")):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    return Whole("results", folder / "results", "", (EXPORT,))


def a_search(server: Server, folder: Path) -> Whole:
    """A search of two generations."""
    good(server, search(2, False)(data_in(folder)))
    return Whole("searches", folder, "", (SEARCH_STEP,))


def runs_of_two(folder: Path, spec: str):
    """A run collection of two sessions, ``single`` or ``all`` in one model."""
    from run_manager.small_sessions import SMALL, collection

    from lfads_tf2.run_manager import RunParams

    settings = SMALL | {"c_co_dim": 0, "c_gen_dim": 4, "c_max_epochs": 2, "c_held_out_epochs": 0}
    params = RunParams(**settings, useAlignmentMatrix=spec == "all")
    return collection(folder, specs=(spec,), count=2, params=params, trials=6, time=8)


def a_queue(server: Server, folder: Path) -> Whole:
    """A prepared collection of two runs, one of them done."""
    runs = runs_of_two(folder, "single")
    runs.prepare_for_lfads()
    good(server, queue(runs.runs.ravel()[0].path))
    return Whole("queues", folder, "", (QUEUE_STEP,))


KINDS = {"run folders": a_run, "results": results, "searches": a_search, "queues": a_queue}
