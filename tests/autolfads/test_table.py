"""What the user sees: lines, tables and figures made from a toy search."""

from __future__ import annotations

import io

from PIL import Image

from lfads_tf2.autolfads.figures import on_line, write_figures
from lfads_tf2.autolfads.population import Population
from lfads_tf2.autolfads.records import Records, lineage, read_fit_log
from lfads_tf2.autolfads.table import LiveTable, duration, generation_line, table

from .toy import ToyExecutor, search_of


class Terminal(io.StringIO):
    def isatty(self):
        return True


def run(folder, stream=None, bad=()):
    watcher = LiveTable(stream or io.StringIO())
    population = Population(search_of(), ToyExecutor(bad), Records(folder), 1, watcher)
    population.run()
    return population


def test_a_line_a_generation(tmp_path):
    stream = io.StringIO()
    population = run(tmp_path, stream, bad=[2])
    lines = stream.getvalue().splitlines()
    assert lines[0] == "6 workers, epoch 0 of at most 40."
    assert len(lines) == 1 + len(population.history)
    assert "diverged 1" in lines[1]
    assert "\x1b" not in stream.getvalue()
    entry = population.history[3]
    text = generation_line(entry, population.options, 125 * 60)
    assert f"best {min(entry['scores']):.6g}" in text
    assert f"copied {len(entry['replaced'])}" in text
    assert text.endswith("at most 2 h 05 min left")


def test_the_table_is_drawn_over_the_last_one(tmp_path):
    stream = Terminal()
    population = run(tmp_path, stream)
    text = stream.getvalue()
    assert text.count("\x1b[7A\x1b[J") == len(population.history) - 1, "six workers and a header"
    assert "5 workers to go" in text
    rows = table(population.history[-1], population.options.metric)
    assert len(rows) == 7
    scores = [float(row.split()[1]) for row in rows[1:]]
    assert scores == sorted(scores)


def test_durations():
    assert [duration(seconds) for seconds in (None, 4, 300, 7500)] == ["?", "4 s", "5 min", "2 h 05 min"]


def test_figures(tmp_path):
    population = run(tmp_path, bad=[1])
    log, best = read_fit_log(tmp_path / "fitlog.csv"), population.best_now()
    line = lineage(population.history, best["worker"])
    rows = on_line(log, line)
    assert list(log["epoch"][rows]) == list(range(40))
    assert log["valid/recon_smth"][rows[-1]] == best["score"]
    # Scores along the line only fall: a copy goes on from where its source was.
    assert all(log["valid/recon_smth"][rows[1:]] < log["valid/recon_smth"][rows[:-1]])
    searched = population.search.searched
    paths = write_figures(
        tmp_path / "figures", log, population.history, best, searched, "valid/recon_smth", "nats a trial"
    )
    assert len(paths) == 3
    for path in paths:
        with Image.open(path) as image:
            assert min(image.size) > 300
