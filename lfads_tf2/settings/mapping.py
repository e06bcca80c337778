"""Settings by name, as YAML, JSON and scripts give them, to checked values."""

from __future__ import annotations

from typing import Any

from lfads_tf2.errors import SettingsError, did_you_mean
from lfads_tf2.hyperparameters import declared, value_problem

# Passed by scripts that the run manager wrote; they changed how the original program was debugged.
IGNORED = {
    "tf_debug_cli": bool, "tf_debug_tensorboard": bool, "tf_debug_tensorboard_hostport": str, "tf_debug_dump_root": str,
    "debug_verbose": bool, "debug_reduce_timesteps_to": str, "debug_print_each_step": bool,
}  # fmt: skip

MOST_SHOWN = 20


def plain_name(name: str) -> str:
    """A field's name without the run manager's ``c_``."""
    return name[2:] if name.startswith("c_") and (name[2:] in declared() or name[2:] in IGNORED) else name


def coerce(name: str, value: Any) -> Any:
    """A value from YAML or JSON as the field's type, where that loses nothing; otherwise as it came."""
    kind = type(declared()[name].default)
    if isinstance(value, str) and kind is not str:
        text = value.strip()
        if kind is bool and text.lower() in ("true", "false"):
            return text.lower() == "true"
        try:
            # YAML 1.1 takes 1e-5 for text.
            value = float(text) if kind is float else int(text) if kind is int else value
        except ValueError:
            return value
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind is int and isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def unknown_name(name: str, where: str) -> str:
    """The message for a name that is not declared, with the nearest that is."""
    hint = did_you_mean(name, [*declared(), *(f"c_{n}" for n in declared())]) or "; lfads train --help lists all names"
    return f"{where}: unknown name {name!r}{hint}"


def from_mapping(mapping: dict[str, Any], where: str) -> dict[str, Any]:
    """Checked values by plain name. ``None`` (or the word) stands for the default and is left out.

    Raises:
        SettingsError: unknown names, wrong types, values out of range; all of them.
    """
    found, values = [], {}
    for given_name, value in mapping.items():
        if len(found) >= MOST_SHOWN:
            found.append(f"{where}: and more")
            break
        name = plain_name(str(given_name))
        if name in IGNORED:
            continue
        if name not in declared():
            found.append(unknown_name(f"{given_name!s:.100}", where))
            continue
        if value is None or (isinstance(value, str) and value.strip() in ("None", "null", "~")):
            continue
        value = coerce(name, value)
        problem = value_problem(name, value)
        if problem:
            found.append(f"{where}: {problem.removeprefix('--')}")
        elif name in values and values[name] != value:
            found.append(f"{where}: {name} is given twice, as {values[name]!r} and {value!r}")
        else:
            values[name] = value
    if found:
        raise SettingsError(found)
    return values
