"""Pages that are made from something else are made from what it is now."""

from __future__ import annotations

import importlib.util
import json
import re

import pytest
from conftest import ROOT

from lfads_tf2.hyperparameters import declared
from lfads_tf2.settings.mapping import IGNORED


def tool(name: str):
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def make_docs():
    return tool("make_docs")


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


def test_the_notebook_is_the_tutorial_and_was_run(monkeypatch, tmp_path, capsys):
    make_notebook = tool("make_notebook")
    page = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
    text = (ROOT / "docs" / "tutorial.ipynb").read_text(encoding="utf-8")
    notebook = json.loads(text)
    assert make_notebook.sources(notebook) == make_notebook.cells(page), "run: python tools/make_notebook.py"
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert len(code) == page.count("```python") and [cell["execution_count"] for cell in code] == [
        *range(1, len(code) + 1)
    ]
    put_out = [output for cell in code for output in cell["outputs"]]
    assert any("bits a spike: " in "".join(output["text"]) for output in put_out)
    assert all(output["output_type"] != "error" for output in put_out) and len(text) < 1e6
    monkeypatch.setattr("sys.argv", ["make_notebook.py", "--check"])
    assert make_notebook.main() == 0
    monkeypatch.setattr(make_notebook, "PAGE", tmp_path / "tutorial.md")
    make_notebook.PAGE.write_text(page.replace("print(", "print (", 1))
    assert make_notebook.main() == 1 and "is stale" in capsys.readouterr().err
