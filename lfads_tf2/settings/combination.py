"""From what the user gave (flags, YAML) and what a run folder records to one set of hyperparameters.

Nothing here imports TensorFlow: whatever can be refused early is.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lfads_tf2.errors import SettingsError
from lfads_tf2.hyperparameters import SUBCOMMANDS, HyperParameters, declared, problems, with_homes
from lfads_tf2.settings import plugins, run_folder
from lfads_tf2.settings.arguments import no_data_folder
from lfads_tf2.settings.run_folder import RunRecord

# What one command decides for itself, whatever the run folder says.
NOT_REMEMBERED = (
    "kind", "data_dir", "lfads_save_dir", "model_params_file", "output_filename_stem", "checkpoint_pb_load_name",
    "ps_nexamples_to_process", "device", "do_reset_learning_rate", "resume", "allow_own_parts",
    "allow_outside_files",
)  # fmt: skip


def combine(given: dict[str, Any]) -> tuple[HyperParameters, RunRecord | None]:
    """One set of hyperparameters from what was given and from the run folder (or the folder of model_params_file).

    Raises:
        SettingsError: a flag would change the architecture of the model there (both values are shown), values
            contradict each other, there is no model to work with, or the folder names classes that this command does
            not name.
    """
    # --preset=auto chooses once the data are read.
    given = with_homes({name: value for name, value in given.items() if name != "preset"})
    kind = given.get("kind", "train")
    if not given.get("data_dir"):
        raise no_data_folder(SUBCOMMANDS.get(kind, kind))
    save_dir = Path(given.get("lfads_save_dir") or Path(given["data_dir"]) / run_folder.USUAL)
    model_file = given.get("model_params_file")
    # Whoever starts anew takes nothing from what is there.
    anew = kind == "train" and given.get("resume") == "never"
    record = None if anew else run_folder.read(save_dir)
    if record is None and model_file:
        record = run_folder.read(Path(model_file).parent)
    # Where there is no data folder, whoever reads it says so.
    if record is None and kind != "train" and not model_file and Path(given["data_dir"]).is_dir():
        raise SettingsError([_no_model(kind, save_dir, given["data_dir"])])
    base = {} if record is None else {n: v for n, v in record.hyperparameters.items() if n not in NOT_REMEMBERED}
    found = [] if record is None else _other_architecture(given, record) + plugins.remembered_parts(given, record)
    hp = HyperParameters(**(base | given | {"lfads_save_dir": str(save_dir)}))
    found += problems(hp)
    if found:
        raise SettingsError(found)
    return hp, record


def _no_model(kind: str, save_dir: Path, data_dir: str) -> str:
    """What to type instead: a folder around the model was given, or the model's own as that of the data, or none is."""
    # Of a folder that is the model's and not the data's, the model knows where its data are.
    found = [(place, data_dir) for place in run_folder.models_in(save_dir)]
    searched = Path(data_dir) / run_folder.OF_A_SEARCH / run_folder.BEST_MODEL
    found += [(place, data_dir if place == searched else "") for place in run_folder.models_in(Path(data_dir))]
    if found:
        how = run_folder.command(*found[0], kind)
        return f"--lfads_save_dir: no trained model in {save_dir}; there is one in {found[0][0]}: {how}"
    how = run_folder.command(save_dir, data_dir, "train")
    return (
        f"--lfads_save_dir: no trained model in {save_dir}; train one: {how} (run_lfads.py: --kind=train), or give "
        "--model_params_file"
    )


def refuse_other_architecture(given: dict[str, Any], record: RunRecord) -> None:
    """Raises SettingsError when one of these settings would make another model than the folder's."""
    found = _other_architecture(given, record)
    if found:
        raise SettingsError(found)


def _other_architecture(given: dict[str, Any], record: RunRecord) -> list[str]:
    there = record.hyperparameters
    return [
        f"--{name}={given[name]} does not fit the model in {record.path.parent}, which has {name}={there[name]}; leave "
        "the flag out, or train in a new --lfads_save_dir"
        for name, field in declared().items()
        if field.metadata.get("architecture") and name in given and name in there and given[name] != there[name]
        and not (name == "num_steps_for_gen_ic" and min(given[name], record.num_bins or given[name]) == there[name])
    ]  # fmt: skip
