"""Models of a search that were lost or damaged are trained again, and the search ends as if nothing had happened."""

from __future__ import annotations

import json

import pytest

from lfads_tf2.autolfads.population import Population
from lfads_tf2.autolfads.records import Records

from .toy import ToyExecutor, search_of


def run(folder, executor=None, **options):
    population = Population(search_of(**options), executor or ToyExecutor(), Records(folder), seed=3)
    population.run()
    return population


def models(folder) -> dict[str, bytes]:
    states = folder / "population"
    return {str(path.relative_to(states)): path.read_bytes() for path in states.rglob("*.npz")}


@pytest.fixture
def whole(tmp_path):
    """A search that was resumed, and nothing was lost."""
    run(tmp_path / "whole", max_epochs=25)
    run(tmp_path / "whole")
    return tmp_path / "whole"


@pytest.mark.parametrize("damage", [None, b"", b"{}", "flipped"])
@pytest.mark.parametrize("which", [[0], [0, 1, 2, 3, 4, 5]])
def test_a_damaged_member_is_trained_again(tmp_path, whole, damage, which, caplog):
    parts = tmp_path / "parts"
    run(parts, max_epochs=25)
    before = models(parts)
    needed = {
        member["state"] for member in json.loads((parts / "population" / "population.json").read_text())["members"]
    }
    lost = [parts / "population" / name for name in sorted(before) if name in needed][: len(which)]
    for path in lost:
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.unlink() if damage is None else path.write_bytes(content if damage == "flipped" else damage)
    executor = ToyExecutor()
    population = run(parts, executor)
    assert caplog.text.count("training worker") == len(lost) and "bit by bit" not in caplog.text
    assert len(executor.tasks) > 3 * 6, "the lost ones' generations, and what was left of the search"
    assert models(parts) == models(whole)
    for name in ("fitlog.csv", "pbt_history.json"):
        assert (parts / name).read_text() == (whole / name).read_text()
    assert population.state["best"] == json.loads((whole / "population" / "population.json").read_text())["best"]


def test_of_a_search_that_has_ended_only_the_best_model_is_needed(whole, caplog):
    before = models(whole)
    for path in (whole / "population").rglob("*.npz"):
        path.write_bytes(b"")
    population = run(whole)
    best = population.state["best"]["state"]
    assert {name: content for name, content in models(whole).items() if content} == {best: before[best]}
    assert caplog.text.count("training worker") == 1


def test_training_starts_from_the_nearest_model_that_is_whole(tmp_path, caplog):
    folder = tmp_path / "search"
    run(folder, max_epochs=20)
    records = Records(folder)
    ancestors = models(folder)
    run(folder, max_epochs=25)
    for name, content in ancestors.items():
        records.write_model(name, content)
    generation = max(int(path.name[-4:]) for path in (folder / "population").glob("generation_*"))
    lost = folder / "population" / records.model_name(generation, 0)
    lost.unlink()
    executor = ToyExecutor()
    run(folder, executor, max_epochs=30)
    assert f"from generation {generation}" in caplog.text and executor.tasks[0].epochs == 5
    assert executor.finished == 1 + 6


def test_another_result_is_said(tmp_path, caplog):
    run(tmp_path, max_epochs=20)
    for path in (tmp_path / "population").rglob("worker_000.npz"):
        path.unlink()

    class OtherDevice(ToyExecutor):
        def run(self, tasks):
            for done in super().run(tasks):
                yield done._replace(
                    rows=[row | {"valid/recon_smth": row["valid/recon_smth"] + 1e-6} for row in done.rows]
                )

    run(tmp_path, OtherDevice(), max_epochs=25)
    assert "not the same bit by bit (valid/recon_smth" in caplog.text


@pytest.mark.parametrize("damage", ["x", "\udcff", "0.5", ""])
def test_a_damaged_line_of_the_fit_log_goes(tmp_path, damage, caplog):
    run(tmp_path, max_epochs=20)
    path = tmp_path / "fitlog.csv"
    lines = path.read_text().splitlines()
    column = lines[0].split(",").index("epoch")
    fields = lines[4].split(",")
    fields[column] = damage
    damaged = [*lines[:4], ",".join(fields), *lines[5:]]
    path.write_bytes("\n".join(damaged).encode("utf-8", "surrogateescape") + b"\n")
    run(tmp_path, max_epochs=25)
    assert "fitlog.csv: 1 line cannot be read" in caplog.text
    kept = path.read_text().splitlines()
    assert kept[: len(lines) - 1] == [*lines[:4], *lines[5:]] and len(kept) == len(lines) - 1 + 6 * 5


@pytest.mark.parametrize("change", ["a digit", "gone", "no header", "nothing"])
def test_a_changed_fit_log_is_said(tmp_path, change, caplog):
    run(tmp_path, max_epochs=20)
    path = tmp_path / "fitlog.csv"
    text = path.read_text()
    if change == "gone":
        path.unlink()
    else:
        path.write_text({"a digit": text.replace("0.9", "0.8", 1), "no header": text[1:], "nothing": text}[change])
    run(tmp_path, max_epochs=25)
    assert ("fitlog.csv: earlier epochs are missing or were changed" in caplog.text) == (change != "nothing")
    caplog.clear()
    run(tmp_path, max_epochs=30)
    assert "fitlog" not in caplog.text, "it is said once"


def test_strange_names_among_the_generations(tmp_path):
    run(tmp_path, max_epochs=20)
    states = tmp_path / "population"
    (states / "generation_0001").mkdir(exist_ok=True)
    mine = [states / "generation_x", states / "generation_0001" / "notes.txt", states / "generation_0000 (copy)" / "a"]
    for path in mine:
        path.parent.mkdir(exist_ok=True)
        path.write_text("mine")
    run(tmp_path, max_epochs=40)
    assert [path.read_text() for path in mine] == ["mine"] * 3
