"""The house's order: who may import whom, and how long files and functions may grow."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

PACKAGE = ROOT / "lfads_tf2"
FILES = sorted(PACKAGE.rglob("*.py"))
NAMES = [str(path.relative_to(ROOT)) for path in FILES]

HEAVY = ("tensorflow", "keras", "tensorflow_probability", "tf_keras")
# What may not be imported by the files of a room, at any depth of the file (functions included).
FORBIDDEN = {
    "lfads_tf2/model/": (
        "lfads_tf2.data", "lfads_tf2.training", "lfads_tf2.inference", "lfads_tf2.program", "lfads_tf2.objective",
        "lfads_tf2.noise", "lfads_tf2.settings.combination", "lfads_tf2.settings.flags", "lfads_tf2.figures",
        "lfads_tf2.files", "h5py", "lfads_tf2.autolfads", "lfads_tf2.run_manager", "lfads_tf2.metrics",
    ),
    "lfads_tf2/data/": (
        "lfads_tf2.model", "lfads_tf2.training", "lfads_tf2.inference", "lfads_tf2.program", "lfads_tf2.objective",
        "lfads_tf2.autolfads", "lfads_tf2.run_manager", "lfads_tf2.figures", "lfads_tf2.metrics",
    ),
    "lfads_tf2/training/": (
        "lfads_tf2.inference", "lfads_tf2.program", "lfads_tf2.autolfads", "lfads_tf2.run_manager", "lfads_tf2.figures",
    ),
    "lfads_tf2/objective.py": ("lfads_tf2.data", "lfads_tf2.training", "lfads_tf2.inference", "lfads_tf2.program"),
    "lfads_tf2/noise.py": ("lfads_tf2.data", "lfads_tf2.training", "lfads_tf2.inference", "lfads_tf2.program"),
    "lfads_tf2/held_out.py": ("lfads_tf2.data", "lfads_tf2.training", "lfads_tf2.inference", "lfads_tf2.program"),
    "lfads_tf2/inference.py": ("lfads_tf2.training", "lfads_tf2.program", "h5py"),
    "lfads_tf2/program/": (
        "lfads_tf2.autolfads", "lfads_tf2.run_manager", "lfads_tf2.benchmark", "lfads_tf2.estimator",
    ),
    "lfads_tf2/program/results.py": ("lfads_tf2.training", "lfads_tf2.inference", "lfads_tf2.model"),
    "lfads_tf2/session_results/": (
        "lfads_tf2.model", "lfads_tf2.training", "lfads_tf2.inference", "lfads_tf2.autolfads", "lfads_tf2.run_manager",
        "lfads_tf2.figures", "lfads_tf2.metrics",
    ),
    "lfads_tf2/settings/": ("lfads_tf2.model", "lfads_tf2.training", "lfads_tf2.inference", "lfads_tf2.program"),
    "lfads_tf2/recordings/": (
        "lfads_tf2.model", "lfads_tf2.training", "lfads_tf2.inference", "lfads_tf2.program",
    ),
    "lfads_tf2/online/": ("lfads_tf2.model", "lfads_tf2.training", "lfads_tf2.data", "lfads_tf2.inference"),
    "lfads_tf2/metrics/": ("lfads_tf2.model", "lfads_tf2.training", "lfads_tf2.program", "lfads_tf2.run_manager"),
    "lfads_tf2/hyperparameters.py": tuple(
        f"lfads_tf2.{path.stem}" for path in PACKAGE.iterdir() if path.stem not in ("errors", "__init__")
    ),
    "lfads_tf2/errors.py": ("lfads_tf2",),
    "lfads_tf2/files/": ("lfads_tf2",),
    "lfads_tf2/types.py": ("lfads_tf2.data", "lfads_tf2.model", "lfads_tf2.training"),
}  # fmt: skip
# The compiled library is the one thing that the model keeps in a file.
KEPT_IN_A_FILE = ("lfads_tf2/model/native/building.py", "lfads_tf2/model/native/cache.py")
# These put batches on the device.
ON_THE_DEVICE = ("lfads_tf2/data/gathering.py", "lfads_tf2/data/resident.py", "lfads_tf2/data/streamed.py")
WITHOUT_TENSORFLOW = (
    "lfads_tf2/__init__.py", "lfads_tf2/hyperparameters.py", "lfads_tf2/settings/", "lfads_tf2/types.py",
    "lfads_tf2/errors.py", "lfads_tf2/files/", "lfads_tf2/program/results.py", "lfads_tf2/program/screen.py",
    "lfads_tf2/metrics/", "lfads_tf2/data/", "lfads_tf2/session_results/", "lfads_tf2/synthetic/", "lfads_tf2/figures/",
    "lfads_tf2/online/", "lfads_tf2/recordings/", "lfads_tf2/training/schedules.py", "lfads_tf2/training/fit_log.py",
    "lfads_tf2/training/metrics_log.py",
)  # fmt: skip
MOST_LINES, MOST_FUNCTION_LINES, MOST_PROGRAM_LINES = 400, 60, 120


def imports(path: Path, for_types: bool = True) -> set[str]:
    """Full names of all modules and names that a file imports, relative imports resolved.

    ``for_types``: those under TYPE_CHECKING too, which are not imported when the file runs.
    """
    found = set()
    inside = list(path.relative_to(ROOT).with_suffix("").parts)
    module_tree = ast.parse(path.read_text(encoding="utf-8"))
    for block in ast.walk(module_tree):
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING" and not for_types:
            block.body = []
    for node in ast.walk(module_tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = [*inside[: -node.level], node.module] if node.level else [node.module]
            module = ".".join(part for part in base if part)
            found |= {module, *(f"{module}.{alias.name}" for alias in node.names)}
    return found


def within(name: str, module: str) -> bool:
    return name == module or name.startswith(f"{module}.")


def offending(path: Path, modules, for_types: bool = True) -> list[str]:
    return sorted(name for name in imports(path, for_types) for module in modules if within(name, module))


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Strongly connected parts of more than one module, or of one that imports itself, each sorted."""

    def reached(start: str) -> set[str]:
        seen, waiting = set(), [start]
        while waiting:
            new = graph[waiting.pop()] - seen
            seen |= new
            waiting += new
        return seen

    reach = {name: reached(name) for name in graph}
    found = {tuple(sorted(other for other in graph if other in reach[n] and n in reach[other])) for n in graph}
    return sorted(list(part) for part in found if part)


def test_the_reader_of_imports():
    """The checks below would pass on anything if this did not see every form."""
    path = ROOT / "lfads_tf2" / "model" / "gru.py"
    assert "tensorflow" in imports(path)
    assert {"lfads_tf2.data", "lfads_tf2.data.resolve"} <= imports(PACKAGE / "program" / "model_building.py")
    inside = imports(PACKAGE / "online" / "exported.py")
    assert "lfads_tf2.program.results" in inside, "imports inside functions count"


@pytest.mark.parametrize("room", FORBIDDEN)
def test_direction(room):
    paths = {name: path for path, name in zip(FILES, NAMES, strict=True) if name.startswith(room)}
    assert paths
    found = {name: set(offending(path, FORBIDDEN[room])) for name, path in paths.items()}
    for name in found.keys() & KEPT_IN_A_FILE:
        found[name] = {n for n in found[name] if not within(n, "lfads_tf2.files")}
    assert {name: names for name, names in found.items() if names} == {}


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_the_package_knows_nothing_of_its_commands(path):
    flags = str(path.relative_to(ROOT)) == "lfads_tf2/settings/flags.py"
    assert offending(path, (*(() if flags else ("absl",)), "flags", "tools", "run_lfads", "tests")) == []


def test_who_knows_the_kinds():
    """Nothing calls back up: only the program imports the five kinds."""
    callers = [name for path, name in zip(FILES, NAMES, strict=True) if offending(path, ("lfads_tf2.program.kinds",))]
    assert callers == ["lfads_tf2/program/kinds_command.py"]


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_light_files_import_no_tensorflow(path):
    name = str(path.relative_to(ROOT))
    if name.startswith(WITHOUT_TENSORFLOW) and name not in ON_THE_DEVICE:
        assert offending(path, HEAVY, for_types=False) == []


def test_circles():
    graph = {"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"d", "a"}, "e": set()}
    assert circles(graph) == [["b", "c"], ["d"]]


def test_no_import_circle():
    """Imports inside functions and for types alone count too."""
    modules = {module_name(path): path for path in FILES}
    graph = {name: imports(path) & modules.keys() for name, path in modules.items()}
    # A name that is taken from a package's __init__ comes with the package itself.
    for name, path in modules.items():
        if path.name != "__init__.py":
            graph[name] -= {package for package in graph[name] if within(name, package)}
    assert circles(graph) == []


def test_few_loose_modules():
    assert len([path for path in PACKAGE.glob("*.py") if path.name != "__init__.py"]) <= 10


REFUSED = {"more", "own", "parts", "utils", "util", "helpers", "helper", "misc", "common", "stuff", "other", "extra"}


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_files_are_named_by_meaning(path):
    assert not REFUSED & set(path.stem.split("_"))


FRESH = """
import sys
import lfads_tf2
print(sorted({"tensorflow", "keras", "numpy", "h5py", "yaml", "absl"} & set(sys.modules)))
import lfads_tf2.hyperparameters, lfads_tf2.settings.combination
print(sorted({"tensorflow", "keras", "numpy", "h5py", "absl"} & set(sys.modules)))
import lfads_tf2.types, lfads_tf2.data, lfads_tf2.files, lfads_tf2.program.results
import lfads_tf2.metrics.rates, lfads_tf2.synthetic.spikes
print(sorted({"tensorflow", "keras", "tensorflow_probability", "absl"} & set(sys.modules)))
"""


def test_what_a_fresh_import_loads():
    done = subprocess.run([sys.executable, "-c", FRESH], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.stdout.splitlines() == ["[]", "[]", "[]"], done.stderr


def test_few_public_names():
    import lfads_tf2

    assert len([name for name in vars(lfads_tf2) if not name.startswith("_")]) <= 60
    assert len(getattr(lfads_tf2, "__all__", [])) <= 15


def function_lines(node: ast.FunctionDef) -> int:
    """Lines of a function from its name to its end, less its docstring."""
    lines = node.end_lineno - node.lineno + 1
    first = node.body[0]
    if ast.get_docstring(node) is not None:
        lines -= first.end_lineno - first.lineno + 1
    return lines


SIZED = [*FILES, ROOT / "flags" / "__init__.py", ROOT / "run_lfads.py"]


@pytest.mark.parametrize("path", SIZED, ids=[str(path.relative_to(ROOT)) for path in SIZED])
def test_sizes(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= (MOST_PROGRAM_LINES if path.name == "run_lfads.py" else MOST_LINES)
    functions = [n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    assert {n.name: function_lines(n) for n in functions if function_lines(n) > MOST_FUNCTION_LINES} == {}


TOOLS = sorted((ROOT / "tools").glob("*.py"))


@pytest.mark.parametrize("path", TOOLS, ids=[path.name for path in TOOLS])
def test_tools_are_short(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 150
