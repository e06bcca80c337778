"""The kernels' C++ in a program without TensorFlow: for other processors than this one, and when memory runs out."""

import inspect
import re
import shutil
import subprocess
from collections import namedtuple
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from lfads_tf2.model import loops, native, scans
from lfads_tf2.model.kernels import Kernels
from lfads_tf2.model.native import building
from model import test_native

PROGRAM = Path(__file__).with_name("small_tensorflow.cc")
ERRORS = {3: tf.errors.InvalidArgumentError, 8: tf.errors.ResourceExhaustedError, 13: tf.errors.InternalError}


class Operations:
    """What ``native.load()`` gives, each call a run of the program."""

    def __init__(self, command: list[str]):
        for line in subprocess.run([*command, "names"], check=True, capture_output=True, text=True).stdout.splitlines():
            inputs, outputs = (part.split() for part in line.split("->"))
            name = re.sub(r"(?<!^)(?=[A-Z])", "_", inputs[0]).lower()
            setattr(self, name, Operation(command, inputs[0], inputs[1:], namedtuple(name, outputs)))


class Operation:
    def __init__(self, command, name, inputs, result):
        self.command, self.name, self.inputs, self.result = command, name, inputs, result
        parameters = [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in inputs]
        self.__signature__ = inspect.Signature(parameters)

    def request(self, inputs: dict, attributes: dict) -> bytes:
        arrays = {name: np.asarray(inputs[name], np.float32) for name in self.inputs}
        lines = [self.name, *(f"{name} {float(value):.9g}" for name, value in attributes.items()), "inputs"]
        lines += [f"{name} {' '.join(map(str, (x.ndim, *x.shape)))}" for name, x in arrays.items()]
        return "\n".join([*lines, "data\n"]).encode() + b"".join(x.tobytes() for x in arrays.values())

    def run(self, how: list[str], inputs: dict, attributes: dict) -> bytes:
        done = subprocess.run([*self.command, *how], input=self.request(inputs, attributes), capture_output=True)
        assert done.returncode == 0, (self.name, done.returncode, done.stdout[:300], done.stderr)
        return done.stdout

    def __call__(self, **keywords):
        inputs = {name: keywords.pop(name) for name in self.inputs}
        told = self.run([], inputs, keywords)
        if not told.startswith(b"ok\n"):
            _, code, message = told.decode().split(" ", 2)
            raise ERRORS[int(code)](None, None, message)
        head, _, data = told.partition(b"data\n")
        results, offset = {}, 0
        for line in head.decode().splitlines()[1:]:
            name, _, *shape = line.split()
            shape = [int(size) for size in shape]
            results[name] = tf.constant(np.frombuffer(data, np.float32, int(np.prod(shape)), offset).reshape(shape))
            offset += 4 * int(np.prod(shape))
        assert offset == len(data)
        return self.result(**results) if len(results) > 1 else next(iter(results.values()))


def flags_of_this_processor() -> str:
    info = Path("/proc/cpuinfo")
    return info.read_text() if info.exists() else ""


def compiler_of(target: str) -> tuple[list[str], list[str]]:
    """The compiler with its flags for this target, and what runs its programs."""
    if target == "aarch64":
        compiler, emulator = shutil.which("aarch64-linux-gnu-g++"), shutil.which("qemu-aarch64")
        if not compiler or not emulator:
            pytest.skip("needs the Debian packages g++-aarch64-linux-gnu and qemu-user")
        return [compiler, "-static"], [emulator]
    try:
        compiler = building.find_compiler()
    except building.Unavailable as reason:
        pytest.skip(str(reason))
    if target == "AVX2" and not {"avx2", "fma"} <= set(flags_of_this_processor().split()):
        pytest.skip("this processor has no AVX2")
    return [compiler, {"AVX2": "-march=haswell", "here": "-march=native"}[target]], []


@pytest.fixture(scope="module", params=["here", "AVX2", "aarch64"])
def operations(request, tmp_path_factory):
    compiler, runner = compiler_of(request.param)
    program = tmp_path_factory.mktemp("program") / "program"
    flags = [flag for flag in building.COMMON_FLAGS if flag not in ("-shared", "-fPIC")]
    sources = [*sorted(building.SOURCE_FOLDER.glob("*.cc")), PROGRAM]
    include = ["-isystem", tf.sysconfig.get_include()]
    done = subprocess.run([*compiler, *flags, *include, *sources, "-o", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return Operations([*runner, str(program)])


@pytest.fixture
def kernels(operations, monkeypatch):
    monkeypatch.setattr(native, "_loaded", [operations])


@pytest.mark.usefixtures("kernels")
class TestOfTheKernels:
    """Those that the compiled library passes, for each target."""

    @pytest.mark.parametrize(
        "shape, reverse", [((4, 5, 3, 7), True), ((3, 130, 37, 20), False), ((5, 33, 0, 64), True)]
    )
    def test_gru_scan(self, shape, reverse):
        test_native.test_gru_scan(True, shape, reverse, compiled=False)

    @pytest.mark.parametrize(
        "shape, masks, injected, feed",
        [((4, 5, 7, 1, 9, 3), 1, 1, 1), ((2, 130, 20, 1, 33, 20), 0, 0, 1), ((5, 34, 8, 17, 15, 18), 1, 0, 0)],
    )
    def test_decoder_scan(self, shape, masks, injected, feed):
        test_native.test_decoder_scan(True, shape, masks, injected, feed, compiled=False)

    def test_activations(self):
        test_native.test_activations_are_accurate_near_zero_and_at_the_ends(True)

    def test_nan(self):
        test_native.test_nan_reaches_later_steps_of_its_trial_only(True)

    def test_shares(self):
        test_native.test_shares_of_the_batch_do_not_change_the_numbers()

    def test_masks(self):
        test_native.test_dropout_masks_are_those_of_the_stateless_stream((3, 5, 43), 0.3)
        test_native.test_shares_of_a_mask_do_not_change_it()

    def test_poisson(self):
        test_native.test_poisson_log_likelihood_and_its_gradient((10, 15, 7))
        test_native.test_poisson_at_the_ends()

    def test_empty(self):
        test_native.test_empty_batches_and_no_steps(0, 3)
        test_native.test_empty_batches_and_no_steps(3, 0)

    def test_wrong_shapes(self):
        test_native.test_wrong_shapes_are_refused_by_name("w_gates")
        test_native.test_wrong_shapes_of_the_decoder_are_refused_by_name()

    def test_denormal_numbers_are_zero(self):
        """They are slow, and gradients that fade away end as such. With an open update gate a state stays."""
        h0 = np.full([40, 3], 1e-39, np.float32)
        assert h0.min() > 0
        zeros = [np.zeros([rows, columns], np.float32) for rows in (0, 1, 3) for columns in (6, 3)]
        zeros[2][:] = 100  # the gates' biases
        for start, kept in ((h0, 0), (h0 * 1e9, h0 * 1e9)):
            arrays = loops.GruInputs(np.zeros([2, 40, 0], np.float32), start, *zeros)
            states = scans.gru_scan(arrays, 5.0, native=True)
            np.testing.assert_array_equal(states, np.broadcast_to(kept, states.shape))


def requests(operations):
    """A call of each operation, with two shares of the batch: the operation, its inputs and its attributes."""
    calls = []

    class Recorder(Operation):
        def __call__(self, **keywords):
            attributes = {name: value for name, value in keywords.items() if name not in self.inputs}
            calls.append((self, {name: keywords[name] for name in self.inputs}, attributes | {"threads": 2}))
            return super().__call__(**keywords)

    recorded = {name: Recorder(o.command, o.name, o.inputs, o.result) for name, o in vars(operations).items()}
    kernels = Kernels(SimpleNamespace(**recorded))
    gru = loops.GruInputs(*map(tf.constant, test_native.gru_arrays(3, 40, 4, 10)))
    saved = kernels.gru_scan(gru, 0.7, False, True)
    kernels.gru_scan_grad(saved.candidate, gru.h0, saved, gru.w_gates, gru.w_candidate, 0.7, False)
    x = loops.DecoderInputs(*map(tf.constant, test_native.decoder_arrays(3, 40, 7, 2, 9, 4)))
    saved = kernels.decoder_scan(x, 0.7, True)
    d = loops.DecoderOutputs(*scans._outputs(saved))
    kernels.decoder_scan_grad(x, d, saved, 0.7)
    kernels.gru_scan(gru, 0.7, True, False)
    kernels.dropout_mask([1, 2], tf.constant(0.5), 5001)
    kernels.poisson_log_prob(tf.ones([10, 30, 50]), tf.zeros([10, 30, 50]))
    return calls


def test_memory_that_runs_out_is_an_error(operations):
    """Whichever request for memory is refused, in whichever thread, the operation fails and nothing else."""
    calls = requests(operations)
    assert len(calls) == 7
    for operation, inputs, attributes in calls:
        refused, errors = map(int, operation.run(["exhaust"], inputs, attributes).split())
        # Without memory for a thread, the other does the work: one request that is refused without an error.
        assert refused - 1 <= errors <= refused, operation.name
        assert errors > (10 if "Scan" in operation.name else 5), operation.name
