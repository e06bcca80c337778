"""Every command that writes, from a folder in which it can start, with what it must leave."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from small_runs import write_spikes

from torture import folders
from torture.folders import Step, copied, digest, of_results, of_run, of_search
from torture.server import Ended, Server


class Job(NamedTuple):
    """One command."""

    start: Callable[[Server, Path], object]  # fills a folder
    step: Step
    environment: Callable[[Path], dict[str, str]] = lambda folder: {"TMPDIR": str(folder / "tmp")}
    # A compilation that was killed leaves its folder for an hour, since others may be at theirs.
    leaves_litter: bool = False
    # Two at once each do a part, leave alone what the other is at, and may both end with an exit code of 1 for it.
    shares_work: bool = False


def only_data(server: Server, folder: Path) -> None:
    folders.data_in(folder)


def recording(server: Server, folder: Path) -> None:
    counts = np.random.default_rng(0).poisson(0.5, (400, 4)).astype(np.uint8)
    folder.mkdir(parents=True)
    np.savez(folder / "recording.npz", counts=counts)


def prepared(server: Server, folder: Path) -> None:
    """Two runs that have not started."""
    folders.runs_of_two(folder, "single").prepare_for_lfads()


def model_of_two(server: Server, folder: Path) -> None:
    """A trained model of two sessions, and a third session."""
    runs = folders.runs_of_two(folder / "model", "all")
    runs.prepare_for_lfads()
    folders.good(server, folders.queue(folder))
    write_spikes(folder / "new" / "lfads_day3.h5", train=12, valid=4, bins=4, channels=5)


def add_session(f: Path) -> list:
    model = next((f / "model").rglob("lfadsOutput"))
    return [
        "add-session", "--model_dir", model, "--data_dir", model.parent / "lfadsInput", "--new_file",
        f / "new" / "lfads_day3.h5", "--output_dir", f / "out", "--max_epochs=1", "--noreport", "--device=cpu:0",
        "--held_out_epochs=0", "--num_samples_posterior=2",
    ]  # fmt: skip


def import_recording(f: Path) -> list:
    return [
        "import", f / "recording.npz", "-o", f / "data", "--axes=time,units", "--stored-bin-ms=1", "--bin-ms=10",
        "--chop=100",
    ]  # fmt: skip


def kernels_there(f: Path) -> dict[str, str]:
    return {"libraries": digest("".join(sorted(path.name for path in f.rglob("kernels-*.so"))).encode())}


def _caches(f: Path) -> dict[str, str]:
    return {"TMPDIR": str(f / "tmp"), "XDG_CACHE_HOME": str(f / "cache"), "LFADS_NATIVE": "1"}


JOBS = {
    "train": Job(only_data, Step(folders.train(4), lambda f: of_run(f / "run"))),
    "auto": Job(only_data, Step(folders.search(3, False), lambda f: of_search(f / "run"))),
    "import": Job(recording, Step(import_recording, lambda f: of_results(f / "data", "*.h5"))),
    "infer": Job(folders.a_run, folders.RUN_STEPS[2]),
    "push-mean": Job(folders.a_run, folders.RUN_STEPS[1]),
    "export-params": Job(folders.a_run, folders.RUN_STEPS[3]),
    "export": Job(folders.a_run, folders.EXPORT),
    "runs": Job(prepared, folders.QUEUE_STEP, shares_work=True),
    "add-session": Job(model_of_two, Step(add_session, lambda f: of_results(f / "out", "model_*"))),
    "kernels": Job(recording, Step(lambda f: ["kernels"], kernels_there), _caches, leaves_litter=True),
}


# What a command is to make must not be there before.
OWN_RESULTS = {"infer": "*_sample_and_average", "push-mean": "*_push_mean", "export-params": "model_params"}


class Ready:
    """Jobs with their start, made once, and what they leave when nothing disturbs them.

    Args:
        server: that runs commands.
        place: for the folders.
        here: where commands work; always the same path, which files may hold.
    """

    def __init__(self, server: Server, place: Path, here: Path):
        self.server, self.place, self.here = server, place, here
        self.references: dict[str, tuple[dict[str, str], float, int]] = {}

    def fresh(self, name: str) -> Path:
        """The folder, as before the command."""
        start = self.place / f"start-{name}"
        if not start.exists():
            made = self.here.with_name("made")
            shutil.rmtree(made, ignore_errors=True)
            JOBS[name].start(self.server, made)
            for path in (made / "run").glob(OWN_RESULTS[name]) if name in OWN_RESULTS else ():
                path.unlink()
            (made / "tmp").mkdir()
            shutil.move(made, start)
        return copied(start, self.here)

    def how(self, name: str) -> tuple[list, dict]:
        """Words and environment of a command."""
        return JOBS[name].step.words(self.here), {"environment": JOBS[name].environment(self.here)}

    def run(self, name: str, **more) -> Ended:
        """Runs a command."""
        words, how = self.how(name)
        return self.server.run(words, **how, **more)

    def reference(self, name: str) -> tuple[dict[str, str], float, int]:
        """What a command leaves, how long it takes, and how many bytes it adds."""
        if name not in self.references:
            before = size_of(self.fresh(name))
            ended = self.run(name)
            if ended.code or ended.broken:
                raise RuntimeError(f"{name}: {ended}")
            found = JOBS[name].step.numbers(self.here)
            self.references[name] = found, ended.seconds, size_of(self.here) - before
        return self.references[name]

    def afterwards(self, name: str) -> str:
        """The same command once more: what is then not as without a disturbance; empty if all is."""
        ended = self.run(name)
        if ended.broken or ended.code:
            return f"{ended.broken or 'cannot go on'}\n{ended.said[-1500:]}"
        found, wanted = JOBS[name].step.numbers(self.here), self.reference(name)[0]
        if found != wanted:
            return f"other numbers: {sorted(set(found.items()) ^ set(wanted.items()))}\n{ended.said[-800:]}"
        left = [] if JOBS[name].leaves_litter else folders.litter(self.here)
        return f"litter: {left}" if left else ""


def size_of(folder: Path) -> int:
    """Bytes that a folder's files take, in blocks."""
    return sum(-(-path.stat().st_size // 4096) * 4096 for path in folder.rglob("*") if path.is_file())
