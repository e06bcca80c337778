"""From a trained run folder to a stream: its rates are those of the result file of posterior means."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
from small_runs import SMALL, program, write_spikes

from lfads_tf2.online import OnlineLFADS, command
from lfads_tf2.online.exported import OnlineError, export

SEGMENT = 4


def test_a_trained_model_steps_as_it_infers(tmp_path, caplog):
    spikes, data = write_spikes(tmp_path / "data" / "a.h5", train_truth=None, valid_truth=None), tmp_path / "data"
    causal = (f"--ic_enc_seq_len={SEGMENT}", "--do_causal_controller", "--max_epochs=3")
    program("--kind=train", f"--data_dir={data}", *SMALL, *causal)
    with pytest.raises(OnlineError, match="has no model_params; train there and run lfads export-params"):
        export(data / "lfads_output", tmp_path / "model.npz")
    program("--kind=write_model_params", f"--data_dir={data}", "--device=cpu:0")
    program("--kind=posterior_push_mean", f"--data_dir={data}", "--device=cpu:0", "--noreport")
    caplog.set_level("INFO", "lfads_tf2")
    assert command.main([str(data / "lfads_output"), "--to", str(tmp_path / "model.npz")]) == 0
    assert "Wrote" in caplog.text
    with h5py.File(spikes) as f:
        counts = f["valid_data"][()]
    with h5py.File(data / "lfads_output" / "model_runs_a.h5_valid_posterior_push_mean") as f:
        expected = f["output_dist_params"][()]
    stream = OnlineLFADS.load(tmp_path / "model.npz", streams=len(counts))
    found = np.stack([stream.step(counts[:, t])[0].copy() for t in range(counts.shape[1])], axis=1)
    np.testing.assert_allclose(found[:, SEGMENT:], expected, rtol=1e-5, atol=1e-6)
    # Weights of an earlier checkpoint are not taken for the model.
    (data / "lfads_output" / "lfads_vae_lve-999999.index").write_bytes(b"")
    with pytest.raises(OnlineError, match="of step 999999; run lfads export-params again"):
        export(data / "lfads_output", tmp_path / "model.npz")
