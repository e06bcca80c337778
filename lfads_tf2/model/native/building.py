"""Compiles the kernels, and lets only those through that compute what the plain loops do."""

import contextlib
import hashlib
import json
import logging
import os
import pathlib
import platform
import shutil
import signal
import subprocess
import sys
import tempfile

from lfads_tf2.files import write_text
from lfads_tf2.model.native import cache
from lfads_tf2.model.native.cache import Unavailable

logger = logging.getLogger(__name__)

SOURCE_FOLDER = pathlib.Path(__file__).parent
COMPILERS = ("c++", "g++", "clang++")
# Contraction fuses a * b + c into one instruction; nothing else here lets the compiler change the arithmetic.
COMMON_FLAGS = ("-O3", "-std=c++17", "-ffp-contract=fast", "-shared", "-fPIC", "-pthread")
MACHINE_FLAGS = ("-march=native", "-mcpu=native", "")  # tried in this order: not every compiler knows the first two
BUILD_SECONDS, CHECK_SECONDS = 300, 300

# The check is a process of its own: kernels that crash end it alone, and TensorFlow's devices, which are set up with
# its first operation, stay untouched in this one.
CHECK = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from lfads_tf2.model.native.check import main; main()"
CRASHES = tuple(getattr(signal, name) for name in ("SIGILL", "SIGSEGV", "SIGBUS", "SIGFPE") if hasattr(signal, name))
DIFFERENT, NOT_LOADABLE = 3, 4  # exit codes of the check


def find_compiler():
    """Returns the path of a C++ compiler: what CXX names, or the first of COMPILERS. Raises Unavailable."""
    names = [name for name in (os.environ.get("CXX"), *COMPILERS) if name]
    for name in names:
        path = shutil.which(name)
        if path:
            return path
    raise Unavailable(f"no C++ compiler found (looked for {', '.join(names)})")


def build(folder, compiler, tf):
    """Returns the path of a newly compiled library inside `folder`.

    Safe with several processes at once: each compiles in a folder of its own.

    Raises:
        Unavailable: the compiler fails, or what it made computes something else than the plain loops.
        OSError: the folder cannot be written to, can be written by others, or forbids execution.
    """
    cache.make(folder)
    name = prefix(tf.__version__)
    refusal = folder / f"{name}.refused"
    if refusal.exists():
        raise Unavailable(f"{refusal.read_text().strip()} (remove {refusal} to compile again)")
    logger.info("Compiling the native kernels into %s, once for this kind of machine", folder)
    with tempfile.TemporaryDirectory(prefix="kernels-", suffix=".tmp", dir=folder) as own, _checker() as checker:
        built = pathlib.Path(own, "kernels.so")
        _compile(compiler, tf, built)
        code, said = _verdict(checker, built)
        if code == NOT_LOADABLE:
            raise OSError(f"what was compiled there does not load: {said}")
        if code == DIFFERENT or -code in CRASHES:
            what = f"crash (signal {-code})" if code < 0 else f"compute something else than the plain loops ({said})"
            write_text(refusal, f"the kernels that {compiler} made {what}\n")
            raise Unavailable(refusal.read_text().strip())
        if code:
            raise Unavailable(f"the check of the compiled kernels fails: {said or f'exit status {code}'}")
        return cache.keep(built, folder, name)


def _compile(compiler, tf, library):
    sources = map(str, sorted(SOURCE_FOLDER.glob("*.cc")))
    command = [compiler, *COMMON_FLAGS, "-isystem", tf.sysconfig.get_include(), *sources, "-o", str(library)]
    for machine_flag in MACHINE_FLAGS:
        failure = _run([*command, *filter(None, [machine_flag]), *tf.sysconfig.get_link_flags()])
        if failure is None:
            return
    raise Unavailable(f"{compiler} fails: {failure}")


def _run(command):
    """Runs a compiler; returns None, or in one line why it failed."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=BUILD_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        return _first_line(str(error))
    if done.returncode == 0:
        return None
    return _first_line(done.stderr) or f"exit status {done.returncode}"


@contextlib.contextmanager
def _checker():
    """A process that waits for the path of a library to check; it imports TensorFlow while the compiler works."""
    if not sys.executable:
        raise Unavailable("compiled kernels are checked by a process of their own, and sys.executable names no Python")
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, "-c", CHECK, json.dumps(sys.path)]
    with subprocess.Popen(command, **pipes, text=True, errors="replace", env=environment) as process:
        try:
            yield process
        finally:
            process.kill()


def _verdict(checker, library):
    """The check's exit code and the last line that it said."""
    try:
        said, errors = checker.communicate(str(library), timeout=CHECK_SECONDS)
    except subprocess.TimeoutExpired:
        return 1, f"no answer within {CHECK_SECONDS} s"
    return checker.returncode, ["", *(said.strip() or errors.strip()).splitlines()][-1]


def _first_line(text):
    """The first line that speaks of an error, or the first one at all."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return next((line for line in lines if "error" in line.lower()), lines[0] if lines else "")


def prefix(tensorflow_version):
    """`kernels-PROCESSOR-SOURCE`, see `cache`."""
    sources = sorted([*SOURCE_FOLDER.glob("*.cc"), *SOURCE_FOLDER.glob("*.h")])
    parts = [*COMMON_FLAGS, *MACHINE_FLAGS, tensorflow_version]
    parts += [part for source in sources for part in (source.name, source.read_text(encoding="utf-8"))]
    return f"kernels-{_digest(_processor())[:12]}-{_digest(parts)[:16]}"


def _digest(parts):
    return hashlib.sha256(b"".join(part.encode() + b"\0" for part in parts)).hexdigest()


def _processor():
    """Words that tell one kind of processor from another: its model and, on Linux, what it can do."""
    words = [platform.system(), platform.machine(), platform.processor()]
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text(errors="replace").split("\n\n")[0].splitlines()
    except OSError:
        return words
    named = ("model name", "flags", "features", "cpu implementer", "cpu part")
    return words + [line for line in lines if line.lower().startswith(named)]
