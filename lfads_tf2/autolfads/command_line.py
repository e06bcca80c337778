"""The command line of a search: every hyperparameter and every option of the search, from their declarations."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

from lfads_tf2.autolfads.config import (
    Budget,
    SearchConfig,
    SearchOptions,
    checked,
    config_from,
    option_problem,
    options,
)
from lfads_tf2.autolfads.files import PRESETS, preset_names, read_config
from lfads_tf2.autolfads.neurocaas import is_neurocaas
from lfads_tf2.autolfads.planning import budget_from
from lfads_tf2.autolfads.run import MODES
from lfads_tf2.autolfads.searched import number
from lfads_tf2.errors import SettingsError, one_of
from lfads_tf2.hyperparameters import declared
from lfads_tf2.settings import auto
from lfads_tf2.settings.arguments import Arguments, a_path, no_data_folder
from lfads_tf2.settings.mapping import from_mapping
from lfads_tf2.settings.yaml_files import load_yaml

# Decided by the search or by each kind of command, not by whoever starts it.
NOT_HERE = ("kind", "max_epochs", "resume")


def parser() -> Arguments:
    """All arguments."""
    top = Arguments(
        "lfads auto", description="AutoLFADS: searches hyperparameters while a population of models trains."
    )
    top.add_argument("folder", nargs="?", metavar="DATA_FOLDER", help="the same as --data_dir")
    top.add_argument("--config", type=a_path, metavar="FILE", help="YAML: hyperparameters by name, and the section pbt")
    top.add_argument(
        "--preset",
        metavar="NAME",
        help=f"auto: a search planned from the data (the default without --config); or settings for a size of data: "
        f"{', '.join(preset_names())}",
    )
    top.add_argument(
        "--budget",
        metavar="TIME",
        help="with --preset=auto: how long it may take (90s, 10min, 2h), or epochs of all workers together "
        "(3000epochs); by default about ten times as long as lfads train --preset=auto",
    )
    top.add_argument("--resume", action="store_true", help="go on with the search in --lfads_save_dir")
    top.add_argument("--population_mode", default="auto", choices=MODES, help="where the workers train")
    top.add_argument("--ray_address", default="", help="a running Ray cluster to join; auto: that of this machine")
    of_search = top.add_argument_group("search (the pbt section)")
    for name, field in options().items():
        of_search.add_argument(f"--{name}", help=f"{field.metadata['help']} (default {field.default})")
    of_models = top.add_argument_group("hyperparameters of all models")
    for name, field in declared().items():
        if name not in NOT_HERE:
            escaped = field.metadata["help"].replace("%", "%%")
            of_models.add_argument(
                f"--{name}", f"--c_{name}", dest=f"hp_{name}", help=f"{escaped} (default {field.default})"
            )
    return top


def parse(argv: list[str]) -> tuple[SearchConfig, argparse.Namespace]:
    """The configuration and the other arguments: command line over ``--config`` over ``--preset``.

    Raises:
        SettingsError: everything that is wrong.
    """
    arguments = parser().parse_args(argv)
    plans = arguments.preset == auto.NAME or (arguments.config is None and arguments.preset is None)
    if plans and arguments.config is not None:
        raise SettingsError(["--preset=auto plans the whole search; leave --config out, or give another preset"])
    if arguments.budget is not None and not plans:
        raise SettingsError(
            ["--budget is for a search that --preset=auto plans; leave --config and --preset out, or give "
             "--num_workers and --max_epochs in its place"]
        )  # fmt: skip
    if plans:
        budget = Budget() if arguments.budget is None else budget_from(arguments.budget)
        files = SearchConfig({}, SearchOptions(), (), budget=budget)
    else:
        files = _from_files(arguments.config, arguments.preset)
    config = _overridden(files, arguments)
    if not config.given.get("data_dir"):
        raise no_data_folder("auto")
    return config, arguments


def _from_files(path: Path | None, preset: str | None) -> SearchConfig:
    if preset is not None and preset not in preset_names():
        raise SettingsError([f"--preset must be {one_of([auto.NAME, *preset_names()], preset)}"])
    if preset is None:
        return read_config(path)
    base = load_yaml(PRESETS / f"{preset}.yaml")
    if path is None:
        return config_from(base, f"--preset={preset}", skip_undeclared=True)
    content = load_yaml(path)
    if is_neurocaas(content):
        raise SettingsError([f"--config {path} is a configuration of NeuroCAAS, which is whole; leave --preset out"])
    section = content.get("pbt") or {}
    if not isinstance(section, dict):
        return config_from(content, f"--config {path}")
    merged = base | content | {"pbt": base["pbt"] | section}
    return config_from(merged, f"--config {path} over --preset={preset}", skip_undeclared="hps" not in section)


def _overridden(config: SearchConfig, arguments: argparse.Namespace) -> SearchConfig:
    """The configuration with what the command line says."""
    where, found = "command line", []
    given = {n: getattr(arguments, f"hp_{n}") for n in declared() if n not in NOT_HERE}
    if arguments.folder is not None:
        if given["data_dir"] is not None:
            raise SettingsError([f"unexpected argument {arguments.folder!r} beside --data_dir; give one of the two"])
        given["data_dir"] = arguments.folder
    given = from_mapping({n: v for n, v in given.items() if v is not None}, where)
    chosen: dict[str, Any] = {}
    for name in options():
        value = getattr(arguments, name)
        if value is None:
            continue
        kind = type(getattr(SearchOptions, name))
        value = number(value) if kind is not str else value
        problem = option_problem(name, value)
        found += [f"{where}: {problem}"] if problem else []
        if not problem:
            chosen[name] = kind(value)
    if found:
        raise SettingsError(found)
    if config.budget is not None:
        return dataclasses.replace(config, given=given, chosen=chosen)
    per_entry = tuple(name for name in config.per_entry if name not in given)
    config = dataclasses.replace(
        config, given=config.given | given, options=dataclasses.replace(config.options, **chosen), per_entry=per_entry
    )
    return checked(config, where)
