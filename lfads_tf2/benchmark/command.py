"""``lfads benchmark``: times training steps and posterior averaging of standard shapes, as JSON or as the table of
docs/performance.md."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from lfads_tf2.benchmark.measuring import SHAPES, Way, measure, measure_population
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


# How a shape is measured, and the options that do it; those of a GPU only where there is one.
ON_CPU = {"kernels": [], "plain": ["--plain"]}
ON_GPU = {"GPU, XLA": ["--device=gpu:0"], "GPU, no XLA": ["--device=gpu:0", "--jit_compile=false"]}
POPULATION = ["--shape=S", "--members=8"]


def figures(options: list[str]) -> dict | None:
    """What ``lfads benchmark`` measures with these options in a process of its own; None if it fails."""
    command = [sys.executable, "-m", "lfads_tf2", "benchmark", *options]
    done = subprocess.run(command, capture_output=True, text=True)
    return None if done.returncode else json.loads(done.stdout)


def row(shape: str, loops: str, r: dict | None) -> str:
    """A row of the table from the figures of a shape."""
    if r is None:
        return f"| {shape} | {loops} | failed | | | | |"
    seconds = r.get("step_seconds_median", r.get("posterior_seconds"))
    fraction = f"{r['fraction_of_peak']:.2f}" if "fraction_of_peak" in r else ""
    first = r.get("seconds_before_first_step", r.get("posterior_first_seconds"))
    return (
        f"| {shape} | {loops} | {seconds:.3f} | {fraction} | {first:.1f} | "
        f"{r['peak_rss_bytes'] / 1e9:.2f} | {r['peak_flop_per_second'] / 1e9:.0f} |"
    )


def table(steps: int) -> str:
    """Every shape in every way that this machine has, and a population, each in a process of its own."""
    rows, populations = [], []
    timed = f"--steps={steps}"
    on_gpu = figures([*ON_GPU["GPU, XLA"], "--shape=S", "--steps=1"])
    ways = ON_CPU | (ON_GPU if on_gpu and "gpu" in on_gpu["device"] else {})
    for shape in SHAPES:
        for loops, options in ways.items():
            rows.append(row(shape, loops, figures([f"--shape={shape}", timed, *options])))
            print(rows[-1], file=sys.stderr)
    for loops, options in ways.items():
        r = figures([*POPULATION, timed, *options])
        gain = f"{r['in_one_seconds']:.3f} | {r['one_after_the_other_seconds']:.3f}" if r else "failed |"
        populations.append(f"| {loops} | {gain} |")
        print(populations[-1], file=sys.stderr)
    return "\n".join(
        [
            f"Measured on {machine()}{' and its first GPU' if len(ways) > len(ON_CPU) else ''}.",
            "",
            "| shape | loops | seconds | fraction of peak | before the first step, s | resident, GB | peak, GFLOP/s |",
            "|---|---|---|---|---|---|---|",
            *rows,
            "",
            "A step of eight models of S:",
            "",
            "| loops | in one program, s | one after the other, s |",
            "|---|---|---|",
            *populations,
        ]
    )


def main(argv: list[str]) -> int:
    """Runs the command and returns its exit code."""
    parser = Arguments("lfads benchmark", description=__doc__)
    parser.add_argument("--shape", choices=SHAPES, default="S")
    parser.add_argument("--steps", type=at_least(1), default=40, help="training steps that are timed, in epochs of 8")
    parser.add_argument("--json", type=a_path, help="write the figures to this file")
    parser.add_argument("--compare", type=a_path, help="print ratios to the figures of this file")
    parser.add_argument("--plain", action="store_true", help="without the compiled kernels")
    parser.add_argument("--threads", type=at_least(0), default=0, help="CPU threads; 0: all cores")
    parser.add_argument("--device", default="cpu", help="cpu, or gpu:0")
    parser.add_argument("--jit_compile", choices=("auto", "true", "false"), default="auto", help="with XLA; auto: GPUs")
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
    way = Way(options.plain, options.threads, options.device, options.jit_compile)
    if options.members:
        print(json.dumps(measure_population(options.shape, options.members, options.steps, way), indent=1))
        return 0
    result = measure(options.shape, options.steps, way)
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
