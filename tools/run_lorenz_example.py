"""The Lorenz example of the run manager from data to figures: python tools/run_lorenz_example.py --help"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # runs from a checkout without installing

import numpy as np

from lfads_tf2.figures.drawing import save
from lfads_tf2.figures.trials import Scale, traces_figure
from lfads_tf2.run_manager import Dataset, DatasetCollection, RunCollection, RunParams, RunSpec
from lfads_tf2.synthetic.presets import LorenzSettings, add_options, chosen
from lfads_tf2.synthetic.spikes import lorenz_recordings

# The run manager's demonstration, but for the bins of 10 ms in which our spikes are drawn.
PARAMS = {
    "c_co_dim": 0, "c_batch_size": 150, "c_factors_dim": 8, "c_gen_dim": 64, "c_ic_enc_dim": 64,
    "c_learning_rate_stop": 1e-3, "useAlignmentMatrix": True, "num_samples_posterior": 64,
}  # fmt: skip


def make_datasets(settings: LorenzSettings, folder: Path) -> DatasetCollection:
    """One .npz file a session, as a lab would have them, and the collection of them."""
    folder.mkdir(parents=True, exist_ok=True)
    datasets = DatasetCollection(folder, "lorenz_example")
    for number, recording in enumerate(lorenz_recordings(settings), start=1):
        np.savez_compressed(
            folder / f"dataset{number:03d}.npz",
            counts=recording.data.swapaxes(1, 2),  # trials x channels x time
            time_vec_ms=np.arange(settings.bins) * settings.bin_ms,
            condition_id=recording.conditions + 1,
            truth=recording.truth[recording.conditions].swapaxes(1, 2),
        )
        Dataset(datasets, f"dataset{number:03d}.npz")
    return datasets


def make_runs(
    datasets: DatasetCollection, folder: Path, gen_dims: list[int], bin_ms: float, more: dict
) -> RunCollection:
    """Each session alone and all stitched, for every size of the generator."""
    runs = RunCollection(folder, "lorenz_runs", datasets)
    runs.add_run_spec([RunSpec(d.single_run_name, datasets, d) for d in datasets.datasets])
    runs.add_run_spec(RunSpec("all", datasets))
    params = RunParams(**(PARAMS | {"spikeBinMs": bin_ms} | more))
    runs.add_params(params.generate_sweep("c_gen_dim", gen_dims))
    return runs


def draw(runs: RunCollection, folder: Path) -> list[Path]:
    """The comparison of all runs, and the stitched run's rates of each session."""
    folder.mkdir(parents=True, exist_ok=True)
    compared = runs.compare()
    print(compared.table())
    save(compared.figure(), folder / "comparison.png")
    written = [folder / "comparison.png"]
    for name, means in runs.find_runs("all", 0)[0, 0].load_posterior_means().items():
        held_out, per_bin = means.is_valid, means.bin_ms / 1000.0
        figure = traces_figure(
            means.counts[held_out],
            means.rates[held_out] * per_bin,
            Scale(means.bin_ms),
            means.truth[held_out] * per_bin,
        )
        save(figure, folder / f"rates_{name}.png")
        written.append(folder / f"rates_{name}.png")
    return written


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description="Makes Lorenz sessions, prepares single-session and stitched runs for several sizes of the "
        "generator, runs them, reads the results and draws figures. Started again, it does what is missing.",
        allow_abbrev=False,
    )
    add_options(parser, LorenzSettings)
    parser.add_argument("--output_dir", type=Path, default=Path("lorenz_example"))
    parser.add_argument("--gen_dims", type=int, nargs="+", default=[32, 64, 96], help="sizes of the generator to sweep")
    parser.add_argument(
        "--set", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"), help="any run parameter"
    )
    parser.add_argument("--max_parallel", type=int, help="most runs at the same time")
    parser.add_argument("--gpus", type=float, help="share of a GPU that a run takes (with Ray)")
    parser.add_argument("--backend", choices=("auto", "ray", "local"), default="auto")
    arguments = parser.parse_args(argv)
    try:
        settings = chosen(arguments, LorenzSettings())
        more = {name: _number(value) for name, value in arguments.set}
        datasets = make_datasets(settings, arguments.output_dir / "datasets")
        runs = make_runs(datasets, arguments.output_dir, arguments.gen_dims, settings.bin_ms, more)
    except ValueError as problem:
        parser.error(str(problem))
    (arguments.output_dir / "settings.txt").write_text(f"{dataclasses.asdict(settings)}\n")
    runs.prepare_for_lfads()
    runs.write_shell_scripts()
    print(runs)
    outcomes = runs.run(max_parallel=arguments.max_parallel, gpus=arguments.gpus, backend=arguments.backend)
    if any(outcome.state != "done" for outcome in outcomes):
        return 1
    for path in draw(runs, arguments.output_dir / "figures"):
        print(path)
    return 0


def _number(text: str) -> object:
    """A parameter's value from the command line."""
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


if __name__ == "__main__":
    sys.exit(main())
