"""Files of every kind that the package reads, damaged at random, from a seed: how many readings ended as promised.

``python tests/torture/inputs.py --attempts 1500`` prints a table. Promised is: read, or refused in words; no traceback,
no signal, no hang; and where a file carries checksums, never other numbers than were written.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import h5py
import numpy as np

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 60.0
# Kinds whose files carry checksums.
CHECKED = ("exported", "results")


def originals(folder: Path) -> dict[str, list[Path]]:
    """Whole files by reader, each in a folder of its own."""
    random = np.random.default_rng(0)
    counts = random.poisson(0.5, (12, 20, 5))
    made: dict[str, list[Path]] = collections.defaultdict(list)

    def place(reader: str, name: str, parent: str = "") -> Path:
        path = folder / f"{reader}{len(made[reader])}" / parent / name
        path.parent.mkdir(parents=True)
        made[reader].append(path)
        return path

    with h5py.File(place("session", "a.h5"), "w") as f:
        f["train_data"], f["valid_data"], f["train_conditions"] = counts[:9], counts[9:], ["left", "right", "up"] * 3
    with h5py.File(place("session", "b.h5"), "w") as f:
        f.create_dataset("train_data", data=counts, chunks=(3, 20, 5), compression="gzip", fletcher32=True)
    flat = counts.reshape(240, 5).astype(np.uint8)
    np.savez(place("recording", "a.npz"), counts=flat)
    np.save(place("recording", "a.npy"), flat)
    with h5py.File(place("recording", "a.h5"), "w") as f:
        f["counts"] = flat
    try:
        from scipy.io import savemat

        savemat(place("recording", "a.mat"), {"counts": flat})
    except ModuleNotFoundError:
        made["recording"].pop()
    for name in ("spike_times.npy", "spike_clusters.npy", "params.py", "cluster_group.tsv"):
        path = place("recording", name, "sorted")
        times = np.sort(random.integers(0, 30000, 500))
        np.save(path.parent / "spike_times.npy", times)
        np.save(path.parent / "spike_clusters.npy", random.integers(0, 3, 500))
        (path.parent / "params.py").write_text("sample_rate = 30000.0\n")
        (path.parent / "cluster_group.tsv").write_text("cluster_id\tgroup\n0\tgood\n1\tmua\n2\tnoise\n")
    place("settings", "a.yaml").write_text("gen_dim: 20\nco_dim: 1\nreport: false\nlearning_rate_init: 1e-2\n")
    preset = (ROOT / "lfads_tf2" / "autolfads" / "presets" / "small.yaml").read_text()
    place("settings", "b.yaml").write_text(preset)
    values = {"dataset_names": ["a"], "dataset_dims": {"a": 5}, "num_steps": 20, "gen_dim": 20, "keep_prob": 0.9}
    place("record", "hyperparameters-3.txt").write_text(json.dumps(values, indent=1))
    from lfads_tf2.online import ExportedModel
    from lfads_tf2.online.exported import SETTINGS

    weights = {f"w{n}": random.standard_normal((20, 20)).astype(np.float32) for n in range(4)}
    ExportedModel(weights, dict.fromkeys(SETTINGS, 0), {"a": 5}, {"a": 5}, 20).save(place("exported", "model.npz"))
    from lfads_tf2.program.results import write_runs

    write_runs(place("results", "model_runs_a"), {"factors": random.standard_normal((9, 20, 8))}, {"kind": "x"})
    return made


def damaged(content: bytes, random: np.random.Generator) -> bytes:
    """The same bytes, cut, changed, doubled or filled up somewhere."""
    data, size = bytearray(content), max(len(content), 1)
    where = int(random.integers(size))
    how = int(random.integers(7))
    length = int(min(size - where, random.integers(1, 200)))
    if how == 0:
        return bytes(data[:where])
    if how == 1:
        for n in random.integers(size, size=int(random.integers(1, 40))):
            data[n] ^= 1 << int(random.integers(8))
    elif how == 2:
        data[where : where + length] = bytes(length)
    elif how == 3:
        data[where : where + length] = random.bytes(length)
    elif how == 4:
        del data[where : where + length]
    elif how == 5:
        data[where:where] = data[where : where + length] * int(random.integers(1, 50))
    else:
        return bytes(random.choice(np.array([b"", b"\0", b"[" * 5000, b"{" * 5000, b"\xff" * 100], object)))
    return bytes(data)


class Worker:
    """A reading process, started anew whenever it ends or is ended."""

    def __init__(self):
        self.process: subprocess.Popen | None = None

    def ask(self, reader: str, path: Path) -> dict[str, str]:
        """How the reading of a file ended: ``hang`` and ``signal`` beside what the process says itself."""
        if self.process is None:
            environment = os.environ | {"PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
            self.process = subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("reader.py"))], stdin=subprocess.PIPE,
                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, bufsize=1, env=environment,
            )  # fmt: skip
        self.process.stdin.write(json.dumps([reader, str(path)]) + "\n")
        self.process.stdin.flush()
        ready, _, _ = select.select([self.process.stdout], [], [], SECONDS)
        line = self.process.stdout.readline() if ready else ""
        if line:
            return json.loads(line)
        end = "signal" if ready else "hang"
        self.close()
        return {"end": end}

    def close(self) -> None:
        """Ends the process."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process.stdin.close()
            self.process.stdout.close()
            self.process = None


def torture(attempts: int, seed: int) -> tuple[dict[str, collections.Counter], list[str]]:
    """Ends of all attempts by reader, and what did not end as promised.

    Args:
        attempts: over all readers, turn by turn.
        seed: decides all damage.
    """
    ends: dict[str, collections.Counter] = collections.defaultdict(collections.Counter)
    broken, worker = [], Worker()
    with tempfile.TemporaryDirectory() as place:
        made = originals(Path(place))
        files = [(reader, path) for reader, paths in sorted(made.items()) for path in paths]
        truth = {path: worker.ask(reader, path) for reader, path in files}
        unread = {str(path): end for path, end in truth.items() if end["end"] != "read"}
        assert not unread, f"whole files are not read: {unread}"
        try:
            for number in range(attempts):
                reader, path = files[number % len(files)]
                whole = path.read_bytes()
                path.write_bytes(damaged(whole, np.random.default_rng([seed, number])))
                found = worker.ask(reader, path)
                end = found["end"]
                if end == "read" and reader in CHECKED and found["digest"] != truth[path]["digest"]:
                    end = "other numbers"
                ends[reader][end] += 1
                if end not in ("read", "refused"):
                    broken.append(
                        f"{reader} {path.name}, attempt {number} of seed {seed}: {end}\n{found.get('said', '')}"
                    )
                path.write_bytes(whole)
        finally:
            worker.close()
            shutil.rmtree(place, ignore_errors=True)
    return ends, broken


def main() -> int:
    """Prints how many attempts of each kind ended how; 1 when any did not end as promised."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--attempts", type=int, default=1500)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    ends, broken = torture(options.attempts, options.seed)
    print("| files | tried | read | refused in words | not as promised |\n|---|---|---|---|---|")
    for reader, count in ends.items():
        kept = count["read"] + count["refused"]
        print(f"| {reader} | {count.total()} | {count['read']} | {count['refused']} | {count.total() - kept} |")
    print("\n".join(broken[:20]))
    return int(bool(broken))


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    sys.exit(main())
