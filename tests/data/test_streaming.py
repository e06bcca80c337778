"""Sessions that lie in mapped files: the same numbers as in memory, and memory that does not grow with the data."""

from __future__ import annotations

import numpy as np
import pytest
from small_models import trainer_of
from small_runs import write_spikes

from lfads_tf2.data import storage
from lfads_tf2.training.metrics_log import read_metrics


@pytest.fixture
def folder(tmp_path):
    random = np.random.default_rng(0)
    inputs = {f"{half}_ext_input": random.normal(size=(n, 9, 2)) for half, n in (("train", 20), ("valid", 6))}
    write_spikes(tmp_path / "data" / "one.h5", **inputs)
    write_spikes(tmp_path / "data" / "two.h5", channels=5, seed=4, **inputs)
    return tmp_path


def test_streamed_training_equals_resident_training(folder, monkeypatch):
    trainer_of(folder, "resident", max_epochs=10, ext_input_dim=2).train()
    monkeypatch.setattr(storage, "RESIDENT_BYTES", 500)
    trainer = trainer_of(folder, "streamed", max_epochs=10, ext_input_dim=2)
    assert type(trainer.epochs.train_trials).__name__ == "StreamedTrials"
    trainer.train()
    assert trainer.epochs.traces == {"train": 1, "validate": 1}
    assert (folder / "streamed" / "fitlog.csv").read_text() == (folder / "resident" / "fitlog.csv").read_text()
    streamed, resident = (read_metrics(folder / name / "metrics.csv") for name in ("streamed", "resident"))
    assert set(streamed) == set(resident) and np.isfinite(streamed["valid/r2"][9])
    for name in resident:
        np.testing.assert_allclose(streamed[name], resident[name], rtol=1e-6, err_msg=name)


def test_mapped_arrays_survive_release_and_change_of_type(monkeypatch):
    monkeypatch.setattr(storage, "RESIDENT_BYTES", 1000)
    values = np.arange(6000, dtype=np.uint8).reshape(60, 10, 10)
    array = storage.empty(values.shape, np.uint8)
    assert storage.is_mapped(array) and not storage.is_mapped(storage.empty((3, 3, 3), np.uint8))
    array[...] = values
    storage.release(array)
    wider = storage.as_type(array, np.uint16)
    assert storage.is_mapped(wider) and wider.dtype == np.uint16
    np.testing.assert_array_equal(wider, values)
    storage.release(np.zeros(3))


def test_counts_that_need_a_wider_type_while_mapped(folder, monkeypatch):
    from lfads_tf2.data import read_sessions
    from lfads_tf2.hyperparameters import HyperParameters

    monkeypatch.setattr(storage, "RESIDENT_BYTES", 500)
    counts = np.random.default_rng(1).poisson(3, (30, 9, 7))
    counts[17, 3, 2] = 70000
    write_spikes(
        folder / "data" / "one.h5", train_data=counts, train_truth=None, train_ext_input=None, valid_ext_input=None
    )
    session = read_sessions(HyperParameters(data_dir=str(folder / "data"), data_filename_stem=""))[0]
    assert session.train.data.dtype == np.uint32 and storage.is_mapped(session.train.data)
    np.testing.assert_array_equal(session.train.data, counts)
