"""Folders that are damaged and commands that are disturbed: a short seeded share in every run, the rest when asked for.

``python tests/torture/run.py`` prints the table of many.
"""

from __future__ import annotations

import sys

import pytest

from torture import damage, disturbances, folders
from torture.server import Server

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are watched by means of Linux")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Runs commands."""
    found = Server(tmp_path_factory.mktemp("server"))
    yield found
    found.close()


def test_some_damaged_folders(server, tmp_path):
    ends, broken = damage.torture(server, tmp_path, attempts=10, seed=31, kinds=("run folders", "results"))
    assert not broken, "\n".join(broken)
    assert ends["run folders"].total() == ends["results"].total() == 5


@pytest.mark.parametrize("how, attempts", [("kills", 4), ("full-disk", 2), ("together", 2)])
def test_some_disturbed_commands(server, tmp_path, how, attempts):
    ends, broken = disturbances.torture(how, server, tmp_path, attempts, 32, ("train", "import"))
    assert not broken, "\n".join(broken)
    assert how == "kills" or sum(count.total() for count in ends.values()) == attempts


def test_the_torture_sees_what_is_not_as_promised(server, tmp_path):
    """Other numbers without a word, and traces, would be found."""
    from torture.folders import RUN_STEPS
    from torture.server import Ended

    folder = folders.data_in(tmp_path / "whole")
    folders.good(server, folders.train(4)(folder))
    said = Ended(0, False, "Wrote it", 1.0)
    reference = RUN_STEPS[0].numbers(folder)
    assert damage.verdict(said, RUN_STEPS[0], folder, reference) == damage.SAME
    log = folder / "run" / "fitlog.csv"
    log.write_text(log.read_text().replace("epoch,0", "epoch,9"))
    assert damage.verdict(said, RUN_STEPS[0], folder, reference).startswith("silently other numbers: ['fitlog.csv']")
    assert damage.verdict(said._replace(said="a.h5 is damaged"), RUN_STEPS[0], folder, reference) == damage.TOLD
    both = said._replace(said="again"), RUN_STEPS[0], folder, reference, "again"
    assert damage.verdict(*both).startswith("silently"), "it says so of a whole folder too"
    trace = said._replace(code=1, said="lfads train: a fault in the program: KeyError")
    assert damage.verdict(trace, RUN_STEPS[0], folder, reference) == "traceback"
    assert damage.verdict(said._replace(code=-9), RUN_STEPS[0], folder, reference) == "signal"


@pytest.mark.slow
def test_many_damaged_folders(server, tmp_path):
    _, broken = damage.torture(server, tmp_path, attempts=600, seed=33)
    assert not broken, "\n".join(broken)


@pytest.mark.slow
@pytest.mark.parametrize("how", disturbances.HOW)
def test_many_disturbed_commands(server, tmp_path, how):
    _, broken = disturbances.torture(how, server, tmp_path, attempts=100, seed=34)
    assert not broken, "\n".join(broken)
