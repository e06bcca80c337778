"""Command-line flags, generated from the declaration of the hyperparameters."""

from __future__ import annotations

import difflib
import textwrap
from pathlib import Path
from typing import Any

from absl import flags as absl_flags

from lfads_tf2.errors import SettingsError
from lfads_tf2.hyperparameters import declared, value_problem
from lfads_tf2.settings import auto
from lfads_tf2.settings.mapping import IGNORED
from lfads_tf2.settings.yaml_files import read_yaml

PRESETS = Path(__file__).parent / "presets"

_DEFINE = {
    bool: absl_flags.DEFINE_bool,
    int: absl_flags.DEFINE_integer,
    float: absl_flags.DEFINE_float,
    str: absl_flags.DEFINE_string,
}


def define() -> absl_flags.FlagValues:
    """A fresh set of all flags: every field, its ``c_`` alias, ``--config``, ``--flagfile`` and the ignored ones."""
    values = absl_flags.FlagValues()
    for name, field in declared().items():
        _DEFINE[type(field.default)](name, field.default, field.metadata["help"], flag_values=values)
        absl_flags.DEFINE_alias(f"c_{name}", name, flag_values=values)
    for name, kind in IGNORED.items():
        _DEFINE[kind](name, None, "accepted from run-manager scripts and ignored", flag_values=values)
        absl_flags.DEFINE_alias(f"c_{name}", name, flag_values=values)
    absl_flags.DEFINE_string("config", None, "YAML file with any of these settings", flag_values=values)
    text = "settings of a published example, by name; auto: chosen from the data"
    absl_flags.DEFINE_string("preset", None, text, flag_values=values)
    return values


def parse(argv: list[str]) -> tuple[dict[str, Any], list[str]]:
    """What the command line gives, then its ``--config``, then its ``--preset``: the first that has a value wins.

    Args:
        argv: without the program's name.

    Returns:
        Values by plain name, only those that were given, and ``preset`` where that is ``auto``, which needs the data
        first; and the ignored flags that were used.

    Raises:
        SettingsError: unknown or malformed flags, with the nearest name.
    """
    values = define()
    try:
        rest = values(["run_lfads.py", *argv])[1:]
    except absl_flags.UnrecognizedFlagError as error:
        raise SettingsError([_unknown(error.flagname, list(values))]) from None
    except absl_flags.Error as error:
        raise SettingsError([" ".join(str(error).split())]) from None
    if rest:
        raise SettingsError([f"unexpected argument {rest[0]!r}: settings are given as --name=value"])
    given = {} if values["preset"].value is None else _preset(values["preset"].value)
    given |= {} if values["config"].value is None else read_yaml(Path(values["config"].value))
    on_line = {n: values[n].value for n in declared() if values[n].present or values[f"c_{n}"].present}
    wrong = [problem for problem in (value_problem(name, value) for name, value in on_line.items()) if problem]
    if wrong:
        raise SettingsError(wrong)
    ignored = [name for name in IGNORED if values[name].present or values[f"c_{name}"].present]
    return given | on_line, ignored


def preset_names() -> list[str]:
    """All presets, by name."""
    return sorted(path.stem for path in PRESETS.glob("*.flags"))


def _preset(name: str) -> dict[str, Any]:
    if name == auto.NAME:
        return {"preset": name}
    if name not in preset_names():
        known = ", ".join([auto.NAME, *preset_names()])
        raise SettingsError([f"--preset must be one of {known}, got {name!r}"])
    return parse([f"--flagfile={PRESETS / name}.flags"])[0]


def _unknown(name: str, names: list[str]) -> str:
    known = [known for known in names if not known.startswith("c_")]
    near = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.4)
    hint = f"; did you mean --{near[0]}?" if near else ""
    return f"unknown flag --{name}{hint} (--help lists all flags)"


def help_text() -> str:
    """All flags by section, with defaults."""
    lines = [
        "LFADS: single-trial firing rates from spike counts.",
        "",
        "  run_lfads.py --kind=train --data_dir=DIR --preset=auto",
        "  run_lfads.py --kind=posterior_sample_and_average --data_dir=DIR",
        "  run_lfads.py --kind=write_model_params --data_dir=DIR",
        "",
        *textwrap.wrap(
            "--config=FILE.yaml reads any of these from YAML, --flagfile=FILE from lines of flags, --preset=NAME from "
            f"flags/presets: {', '.join(preset_names())}; --preset=auto chooses from the data. What the command line "
            "gives wins.",
            width=100,
        ),
    ]
    section = None
    for name, field in declared().items():
        facts = field.metadata
        if facts["section"] != section:
            section = facts["section"]
            lines += ["", f"{section}:"]
        default = str(field.default).lower() if isinstance(field.default, bool) else field.default
        choices = f" ({', '.join(facts['choices'])})" if "choices" in facts else ""
        unit = f", {facts['unit']}" if facts.get("unit") else ""
        lines.append(f"  --{name}={default}{unit}")
        lines += textwrap.wrap(f"{facts['help']}{choices}", 124, initial_indent=" " * 6, subsequent_indent=" " * 6)
    return "\n".join(lines)
