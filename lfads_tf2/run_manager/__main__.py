"""``lfads runs run FOLDER``, or ``python -m lfads_tf2.run_manager run FOLDER``."""

from __future__ import annotations

import argparse
import logging
import sys

from lfads_tf2.run_manager.queue.commands import ProgramNotFound
from lfads_tf2.run_manager.queue.progress_table import format_table, run_row
from lfads_tf2.run_manager.queue.runs import QueueError, find_run_folders, run_folders
from lfads_tf2.run_manager.queue.stages import DONE


def main(argv: list[str] | None = None) -> int:
    """Runs or lists prepared runs. Exit code 0 when all of them are done, 1 when not, 2 when refused."""
    parser = argparse.ArgumentParser(prog="lfads runs", allow_abbrev=False)
    parts = parser.add_subparsers(dest="what", required=True)
    run = parts.add_parser("run", help="train and read out all runs of a folder that are not done", allow_abbrev=False)
    status = parts.add_parser("status", help="show the runs of a folder", allow_abbrev=False)
    for part in (run, status):
        part.add_argument("folder", help="a run collection's folder (or one run's)")
    run.add_argument("--max_parallel", type=int, help="most runs at the same time")
    run.add_argument("--gpus", type=float, help="share of a GPU that a run takes, such as 0.5 (with Ray)")
    run.add_argument("--gpu_list", help="numbers of the GPUs to deal out, such as 0,1 (without Ray)")
    run.add_argument("--cpus", type=int, help="cores a run")
    run.add_argument("--memory_gb", type=float, help="memory that Ray keeps free for a run")
    run.add_argument("--backend", choices=("auto", "ray", "local"), default="auto")
    run.add_argument("--address", help="a running Ray cluster: its address, or auto")
    run.add_argument("--retries", type=int, default=0, help="how often a failed run is started again")
    run.add_argument("--rerun", action="store_true", help="forget what is done")
    run.add_argument("--program", help="path of a script in place of the installed program")
    arguments = vars(parser.parse_args(argv))
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    what, folder = arguments.pop("what"), arguments.pop("folder")
    try:
        folders = find_run_folders(folder)
        if what == "status":
            print(format_table([run_row(one) for one in folders]))
            return 0
        devices = arguments.pop("gpu_list")
        if devices:
            arguments["gpus"] = [int(number) for number in devices.split(",")]
        outcomes = run_folders(folders, **arguments)
    except (QueueError, ProgramNotFound, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0 if all(outcome.state == DONE for outcome in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
