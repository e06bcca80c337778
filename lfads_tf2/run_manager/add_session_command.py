"""``lfads add-session``: adds a session to a trained model, its dynamics frozen."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from lfads_tf2.run_manager.new_session import changed_weights, prepare_start
from lfads_tf2.run_manager.queue.commands import child_environment, program_words
from lfads_tf2.settings.arguments import Arguments, a_path


def options() -> Arguments:
    parser = Arguments(
        "lfads add-session",
        description="Fits read-in and read-out of a new session to a trained model of several sessions; generator, "
        "factors, encoders and controller stay as they are, bit by bit. Then infers the new session's rates. Any "
        "further --name=value goes to the training command, such as --max_epochs=100.",
    )
    parser.add_argument("--model_dir", type=a_path, required=True, help="lfads_save_dir of the trained model")
    parser.add_argument("--data_dir", type=a_path, required=True, help="the model's data folder")
    parser.add_argument("--data_filename_stem", default="lfads", help="stem of its files (default lfads)")
    parser.add_argument("--new_file", type=a_path, required=True, help="the new session's input file, <stem>_<session>")
    parser.add_argument("--output_dir", type=a_path, required=True, help="folder for everything that is written")
    parser.add_argument("--train_encoders", action="store_true", help="then also train the initial-condition encoders")
    return parser


def main(argv: list[str]) -> int:
    """Runs the command and returns its exit code. Raises NewSessionError and what reading the model raises."""
    parser = options()
    arguments, more = parser.parse_known_args(argv)
    unknown = [word for word in more if not word.startswith("--")]
    if unknown:
        parser.error(f"unexpected argument {unknown[0]!r}: settings of the training are given as --name=value")
    start = prepare_start(
        arguments.model_dir, arguments.data_dir, arguments.data_filename_stem, arguments.new_file, arguments.output_dir
    )
    how = f"fitted on {start.shared_conditions} shared conditions" if start.shared_conditions else "random"
    print(f"Session {start.session}: the maps' start is {how}.")
    folders = [f"--data_dir={start.data_dir}", f"--data_filename_stem={arguments.data_filename_stem}"]

    def run(output: Path, *flags: str) -> bool:
        command = [sys.executable, *program_words(), *folders, f"--lfads_save_dir={output}", *flags]
        return subprocess.run(command, env=child_environment()).returncode == 0

    # The model is trained already: no ramps.
    settings = ["--kl_increase_steps=0", "--l2_increase_steps=0", "--do_train_readin=true", "--seed=0", *more]
    stages = [("maps", "--do_train_io_only=true", "--do_train_encoder_only=false")]
    if arguments.train_encoders:
        stages.append(("encoders", "--do_train_io_only=false", "--do_train_encoder_only=true"))
    weights = start.model_params
    for name, *which in stages:
        output = arguments.output_dir / name
        good = run(output, "--kind=train", f"--model_params_file={weights}", *which, *settings)
        if not good or not run(output, "--kind=write_model_params"):
            return 1
        changed = changed_weights(weights, output / "model_params")
        changed = [key for key in changed if name == "maps" or not key.startswith(("LFADS_ic_enc", "LFADS_z_ic_enc"))]
        if changed:
            print(f"error: weights changed that were to stay: {', '.join(changed)}", file=sys.stderr)
            return 1
        weights = output / "model_params"
    if not run(output, "--kind=posterior_sample_and_average"):
        return 1
    print(f"All other weights are bit-equal to the model's. Results are in {output}")
    return 0
