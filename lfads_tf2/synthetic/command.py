"""``lfads simulate``: synthetic recordings with their true rates."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

from lfads_tf2.errors import LFADSError, one_of
from lfads_tf2.settings.arguments import Arguments, a_path
from lfads_tf2.synthetic.presets import RNN_PRESETS, LorenzSettings, RnnSettings, add_options, chosen
from lfads_tf2.synthetic.spikes import lorenz_recordings, rnn_recordings, write_recording


class SimulateError(LFADSError, ValueError):
    """Settings of a simulation that cannot be used."""


def main(argv: list[str]) -> int:
    """``lfads simulate lorenz`` or ``lfads simulate chaotic-rnn``; returns the exit code."""
    systems = {"lorenz": lorenz, "chaotic-rnn": chaotic_rnn}
    if not argv or argv[0] in ("--help", "-h"):
        print("usage: lfads simulate SYSTEM [--name=value ...]\n\nSYSTEM is one of")
        print("  lorenz       spike counts of sessions that share a Lorenz system")
        print("  chaotic-rnn  recordings of rate networks, with inputs, labels, a bound, or Gaussian values")
        print("\nlfads simulate SYSTEM --help shows its options.")
        return 0
    if argv[0] not in systems:
        raise SimulateError(f"SYSTEM must be {one_of(systems, argv[0])}")
    return systems[argv[0]](argv[1:])


def lorenz(argv: list[str]) -> int:
    """Writes spike counts of a Lorenz system; returns the exit code."""
    parser = Arguments(
        "lfads simulate lorenz",
        description="Spike counts of sessions that share the dynamics of a Lorenz system, each with its own channels. "
        "Writes one HDF5 file a session. The same seed gives the same files.",
    )
    add_options(parser, LorenzSettings)
    _add_places(parser, "lorenz", "lorenz")
    arguments = parser.parse_args(argv)
    settings = _settings(parser, arguments, LorenzSettings())
    info = {"system": "Lorenz", "truth_unit": "expected spikes per bin", **dataclasses.asdict(settings)}
    folder = _write(arguments, arguments.stem, lorenz_recordings(settings), info, settings.bin_ms, spikes=True)
    flags = "--co_dim=0 --factors_dim=8 --gen_dim=64 --ic_enc_dim=64 --learning_rate_stop=1e-3"
    _say_how_to_train(folder, arguments.stem, flags)
    return 0


def chaotic_rnn(argv: list[str]) -> int:
    """Writes recordings of rate networks; returns the exit code."""
    parser = Arguments(
        "lfads simulate chaotic-rnn",
        description="Recordings of a random or built rate network. Writes one HDF5 file a session. "
        "The same seed gives the same files. Inputs that the model should infer are kept from it, as train_true_input "
        "and valid_true_input; only the label of --task=labelled is given, as external input.",
    )
    first = "chaotic_rnn_no_inputs"
    parser.add_argument(
        "--preset", choices=sorted(RNN_PRESETS), default=first,
        help=f"a published example; options given besides it change it (default {first}, whose settings are the "
        "defaults below)",
    )  # fmt: skip
    add_options(parser, RnnSettings)
    _add_places(parser, None, "the preset")
    arguments = parser.parse_args(argv)
    stem = arguments.preset if arguments.stem is None else arguments.stem
    settings = _settings(parser, arguments, RNN_PRESETS[arguments.preset], stem)
    unit = "expected spikes per bin" if settings.observations == "poisson" else "mean value"
    info = {"system": "rate network", "truth_unit": unit, "truth": "latents @ readout_W + readout_b"}
    info |= dataclasses.asdict(settings)
    folder = _write(arguments, stem, rnn_recordings(settings), info, settings.bin_ms, spikes=False)
    _say_how_to_train(folder, stem, training_flags(settings))
    return 0


def training_flags(settings: RnnSettings) -> str:
    """The flags that these data ask for."""
    has_inputs = settings.pulse > 0 or settings.task == "integration_to_bound"
    flags = [f"--co_dim={1 if has_inputs else 0}", f"--factors_dim={settings.alignment_factors or 20}"]
    if settings.task == "labelled":
        flags.append("--ext_input_dim=1")
    if settings.observations == "gaussian":
        flags.append("--output_dist=gaussian")
    return " ".join(flags)


def _add_places(parser: Arguments, stem: str | None, shown: str) -> None:
    parser.add_argument("--output_dir", type=a_path, default=None, help="folder for the files (default synthetic/STEM)")
    parser.add_argument(
        "--stem", default=stem, help=f"files are called STEM_dataset001.h5 and so on (default: {shown})"
    )


def _settings(parser: Arguments, arguments, start, stem: str | None = None):
    stem = arguments.stem if stem is None else stem
    if not stem or "/" in stem:
        parser.error(f"--stem must be a file name without folders, got {stem!r}")
    try:
        return chosen(arguments, start)
    except ValueError as problem:
        parser.error(str(problem))


def _write(arguments, stem: str, recordings: Iterator, info: dict, bin_ms: float, spikes: bool) -> Path:
    """Writes every recording; returns the folder."""
    folder = arguments.output_dir or Path("synthetic") / stem
    folder.mkdir(parents=True, exist_ok=True)
    for number, recording in enumerate(recordings, start=1):
        path = folder / f"{stem}_dataset{number:03d}.h5"
        write_recording(path, recording, info)
        trials, bins, channels = recording.data.shape
        rate = f", {recording.data.mean() * 1000.0 / bin_ms:.1f} spikes/s" if spikes else ""
        print(f"{path}: {trials} trials, {bins} bins of {bin_ms:g} ms, {channels} channels{rate}")
    return folder


def _say_how_to_train(folder: Path, stem: str, flags: str) -> None:
    print(f"Train with: lfads train {folder} --data_filename_stem={stem} {flags}")
