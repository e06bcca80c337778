"""The documents' code runs, and the estimator does what it says."""

from __future__ import annotations

import re

import numpy as np
import pytest
from conftest import ROOT

from lfads_tf2.errors import SettingsError


def blocks(name: str) -> list[str]:
    text = (ROOT / "docs" / name).read_text(encoding="utf-8")
    return re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def names():
    """What the tutorial leaves behind."""
    found: dict = {}
    for code in blocks("tutorial.md"):
        exec(compile(code, "docs/tutorial.md", "exec"), found)
    return found


def test_the_tutorial(names):
    assert names["inferred"].shape == names["spikes"].shape and np.all(names["inferred"] > 0)
    assert names["everything"]["factors"].shape == (5, 20, 4)
    assert names["co_smoothing"].transform(names["seen"][:3]).shape == (3, 20, 12)
    assert names["results"]["output_dist_params"].shape == (12, 20, 12)


def test_scores(names):
    """Bits a spike of what the encoders do not see."""
    from lfads_tf2 import bits_per_spike
    from lfads_tf2.inference import Inference
    from lfads_tf2.metrics.held_out import channel_means
    from lfads_tf2.types import Trials

    model, both, spikes, seen = (names[name] for name in ("model", "co_smoothing", "spikes", "seen"))
    masked = Inference(model.model, 5, model.step).held_out_rates(0, Trials(spikes), channel_means(spikes))
    assert model.score(spikes) == pytest.approx(bits_per_spike(masked, spikes))
    hidden = spikes.astype(float)
    hidden[:, :16, :9] = np.nan
    assert both.score(seen, target=spikes) == pytest.approx(bits_per_spike(both.transform(seen), hidden))


def test_estimators_refuse_what_does_not_fit(names):
    from lfads_tf2 import Estimator

    with pytest.raises(SettingsError, match="--gen_dim must be at least 1, got 0"):
        Estimator(gen_dim=0)
    with pytest.raises(TypeError, match="gen_dimm"):
        Estimator(gen_dimm=3)
    with pytest.raises(ValueError, match="num_samples must be at least 1"):
        Estimator(num_samples=0)
    fresh = Estimator()
    with pytest.raises(RuntimeError, match=r"call fit\(spikes\) first"):
        fresh.transform(names["spikes"])
    for array, message in (
        (np.ones((3, 4)), "trials x bins x channels"),
        (np.full((3, 4, 2), 0.5), "spikes: not a whole number: 0.5"),
        (-np.ones((3, 4, 2)), "spikes: negative count: -1.0"),
    ):
        with pytest.raises(ValueError, match=message):
            fresh.fit(array)
    with pytest.raises(ValueError, match="at least their bins and channels"):
        fresh.fit(np.ones((3, 4, 2)), target=np.ones((3, 4, 1)))
    with pytest.raises(ValueError, match="spikes must be trials x 20 x 12"):
        names["model"].transform(names["spikes"][..., :5])


def test_own_parts_are_what_the_program_takes(tmp_path, monkeypatch):
    from lfads_tf2.settings.plugins import AUGMENTATION_MEMBERS, DISTRIBUTION_MEMBERS, load_class

    code = blocks("own_parts.md")
    (tmp_path / "own_from_docs.py").write_text("\n".join(code))
    monkeypatch.chdir(tmp_path)
    load_class("own_from_docs:Exponential", "output_dist", DISTRIBUTION_MEMBERS)
    load_class("own_from_docs:DroppedNeurons", "augmentations", AUGMENTATION_MEMBERS)


def test_public_names():
    import lfads_tf2

    assert len(lfads_tf2.__all__) <= 15
    assert all(getattr(lfads_tf2, name).__name__ == name for name in lfads_tf2.__all__)
    assert set(lfads_tf2.__all__) <= set(dir(lfads_tf2))
    with pytest.raises(AttributeError, match="no attribute 'Nothing'; its names are"):
        lfads_tf2.Nothing  # noqa: B018
