"""Command-line flags, generated from the declaration of the hyperparameters."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

from absl import flags as absl_flags

from lfads_tf2.errors import SettingsError, did_you_mean, one_of
from lfads_tf2.hyperparameters import KINDS, declared, value_problem
from lfads_tf2.settings import auto
from lfads_tf2.settings.arguments import as_declared
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


def parse(argv: list[str], kind: str = "") -> tuple[dict[str, Any], list[str]]:
    """What the command line gives, then its ``--config``, then its ``--preset``: the first that has a value wins.

    Args:
        argv: words after the command's name.
        kind: what to do, where the command says it; then one word without dashes is the data folder.

    Returns:
        Values by plain name, only those that were given, and ``preset`` where that is ``auto``, which needs the data
        first; and the ignored flags that were used.

    Raises:
        SettingsError: unknown or malformed flags, with the nearest name.
    """
    values = define()
    known = [f"--{no}{name}" for name in values for no in ("", "no") if not no or values[name].boolean]
    try:
        rest = values(["lfads", *as_declared(argv, known)])[1:]
    except absl_flags.UnrecognizedFlagError as error:
        raise SettingsError([_unknown(error.flagname, list(values))]) from None
    except absl_flags.Error as error:
        raise SettingsError([" ".join(str(error).split())]) from None
    given = {} if values["preset"].value is None else _preset(values["preset"].value)
    given |= {} if values["config"].value is None else read_yaml(Path(values["config"].value).expanduser())
    on_line = {n: values[n].value for n in declared() if values[n].present or values[f"c_{n}"].present}
    wrong = [problem for problem in (value_problem(name, value) for name, value in on_line.items()) if problem]
    if kind and on_line.setdefault("kind", kind) != kind:
        wrong.append(f"--kind={on_line['kind']} contradicts the command, which is {kind}; leave it out")
    if kind and rest and "data_dir" not in on_line:
        on_line["data_dir"] = rest.pop(0)
    if rest:
        wrong.append(f"unexpected argument {rest[0]!r}: settings are given as --name=value")
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
        raise SettingsError([f"--preset must be {one_of([auto.NAME, *preset_names()], name)}"])
    return parse([f"--flagfile={PRESETS / name}.flags"])[0]


def _unknown(name: str, names: list[str]) -> str:
    known = [known for known in names if not known.startswith("c_")]
    return f"unknown flag --{name}{did_you_mean(name, known, '--')} (--help lists all flags)"


# What commands other than training read beside the section "run": the model's own settings are remembered.
OF_INFERENCE = ("batch_size",)
NOT_OF_INFERENCE = ("csv_log", "max_ckpt_to_keep", "max_ckpt_to_keep_lve", "num_gpus")


def help_text(kind: str = "", name: str = "") -> str:
    """The flags of a command by section, with defaults, those that are set most often first.

    Args:
        kind: of the five; empty: all.
        name: of the subcommand.
    """
    training, own = kind in ("", "train"), {"kind"} if kind else set()
    shown = {
        flag: field for flag, field in declared().items()
        if flag not in own
        and (training or (field.metadata["section"] == "run" and flag not in NOT_OF_INFERENCE) or flag in OF_INFERENCE)
    }  # fmt: skip
    program = f"lfads {name} DATA_FOLDER" if name else f"run_lfads.py --kind={kind or 'train'} --data_dir=DIR"
    lines = ["LFADS: single-trial firing rates from spike counts.", "", f"  {program} [--name=value ...]", ""]
    if not kind:
        lines[3:3] = [f"  run_lfads.py --kind={other} --data_dir=DIR" for other in KINDS[1:]]
    about = (
        "--config=FILE.yaml reads any of these from YAML, --flagfile=FILE from lines of flags, --preset=NAME from "
        f"the presets {', '.join(preset_names())}; auto chooses from the data. What the command line gives wins."
        if training
        else "Everything else is remembered from the training."
    )
    lines += textwrap.wrap(about, width=100)
    often = [flag for flag, field in shown.items() if field.metadata.get("tuned") == "often"] if training else []
    if often:
        lines += ["", "set most often:", *(line for flag in often for line in _described(flag, shown.pop(flag)))]
    section = None
    for flag, field in shown.items():
        if field.metadata["section"] != section:
            section = field.metadata["section"]
            lines += ["", f"{section}:"]
        lines += _described(flag, field)
    return "\n".join(lines)


def _described(flag: str, field) -> list[str]:
    facts = field.metadata
    default = str(field.default).lower() if isinstance(field.default, bool) else field.default
    choices = f" ({', '.join(facts['choices'])})" if "choices" in facts else ""
    unit = f", {facts['unit']}" if facts.get("unit") else ""
    text = textwrap.wrap(f"{facts['help']}{choices}", 124, initial_indent=" " * 6, subsequent_indent=" " * 6)
    return [f"  --{flag}={default}{unit}", *text]
