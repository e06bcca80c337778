"""``lfads import``: cuts a lab's own file into trials for LFADS."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from lfads_tf2.recordings import arrays
from lfads_tf2.recordings.binning import GAP_STEPS
from lfads_tf2.recordings.cutting import cut
from lfads_tf2.recordings.halves import KINDS
from lfads_tf2.recordings.reading import kind_of, read
from lfads_tf2.recordings.recording import RecordingError
from lfads_tf2.recordings.trials import BEHAVIOR, LENGTHS, UNOBSERVED, CutOptions
from lfads_tf2.recordings.windows import MOST_STAY
from lfads_tf2.settings.arguments import Arguments, a_path

EXAMPLES = """
  lfads import session.nwb -o data --align move_onset_time --window -250 450 --bin-ms 10 --condition target
  lfads import session.nwb -o data --chop 1000 --overlap 200 --units "quality == 'good'"
  lfads import sorted_folder -o data --groups good --chop 1000 --overlap 200
  lfads import session.mat -o data --key spk --align trial_start --window 0 900 --bin-ms 10 --condition target
  lfads import counts.mat -o data --key spikes --axes trials,time,units --stored-bin-ms 1 --bin-ms 10
"""

# Options of one kind of source each.
READ_BY = {
    "key": "file of arrays", "axes": "file of arrays", "time_unit": "file of arrays", "stored_bin_ms": "file of arrays",
    "groups": "folder", "behavior": "NWB file", "allow_outside_files": "NWB file",
}  # fmt: skip


def parser() -> Arguments:
    """All arguments of the command."""
    top = Arguments(
        "lfads import", formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Cuts a recording into trials and writes them into a data folder.\n" + EXAMPLES,
    )  # fmt: skip
    default = CutOptions()
    top.add_argument("source", type=a_path, help="NWB, .npz, .npy, .mat, HDF5, or the folder of a spike sorter (phy)")
    top.add_argument("-o", "--output", type=a_path, required=True, metavar="DATA", help="data folder for lfads train")
    top.add_argument("--name", default="", help="of the session (default: the source's)")
    top.add_argument("--allow-outside-files", action="store_true", help="follow an NWB file's links out of its folder")
    top.add_argument("--bin-ms", type=float, default=default.bin_ms, help="bin width (default %(default)s)")
    group = top.add_argument_group("trials")
    group.add_argument("--table", default=default.table, help="table of intervals (default %(default)s)")
    group.add_argument("--where", default="", help="which rows of it, such as \"result == 'R'\"")
    group.add_argument(
        "--align", default="", metavar="COLUMN",
        help="column of times, or vector of them beside the spikes of a session (default start_time)",
    )  # fmt: skip
    group.add_argument("--window", type=float, nargs=2, metavar=("FROM", "TO"), help="ms around that time")
    group.add_argument(
        "--lengths", default="", choices=LENGTHS,
        help="of whole trials that differ: pad shorter ones with NaN, cut all to the shortest, or leave: of the "
        f"longest length that {100 * MOST_STAY:g} %% of them reach, shorter ones are left out and the others cut to it",
    )  # fmt: skip
    group.add_argument("--condition", default="", metavar="COLUMN", help="column of conditions")
    group.add_argument("--chop", type=float, metavar="MS", help="windows over the whole recording instead of trials")
    group.add_argument("--overlap", type=float, default=0.0, metavar="MS", help="of neighbouring windows of --chop")
    group = top.add_argument_group("units")
    group.add_argument("--units", default="", help="which units, such as \"quality == 'good'\"")
    group.add_argument("--groups", nargs="+", default=(), help="labels of a spike sorter to keep, such as good")
    group.add_argument("--min-rate", type=float, default=0.0, help="spikes/s that a unit must have")
    group.add_argument(
        "--min-presence", type=float, default=0.0,
        help="share of ten equal parts of the time it was recorded in, in which it must fire",
    )  # fmt: skip
    group.add_argument(
        "--max-crosstalk", type=float, default=default.max_crosstalk,
        help="share of spikes beyond chance that two units may share within 1 ms (default %(default)s; 1: any)",
    )  # fmt: skip
    group.add_argument("--unobserved", default="nan", choices=UNOBSERVED, help="bins in which a unit was not recorded")
    group = top.add_argument_group("behaviour")
    group.add_argument("--behavior", nargs="+", default=(), metavar="NAME", help="time series to keep with the trials")
    group.add_argument("--lag", type=float, default=0.0, metavar="MS", help="take behaviour so much later")
    group.add_argument(
        "--behavior-how", default="interpolate", choices=BEHAVIOR,
        help="at the bins' centres, but not over gaps longer than a bin and than "
        f"{GAP_STEPS} of its median sampling steps, or the mean of the samples in each bin (default %(default)s)",
    )  # fmt: skip
    group = top.add_argument_group("training and validation")
    group.add_argument("--halves", default="auto", choices=KINDS, help="how trials are divided")
    group.add_argument(
        "--halves-column", default=default.halves_column, help="for --halves column (default %(default)s)"
    )
    group.add_argument(
        "--valid-share", type=float, default=default.valid_share, help="for validation (default %(default)s)"
    )
    group.add_argument("--seed", type=int, default=0, help="of draws")
    _add_arrays(top.add_argument_group("arrays of counts or spike times"))
    return top


def _add_arrays(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--key", default="", help="name of the array in the file, STRUCT.FIELD in a struct")
    group.add_argument("--axes", default="", help="its axes, such as time,units, trials,time,units or trials,units")
    group.add_argument("--time-unit", default="s", choices=arrays.TIME_UNITS, help="of spikes and events (default s)")
    group.add_argument("--stored-bin-ms", type=float, help="width of the stored bins, where the file does not say")


def main(argv: list[str]) -> int:
    """Runs the command and returns its exit code.

    Raises:
        RecordingError: see ``reading.read`` and ``cutting.cut``.
    """
    top = parser()
    given = vars(top.parse_args(argv))
    _check_applicable(given["source"], [name for name in READ_BY if given[name] != top.get_default(name)])
    source, output, name, window = (given.pop(key) for key in ("source", "output", "name", "window"))
    reading = {key: given.pop(key) for key in READ_BY if key != "behavior"}
    recording = read(source, behavior=given["behavior"], bin_ms=reading.pop("stored_bin_ms"), **reading)
    options = CutOptions(**given | {"behavior": tuple(given["behavior"]), "window": window and tuple(window)})
    found = cut(recording, options)
    path = found.write(output, name)
    print(found.report())
    print(f"wrote {path}; go on with: lfads train {shlex.quote(str(output))}")
    return 0


def _check_applicable(source: Path, names: list[str]) -> None:
    """Raises RecordingError where options of another kind of source are given: nothing that is given is ignored."""
    kind = kind_of(source)
    for name in names:
        wanted = READ_BY[name]
        if kind not in (wanted, ""):
            of = "folder of a spike sorter" if wanted == "folder" else wanted
            raise RecordingError(f"{source} is no {of}, which alone has --{name.replace('_', '-')}; leave it out")
