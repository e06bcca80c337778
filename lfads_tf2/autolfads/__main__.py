"""``python -m lfads_tf2.autolfads --preset=small --data_dir=DIR``"""

from __future__ import annotations

import logging
import os
import sys

from lfads_tf2.errors import SettingsError
from lfads_tf2.program.screen import show_messages, without_startup_lines


def fail(message: object) -> int:
    """Shows what is wrong and what to do; the exit code of every refused command."""
    print(f"autolfads: error:\n{message}", file=sys.stderr)
    return 2


def main(argv: list[str]) -> int:
    """Runs one search and returns its exit code."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    show_messages()
    from lfads_tf2.autolfads.command_line import parse

    try:
        config, arguments = parse(argv)
    except SettingsError as error:
        return fail(error)
    from lfads_tf2.autolfads.population import SearchFailed
    from lfads_tf2.autolfads.run import run_search
    from lfads_tf2.data import DataError

    with without_startup_lines():
        import tensorflow  # noqa: F401

    try:
        result = run_search(
            config, mode=arguments.population_mode, resume=arguments.resume, ray_address=arguments.ray_address
        )
    except (SettingsError, DataError, SearchFailed) as error:
        return fail(error)
    logging.getLogger("lfads_tf2").info("Search ended: %s.", result.reason)
    return 130 if result.reason == "interrupted" else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
