"""The subcommands that take the hyperparameters' flags: command line -> hyperparameters -> one of the five kinds."""

from __future__ import annotations

import logging

from lfads_tf2.program.screen import without_startup_lines
from lfads_tf2.settings import flags
from lfads_tf2.settings.combination import combine

log = logging.getLogger("lfads_tf2")
HELP = ("--help", "-h", "-help", "--helpfull", "--helpshort")


def run(argv: list[str], kind: str, name: str) -> int:
    """Runs one command and returns its exit code.

    Args:
        argv: words after the command's name.
        kind: of the five; empty: ``--kind`` says which.
        name: of the subcommand; empty for ``run_lfads.py``.

    Raises:
        LFADSError: the settings or the data cannot be used, or the command cannot be carried out.
    """
    if any(word in HELP for word in argv):
        print(flags.help_text(kind, name))
        return 0
    given, ignored = flags.parse(argv, kind)
    hp, record = combine(given)
    if ignored:
        log.info("Ignored, as they only changed how the original was debugged: --%s", ", --".join(ignored))

    from lfads_tf2.data import read_sessions
    from lfads_tf2.program.auto_settings import auto_settings

    settle = auto_settings(given, record)
    sessions = read_sessions(hp, settle)
    hp = hp if settle is None else settle.said()
    with without_startup_lines():
        from lfads_tf2.program.kinds import KINDS
    chosen = {"choices": settle.lines} if settle is not None and hp.kind == "train" else {}
    KINDS[hp.kind](hp, sessions, record, **chosen)
    return 0
