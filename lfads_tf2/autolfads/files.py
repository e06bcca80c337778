"""Configuration files and presets."""

from __future__ import annotations

from pathlib import Path

from lfads_tf2.autolfads.config import SearchConfig, config_from
from lfads_tf2.autolfads.neurocaas import is_neurocaas, neurocaas_config
from lfads_tf2.errors import SettingsError, one_of
from lfads_tf2.settings.yaml_files import load_yaml

PRESETS = Path(__file__).parent / "presets"


def read_config(path: Path) -> SearchConfig:
    """The configuration in a YAML file, ours or one of NeuroCAAS.

    Raises:
        SettingsError: everything that is wrong with it.
    """
    content, where = load_yaml(path), f"--config {path}"
    return neurocaas_config(content, where) if is_neurocaas(content) else config_from(content, where)


def preset_names() -> list[str]:
    """All presets, smallest data first."""
    order = ("small", "medium", "large")
    return sorted((path.stem for path in PRESETS.glob("*.yaml")), key=order.index)


def read_preset(name: str) -> SearchConfig:
    """A configuration that comes with the package.

    Raises:
        SettingsError: there is none of this name.
    """
    if name not in preset_names():
        raise SettingsError([f"--preset must be {one_of(preset_names(), name)}"])
    return config_from(load_yaml(PRESETS / f"{name}.yaml"), f"--preset={name}", skip_undeclared=True)
