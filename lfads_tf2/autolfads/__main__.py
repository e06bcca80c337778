"""``lfads auto DATA_FOLDER --preset=small``, or ``python -m lfads_tf2.autolfads``."""

from __future__ import annotations

import logging
import sys

from lfads_tf2.program.screen import without_startup_lines


def main(argv: list[str]) -> int:
    """Runs one search and returns its exit code.

    Raises:
        LFADSError: the configuration or the data cannot be used, or the search cannot be carried out.
    """
    from lfads_tf2.autolfads.command_line import parse

    config, arguments = parse(argv)
    from lfads_tf2.autolfads.run import run_search

    with without_startup_lines():
        import tensorflow  # noqa: F401

    result = run_search(
        config, mode=arguments.population_mode, resume=arguments.resume, ray_address=arguments.ray_address
    )
    logging.getLogger("lfads_tf2").info("Search ended: %s.", result.reason)
    return 130 if result.reason == "interrupted" else 0


if __name__ == "__main__":
    from lfads_tf2.program.command_line import guarded

    sys.exit(guarded("lfads auto", main, sys.argv[1:]))
