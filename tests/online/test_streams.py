"""Bins one at a time give what the batch path gives."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from conftest import ROOT

from lfads_tf2.inference import Inference
from lfads_tf2.model import gru
from lfads_tf2.online import OnlineLFADS, networks, streams
from lfads_tf2.online.exported import OnlineError
from lfads_tf2.types import Trials
from online.exported_models import BINS, CAUSAL, SEGMENT, SMALL, made, trials

# name -> settings beside CAUSAL, channels of the sessions
CASES = {
    "plain": ({}, [7]),
    "lag 0": ({"controller_input_lag": 0}, [7]),
    "lag 3": ({"controller_input_lag": 3}, [7]),
    "autonomous": ({"co_dim": 0, "do_causal_controller": False}, [7]),
    "no feedback": ({"do_feed_factors_to_controller": False}, [7]),
    "rates fed back, two sessions": ({"feedback_factors_or_rates": "rates"}, [7, 5]),
    "identity read-out": ({"factors_dim": 7}, [7]),
    "code enters as it is": ({"ic_dim": 9}, [7]),
    "learned initial condition": ({"ic_dim": 0}, [7]),
    "inputs encoded": ({"ext_input_dim": 3}, [7]),
    "inputs injected": ({"ext_input_dim": 3, "inject_ext_input_to_gen": True}, [7]),
    "gaussian": ({"output_dist": "gaussian"}, [7, 5]),
    "gamma": ({"output_dist": "gamma", "gamma_loc": 0.5}, [7]),
    "zero-inflated gamma, rates fed back": (
        {"output_dist": "zero_inflated_gamma", "feedback_factors_or_rates": "rates"}, [7, 5],
    ),
}  # fmt: skip
WHOLE_TRIALS = {
    "bidirectional": ({}, [7]),
    "bidirectional, two sessions": ({"controller_input_lag": 2}, [5, 7]),
    "lag beyond the first bins": ({"controller_input_lag": 5}, [7]),
    "first bins for the initial condition": ({"num_steps_for_gen_ic": 6}, [7]),
    "inputs injected": ({"ext_input_dim": 2, "inject_ext_input_to_gen": True}, [7]),
    "segment, not causal": ({"ic_enc_seq_len": SEGMENT}, [7]),
}


def batch_path(model, session: int, some: Trials) -> tuple[np.ndarray, np.ndarray]:
    found = Inference(model, 0, 0).posterior_push_mean(session, some)
    channels = model.spec.sessions[session].num_channels
    return found["output_dist_params"][..., :channels], found["factors"]


def stepped(stream, some: Trials):
    """Bin after bin of as many streams as there are trials."""
    rates, factors = [], []
    for t in range(some.data.shape[1]):
        now = stream.step(some.data[:, t], None if some.ext_input is None else some.ext_input[:, t])
        rates.append(now[0].copy()), factors.append(now[1].copy())
    return np.stack(rates, axis=1), np.stack(factors, axis=1)


@pytest.mark.parametrize("name", CASES)
def test_a_causal_stream_equals_the_batch(name):
    settings, channels = CASES[name]
    model, exported = made(CAUSAL | settings, channels)
    for session in range(len(channels)):
        some = trials(model, session)
        stream = streams.CausalStream(exported, f"s{session}", streams=3)
        rates, factors = stepped(stream, some)
        assert np.isnan(rates[:, :SEGMENT]).all() and np.isnan(factors[:, :SEGMENT]).all()
        expected = batch_path(model, session, some)
        np.testing.assert_allclose(factors[:, SEGMENT:], expected[1], rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(rates[:, SEGMENT:], expected[0], rtol=2e-5, atol=1e-5)


@pytest.mark.parametrize("name", WHOLE_TRIALS)
def test_a_window_equals_the_batch_on_that_window(name):
    settings, channels = WHOLE_TRIALS[name]
    model, exported = made(SMALL | settings, channels)
    some = trials(model, 0, count=2)
    rates, factors = batch_path(model, 0, some)
    stream = streams.WindowStream(exported, "s0", streams=2)
    # What came before must have left the window.
    for _ in range(3):
        stream.step(np.full_like(some.data[:, 0], 4), None if some.ext_input is None else some.ext_input[:, 0])
    now = stepped(stream, some)
    np.testing.assert_allclose(now[0][:, -1], rates[:, -1], rtol=2e-5, atol=1e-5)
    np.testing.assert_allclose(now[1][:, -1], factors[:, -1], rtol=1e-5, atol=1e-5)


def test_streams_in_different_bins_do_not_disturb_each_other():
    model, exported = made(CAUSAL, [7])
    some = trials(model, 0, count=2)
    alone = [stepped(streams.CausalStream(exported), Trials(some.data[n : n + 1]))[0][0] for n in range(2)]
    both = streams.CausalStream(exported, streams=2)
    late = 4
    for t in range(BINS + late):
        if t == late:
            both.reset([1])
        counts = np.stack([some.data[0, min(t, BINS - 1)], some.data[1, t - late] if t >= late else np.ones(7)])
        rates, _ = both.step(counts)
        if SEGMENT <= t < BINS:
            np.testing.assert_allclose(rates[0], alone[0][t], rtol=1e-5)
        if t >= late + SEGMENT:
            np.testing.assert_allclose(rates[1], alone[1][t - late], rtol=1e-5)
        elif t >= late:
            assert np.isnan(rates[1]).all()


@pytest.mark.parametrize("kind", [streams.CausalStream, streams.WindowStream])
def test_a_state_goes_on_where_it_was_taken(kind):
    model, exported = made(CAUSAL if kind is streams.CausalStream else SMALL, [7])
    some = trials(model, 0, count=1)
    stream = kind(exported)
    for t in range(8):
        stream.step(some.data[:, t])
    state = stream.state()
    after = [stream.step(some.data[:, t])[0].copy() for t in range(8, BINS)]
    other = kind(exported)
    other.restore(state)
    again = [other.step(some.data[:, t])[0].copy() for t in range(8, BINS)]
    np.testing.assert_array_equal(after, again)
    with pytest.raises(OnlineError, match="not that of a stream of this model"):
        kind(exported, streams=2).restore(state)


def test_steps_allocate_nothing_that_stays():
    _, exported = made(CAUSAL, [7])
    stream, counts = streams.CausalStream(exported), np.ones(7, np.float32)
    for _ in range(50):
        stream.step(counts)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(300):
            stream.step(counts)
        now, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # One state of 9 units of 300 steps would be 10,800 bytes.
    assert now - before < 2000 and most - before < 8000


def test_a_file_loads_without_tensorflow(tmp_path):
    model, exported = made(CAUSAL, [7])
    path = exported.save(tmp_path / "model [1].npz")
    expected = stepped(streams.CausalStream(exported), trials(model, 0, count=1))[0]
    code = (
        "import sys, numpy as np\nfrom lfads_tf2.online import OnlineLFADS\n"
        "stream = OnlineLFADS.load(sys.argv[1])\nnp.save(sys.argv[2], np.stack([stream.step(c)[0][0].copy() "
        "for c in np.load(sys.argv[3])]))\n"
        "assert not {'tensorflow', 'keras', 'h5py'} & set(sys.modules), 'too much was imported'"
    )
    np.save(tmp_path / "counts.npy", trials(model, 0, count=1).data[0])
    files = [str(path), str(tmp_path / "rates.npy"), str(tmp_path / "counts.npy")]
    done = subprocess.run([sys.executable, "-c", code, *files], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(np.load(files[1]), expected[0], rtol=1e-6)


@pytest.mark.parametrize(
    "counts, said", [(np.ones(6), "counts must be streams x channels"), (np.full(7, np.nan), "finite numbers")]
)
def test_bins_that_do_not_fit(counts, said):
    stream = streams.CausalStream(made(CAUSAL, [7])[1])
    with pytest.raises(OnlineError, match=said):
        stream.step(counts)


def test_models_and_files_that_do_not_fit(tmp_path):
    _, exported = made(CAUSAL, [7, 5])
    with pytest.raises(OnlineError, match="session must be one of s0, s1, got None"):
        streams.CausalStream(exported)
    with pytest.raises(OnlineError, match="there is no file"):
        OnlineLFADS.load(tmp_path / "nowhere.npz")
    path = exported.save(tmp_path / "model.npz")
    with pytest.raises(OnlineError, match="needs no window"):
        OnlineLFADS.load(path, "s0", window=20)
    whole = path.read_bytes()
    for size in (0, 100, len(whole) // 2, len(whole) - 10):
        path.write_bytes(whole[:size])
        with pytest.raises(OnlineError, match="not a whole exported model"):
            OnlineLFADS.load(path, "s0")
    np.savez(path, other=np.ones(3))
    with pytest.raises(OnlineError, match="not a whole exported model"):
        OnlineLFADS.load(path, "s0")
    with pytest.raises(OnlineError, match="ext_input must be streams x 3"):
        streams.CausalStream(made(CAUSAL | {"ext_input_dim": 3}, [7])[1]).step(np.ones(7))
    with pytest.raises(OnlineError, match="window must be at least"):
        streams.WindowStream(made(SMALL, [7])[1], window=1)


def test_the_update_gate_is_that_of_the_model():
    assert networks.UPDATE_GATE_BIAS == gru.UPDATE_GATE_BIAS
