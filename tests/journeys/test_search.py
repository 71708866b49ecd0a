"""A search over recipes on real runs, as a user starts it, stops it and goes on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tunesmith.core.errors import DataError
from tunesmith.core.event import Event
from tunesmith.graph import build
from tunesmith.project import Project, open_project
from tunesmith.records.search import Search
from tunesmith.search.run import search

RECIPE = "batch_rows = 2\nrank = 4"
"""Of few rows a step, so that a twelfth of the 32 training rows are steps enough for a rung."""


def recipes(found: dict[str, Any]) -> dict[int, tuple[Any, int]]:
    """By number: what a trial set, and how many rungs it reached."""
    return {each["number"]: (each["settings"], len(each["reached"])) for each in found["trials"]}


def started(stderr: str) -> list[str]:
    """Progress lines of steps that were not there yet."""
    return [line for line in stderr.splitlines() if line.startswith(">")]


def asked_and_trained(project: Project) -> list[tuple[str, set[str], set[str]]]:
    """Of each evaluation: its step, the rows that were asked, those that were tuned on."""
    made = {run.step: project.load(run) for run in project.runs() if run.status == "succeeded"}
    blobs = project.runner.blobs
    found = []
    for step, evaluation in made.items():
        if step.startswith("evaluate:desk~search-"):
            table = pq.read_table(blobs.path(evaluation.predictions))
            curve = blobs.get(made[step.replace("evaluate:", "finetune:")].curve).splitlines()
            tuned_on = {row for line in curve for row in json.loads(line)["row_ids"]}
            found.append((step, set(table["row_id"].to_pylist()), tuned_on))
    return found


@pytest.mark.slow
def test_a_search_replays_stops_and_asks_no_test_row(new_project):
    project = new_project()
    project.edit("rank = 4", RECIPE)
    first = json.loads(project.tunesmith("tune", "--search", "3", "--json"))
    assert first["ended"] == "all tried"
    assert [rung["num_trained_rows"] for rung in first["rungs"]] == [4, 12]
    assert sorted(reached for _, reached in recipes(first).values()) == [1, 1, 2]
    assert recipes(first)[1][0]["batch_rows"] == 2
    assert float(first["spent"]["cost"]["amount"]) > 0

    # The same again, over verified hits; the fourth is looked at, and would cost too much.
    poor = ("--set", 'ledger.budget_per_run="0.0000001"')
    again = project.process("tune", "--search", "4", "--json", *poor)
    assert again.returncode == 0, again.stderr
    stopped = json.loads(again.stdout)
    assert stopped["ended"] == "budget"
    assert stopped["trials"] == first["trials"]
    assert stopped["spent"]["wall_s"] > first["spent"]["wall_s"]
    assert len(started(again.stderr)) == 1

    _check_rows(project.folder)
    _check_ends(project.folder, first)


def _check_rows(folder: Path) -> None:
    opened = open_project(folder)
    dataset = opened.run(build(opened.file).datasets["small"])
    rows = {
        side: set(pq.read_table(opened.runner.blobs.path(split.rows))["row_id"].to_pylist())
        for side, split in (("train", dataset.train), ("test", dataset.test))
    }
    tried = asked_and_trained(opened)
    opened.close()
    assert len(tried) == 4
    for _, asked, tuned_on in tried:
        assert asked
        assert asked.isdisjoint(rows["test"] | tuned_on)
        assert asked <= rows["train"]
        assert tuned_on <= rows["train"]
    low = [tuned_on for step, _, tuned_on in tried if step.endswith("-1")]
    (high,) = (tuned_on for step, _, tuned_on in tried if step.endswith("-2"))
    assert all(rows_of == low[0] for rows_of in low)  # compared on the same rows
    assert low[0] < high
    assert len({frozenset(asked) for step, asked, _ in tried if step.endswith("-1")}) == 1


def _check_ends(folder: Path, first: dict[str, Any]) -> None:
    """The fourth recipe is interrupted, or fails: the others are shown all the same."""

    def do(error: BaseException) -> Search:
        def end(event: Event) -> None:
            if event.what == "started":
                raise error

        opened = open_project(folder, on_event=end)
        try:
            return search(opened, "desk", 4)
        finally:
            opened.close()

    interrupted = do(KeyboardInterrupt())
    assert interrupted.ended == "interrupted"
    assert {trial.number for trial in interrupted.trials} == {1, 2, 3}
    assert interrupted.leader == first["leader"]

    with_failed = do(DataError("loss is nan at step 3"))
    assert with_failed.ended == "all tried"
    assert {trial.number: trial.fault for trial in with_failed.trials if trial.fault} == {
        4: "loss is nan at step 3"
    }
    assert with_failed.trials[-1].whole is None
    assert with_failed.front == tuple(first["front"])


@pytest.mark.slow
def test_a_longer_search_goes_on_from_a_shorter_one(new_project):
    project = new_project()
    project.edit("rank = 4", RECIPE)
    poor = project.process("tune", "--search", "2", "--set", 'ledger.budget_per_run="0"')
    assert poor.returncode == 1  # nothing was found, so there is nothing to show
    assert "ledger.budget_per_run is 0.00 EUR" in poor.stderr

    short = json.loads(project.tunesmith("tune", "--search", "4", "--json"))
    going_on = project.process("tune", "--search", "9", "--json")
    assert going_on.returncode == 0, going_on.stderr
    long = json.loads(going_on.stdout)
    for number, (settings, reached) in recipes(short).items():
        assert recipes(long)[number][0] == settings
        assert recipes(long)[number][1] >= reached
    assert len(long["trials"]) == 9
    assert sum(reached == 2 for _, reached in recipes(long).values()) >= 3
    assert set(long["front"]) <= set(recipes(long))
    assert float(long["spent"]["cost"]["amount"]) > float(short["spent"]["cost"]["amount"])

    shown = project.process("tune", "--search", "9")
    assert started(shown.stderr) == []
    assert "9 recipes were tried on 4 training rows (12.5 %)" in shown.stdout
    assert "to choose one:" in shown.stdout

    assert json.loads(project.tunesmith("verify", "--json"))["problems"] == []
    book = json.loads(project.tunesmith("ledger", "register", "--json"))
    priced = [entry for entry in book["entries"] if "~search-" in entry["step"]]
    assert {entry["treatment"] for entry in priced} == {"expense"}
    assert len(priced) >= 2 * 12

    refused = project.process("tune", "--search", "2", "--pilot")
    assert "choose one of" in refused.stderr
    assert project.process("tune", "--search", "0").returncode == 2
