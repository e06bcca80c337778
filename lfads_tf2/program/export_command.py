"""``lfads export``: rates, factors and inferred inputs of a run, in files of other programs.

  lfads export RUN --to nwb        a copy of each session's NWB file with the results as processed data in it
  lfads export RUN --to npz        arrays with their axes, for NumPy
  lfads export RUN --to csv        tables, for anything
  lfads export RUN --to nlb        a submission to the Neural Latents Benchmark

RUN is a run's folder, that of a search, or the data folder that holds one of them. A trained model whose rates were not
inferred yet is asked for them first. Overlapping windows are merged on the session's clock.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from lfads_tf2.program import kinds_command
from lfads_tf2.session_results import ResultsError, load_results
from lfads_tf2.session_results.benchmark_files import to_benchmark
from lfads_tf2.session_results.files_of_run import has_results
from lfads_tf2.session_results.nwb_copy import to_nwb
from lfads_tf2.session_results.results import SessionResults
from lfads_tf2.session_results.tables import to_csv, to_npz
from lfads_tf2.settings import run_folder
from lfads_tf2.settings.arguments import Arguments, a_path

log = logging.getLogger("lfads_tf2")


def parser() -> Arguments:
    """The command's options."""
    found = Arguments("lfads export", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    found.add_argument("run", type=a_path, metavar="RUN", help="folder of a run, of a search, or of the data")
    found.add_argument("--to", required=True, choices=("nwb", "nlb", "npz", "csv"), help="kind of file")
    found.add_argument("--out", type=a_path, help="folder for the files (export in the run's folder)")
    found.add_argument("--session", action="append", help="only this session; may be given several times")
    found.add_argument("--data_dir", type=a_path, help="folder of the session files, where it was moved")
    found.add_argument("--kind", choices=("posterior_sample_and_average", "posterior_push_mean"), help="of inference")
    found.add_argument("--bin_ms", type=float, help="bin width, where the files do not say")
    merging = found.add_mutually_exclusive_group()
    merging.add_argument("--merge", action="store_true", default=None, help="npz, csv: on the session's clock")
    merging.add_argument("--trials", dest="merge", action="store_false", help="npz, csv: by trial")
    found.add_argument("--long", action="store_true", help="csv: a row for each value")
    found.add_argument("--dataset", help="nlb: the benchmark's name of the data set (the session's name)")
    nwb = found.add_argument_group("nwb")
    nwb.add_argument("--source", type=a_path, help="the NWB file that was imported, where it was moved")
    nwb.add_argument("--any-source", action="store_true", help="even if its content has changed since")
    nwb.add_argument("--allow-outside-files", action="store_true", help="follow links out of the recording's folder")
    nwb.add_argument("--prefix", default="lfads", help="of the names in the file (%(default)s)")
    nwb.add_argument("--session-start-time", metavar="ISO", help="when the session began, for a new file")
    nwb.add_argument("--subject", action="append", default=[], metavar="KEY=VALUE",
                     help="for a new file: subject_id, species, sex, age; may be given several times")  # fmt: skip
    return found


def main(argv: list[str]) -> int:
    """Runs the command and returns its exit code.

    Raises:
        ResultsError: there are no results, or they cannot be written as asked.
    """
    options = parser().parse_args(argv)
    facts = dict(_fact(text) for text in options.subject)
    _infer_where_needed(options.run, options.data_dir, options.kind)
    results = load_results(options.run, options.data_dir, options.kind, options.bin_ms)
    chosen = {name: results[name] for name in options.session} if options.session else dict(results)
    if options.source is not None and len(chosen) > 1:
        raise ResultsError(f"--source is of one session; choose one of {', '.join(chosen)} with --session")
    folder = options.out or results.folder / "export"
    folder.mkdir(parents=True, exist_ok=True)
    for name, one in chosen.items():
        for path in _write(one, folder, name.removesuffix(".h5"), options, facts):
            log.info("Wrote %s", path)
    return 0


def _write(one: SessionResults, folder: Path, stem: str, options: argparse.Namespace, subject: dict) -> list[Path]:
    if options.to == "nwb":
        return [to_nwb(
            one, folder / f"{stem}.nwb", options.source, options.any_source, options.session_start_time, subject,
            options.prefix, options.allow_outside_files,
        )]  # fmt: skip
    if options.to == "nlb":
        return [to_benchmark(one, folder / "submission.h5", options.dataset or stem)]
    if options.to == "npz":
        return [to_npz(one, folder / f"{stem}.npz", options.merge)]
    return [
        to_csv(one, folder / f"{stem}_{quantity}.csv", quantity, options.long, options.merge)
        for quantity in one.quantities
    ]


def _fact(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals:
        raise ResultsError(f"--subject must be KEY=VALUE such as subject_id=M1, got {text!r}")
    return key.strip(), value.strip()


def _infer_where_needed(run: Path, data_dir: Path | None, kind: str | None) -> None:
    """Infers the rates of a trained model that has none."""
    if has_results(run):
        return
    trained = run_folder.models_in(run)
    if len(trained) != 1:
        return
    record = run_folder.read(trained[0])
    recorded = "" if record is None else record.hyperparameters.get("data_dir", "")
    stem = "" if record is None else record.hyperparameters.get("data_filename_stem", "")
    data_dir = data_dir or (Path(recorded) if recorded and Path(recorded).is_dir() else trained[0].parent)
    log.info("There are no results in %s yet: inferring them.", trained[0])
    words = [f"--data_dir={data_dir}", f"--lfads_save_dir={trained[0]}", f"--data_filename_stem={stem}"]
    kinds_command.run(words, kind or "posterior_sample_and_average", "infer")
