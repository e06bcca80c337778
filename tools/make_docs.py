#!/usr/bin/env python3
"""Writes docs/hyperparameters.md from the declaration in lfads_tf2/hyperparameters.py.

usage: make_docs.py [--check]      --check only says whether the page is up to date (exit code 1 when it is not)
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from lfads_tf2.hyperparameters import NO_LIMIT, declared
from lfads_tf2.settings.combination import NOT_REMEMBERED
from lfads_tf2.settings.mapping import IGNORED

PAGE = ROOT / "docs" / "hyperparameters.md"

INTRODUCTION = """\
# Hyperparameters and options

This page is made by `python tools/make_docs.py` from `lfads_tf2/hyperparameters.py`, the one place where each setting
is declared. Do not edit it by hand.

**One name everywhere.** A setting called `gen_dim` is

- the flag `--gen_dim=64` of `lfads train` (also as `--c_gen_dim=64`, the run manager's name of the same setting);
  true and false settings as `--report`, `--noreport` or `--report=false`;
- the key `gen_dim: 64` (or `c_gen_dim: 64`) in a YAML file given as `--config=FILE.yaml`; `None` or `null` there
  stands for the default;
- a line `--gen_dim=64` in a file given as `--flagfile=FILE`, and in the presets of `flags/presets/`, given by name as
  `--preset=NAME`;
- the key `gen_dim` in the run folder's `hyperparameters-<step>.txt`;
- the argument `gen_dim=64` of `lfads_tf2.hyperparameters.HyperParameters`.

**What wins.** The command line, then `--config`, then `--preset`, then what the run folder remembers, then the default.
A setting marked *model* decides the shape of the model: for a run folder that holds a trained model it cannot be
changed, and a command that tries is refused with both values.

**What a run folder does not remember**, since each command decides it for itself: {forgotten}.

**Tuned** says how often a setting is changed from its default in practice: often, sometimes, or once for a kind of
data.

Accepted from scripts of the run manager and ignored: {ignored}.
"""


def shown(value: object) -> str:
    """A default as one would type it."""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if value == "":
        return "empty"
    return f"`{value}`{' (no limit)' if value == NO_LIMIT else ''}"


def allowed(facts: dict) -> str:
    """Choices or bounds, in words."""
    if "choices" in facts:
        return ", ".join(f"`{choice}`" for choice in facts["choices"]) + (
            ", `module:Class`" if facts.get("own") else ""
        )
    words = (("minimum", "≥"), ("above", ">"), ("maximum", "≤"), ("below", "<"))
    return ", ".join(f"{sign} {facts[fact]}" for fact, sign in words if fact in facts)


def page() -> str:
    """The whole page."""

    def names(found):
        return ", ".join(f"`{name}`" for name in found)

    lines = [INTRODUCTION.format(forgotten=names(NOT_REMEMBERED), ignored=names(IGNORED))]
    sections: dict[str, list[str]] = {}
    for name, field in declared().items():
        facts = field.metadata
        text = facts["help"].replace("|", "\\|").replace("<", "&lt;")
        cells = [f"`{name}`", shown(field.default), facts.get("unit", ""), allowed(facts)]
        cells += [text[0].upper() + text[1:], facts.get("tuned", ""), "model" if facts.get("architecture") else ""]
        sections.setdefault(facts["section"], []).append("| " + " | ".join(cells) + " |")
    for section, rows in sections.items():
        lines += [f"\n## {section[0].upper() + section[1:]}\n"]
        lines += [
            "| name | default | unit | allowed | what it does | tuned | |",
            "|---|---|---|---|---|---|---|",
            *rows,
        ]
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="only say whether the page is up to date")
    options = parser.parse_args()
    text = page()
    if options.check:
        if PAGE.exists() and PAGE.read_text(encoding="utf-8") == text:
            return 0
        print(f"{PAGE.relative_to(ROOT)} is stale; run: python tools/make_docs.py", file=sys.stderr)
        return 1
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(text, encoding="utf-8")
    print(f"Wrote {PAGE.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
