"""A load that is killed at any moment loses nothing and doubles nothing (data 1: rows that other
tools had twice after a crash, since rows and state were committed in two places)."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tunesmith.core.verify import verify
from tunesmith.pipeline import run
from tunesmith.project import open_project

PROJECT = """\
[project]
name = "crm"
busy_timeout_s = 30

[source.file]
origin = "file:mail.jsonl"
format = "jsonl"
text = "body"

[source.whole]
origin = "sqlite:crm.db"
query = "SELECT * FROM mail"
key = "id"

[source.increments]
origin = "sqlite:crm.db"
query = "SELECT id, body, at FROM mail"
key = "id"
cursor = "at"
"""
ENVIRONMENT = {name: said for name, said in os.environ.items() if not name.startswith("TUNESMITH")}


def write(folder: Path, num_rows: int) -> None:
    (folder / "tunesmith.toml").write_text(PROJECT)
    rows = [(n, f"body {n} " * 20, f"2026-{n:06}") for n in range(num_rows)]
    with change(folder) as database:
        database.execute("CREATE TABLE mail (id INTEGER PRIMARY KEY, body, at)")
        database.executemany("INSERT INTO mail VALUES (?, ?, ?)", rows)
    lines = [json.dumps({"id": n, "body": body}) + "\n" for n, body, _ in rows]
    (folder / "mail.jsonl").write_text("".join(lines))


def edit(folder: Path, num_rows: int) -> None:
    """300 edited rows, 200 that are gone and 100 new ones, in the file and in the database."""
    with change(folder) as database:
        database.execute("UPDATE mail SET body = body || 'x', at = '2027-' || id WHERE id < 300")
        database.execute("DELETE FROM mail WHERE id BETWEEN 500 AND 699")
        new = [(n, f"new {n}", f"2027-{n}") for n in range(num_rows, num_rows + 100)]
        database.executemany("INSERT INTO mail VALUES (?, ?, ?)", new)
        lines = [
            json.dumps({"id": n, "body": body}) + "\n"
            for n, body in database.execute("SELECT id, body FROM mail ORDER BY id")
        ]
    (folder / "mail.jsonl").write_text("".join(lines))


@contextlib.contextmanager
def change(folder: Path):
    with contextlib.closing(sqlite3.connect(folder / "crm.db")) as database, database:
        yield database


def load(folder: Path, kill_after_s: float | None = None) -> tuple[int, float]:
    """`tunesmith run` in a process of its own; its exit code, and how long it took."""
    started = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "tunesmith", "run"],
        cwd=folder,
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(kill_after_s)
    process.kill()
    return process.wait(), time.monotonic() - started


def held(folder: Path) -> tuple[dict[str, str], int]:
    """What is in the store, each version once with its digest; and how many steps succeeded.

    All of it is whole, and no row is in a version twice.
    """
    project = open_project(folder)
    try:
        report = verify(project.runner.database, project.runner.blobs)
        assert report.problems == ()
        runs = [each for each in project.runs() if each.status == "succeeded"]
        for each in runs:
            if each.kind == "ingest@1":
                asset = project.load(each)
                table = pq.read_table(project.runner.blobs.path(asset.rows), columns=["row_id"])
                assert len(set(table["row_id"].to_pylist())) == asset.num_rows == asset.num_in
        versions = project.versions()
        found = {f"{each.name}@{each.number}": each.digest for each in versions}
        assert len(found) == len(versions)
        return found, len(runs)
    finally:
        project.close()


def again(folder: Path) -> dict[str, int]:
    """The load, done again in this process; of each state how many runs there are."""
    project = open_project(folder, asks=True)
    try:
        project.clean_up()
        run(project)
        increment = project.increments["increments"]
        assert increment.is_whole == (increment.num_new == increment.num_rows)
        return Counter(each.status for each in project.runs())
    finally:
        project.close()


@pytest.mark.parametrize(
    ("num_kills", "num_rows"),
    [(10, 1_000), pytest.param(200, 3_000, marks=[pytest.mark.slow, pytest.mark.timeout(3600)])],
)
def test_a_load_that_is_killed_at_a_random_moment(tmp_path, num_kills, num_rows):
    before = {"first": tmp_path / "first", "edited": tmp_path / "edited"}
    before["first"].mkdir()
    write(before["first"], num_rows)
    shutil.copytree(before["first"], before["edited"])
    again(before["edited"])
    edit(before["edited"], num_rows)
    undisturbed, took_s, num_steps = {}, {}, {}
    for name, folder in before.items():
        alone = tmp_path / f"{name}-alone"
        shutil.copytree(folder, alone)
        code, took_s[name] = load(alone)
        assert code == 0
        undisturbed[name], num_steps[name] = held(alone)
    assert len(undisturbed["first"]) == 3
    assert len(undisturbed["edited"]) == 6

    draw = random.Random(num_kills)
    codes, at = Counter(), {name: Counter() for name in before}
    for number in range(num_kills):
        name = list(before)[number % 2]
        folder = tmp_path / "killed"
        shutil.copytree(before[name], folder)
        # One in each slice of the whole duration, from the start of the process to its end.
        share = (number // 2 + draw.random()) / (num_kills // 2)
        code, _ = load(folder, share * took_s[name])
        codes[code] += 1
        there, num_done = held(folder)
        at[name][num_done] += 1
        assert there.items() <= undisturbed[name].items(), "nothing that should not be there"
        statuses = again(folder)
        assert statuses["succeeded"] == num_steps[name], "no step's result is there twice"
        assert statuses.keys() <= {"succeeded", "interrupted"}
        assert held(folder)[0] == undisturbed[name]
        left = [path for path in (folder / ".tunesmith" / "work").rglob("*") if path.is_file()]
        assert left == []
        assert list((folder / ".tunesmith" / "blobs" / "incoming").iterdir()) == []
        shutil.rmtree(folder)
    print(
        {"exit codes": dict(codes), "steps done when killed": {n: dict(c) for n, c in at.items()}}
    )
    assert codes.keys() <= {0, -9}
    assert codes[-9] >= num_kills // 4, "else nothing was killed, and nothing shown"
    if num_kills > 100:  # a few may all hit the same step
        assert codes[-9] >= num_kills * 0.6
        assert all(len(done) >= 5 for done in at.values()), at
