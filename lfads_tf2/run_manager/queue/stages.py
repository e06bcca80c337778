"""One run, stage after stage, each a process of the program with its own log; what happened is noted in the folder."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple

from lfads_tf2.errors import LFADSError, RunError
from lfads_tf2.files import write_text
from lfads_tf2.run_manager.queue import commands
from lfads_tf2.settings.plugins import names_a_class

STATUS_FILE, DONE_FILE, LOCK_FILE = "lfads.status.json", "lfads.done", "lfads.lock"
LAST_LINES = 10
# After Ctrl-C training saves the last complete epoch before it ends.
SECONDS_TO_STOP = 60.0
POLL_SECONDS = 0.2
PENDING, RUNNING, DONE, FAILED, STOPPED, BUSY = "pending", "running", "done", "failed", "stopped", "busy"


class Outcome(NamedTuple):
    """How one run ended."""

    run: str
    state: str  # done, failed, stopped, or busy (another process is at it)
    message: str = ""


class StageOptions(NamedTuple):
    """How stages are run."""

    program: tuple[str, ...]  # words that start it, after the interpreter
    python: str
    extra_flags: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    allow_own_parts: bool = False  # load classes (module:Class) that a run's folder names


def read_status(folder: Path) -> dict[str, Any]:
    """What is noted about a run; pending when nothing is."""
    try:
        status = json.loads((folder / STATUS_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        status = None
    return status if isinstance(status, dict) else {"state": PENDING, "finished_stages": []}


def is_done(folder: Path) -> bool:
    """Whether all stages ended well, the posterior stage as it is asked for now; not where that cannot be read."""
    try:
        return (folder / DONE_FILE).exists() and not stages_left(folder)
    except commands.CommandsError:
        return False


def stages_left(folder: Path) -> dict[str, list[str]]:
    """Stages that have not ended well with their present flags, in order.

    A finished run keeps its training, whatever flags later versions add; only the posterior stage, whose kind and
    number of samples make no other run, is repeated when they change.

    Raises:
        CommandsError: what is to be done cannot be read.
    """
    stages = commands.read_commands(folder)["stages"]
    finished = _finished(folder)
    if (folder / DONE_FILE).exists():
        again = "posterior_mean_sample"
        changed = again in finished and finished[again] != stages.get(again)
        return {again: stages[again]} if changed else {}
    return {stage: flags for stage, flags in stages.items() if finished.get(stage) != flags}


def stage_log(folder: Path, stage: str) -> Path:
    """Log of one stage."""
    return folder / f"lfads_{stage}.out"


def run_stages(folder: Path, options: StageOptions, stop: threading.Event | None = None) -> Outcome:
    """Runs what is left of a run's stages and notes how it went.

    A stage that ended well is not repeated unless its command has changed; training goes on from its checkpoint.
    The done marker is written only when training, posterior means and export have all exited with 0. Whatever is wrong
    with one run's folder is its own outcome: the queue's other runs go on.

    Args:
        folder: of the run. stop: set to end early.
    """
    try:
        return _run_stages(Path(folder), options, stop)
    except (LFADSError, OSError) as error:
        return Outcome(Path(folder).name, FAILED, f"cannot be run: {error}")


def _run_stages(folder: Path, options: StageOptions, stop: threading.Event | None) -> Outcome:
    with _lock(folder) as lock:
        if lock is None:
            return Outcome(folder.name, BUSY, "another process is running it")
        if is_done(folder):
            return Outcome(folder.name, DONE)
        status = {"state": RUNNING, "finished_stages": _finished(folder), "pid": os.getpid(), "started": time.time()}
        commands.read_commands(folder, say_changes=True)
        left = stages_left(folder)
        if not options.allow_own_parts:
            _refuse_own_parts(left)
        (folder / DONE_FILE).unlink(missing_ok=True)
        outcome = Outcome(folder.name, DONE)
        try:
            for stage, flags in left.items():
                write_status(folder, status | {"stage": stage})
                code = _run_stage(folder, stage, flags, options, stop, lock)
                if code is None:
                    outcome = Outcome(folder.name, STOPPED, f"stopped during {stage}")
                elif code:
                    last = _last_lines(stage_log(folder, stage))
                    outcome = Outcome(
                        folder.name, FAILED, f"{stage} {_ended(code)}; the last lines of its log:\n{last}"
                    )
                if code != 0:
                    break
                status["finished_stages"] = status["finished_stages"] | {stage: flags}
        except KeyboardInterrupt:
            outcome = Outcome(folder.name, STOPPED, "interrupted")
        except OSError as error:
            outcome = Outcome(folder.name, FAILED, f"cannot be run: {error}")
        status.pop("pid")
        write_status(folder, status | {"state": outcome.state, "message": outcome.message, "ended": time.time()})
        if outcome.state == DONE:
            write_text(folder / DONE_FILE, time.strftime("%Y-%m-%d %H:%M:%S\n"))
        return outcome


def _refuse_own_parts(left: dict[str, list[str]]) -> None:
    """Raises RunError where a folder, which may be somebody else's, names code to be loaded."""
    named = {flag for flags in left.values() for flag in flags if names_a_class(flag)}
    if named:
        raise RunError(
            f"{commands.COMMANDS_FILE} names code of its own, {', '.join(sorted(named))}, which is loaded only if you "
            "allow it: --allow_own_parts (allow_own_parts=True); do so only if you trust where the folder comes from"
        )


def _finished(folder: Path) -> dict[str, list[str]]:
    finished = read_status(folder).get("finished_stages")
    return finished if isinstance(finished, dict) else {}


def write_status(folder: Path, status: dict[str, Any]) -> None:
    """Notes how a run stands."""
    write_text(folder / STATUS_FILE, json.dumps(status, indent=1))


def _ended(code: int) -> str:
    return f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"


def _last_lines(log: Path) -> str:
    try:
        text = log.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "(no log)"
    # A progress bar rewrites one line over and over.
    lines = [line.rsplit("\r", 1)[-1].rstrip() for line in text.rstrip().split("\n")]
    return "\n".join(f"  {line}" for line in lines[-LAST_LINES:])


def stage_command(folder: Path, stage: str, flags: list[str], options: StageOptions) -> list[str]:
    """The process's arguments. Without a lowest-validation checkpoint the program picks the newest."""
    if not (folder / "lfadsOutput" / "checkpoint_lve").exists():
        flags = [flag for flag in flags if flag != commands.LOWEST_VALIDATION]
    return [options.python, *options.program, *commands.folder_flags(folder.absolute()), *flags, *options.extra_flags]


def _run_stage(folder: Path, stage: str, flags, options: StageOptions, stop, lock: int) -> int | None:
    """Exit code of one stage; None when it was stopped."""
    command = stage_command(folder, stage, flags, options)
    environment = commands.child_environment() | {"MPLBACKEND": "Agg"} | dict(options.environment)
    with stage_log(folder, stage).open("ab") as log:
        log.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {shlex.join(command)}\n".encode())
        log.flush()
        process = subprocess.Popen(
            command, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=environment,
            # In a session of its own Ctrl-C reaches only us, and we stop it in good order. It keeps the lock as long
            # as it lives, whatever becomes of us.
            start_new_session=True, pass_fds=(lock,), preexec_fn=_first_in_child(),
        )  # fmt: skip
        try:
            while process.poll() is None:
                if stop is not None and stop.is_set():
                    _end(process)
                    return None
                time.sleep(POLL_SECONDS)
        except BaseException:
            _end(process)
            raise
    return process.returncode


def _end(process: subprocess.Popen) -> None:
    """Ends a process as Ctrl-C does, so that training saves; kills it when it does not end."""
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGINT)
    try:
        process.wait(SECONDS_TO_STOP)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        process.kill()
        process.wait()


def _first_in_child():
    """What a new process does first: listen to Ctrl-C, and on Linux ask to be ended when its parent is killed.

    Ray's workers block Ctrl-C, shells in the background ignore it, and what they start would inherit that.
    """
    if os.name != "posix":
        return None
    libc = ctypes.CDLL(None)
    default_action, set_death_signal = None, 1

    def prepare() -> None:
        libc.signal(signal.SIGINT, default_action)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
        if sys.platform == "linux":
            libc.prctl(set_death_signal, signal.SIGTERM)

    return prepare


@contextlib.contextmanager
def _lock(folder: Path):
    """Descriptor of the run's lock, or None when another process has it. The system frees it whatever happens."""
    descriptor = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except ModuleNotFoundError:
            pass  # no such locks on Windows: two queues on one folder are the user's to avoid
        except OSError:
            yield None
            return
        yield descriptor
    finally:
        os.close(descriptor)
