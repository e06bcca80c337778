"""``lfads online``: exports a model to one file, and steps it over bins from standard input or UDP."""

from __future__ import annotations

import argparse
import logging
import socket
import sys
import time
from collections.abc import Iterable, Iterator

import numpy as np

from lfads_tf2.online.exported import OnlineError, export
from lfads_tf2.online.streams import OnlineLFADS
from lfads_tf2.settings.arguments import Arguments, a_path

log = logging.getLogger("lfads_tf2")
# Of a datagram; more than any recording has channels.
MOST_BYTES = 65535


def parser() -> Arguments:
    """All arguments of the command."""
    top = Arguments(
        "lfads online", formatter_class=argparse.RawDescriptionHelpFormatter,
        description=__doc__.split(": ")[1].strip() + "\n\n"
        "  lfads online RUN --to model.npz        export (after lfads export-params)\n"
        "  lfads online model.npz --stdin         a bin a line, counts separated by spaces or commas\n"
        "  lfads online model.npz --udp 5005      a bin a datagram, float32 or uint8 counts; answered with float32",
    )  # fmt: skip
    top.add_argument("model", type=a_path, help="a run folder to export, or an exported model to step")
    what = top.add_mutually_exclusive_group(required=True)
    what.add_argument("--to", type=a_path, metavar="FILE", help="export the run folder's model to this file")
    what.add_argument("--stdin", action="store_true", help="read bins from standard input; an empty line: a new trial")
    what.add_argument("--udp", type=int, metavar="PORT", help="answer datagrams; an empty one: a new trial")
    top.add_argument("--host", default="127.0.0.1", help="address to listen at (default %(default)s)")
    top.add_argument("--session", help="whose channels come in; needed where the model has several")
    top.add_argument("--window", type=int, help="bins encoded again at each bin, for models that are not causal")
    top.add_argument("--factors", action="store_true", help="put out factors and not rates")
    top.add_argument("--bins", type=int, default=0, help="end after so many bins; 0: at the end of the input")
    return top


def main(argv: list[str]) -> int:
    """Runs the command and returns its exit code.

    Raises:
        OnlineError: see ``export``, ``OnlineLFADS.load`` and ``OnlineLFADS.step``.
    """
    arguments = parser().parse_args(argv)
    if arguments.to:
        path = export(arguments.model, arguments.to)
        log.info("Wrote %s (%.1f MB); step it with lfads online %s --stdin", path, path.stat().st_size / 1e6, path)
        return 0
    stream = OnlineLFADS.load(arguments.model, arguments.session, window=arguments.window)
    seconds: list[float] = []
    try:
        if arguments.stdin:
            _answer_lines(stream, sys.stdin, arguments, seconds)
        else:
            _answer_datagrams(stream, arguments, seconds)
    finally:
        _report(seconds)
    return 0


def _bin(stream: OnlineLFADS, counts: np.ndarray, factors: bool, seconds: list[float]) -> np.ndarray:
    """Rates (or factors) of one bin; notes how long they took."""
    inputs = stream.model.settings["ext_input_dim"]
    started = time.perf_counter()
    ext_input = counts[stream.num_encoded :] if inputs else None
    found = stream.step(counts[: stream.num_encoded], ext_input)[int(factors)][0]
    seconds.append(time.perf_counter() - started)
    return found


def _answer_lines(stream: OnlineLFADS, lines: Iterable[str], arguments, seconds: list[float]) -> None:
    for number, counts in _lines(lines, _width(stream)):
        if counts is None:
            stream.reset()
            continue
        try:
            found = _bin(stream, counts, arguments.factors, seconds)
        except OnlineError as error:
            raise OnlineError(f"line {number}: {error}") from error
        print(" ".join(f"{value:.6g}" for value in found), flush=True)
        if arguments.bins and len(seconds) >= arguments.bins:
            return


def _width(stream: OnlineLFADS) -> int:
    """Numbers a bin: counts, then external inputs where the model has any."""
    return stream.num_encoded + stream.model.settings["ext_input_dim"]


def _lines(lines: Iterable[str], width: int) -> Iterator[tuple[int, np.ndarray | None]]:
    """Number and values of each line; None for an empty one."""
    for number, line in enumerate(lines, start=1):
        words = line.replace(",", " ").split()
        try:
            values = np.array([float(word) for word in words], np.float32)
        except ValueError as error:
            raise OnlineError(f"line {number}: {error}; give {width} numbers a line") from None
        if len(words) not in (0, width):
            raise OnlineError(f"line {number} has {len(words)} numbers; this model needs {width} (0 for a new trial)")
        yield number, values if len(words) else None


def _answer_datagrams(stream: OnlineLFADS, arguments, seconds: list[float]) -> None:
    width, refused = _width(stream), 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as port:
        port.bind((arguments.host, arguments.udp))
        log.info("Listening at %s:%d for %d values a bin.", *port.getsockname(), width)
        try:
            while not arguments.bins or len(seconds) < arguments.bins:
                content, sender = port.recvfrom(MOST_BYTES)
                if not content:
                    stream.reset()
                    continue
                kinds = {4 * width: "<f4", width: "u1"}
                try:
                    if len(content) not in kinds:
                        raise OnlineError(f"{len(content)} bytes; needed are {width} (uint8) or {4 * width} (float32)")
                    counts = np.frombuffer(content, kinds[len(content)]).astype(np.float32)
                    found = _bin(stream, counts, arguments.factors, seconds)
                except OnlineError as error:
                    # One bad datagram must not end an experiment.
                    refused += 1
                    log.warning("A datagram from %s was left out: %s", sender[0], error)
                    continue
                port.sendto(found.astype("<f4").tobytes(), sender)
        except KeyboardInterrupt:
            log.info("Stopped.")
    if refused:
        log.warning("%d datagrams were left out.", refused)


def _report(seconds: list[float]) -> None:
    if not seconds:
        return
    median, late, most = (1e3 * float(value) for value in np.quantile(seconds, [0.5, 0.999, 1.0]))
    log.info("%d bins: median %.3f ms, 99.9 %% within %.3f ms, most %.3f ms a bin.", len(seconds), median, late, most)
