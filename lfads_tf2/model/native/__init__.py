"""Fast CPU kernels, compiled on the user's machine the first time they are needed.

`load()` gives the operations, or None where they cannot be had (no C++ compiler, a build that fails or computes
something else than the plain loops, `LFADS_NATIVE=0`); the model then computes the same with TensorFlow's own
operations, more slowly. The kernels use TensorFlow's C interface only, so neither its C++ headers nor its compiler's
version matter.

Settings of the environment: `LFADS_NATIVE=0` switches the kernels off; `CXX` names the compiler to try first;
`XDG_CACHE_HOME` moves the compiled library, which otherwise lies under `~/.cache/lfads_tf2`.
"""

import logging
import os
import threading

import lfads_tf2.model.native.building as building
import lfads_tf2.model.native.cache as cache
from lfads_tf2.model.native.cache import Unavailable

logger = logging.getLogger(__name__)

_lock = threading.Lock()
_loaded = []  # [operations or None] once load() has decided


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
    import tensorflow as tf  # not before: commands that never compute must start fast

    prefix, problems = building.prefix(tf.__version__), []

    def attempt(find, folder):
        """The operations of the first library that `find(folder)` gives and that loads, or None."""
        try:
            for library in find(folder):
                try:
                    operations = tf.load_op_library(str(library))
                except tf.errors.OpError as error:  # such as a folder that forbids execution
                    problems.append(f"{library} does not load: {error.message}")
                else:
                    cache.mark_used(library)
                    return operations
        except FileNotFoundError:
            pass
        except OSError as error:  # such as a full disk: perhaps the next folder will do
            problems.append(f"{folder}: {error}")
        return None

    # All folders are searched before anything is compiled: no compiler is needed for what is there already.
    for folder in cache.folders():
        operations = attempt(lambda where: cache.libraries(where, prefix), folder)
        if operations:
            return operations
    try:
        compiler = building.find_compiler()
    except Unavailable as reason:
        raise Unavailable("; ".join([str(reason), *problems])) from None
    for folder in cache.folders():
        operations = attempt(lambda where: [building.build(where, compiler, tf)], folder)
        if operations:
            return operations
    raise Unavailable("; ".join(problems))
