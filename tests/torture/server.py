"""Commands of the program, each in a process of its own that need not import TensorFlow again.

A server imports everything once and forks for each command, before any operation of TensorFlow has run: what starts
threads then starts them in the child. Functions run eagerly there, since tracing would take most of an attempt.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
ADDRESS = "LFADS_TORTURE_SERVER"  # environment variable: where ``stage.py`` finds the server
SECONDS = 300.0


class Ended(NamedTuple):
    """How a command ended."""

    code: int  # negative: by this signal
    hang: bool
    said: str  # standard output and error
    seconds: float

    @property
    def broken(self) -> str:
        """What was not as promised about it; empty if nothing."""
        if self.hang:
            return "hang"
        if self.code < 0:
            return "signal"
        if "Traceback (most recent" in self.said or "a fault in the program" in self.said or self.code not in (0, 1, 2):
            return "traceback"
        if self.code and not self.said.strip():
            return "nothing said"
        return "too long" if self.code and len(self.said.splitlines()) > 60 else ""


class Server:
    """Runs commands.

    Args:
        folder: for its own files.
    """

    def __init__(self, folder: Path):
        self.folder, self.count = folder, 0
        # A name of Linux's own, and not a path, which may be too long for one.
        self.name = f"lfads-torture-{os.getpid()}-{secrets.token_hex(4)}"
        environment = os.environ | {
            "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}", "TF_CPP_MIN_LOG_LEVEL": "3", ADDRESS: self.name,
            "TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1", "CUDA_VISIBLE_DEVICES": "-1",
        }  # fmt: skip
        self.process = subprocess.Popen(
            [sys.executable, __file__, self.name], env=environment, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        if self.process.stdout.readline() != b"ready\n":
            raise RuntimeError("the server for commands does not start")

    def start(self, words: list, cwd: Path | None = None, **how) -> socket.socket:
        """Starts a command; ``how``: ``kill`` (signal, seconds), ``largest_file`` (bytes), ``environment``."""
        self.count += 1
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(f"\0{self.name}")
        log = self.folder / f"said{self.count}"
        log.touch()
        request = {"words": list(map(str, words)), "cwd": str(cwd or self.folder), "log": str(log)} | how
        connection.sendall(json.dumps(request).encode() + b"\n")
        return connection

    def end(self, connection: socket.socket) -> Ended:
        """How a command that was started ends."""
        with connection, connection.makefile() as answer:
            found = json.loads(answer.readline())
        log = Path(found.pop("log"))
        said = log.read_text(encoding="utf-8", errors="replace")
        log.unlink()
        return Ended(said=said, **found)

    def run(self, words: list, cwd: Path | None = None, **how) -> Ended:
        """Runs a command to its end; arguments as ``start``."""
        return self.end(self.start(words, cwd, **how))

    def close(self) -> None:
        """Ends the server; commands end with their connections."""
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


def _command(request: dict) -> int:
    """In a process of its own: one command, to its exit code."""
    import tempfile

    import tensorflow as tf

    os.setsid()
    log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for stream in (1, 2):
        os.dup2(log, stream)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.chdir(request["cwd"])
    os.environ.update(request.get("environment", {}))
    tempfile.tempdir = None
    if limit := request.get("largest_file"):
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    if request["words"] == ["kernels"]:
        from lfads_tf2.model import native

        return 0 if native.available() else 3
    from lfads_tf2.autolfads import figures
    from lfads_tf2.program.command_line import main
    from lfads_tf2.run_manager import add_session_command

    tf.config.run_functions_eagerly(True)
    # Drawing takes three quarters of a small search.
    figures.write_figures = lambda *_: None
    add_session_command.program_words = lambda: [str(Path(__file__).with_name("stage.py"))]
    return main(request["words"])


def _serve(connection: socket.socket) -> None:
    """Forks a command, and answers when it has ended."""
    with connection.makefile() as lines:
        request = json.loads(lines.readline())
    begun = time.monotonic()
    child = os.fork()
    if child == 0:
        code = 70
        try:
            connection.close()
            code = _command(request)
            sys.stdout.flush()
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            os._exit(code & 255)
    connection.setblocking(False)
    name, after = request.get("kill") or ("SIGKILL", request.get("seconds", SECONDS))
    hang, alive, left = False, True, False
    while alive:
        done, status = os.waitpid(child, os.WNOHANG)
        alive = done == 0
        seconds = time.monotonic() - begun
        if alive and seconds > after:
            hang = not request.get("kill")
            os.kill(child, getattr(signal, name))
            name, after = "SIGKILL", after + 60.0
        with contextlib.suppress(BlockingIOError):
            # Whoever waited for it was ended.
            if alive and not left and connection.recv(1) == b"":
                os.kill(child, signal.SIGTERM)
                left = True
        time.sleep(0.005)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child, signal.SIGKILL)
    answer = {"code": os.waitstatus_to_exitcode(status), "hang": hang, "seconds": seconds, "log": request["log"]}
    with contextlib.suppress(OSError):
        connection.setblocking(True)
        connection.sendall(json.dumps(answer).encode() + b"\n")


def main(name: str) -> None:
    """Serves until it is ended."""
    import h5py  # noqa: F401
    import matplotlib.pyplot  # noqa: F401
    import scipy.special  # noqa: F401
    import tensorflow as tf  # noqa: F401

    import lfads_tf2.autolfads.outputs
    import lfads_tf2.autolfads.run
    import lfads_tf2.autolfads.slot
    import lfads_tf2.program.kinds
    import lfads_tf2.program.kinds_command  # noqa: F401
    from lfads_tf2.program import command_line

    for command in command_line.COMMANDS:
        command_line.COMMANDS[command].load(command)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(f"\0{name}")
    listener.listen(16)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    print("ready", flush=True)
    while True:
        connection, _ = listener.accept()
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            listener.close()
            try:
                _serve(connection)
            finally:
                os._exit(0)
        connection.close()


if __name__ == "__main__":
    main(sys.argv[1])
