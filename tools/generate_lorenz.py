"""Write synthetic spike counts of a Lorenz system, with their true rates: python tools/generate_lorenz.py --help"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # runs from a checkout without installing

from lfads_tf2.synthetic.presets import LorenzSettings, add_options, chosen
from lfads_tf2.synthetic.spikes import lorenz_recordings, write_recording


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description="Spike counts of sessions that share the dynamics of a Lorenz system, each with its own channels. "
        "Writes one HDF5 file a session, for run_lfads.py. The same seed gives the same files.",
        allow_abbrev=False,
    )
    add_options(parser, LorenzSettings)
    parser.add_argument("--output_dir", type=Path, default=None, help="folder for the files (default synthetic/STEM)")
    parser.add_argument(
        "--stem", default="lorenz", help="files are called STEM_dataset001.h5 and so on (default lorenz)"
    )
    arguments = parser.parse_args(argv)
    if not arguments.stem or "/" in arguments.stem:
        parser.error(f"--stem must be a file name without folders, got {arguments.stem!r}")
    try:
        settings = chosen(arguments, LorenzSettings())
    except ValueError as problem:
        parser.error(str(problem))
    folder = arguments.output_dir or Path("synthetic") / arguments.stem
    info = {"system": "Lorenz", "truth_unit": "expected spikes per bin", **dataclasses.asdict(settings)}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for number, recording in enumerate(lorenz_recordings(settings), start=1):
            path = folder / f"{arguments.stem}_dataset{number:03d}.h5"
            write_recording(path, recording, info)
            trials, bins, channels = recording.data.shape
            rate = recording.data.mean() * 1000.0 / settings.bin_ms
            size = f"{trials} trials, {bins} bins of {settings.bin_ms} ms, {channels} channels"
            print(f"{path}: {size}, {rate:.1f} spikes/s")
    except OSError as problem:
        parser.exit(1, f"{parser.prog}: error: {problem}\n")
    print(
        f"Train with: python run_lfads.py --kind=train --data_dir={folder} --data_filename_stem={arguments.stem} "
        "--co_dim=0 --factors_dim=8 --gen_dim=64 --ic_enc_dim=64 --learning_rate_stop=1e-3"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
