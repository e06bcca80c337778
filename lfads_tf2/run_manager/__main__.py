"""``lfads runs run FOLDER``, or ``python -m lfads_tf2.run_manager run FOLDER``."""

from __future__ import annotations

import argparse
import sys

from lfads_tf2.run_manager.queue.progress_table import format_table, run_row
from lfads_tf2.run_manager.queue.runs import find_run_folders, run_folders
from lfads_tf2.run_manager.queue.stages import DONE
from lfads_tf2.settings.arguments import Arguments, a_path, at_least


def gpu_numbers(text: str) -> list[int]:
    """Numbers of GPUs with commas between."""
    try:
        return [int(number) for number in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"needs numbers with commas between, such as 0,1, got {text!r}") from None


def main(argv: list[str]) -> int:
    """Runs or lists prepared runs. Exit code 0 when all of them are done, 1 when not.

    Raises:
        QueueError, ProgramNotFound: see ``find_run_folders`` and ``run_folders``.
    """
    parser = Arguments(prog="lfads runs")
    parts = parser.add_subparsers(dest="what", required=True)
    run = parts.add_parser("run", help="train and read out all runs of a folder that are not done")
    status = parts.add_parser("status", help="show the runs of a folder")
    for part in (run, status):
        part.add_argument("folder", type=a_path, help="a run collection's folder (or one run's)")
    run.add_argument("--max_parallel", type=at_least(1), help="most runs at the same time")
    gpus = run.add_mutually_exclusive_group()
    gpus.add_argument("--gpus", type=float, help="share of a GPU that a run takes, such as 0.5 (with Ray)")
    gpus.add_argument(
        "--gpu_list", dest="gpus", type=gpu_numbers, help="numbers of the GPUs to deal out, such as 0,1 (without Ray)"
    )
    run.add_argument("--cpus", type=at_least(1), help="cores a run")
    run.add_argument("--memory_gb", type=float, help="memory that Ray keeps free for a run")
    run.add_argument("--backend", choices=("auto", "ray", "local"), default="auto")
    run.add_argument("--address", help="a running Ray cluster: its address, or auto")
    run.add_argument("--retries", type=at_least(0), default=0, help="how often a failed run is started again")
    run.add_argument("--rerun", action="store_true", help="forget what is done")
    run.add_argument("--program", type=a_path, help="path of a script in place of the installed program")
    run.add_argument("--allow_own_parts", action="store_true", help="load classes (module:Class) that the runs name")
    arguments = vars(parser.parse_args(argv))
    folders = find_run_folders(arguments.pop("folder"))
    if arguments.pop("what") == "status":
        print(format_table([run_row(one) for one in folders]))
        return 0
    outcomes = run_folders(folders, **arguments)
    return 0 if all(outcome.state == DONE for outcome in outcomes) else 1


if __name__ == "__main__":
    from lfads_tf2.program.command_line import guarded

    sys.exit(guarded("lfads runs", main, sys.argv[1:]))
