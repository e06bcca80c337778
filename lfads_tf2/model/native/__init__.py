"""Fast CPU kernels, compiled on the user's machine the first time they are needed.

`load()` gives the operations, or None where they cannot be had (no C++ compiler, a build that fails, `LFADS_NATIVE=0`);
the model then computes the same with TensorFlow's own operations, more slowly. The kernels use TensorFlow's C interface
only, so neither its C++ headers nor its compiler's version matter.

Settings of the environment: `LFADS_NATIVE=0` switches the kernels off; `CXX` names the compiler to try first;
`XDG_CACHE_HOME` moves the compiled library, which otherwise lies under `~/.cache/lfads_tf2`.
"""

import hashlib
import logging
import os
import pathlib
import platform
import shutil
import stat
import subprocess
import tempfile
import threading

from lfads_tf2.errors import LFADSError

logger = logging.getLogger(__name__)

SOURCE_FOLDER = pathlib.Path(__file__).parent
COMPILERS = ("c++", "g++", "clang++")
# Contraction fuses a * b + c into one instruction; nothing else here lets the compiler change the arithmetic.
COMMON_FLAGS = ("-O3", "-std=c++17", "-ffp-contract=fast", "-shared", "-fPIC", "-pthread")
MACHINE_FLAGS = ("-march=native", "-mcpu=native", "")  # tried in this order: not every compiler knows the first two
BUILD_SECONDS = 300

_lock = threading.Lock()
_loaded = []  # [operations or None] once load() has decided


class Unavailable(LFADSError):
    """Why there are no kernels, in one line."""


def load():
    """Returns an object whose functions are the raw operations (`lfads_gru_scan`, ...), or None.

    Compiles them if no earlier run on this kind of machine has (some seconds). The answer is kept for the life of the
    process, and when it is None a single log line says why.
    """
    with _lock:
        if not _loaded:
            try:
                _loaded.append(_load())
            except Unavailable as reason:
                logger.warning("Without native kernels (TensorFlow's own operations are used, slower): %s", reason)
                _loaded.append(None)
        return _loaded[0]


def available():
    """Whether there are kernels here; compiles them at the first call."""
    return load() is not None


def _load():
    if os.environ.get("LFADS_NATIVE", "1") == "0":
        raise Unavailable("LFADS_NATIVE=0 switches them off")
    compiler = find_compiler()
    import tensorflow as tf  # not before: commands that never compute must start fast

    reason = "no folder can be written for the compiled library"
    for folder in cache_folders():
        library = None
        try:
            library = build(folder, compiler, tf)
            return tf.load_op_library(str(library))
        except OSError as error:  # such as a full disk: perhaps the next folder will do
            reason = f"{folder}: {error}"
        except tf.errors.OpError as error:  # damaged, or in a folder that forbids execution
            reason = f"{library} does not load: {_first_line(str(error))}"
            library.unlink(missing_ok=True)
    raise Unavailable(reason)


def find_compiler():
    """Returns the path of a C++ compiler: what CXX names, or the first of COMPILERS. Raises Unavailable."""
    names = [name for name in (os.environ.get("CXX"), *COMPILERS) if name]
    for name in names:
        path = shutil.which(name)
        if path:
            return path
    raise Unavailable(f"no C++ compiler found (looked for {', '.join(names)})")


def cache_folders():
    """Yields the folders in which compiled libraries may be kept, best first, each writable by this user alone."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    user = os.getuid() if hasattr(os, "getuid") else None
    for folder in (pathlib.Path(home), pathlib.Path(tempfile.gettempdir(), f"lfads_tf2-{user}")):
        folder = folder / "lfads_tf2"
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            status = folder.stat()
        except OSError:
            continue
        # A library that somebody else could have put there must not be loaded.
        private = user is None or (status.st_uid == user and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH))
        if private and os.access(folder, os.W_OK | os.X_OK):
            yield folder


def build(folder, compiler, tf):
    """Returns the path of the compiled library inside `folder`, compiling it if it is not there yet.

    Safe with several processes at once: each compiles under a name of its own, and the last one to finish stays.
    Raises Unavailable when the compiler fails.
    """
    sources = sorted(SOURCE_FOLDER.glob("*.cc"))
    include, link_flags = tf.sysconfig.get_include(), tf.sysconfig.get_link_flags()
    library = pathlib.Path(folder, library_name(compiler, tf.__version__))
    if library.exists():
        return library
    logger.info("Compiling the native kernels into %s, once for this kind of machine", library)
    handle, temporary = tempfile.mkstemp(prefix=library.stem + ".", suffix=".tmp", dir=folder)
    os.close(handle)
    try:
        for machine_flag in MACHINE_FLAGS:
            flags = [*COMMON_FLAGS, *filter(None, [machine_flag]), "-isystem", include]
            failure = _run([compiler, *flags, *map(str, sources), "-o", temporary, *link_flags])
            if failure is None:
                os.replace(temporary, library)
                return library
        raise Unavailable(f"{compiler} fails: {failure}")
    finally:
        pathlib.Path(temporary).unlink(missing_ok=True)


def _run(command):
    """Runs a compiler; returns None, or in one line why it failed."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=BUILD_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        return _first_line(str(error))
    if done.returncode == 0:
        return None
    return _first_line(done.stderr) or f"exit status {done.returncode}"


def _first_line(text):
    """The first line that speaks of an error, or the first one at all."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return next((line for line in lines if "error" in line.lower()), lines[0] if lines else "")


def library_name(compiler, tensorflow_version):
    """A name for what the library depends on. The processor is part of it: homes are shared between machines."""
    digest = hashlib.sha256()
    for part in (*COMMON_FLAGS, *MACHINE_FLAGS, compiler, tensorflow_version, *_processor()):
        digest.update(part.encode() + b"\0")
    for source in sorted([*SOURCE_FOLDER.glob("*.cc"), *SOURCE_FOLDER.glob("*.h")]):
        digest.update(source.name.encode() + b"\0" + source.read_bytes() + b"\0")
    return f"kernels-{digest.hexdigest()[:20]}.so"


def _processor():
    """Words that tell one kind of processor from another: its model and, on Linux, what it can do."""
    words = [platform.system(), platform.machine(), platform.processor()]
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text(errors="replace").split("\n\n")[0].splitlines()
    except OSError:
        return words
    named = ("model name", "flags", "features", "cpu implementer", "cpu part")
    return words + [line for line in lines if line.lower().startswith(named)]
