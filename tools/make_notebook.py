#!/usr/bin/env python3
"""Makes docs/tutorial.ipynb from docs/tutorial.md and runs it, so that it shows what its blocks put out.

usage: make_notebook.py [--check]      --check only says whether it is made from the present page (exit code 1 if not)

Running it needs nbclient and ipykernel: pip install 'lfads-tf2[docs]'
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from lfads_tf2.files import write_text

PAGE, NOTEBOOK = ROOT / "docs" / "tutorial.md", ROOT / "docs" / "tutorial.ipynb"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def cells(page: str) -> list[tuple[str, str]]:
    """Kind (markdown or code) and text of each cell of a page."""
    # Every other part is the inside of a block.
    kinds = zip(("markdown", "code") * page.count("\n```python\n") + ("markdown",), BLOCK.split(page), strict=True)
    return [(kind, text.strip()) for kind, text in kinds if text.strip()]


def sources(notebook: dict) -> list[tuple[str, str]]:
    """The same of a notebook."""
    return [(cell["cell_type"], "".join(cell["source"])) for cell in notebook["cells"]]


def executed(page: str) -> str:
    """The page as a notebook that was run; what goes to standard error is left out."""
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.v4.new_notebook(metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}})
    for number, (kind, text) in enumerate(cells(page)):
        new = nbformat.v4.new_code_cell if kind == "code" else nbformat.v4.new_markdown_cell
        notebook.cells.append(new(text, id=f"cell-{number}"))
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(ROOT)}}).execute()
    for cell in notebook.cells:
        cell.metadata.clear()  # when each was run
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    del notebook.metadata["language_info"]["version"]
    return nbformat.writes(notebook) + "\n"


def main() -> int:
    """Writes or checks the notebook; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="only say whether it is made from the present page")
    options = parser.parse_args()
    page = PAGE.read_text(encoding="utf-8")
    if not options.check:
        write_text(NOTEBOOK, executed(page))
        print(f"Wrote {NOTEBOOK.relative_to(ROOT)}")
    elif not NOTEBOOK.exists() or sources(json.loads(NOTEBOOK.read_text(encoding="utf-8"))) != cells(page):
        print(f"{NOTEBOOK.relative_to(ROOT)} is stale; run: python tools/make_notebook.py", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
