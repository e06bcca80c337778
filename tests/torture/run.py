"""Tries to break the program, from a seed, and prints how often it kept its promises, as docs/reliability.md has it.

``python tests/torture/run.py --attempts 600 --seed 0 --class damage``
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parents[2])]

from torture import damage, disturbances, inputs  # noqa: E402
from torture.server import Server  # noqa: E402

CLASSES = ("inputs", "damage", "kills", "full-disk", "together")


def rows(name: str, attempts: int, seed: int, kinds: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """Lines of the table of one class, and what did not end as promised."""
    if name == "inputs":
        ends, broken = inputs.torture(attempts, seed)
    else:
        with tempfile.TemporaryDirectory(prefix="torture") as place:
            server = Server(Path(place))
            try:
                if name == "damage":
                    ends, broken = damage.torture(server, Path(place), attempts, seed, kinds or tuple(damage.KINDS))
                else:
                    ends, broken = disturbances.torture(name, server, Path(place), attempts, seed, kinds)
            finally:
                server.close()
    lines = []
    for what, count in ends.items():
        failed = sum(1 for text in broken if text.startswith(f"{what},"))
        told = ", ".join(f"{end} {number}" for end, number in count.most_common())
        lines.append(f"| {what} | {count.total()} | {count.total() - failed} | {told} |")
    return lines, broken


def main() -> int:
    """Prints the table; 1 when anything did not end as promised."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--attempts", type=int, default=100, help="of each class (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--class", dest="classes", action="append", choices=CLASSES, help="only this one; repeatable")
    parser.add_argument("--kind", dest="kinds", action="append", default=[], help="of folders or commands; repeatable")
    options = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    lines, broken = [], []
    for name in options.classes or CLASSES:
        more, found = rows(name, options.attempts, options.seed, tuple(options.kinds))
        lines, broken = lines + more, broken + found
    print("| what | tried | as promised | how they ended |\n|---|---|---|---|")
    print("\n".join(lines))
    print("\n\n".join(broken[:50]))
    return int(bool(broken))


if __name__ == "__main__":
    sys.exit(main())
