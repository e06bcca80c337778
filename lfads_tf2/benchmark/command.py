"""``lfads benchmark``: times training steps and posterior averaging of standard shapes, as JSON or as the table of
docs/performance.md."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from lfads_tf2.benchmark.measuring import SHAPES, measure, measure_population
from lfads_tf2.files import write_text
from lfads_tf2.program.screen import without_startup_lines
from lfads_tf2.settings.arguments import Arguments, a_path, at_least

# In a checkout of the project.
PAGE = Path("docs") / "performance.md"
BEGIN, END = "<!-- table: made by tools/benchmark.py --table -->", "<!-- end of table -->"


def machine() -> str:
    """The machine in general terms: cores and instruction set."""
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    best = next((name for name in ("avx512f", "avx2", "avx") if f" {name} " in flags), "no AVX")
    return f"{len(os.sched_getaffinity(0))} x86 cores, {best.upper().replace('AVX512F', 'AVX-512')}"


def table(steps: int) -> str:
    """Every shape with and without the kernels, each in a process of its own."""
    rows = []
    for shape in SHAPES:
        for plain in (False, True):
            command = [
                sys.executable,
                "-m",
                "lfads_tf2",
                "benchmark",
                f"--shape={shape}",
                f"--steps={steps}",
                *(["--plain"] if plain else []),
            ]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                rows.append(f"| {shape} | {'plain' if plain else 'kernels'} | failed | | | | |")
                continue
            r = json.loads(done.stdout)
            seconds = r.get("step_seconds_median", r.get("posterior_seconds"))
            fraction = f"{r['fraction_of_peak']:.2f}" if "fraction_of_peak" in r else ""
            first = r.get("seconds_before_first_step", r.get("posterior_first_seconds"))
            rows.append(
                f"| {shape} | {'plain' if plain else 'kernels'} | {seconds:.3f} | {fraction} | {first:.1f} | "
                f"{r['peak_rss_bytes'] / 1e9:.2f} | {r['peak_flop_per_second'] / 1e9:.0f} |"
            )
            print(rows[-1], file=sys.stderr)
    head = [
        f"Measured on {machine()}.",
        "",
        "| shape | loops | seconds | fraction of peak | before the first step, s | resident, GB | peak, GFLOP/s |",
        "|---|---|---|---|---|---|---|",
    ]
    return "\n".join(head + rows)


def main(argv: list[str]) -> int:
    """Runs the command and returns its exit code."""
    parser = Arguments("lfads benchmark", description=__doc__)
    parser.add_argument("--shape", choices=SHAPES, default="S")
    parser.add_argument("--steps", type=at_least(1), default=20, help="training steps that are timed")
    parser.add_argument("--json", type=a_path, help="write the figures to this file")
    parser.add_argument("--compare", type=a_path, help="print ratios to the figures of this file")
    parser.add_argument("--plain", action="store_true", help="without the compiled kernels")
    parser.add_argument("--threads", type=at_least(0), default=0, help="CPU threads; 0: all cores")
    parser.add_argument(
        "--members", type=at_least(0), default=0, help="time so many models in one program, and one by one"
    )
    parser.add_argument("--table", action="store_true", help="measure every shape and fill docs/performance.md")
    options = parser.parse_args(argv)
    if options.table:
        if not PAGE.exists():
            parser.error(f"--table fills {PAGE} of the project's checkout; start it there")
        before, _, rest = PAGE.read_text().partition(BEGIN)
        write_text(PAGE, f"{before}{BEGIN}\n{table(options.steps)}\n{END}{rest.partition(END)[2]}")
        return 0
    with without_startup_lines():
        import tensorflow  # noqa: F401
    if options.members:
        how = options.members, options.steps, options.plain, options.threads
        print(json.dumps(measure_population(options.shape, *how), indent=1))
        return 0
    result = measure(options.shape, options.steps, options.plain, options.threads)
    text = json.dumps(result, indent=1)
    print(text)
    if options.json:
        write_text(options.json, text)
    if options.compare:
        other = json.loads(options.compare.read_text())
        for key in ("step_seconds_median", "seconds_before_first_step", "peak_rss_bytes", "fraction_of_peak"):
            if key in result and key in other:
                print(f"{key}: {result[key] / other[key]:.3f} of {options.compare}")
    return 0
