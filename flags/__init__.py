"""Command-line flags, where users look for them; they are made by ``lfads_tf2.settings.flags``."""

from lfads_tf2.settings.flags import PRESETS, define, help_text, parse, preset_names

__all__ = ["PRESETS", "define", "help_text", "parse", "preset_names"]
