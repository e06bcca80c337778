"""Write synthetic recordings of rate networks, with their true rates: python tools/generate_chaotic_rnn.py --help"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # runs from a checkout without installing

from lfads_tf2.synthetic.presets import RNN_PRESETS, RnnSettings, add_options, chosen
from lfads_tf2.synthetic.spikes import rnn_recordings, write_recording


def training_flags(settings: RnnSettings) -> str:
    """The flags that these data ask for."""
    has_inputs = settings.pulse > 0 or settings.task == "integration_to_bound"
    flags = [f"--co_dim={1 if has_inputs else 0}", f"--factors_dim={settings.alignment_factors or 20}"]
    if settings.task == "labelled":
        flags.append("--ext_input_dim=1")
    if settings.observations == "gaussian":
        flags.append("--output_dist=gaussian")
    return " ".join(flags)


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Recordings of a random or built rate network. Writes one HDF5 file a session, for run_lfads.py. "
        "The same seed gives the same files. Inputs that the model should infer are kept from it, as train_true_input "
        "and valid_true_input; only the label of --task=labelled is given, as external input.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--preset",
        choices=sorted(RNN_PRESETS),
        default="chaotic_rnn_no_inputs",
        help="a published example; options given besides it change it (default chaotic_rnn_no_inputs, whose settings "
        "are the defaults below)",
    )
    add_options(parser, RnnSettings)
    parser.add_argument("--output_dir", type=Path, default=None, help="folder for the files (default synthetic/STEM)")
    parser.add_argument(
        "--stem", default=None, help="files are called STEM_dataset001.h5 and so on (default: the preset)"
    )
    return parser


def main(argv: list[str] | None = None) -> int:
    parser = build_parser()
    arguments = parser.parse_args(argv)
    stem = arguments.preset if arguments.stem is None else arguments.stem
    if not stem or "/" in stem:
        parser.error(f"--stem must be a file name without folders, got {stem!r}")
    try:
        settings = chosen(arguments, RNN_PRESETS[arguments.preset])
    except ValueError as problem:
        parser.error(str(problem))
    folder = arguments.output_dir or Path("synthetic") / stem
    unit = "expected spikes per bin" if settings.observations == "poisson" else "mean value"
    info = {"system": "rate network", "truth_unit": unit, "truth": "latents @ readout_W + readout_b"}
    info |= dataclasses.asdict(settings)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for number, recording in enumerate(rnn_recordings(settings), start=1):
            path = folder / f"{stem}_dataset{number:03d}.h5"
            write_recording(path, recording, info)
            trials, bins, channels = recording.data.shape
            print(f"{path}: {trials} trials, {bins} bins of {settings.bin_ms:g} ms, {channels} channels")
    except OSError as problem:
        parser.exit(1, f"{parser.prog}: error: {problem}\n")
    print(
        f"Train with: python run_lfads.py --kind=train --data_dir={folder} --data_filename_stem={stem} "
        f"{training_flags(settings)}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
