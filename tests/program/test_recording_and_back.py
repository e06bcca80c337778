"""The README's first commands on a recording: NWB in, rates back into NWB."""

from __future__ import annotations

import numpy as np
import pytest
from recordings.made import nwb_file

from lfads_tf2.program import kinds
from lfads_tf2.program.command_line import main

TINY = "--gen_dim=6 --factors_dim=3 --ic_dim=4 --ic_enc_dim=5 --ci_enc_dim=4 --con_dim=4 --max_epochs=2 --device=cpu:0"


@pytest.mark.parametrize(
    "windows",
    ["--align go --window -200 600 --condition target", "--chop 1000 --overlap 600"],
    ids=["aligned", "chopped"],
)
def test_from_nwb_to_nwb(tmp_path, windows, capsys, monkeypatch):
    pynwb = pytest.importorskip("pynwb", reason="pynwb is not installed")
    source, data = nwb_file(tmp_path / "monday.nwb"), tmp_path / "data"
    # What the figures are handed counts here; drawing them takes seconds.
    handed = []
    monkeypatch.setattr(kinds, "write_report", lambda *given: handed.append(given) or [])
    for command in (
        f"import {source} -o {data} --bin-ms 20 {windows}",
        f"train {data} --preset=auto {TINY} --noreport",
        f"infer {data} --num_samples_posterior=2 --device=cpu:0 --report",
        f"export {data} --to nwb",
    ):
        assert main(command.split()) == 0, capsys.readouterr().err
    ((*_, labels),) = handed
    assert labels["monday.h5"].event == ("go" if "align" in windows else "window start")
    assert labels["monday.h5"].start_ms == (-190.0 if "align" in windows else 10.0)
    assert list(labels["monday.h5"].unit_ids) == list(range(5)) and len(labels["monday.h5"].numbers) == 2
    (written,) = (data / "lfads_output" / "export").glob("*.nwb")
    with pynwb.NWBHDF5IO(str(written), "r") as reader:
        series = {item.name: item for item in reader.read().objects.values() if hasattr(item, "timestamps")}
        rates = next(item for name, item in series.items() if "rate" in name)
        assert rates.data.shape[1] == 5 and np.isfinite(rates.data[:]).all() and (rates.data[:] > 0).all()
        times = rates.timestamps[:] if rates.timestamps is not None else rates.starting_time + np.arange(2) / rates.rate
        first = 1.5 if "align" in windows else 0.0
        assert abs(times[0] - first) <= 0.02 and abs(times[1] - times[0] - 0.02) < 1e-9


def test_a_recording_that_was_imported_anew(tmp_path, capsys):
    """Neither results nor the model go with bins of another width, and what to do is said."""
    source, data = tmp_path / "counts.npy", tmp_path / "data"
    np.save(source, np.random.default_rng(0).poisson(1.0, (30, 8, 4)))
    imported = f"import {source} -o {data} --axes trials,time,units --stored-bin-ms 10"

    def said(command: str, code: int = 0) -> str:
        assert main(command.split()) == code
        return capsys.readouterr().err

    infer = f"infer {data} --num_samples_posterior=2 --device=cpu:0 --noreport"
    said(imported)
    said(f"train {data} --preset=auto {TINY} --noreport")
    said(infer)
    said(f"export {data} --to npz")
    said(imported)
    said(f"export {data} --to npz")
    said(f"{imported} --bin-ms 20")
    told = said(f"export {data} --to npz", 2)
    assert "bins of 10 ms then, 20 ms now; 8 bins then, 4 now" in told and f"lfads infer {data}; or give" in told
    told = said(infer, 2)
    assert "trained on bins of 10 ms, and those of session counts.h5 are 20 ms wide" in told and "--bin-ms 10" in told
