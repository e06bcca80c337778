#!/usr/bin/env python3
"""The LFADS program: command line -> hyperparameters -> one of the five kinds."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import flags
from lfads_tf2.errors import SettingsError
from lfads_tf2.program.screen import show_messages, without_startup_lines
from lfads_tf2.settings.combination import combine


def fail(message: object) -> int:
    """Shows what is wrong and what to do; the exit code of every refused command."""
    print(f"run_lfads.py: error:\n{message}", file=sys.stderr)
    return 2


def main(argv: list[str]) -> int:
    """Runs one command and returns its exit code."""
    if any(argument in ("--help", "-h", "-help", "--helpfull", "--helpshort") for argument in argv):
        print(flags.help_text())
        return 0
    show_messages()
    log = logging.getLogger("lfads_tf2")
    try:
        given, ignored = flags.parse(argv)
        hp, memory = combine(given)
    except SettingsError as error:
        return fail(error)
    if ignored:
        log.info("Ignored, as they only changed how the original was debugged: --%s", ", --".join(ignored))

    from lfads_tf2.data import DataError, read_sessions
    from lfads_tf2.program.auto_settings import auto_settings

    settle = auto_settings(given, memory)
    try:
        sessions = read_sessions(hp, settle)
        hp = hp if settle is None else settle.recorded()
    except (DataError, SettingsError) as error:
        return fail(error)

    with without_startup_lines():
        from lfads_tf2.program.kinds import KINDS, RunError

    try:
        KINDS[hp.kind](hp, sessions, memory)
    except (RunError, SettingsError) as error:
        return fail(error)
    except KeyboardInterrupt:
        # As shells report a program that Ctrl-C ended, so that scripts do not go on as if it were done.
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
