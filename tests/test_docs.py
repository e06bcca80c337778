"""The hyperparameter page is made from the declaration, and is up to date."""

from __future__ import annotations

import importlib.util
import re

import pytest
from conftest import ROOT

from lfads_tf2.hyperparameters import declared
from lfads_tf2.settings.mapping import IGNORED


@pytest.fixture
def make_docs():
    spec = importlib.util.spec_from_file_location("make_docs", ROOT / "tools" / "make_docs.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_up_to_date(make_docs):
    text = (ROOT / "docs" / "hyperparameters.md").read_text(encoding="utf-8")
    assert text == make_docs.page(), "docs/hyperparameters.md is stale; run: python tools/make_docs.py"


def test_every_setting_has_one_row_with_its_default():
    text = (ROOT / "docs" / "hyperparameters.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| ([^|]*) \|", text, re.MULTILINE)
    assert [name for name, _ in rows] == list(declared())
    shown = dict(rows)
    assert shown["gen_dim"] == "`100`" and shown["report"] == "`true`" and shown["data_filename_stem"] == "empty"
    assert shown["learning_rate_stop"] == "`1e-05`" and shown["num_steps_for_gen_ic"] == "`4294967295` (no limit)"
    assert "\n| `keep_prob` | `0.95` |  | > 0, ≤ 1 | Dropout keeps" in text
    assert "| `poisson`, `gaussian`, `gamma`" in text
    for name in IGNORED:
        assert f"`{name}`" in text
    widths = {line.replace("\\|", "").count("|") for line in text.splitlines() if line.startswith("|")}
    assert widths == {8}, "every row of every table has the same columns"


def test_check_says_when_it_is_stale(make_docs, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(make_docs, "ROOT", tmp_path)
    monkeypatch.setattr(make_docs, "PAGE", tmp_path / "docs" / "hyperparameters.md")
    monkeypatch.setattr("sys.argv", ["make_docs.py", "--check"])
    assert make_docs.main() == 1, "missing"
    assert "docs/hyperparameters.md is stale; run: python tools/make_docs.py" in capsys.readouterr().err
    monkeypatch.setattr("sys.argv", ["make_docs.py"])
    assert make_docs.main() == 0
    monkeypatch.setattr("sys.argv", ["make_docs.py", "--check"])
    assert make_docs.main() == 0
    make_docs.PAGE.write_text(make_docs.PAGE.read_text() + "\n")
    assert make_docs.main() == 1
