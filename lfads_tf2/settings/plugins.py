"""A user's own parts, named on the command line as ``module:Class``.

The module is imported because the user asked for it by that flag; nothing else decides what code runs. What a run
folder remembers is no such wish: the folder may be somebody else's.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterable
from typing import Any

from lfads_tf2.errors import SettingsError
from lfads_tf2.hyperparameters import HyperParameters, augmentation_names
from lfads_tf2.settings.run_folder import RunRecord

# What each kind of class must have; docs/own_parts.md describes them.
AUGMENTATION_MEMBERS = ("draw", "apply")
DISTRIBUTION_MEMBERS = ("num_parameters", "data", "log_prob", "mean")
CO_PRIOR_MEMBERS = ("log_prob", "sample")


def is_plugin(name: str) -> bool:
    """Whether a setting names a user's class."""
    return ":" in name


def load_class(reference: str, flag: str, members: tuple[str, ...]) -> type:
    """The class that ``module:Class`` names; the module is looked for in the current folder too.

    Args:
        reference: as given.
        flag: for messages.
        members: methods and attributes that the class must have.

    Raises:
        SettingsError: the module cannot be imported, or has no such class, or that lacks a member.
    """
    module_name, _, class_name = reference.partition(":")
    here, path = os.getcwd(), list(sys.path)
    try:
        sys.path.append(here)
        module = importlib.import_module(module_name)
    except Exception as error:  # whatever the user's module raises
        said = f"{type(error).__name__}: {error}"
        raise SettingsError(
            [f"--{flag}={reference}: cannot import {module_name} ({said}); looked in {here} and in the Python path"]
        ) from error
    finally:
        sys.path[:] = path
    found = getattr(module, class_name, None)
    if not isinstance(found, type):
        raise SettingsError([f"--{flag}={reference}: {module.__file__} has no class {class_name}"])
    missing = [member for member in members if not hasattr(found, member)]
    if missing:
        raise SettingsError(
            [f"--{flag}={reference}: the class lacks {', '.join(missing)}; it needs {', '.join(members)}"]
        )
    return found


def with_defaults(own: type, base: type) -> type:
    """A user's class with the members of ``base``, which says what it may have, behind its own."""
    return own if issubclass(own, base) else type(own.__name__, (own, base), {"__module__": own.__module__})


# The settings that may name classes.
FLAGS = ("output_dist", "co_prior", "augmentations")


def names_a_class(flag: str) -> bool:
    """Whether a flag of a command line, ``--name=value``, asks for a user's class (or may, as files of flags do)."""
    name, _, value = flag.lstrip("-").partition("=")
    return name in ("flagfile", "config") or (name.removeprefix("c_") in FLAGS and is_plugin(value))


def remembered_parts(given: dict[str, Any], record: RunRecord) -> list[str]:
    """Classes that a run folder names and this command neither names nor allows, one problem each.

    Args:
        given: what the command gives, by name.
        record: of the run folder.
    """
    return [
        f"--{flag}: the run folder {record.path.parent} names code of its own, which is loaded only when this command "
        f"names it, --{flag}={record.hyperparameters[flag]}, or allows it, --allow_own_parts; do so only if you trust "
        "where the folder comes from"
        for flag in FLAGS
        if is_plugin(str(record.hyperparameters.get(flag, ""))) and flag not in given
        and not given.get("allow_own_parts")
    ]  # fmt: skip


def has_own_parts(hp: HyperParameters) -> bool:
    """Whether a setting names a user's class."""
    return any(is_plugin(getattr(hp, flag)) for flag in FLAGS)


def check_imported(hp: HyperParameters, flags: Iterable[str] = ("output_dist", "co_prior")) -> None:
    """For saved models, which are no wish to run what they name; ``flags``: the settings that are looked at.

    Raises:
        SettingsError: the model has a class of a module that nothing has imported yet.
    """
    for flag in flags:
        for name in augmentation_names(hp) if flag == "augmentations" else [getattr(hp, flag)]:
            module = name.partition(":")[0]
            if is_plugin(name) and module not in sys.modules:
                raise SettingsError(
                    [f"the saved model has {flag}={name}: import {module} first, if you trust this code"]
                )


def check(hp: HyperParameters) -> None:
    """Loads every class that the settings name, so that a wrong one is refused before anything is written.

    Raises:
        SettingsError: see ``load_class``.
    """
    for name in augmentation_names(hp):
        if is_plugin(name):
            load_class(name, "augmentations", AUGMENTATION_MEMBERS)
    for flag, members in (("output_dist", DISTRIBUTION_MEMBERS), ("co_prior", CO_PRIOR_MEMBERS)):
        if is_plugin(getattr(hp, flag)):
            load_class(getattr(hp, flag), flag, members)
