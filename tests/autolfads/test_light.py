"""The search knows neither TensorFlow nor Ray: a mistake is refused before either loads."""

from __future__ import annotations

import subprocess
import sys

from conftest import ROOT

FRESH = """
import sys
import lfads_tf2.autolfads.command_line, lfads_tf2.autolfads.table, lfads_tf2.autolfads.run
import lfads_tf2.autolfads.population, lfads_tf2.autolfads.neurocaas, lfads_tf2.autolfads.figures
print(sorted({"tensorflow", "keras", "ray", "absl"} & set(sys.modules)))
"""


def test_what_loads():
    done = subprocess.run([sys.executable, "-c", FRESH], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.stdout.splitlines() == ["[]"], done.stderr


def test_ray_is_asked_for_where_it_is_used():
    """Without Ray everything else works."""
    blocked = "import sys; sys.modules['ray'] = None\n"
    code = f"{blocked}import lfads_tf2.autolfads.ray_slots, lfads_tf2.autolfads.slot, lfads_tf2.autolfads.outputs"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, timeout=300)
