"""Text about a run collection: the overview that is printed, and summary.txt."""

from __future__ import annotations

from lfads_tf2.run_manager.protocols import PlannedCollection

_LINE = ["", "  ------------------------", ""]


def overview(collection: PlannedCollection) -> str:
    """Runs, parameters and RunSpecs, a line each."""
    lines = [
        _title(collection), _datasets(collection), f"  Path: {collection.path}", "",
        f"  {len(collection.params)} parameter settings",
    ]  # fmt: skip
    lines += [f"  {p.header(i)} {p.differences}" for i, p in enumerate(collection.params, start=1)]
    lines += ["", f"  {len(collection.run_specs)} run specifications"]
    return "\n".join(lines + [f"  [{i:2d}] {spec!r}" for i, spec in enumerate(collection.run_specs, start=1)])


def summary_text(collection: PlannedCollection) -> str:
    """Which datasets are in which run, and every value of each set of parameters."""
    lines = [_title(collection), f"  Path: {collection.path}", _datasets(collection), *_LINE]
    lines += [f"  {len(collection.run_specs)} Run Specifications:", ""]
    for number, spec in enumerate(collection.run_specs, start=1):
        lines.append(f"    [runSpec {number}] {spec!r}")
        lines += [f"      [ds {d.index_in_collection + 1}] {d!r}" for d in spec.datasets] + [""]
    lines += [*_LINE[1:], f"  {len(collection.params)} Parameter Settings:", ""]
    for number, params in enumerate(collection.params, start=1):
        lines += [f"    {params.header(number)}", f"      Diff: {params.differences}", ""]
        lines += [*(f"      {line}" for line in params.lines()), ""]
    return "\n".join(lines)


def _title(collection: PlannedCollection) -> str:
    return f'{type(collection).__name__} "{collection.name}" ({collection.runs.size} runs total)'


def _datasets(collection: PlannedCollection) -> str:
    datasets = collection.dataset_collection
    return f'  Dataset Collection "{datasets.name}" ({len(datasets)} datasets) in {datasets.path}'
