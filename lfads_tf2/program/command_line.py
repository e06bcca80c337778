"""The command ``lfads``: its subcommands, and how every one of them ends.

Nothing heavy is imported before a subcommand needs it, so that help and mistakes are answered at once.
"""

from __future__ import annotations

import atexit
import errno
import gc
import importlib
import os
import re
import sys
import tempfile
import traceback
from collections.abc import Callable
from typing import NamedTuple

from lfads_tf2.errors import LFADSError, SettingsError, did_you_mean
from lfads_tf2.hyperparameters import SUBCOMMANDS
from lfads_tf2.program.screen import dispensable_messages, read_no_more, show_messages


class Command(NamedTuple):
    """A subcommand: ``handler`` is the module and function that gets the words after its name."""

    summary: str
    handler: str

    def load(self, name: str) -> Callable[[list[str]], int]:
        """The function that runs it."""
        module, _, function = self.handler.partition(":")
        run = getattr(importlib.import_module(f"lfads_tf2.{module}"), function)
        kind = {command: kind for kind, command in SUBCOMMANDS.items()}.get(name)
        return run if kind is None else lambda argv: run(argv, kind, name)


# Takes the hyperparameters' flags and does one of the five kinds.
_KINDS = "program.kinds_command:run"
COMMANDS = {
    "import": Command("cut a lab's own file into trials for LFADS", "recordings.command:main"),
    "train": Command("train a model on the sessions of a data folder", _KINDS),
    "infer": Command("average posterior samples: the rates of every trial", _KINDS),
    "push-mean": Command("push posterior means through the model: faster, less exact", _KINDS),
    "sample": Command("draw trials from the prior", _KINDS),
    "export-params": Command("write every weight under the original program's name", _KINDS),
    "export": Command("write rates and factors into NWB, NLB, npz or csv files", "program.export_command:main"),
    "auto": Command("AutoLFADS: search hyperparameters while a population trains", "autolfads.__main__:main"),
    "runs": Command("run or list the prepared runs of a run collection", "run_manager.__main__:main"),
    "evaluate": Command("score results as the Neural Latents Benchmark does", "program.evaluate_command:main"),
    "add-session": Command("add a session to a trained model", "run_manager.add_session_command:main"),
    "online": Command("step a trained model one bin at a time", "online.command:main"),
    "simulate": Command("make synthetic spikes with known rates", "synthetic.command:main"),
    "benchmark": Command("time training and inference on this machine", "benchmark.command:main"),
}
# What may go wrong with any disk, on any machine.
DISK_ERRORS = {
    errno.ENOSPC: "free some space there", errno.EDQUOT: "the quota is used up: free some space there",
    errno.EFBIG: "files may not become that large there; choose another folder",
    errno.EROFS: "that disk is read-only; choose another folder",
    errno.EACCES: "change its permissions, or choose another folder",
    errno.EPERM: "change its permissions, or choose another folder",
    errno.ENOENT: "a folder or file has vanished; make it again", errno.ENOTDIR: "a file is where a folder must be",
    errno.EISDIR: "a folder is where a file must be", errno.EIO: "the disk or the network to it fails",
    errno.ESTALE: "the network disk has gone; mount it again", errno.EADDRINUSE: "another program uses that address",
}  # fmt: skip
REFUSED, FAULT, INTERRUPTED = 2, 1, 130
# Imports and traces make a million objects that stay; looking for garbage among them every 700 takes over a second. All
# of them are looked through every 900,000, since a graph that nobody needs any more is garbage of 45 MB.
COLLECTIONS = 100_000, 2, 2


def main(argv: list[str] | None = None) -> int:
    """Runs ``lfads`` (``sys.argv`` when no words are given) and returns its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    name, rest = (words[0], words[1:]) if words else ("--help", [])
    if name in COMMANDS:
        return guarded(f"lfads {name}", lambda left: COMMANDS[name].load(name)(left), rest)
    if name.startswith("-") and name not in ("--help", "-h", "--version"):
        # As the original program is called: --kind says what to do.
        return run_lfads(words)
    return guarded("lfads", lambda _: _about(name), rest)


def _about(word: str) -> int:
    """Answers what is no subcommand."""
    if word == "--version":
        from lfads_tf2 import __version__

        print(f"lfads {__version__}")
    elif word in ("--help", "-h"):
        print(overview())
    else:
        hint = did_you_mean(word, COMMANDS)
        raise SettingsError([f"there is no command {word!r}{hint} (lfads --help lists them)"])
    return 0


def run_lfads(argv: list[str]) -> int:
    """A kind by ``--kind``, as ``run_lfads.py`` has it, or a subcommand by its name; returns the exit code."""
    if argv and argv[0] in COMMANDS:
        return main(argv)

    def run(words: list[str]) -> int:
        from lfads_tf2.program import kinds_command

        return kinds_command.run(words, "", "")

    return guarded("run_lfads.py", run, argv)


def overview() -> str:
    """What there is."""
    width = max(map(len, COMMANDS))
    lines = ["LFADS: single-trial firing rates from spike counts.", ""]
    lines += ["  lfads COMMAND [DATA_FOLDER] [--name=value ...]", ""]
    lines += [f"  {name:{width}}  {command.summary}" for name, command in COMMANDS.items()]
    return "\n".join([*lines, "", "lfads COMMAND --help shows a command's options; --debug shows where a fault arose."])


def guarded(program: str, run: Callable[[list[str]], int], argv: list[str]) -> int:
    """Runs a command; whatever goes wrong ends on one screen, with the trace only where ``--debug`` asks for it."""
    debug, words = "--debug" in argv, [word for word in argv if word != "--debug"]
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    gc.set_threshold(*COLLECTIONS)
    atexit.register(gc.freeze)  # the interpreter looks at each of them once more at its end, which takes as long again
    with dispensable_messages():
        show_messages()
        return _ended(program, run, words, debug)


def _ended(program: str, run: Callable[[list[str]], int], words: list[str], debug: bool) -> int:
    """The exit code of a command, after its last message."""
    try:
        try:
            code = run(words)
        except SystemExit as end:  # as argparse ends after its help
            code = int(end.code or 0)
        if sys.stdout is not None:
            sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        # As shells report a program that Ctrl-C ended, so that scripts do not go on as if it were done.
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has seen enough; the interpreter must not stumble over it again at its end.
        read_no_more(sys.stdout)
        return 0
    except Exception as error:
        if debug:
            traceback.print_exc()
        said = foreseen(error)
        if said is not None:
            print(f"{program}: error:\n{said}", file=sys.stderr)
            return REFUSED
        where = "" if debug else f"; the trace is in {_keep_trace()} (--debug shows it)"
        print(f"{program}: a fault in the program: {type(error).__name__}: {error!s:.500}{where}", file=sys.stderr)
        return FAULT


def foreseen(error: BaseException) -> str | None:
    """What to tell a person of an error that is not a fault in the program; None for one that is."""
    if isinstance(error, LFADSError):
        return str(error)
    # HDF5 gives the system's number in its text alone.
    said = re.search(r"errno = (\d+)", str(error)) if isinstance(error, OSError | RuntimeError) else None
    number = int(said[1]) if said else getattr(error, "errno", None)
    if isinstance(error, OSError | RuntimeError) and number in DISK_ERRORS:
        place = f" {error.filename}:" if getattr(error, "filename", None) else ""
        return f"cannot go on:{place} {os.strerror(number)}; {DISK_ERRORS[number]}. What was whole before is kept."
    if isinstance(error, MemoryError):
        return f"memory ran out ({error}); a smaller --batch_size needs less" if str(error) else "memory ran out"
    if type(error).__module__.startswith("tensorflow.python.framework.errors"):
        lines = [line for line in str(error).splitlines() if line.strip()]
        first = lines[0] if lines else type(error).__name__
        if any(word in str(error) for word in ("No space left", "Read-only", "Permission denied", "File too large")):
            return f"cannot go on: {first:.400}. What was whole before is kept."
    return None


def _keep_trace() -> str:
    with tempfile.NamedTemporaryFile("w", prefix="lfads_", suffix=".log", delete=False, encoding="utf-8") as file:
        traceback.print_exc(file=file)
    return file.name
