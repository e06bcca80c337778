"""The folder of a spike sorter that phy opens (Kilosort): spike times and clusters in samples, and their labels."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lfads_tf2.recordings.recording import RecordingData, RecordingError, Table

# The .csv are those of older versions, with tabs too.
LABELS = (
    "cluster_info.tsv", "cluster_group.tsv", "cluster_groups.csv", "cluster_group.csv", "cluster_KSLabel.tsv",
)  # fmt: skip
GROUP_NAMES = ("group", "KSLabel")


def read(folder: Path, groups: Sequence[str] = ()) -> RecordingData:
    """Units of a sorted folder.

    Args:
        folder: with ``spike_times.npy``, ``spike_clusters.npy`` and ``params.py``.
        groups: labels to keep, such as ``good``; none: every cluster but those labelled noise.

    Raises:
        RecordingError: a file is missing or damaged, or no cluster is left.
    """
    inside = [path.parent for path in folder.glob("*/spike_times.npy")]
    if inside and not (folder / "spike_times.npy").exists():
        raise RecordingError(f"{folder} holds no spike_times.npy; give {' or '.join(map(str, inside))}")
    times, clusters = (_array(folder / name).reshape(-1) for name in ("spike_times.npy", "spike_clusters.npy"))
    if len(times) != len(clusters):
        raise RecordingError(f"{folder}: {len(times)} spike times and {len(clusters)} clusters; they must be as many")
    rate = _sample_rate(folder / "params.py")
    labels = _labels(folder)
    ids = np.unique(clusters)
    if groups:
        if not labels:
            raise RecordingError(f"{folder} has no {LABELS[1]}; leave --groups out, or label the clusters in phy")
        kept = [unit for unit in ids if labels.get(int(unit), {}).get("group", "") in groups]
    else:
        kept = [unit for unit in ids if labels.get(int(unit), {}).get("group", "") != "noise"]
    if not kept:
        found = sorted({label.get("group", "") for label in labels.values()})
        raise RecordingError(
            f"{folder}: no cluster is labelled {', '.join(groups) or 'other than noise'}; there are {found}"
        )
    order = np.argsort(clusters, kind="stable")
    clusters, times = clusters[order], times[order].astype(np.float64) / rate
    first, last = (np.searchsorted(clusters, kept, side=side) for side in ("left", "right"))
    spikes = [np.sort(times[a:b]) for a, b in zip(first, last, strict=True)]
    names = sorted({column for label in labels.values() for column in label})
    columns = {name: np.array([labels.get(int(unit), {}).get(name, "") for unit in kept]) for name in names}
    gone = [
        (str(unit), f"labelled {labels.get(int(unit), {}).get('group') or 'nothing'}")
        for unit in ids
        if unit not in kept
    ]
    return RecordingData(
        Table(columns, np.array(kept)), spikes, source_path=str(folder), source_format="phy", left_out=gone
    )


def _array(path: Path) -> np.ndarray:
    try:
        return np.load(path, allow_pickle=False)
    except Exception as error:  # whatever NumPy makes of a damaged file
        raise RecordingError(f"{path} is not there or not readable ({error}); give the folder that phy opens") from None


def _sample_rate(path: Path) -> float:
    """From ``params.py``, which is looked at and not run."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise RecordingError(
            f"{path}: cannot be read ({error.strerror}); it says how many samples a second has"
        ) from None
    found = re.search(r"^\s*sample_rate\s*=\s*([0-9.eE+]+)", text, re.MULTILINE)
    try:
        rate = float(found[1]) if found else 0.0
    except ValueError:
        rate = 0.0
    if not 0 < rate < float("inf"):
        raise RecordingError(f"{path}: no line sample_rate = NUMBER; write the sorter's samples a second there")
    return rate


def _labels(folder: Path) -> dict[int, dict[str, str]]:
    """Columns of the tables of labels by cluster; the first table that has a column wins."""
    labels: dict[int, dict[str, str]] = {}
    for name in LABELS:
        path = folder / name
        if not path.is_file():
            continue
        with path.open(newline="", encoding="utf-8", errors="replace") as file:
            rows = list(csv.DictReader(file, delimiter="\t"))
        for row in rows:
            number = row.get("cluster_id") or row.get("id") or ""
            if not number.strip().isdigit():
                raise RecordingError(f"{path}: a row has no cluster_id; the table is damaged")
            kept = {
                ("group" if k in GROUP_NAMES else k): v
                for k, v in row.items()
                if k and v and k not in ("cluster_id", "id")
            }
            labels[int(number)] = kept | labels.get(int(number), {})
    return labels
