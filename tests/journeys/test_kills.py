"""A load that is killed at any moment loses nothing and doubles nothing (data 1: rows that other
tools had twice after a crash, since rows and state were committed in two places)."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import shutil
import sqlite3
import subprocess
import sys
import time
import urllib.parse
import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
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
HEAD = """\
[project]
name = "crm"
busy_timeout_s = 30
"""
FILE, _, DATABASE = PROJECT.removeprefix(HEAD).partition("[source.whole]")
INCREMENTS = DATABASE[DATABASE.index("[source.increments]") :]
API = """
[source.tickets]
origin = "{url}"
records = "items"
key = "id"
next = {{ by = "cursor", field = "next", parameter = "after" }}
text = "body"
"""
BUCKET = """
[source.mail]
origin = "s3://{bucket}/mail"
endpoint = "http://{host}"
format = "jsonl"
text = "body"
"""
ZIP = """
[source.mail]
origin = "file:mail.zip"
format = "jsonl"
text = "body"
"""
READER = {"AWS_ACCESS_KEY_ID": "reader", "AWS_SECRET_ACCESS_KEY": "s3cret-of-the-reader"}
NUM_PARTS = 12
"""Pages of the API, objects of the bucket, members of the archive."""
ENVIRONMENT = {name: said for name, said in os.environ.items() if not name.startswith("TUNESMITH")}


Mails = list[tuple[int, str, str]]
"""(id, body, time of the last change)"""


def mails(num_rows: int) -> Mails:
    return [(n, f"body {n} " * 20, f"2026-{n:06}") for n in range(num_rows)]


def edited(rows: Mails) -> Mails:
    """300 edited rows, 200 that are gone and 100 new ones."""
    num_rows = len(rows)
    kept = [row for row in rows if not 500 <= row[0] < 700]
    new = [(n, f"new {n}", f"2027-{n}") for n in range(num_rows, num_rows + 100)]
    return [
        *((n, f"{body}x", f"2027-{n}") if n < 300 else (n, body, at) for n, body, at in kept),
        *new,
    ]


@dataclass(frozen=True, kw_only=True)
class World:
    """Sources of a project, as a test can change them, and where its store is."""

    write: Callable[[Path, str], None]
    """Make a project file in a folder, of sources that are called by it."""
    put: Callable[[str, Mails], None]
    """Have the sources of that name say these rows."""
    copy: Callable[[Path, Path], None] = shutil.copytree  # type: ignore[assignment]
    """Copy a project with its store."""


def lines_of(rows: Mails) -> bytes:
    return "".join(json.dumps({"id": n, "body": body}) + "\n" for n, body, _ in rows).encode()


def parts_of(rows: Mails) -> list[Mails]:
    """A row stays in its part when others come and go; and of some parts none is another."""
    return [[row for row in rows if row[0] // 100 % NUM_PARTS == n] for n in range(NUM_PARTS)]


def files_and_database(root: Path, project: str = PROJECT) -> World:
    def write(folder: Path, _name: str) -> None:
        (folder / "tunesmith.toml").write_text(project)

    def put(name: str, rows: Mails) -> None:
        with change(root / name) as database:
            database.execute("CREATE TABLE IF NOT EXISTS mail (id INTEGER PRIMARY KEY, body, at)")
            there = dict(database.execute("SELECT id, at FROM mail"))
            gone = [(n,) for n in there.keys() - {row[0] for row in rows}]
            database.executemany("DELETE FROM mail WHERE id = ?", gone)
            new = [row for row in rows if there.get(row[0]) != row[2]]
            database.executemany("INSERT OR REPLACE INTO mail VALUES (?, ?, ?)", new)
        (root / name / "mail.jsonl").write_bytes(lines_of(rows))

    return World(write=write, put=put)


def zip_file(root: Path) -> World:
    def put(name: str, rows: Mails) -> None:
        with zipfile.ZipFile(root / name / "mail.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for number, part in enumerate(parts_of(rows)):
                archive.writestr(f"2026/{number:02}.jsonl", lines_of(part))

    return World(
        write=lambda folder, _: bool((folder / "tunesmith.toml").write_text(HEAD + ZIP)), put=put
    )


def pages_of_an_api(api) -> World:
    said: dict[str, list[Mails]] = {}

    def answer(target: str):
        asked = urllib.parse.urlsplit(target)
        number = int(urllib.parse.parse_qs(asked.query).get("after", ["0"])[0])
        parts = said[asked.path.strip("/")]
        items = [{"id": n, "body": body} for n, body, _ in parts[number]]
        more = {"next": str(number + 1)} if number + 1 < len(parts) else {}
        return api.json({"items": items, **more})

    def write(folder: Path, name: str) -> None:
        sections = HEAD + f'hosts = ["{api.host}"]\n' + API.format(url=api.url(f"/{name}"))
        (folder / "tunesmith.toml").write_text(sections)

    api.answer = answer
    return World(write=write, put=lambda name, rows: said.update({name: parts_of(rows)}))


def objects_of_a_bucket(server) -> World:
    buckets: dict[str, str] = {}

    def write(folder: Path, name: str) -> None:
        buckets[name] = server.bucket()
        sections = HEAD + f'hosts = ["{server.host}"]\n'
        sections += BUCKET.format(bucket=buckets[name], host=server.host)
        (folder / "tunesmith.toml").write_text(sections)

    def put(name: str, rows: Mails) -> None:
        for number, part in enumerate(parts_of(rows)):
            server.put(buckets[name], f"mail/{number:02}.jsonl", lines_of(part))

    return World(write=write, put=put)


def store_of_postgres(root: Path, postgres, server) -> World:
    """The same files and database; each copy of a store has a copy of its database."""
    sources = files_and_database(root)

    def write(folder: Path, _name: str) -> None:
        where = f'database = "{postgres()}"\n'
        (folder / "tunesmith.toml").write_text(PROJECT.replace(HEAD, HEAD + where))

    def copy(folder: Path, to: Path) -> None:
        shutil.copytree(folder, to)
        text = (folder / "tunesmith.toml").read_text()
        old, new = re.search(r'database = "(.*)"', text)[1], postgres()
        (to / "tunesmith.toml").write_text(text.replace(old, new))
        of, made = (url.rpartition("/")[2] for url in (old, new))
        server.run(f"DROP DATABASE {made}", "postgres")
        server.run(f"CREATE DATABASE {made} TEMPLATE {of}", "postgres")

    return World(write=write, put=sources.put, copy=copy)


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
        env=ENVIRONMENT | READER,
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
        for increment in project.increments.values():
            assert increment.is_whole == (increment.num_new == increment.num_rows)
        return Counter(each.status for each in project.runs())
    finally:
        project.close()


@pytest.mark.parametrize(
    ("num_kills", "num_rows"),
    [(10, 1_000), pytest.param(200, 3_000, marks=[pytest.mark.slow, pytest.mark.timeout(3600)])],
)
def test_a_load_that_is_killed_at_a_random_moment(tmp_path, num_kills, num_rows):
    codes, at = kill_again_and_again(tmp_path, files_and_database(tmp_path), num_kills, num_rows)
    if num_kills > 100:  # a few may all hit the same step
        assert codes[-9] >= num_kills * 0.6
        assert all(len(done) >= 5 for done in at.values()), at


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("where", ["watermark", "API", "bucket", "zip", "store of Postgres"])
def test_the_same_of_other_sources_and_another_store(
    tmp_path, where, make_api, object_server, postgres, server, monkeypatch
):
    for name, said in READER.items():
        monkeypatch.setenv(name, said)
    match where:
        case "watermark":
            world = files_and_database(tmp_path, HEAD + INCREMENTS)
        case "API":
            world = pages_of_an_api(make_api())
        case "bucket":
            world = objects_of_a_bucket(object_server)
        case "zip":
            world = zip_file(tmp_path)
        case _:
            world = store_of_postgres(tmp_path, postgres, server)
    codes, at = kill_again_and_again(tmp_path, world, 40, 3_000)
    assert codes[-9] >= 20
    assert all(len(done) >= 2 for done in at.values()), at


def kill_again_and_again(
    root: Path, world: World, num_kills: int, num_rows: int
) -> tuple[Counter[int], dict[str, Counter[int]]]:
    """Kill so many loads, half of them first ones; of each exit code how many there were, and of
    each kind of load how many steps were done when it was killed."""
    before = {"first": root / "first", "edited": root / "edited"}
    for name, folder in before.items():
        folder.mkdir()
        world.write(folder, name)
        world.put(name, mails(num_rows))
    again(before["edited"])
    world.put("edited", edited(mails(num_rows)))
    undisturbed, took_s, num_steps = {}, {}, {}
    for name, folder in before.items():
        alone = root / f"{name}-alone"
        world.copy(folder, alone)
        code, took_s[name] = load(alone)
        assert code == 0
        undisturbed[name], num_steps[name] = held(alone)
    assert len(undisturbed["edited"]) == 2 * len(undisturbed["first"]) > 0

    draw = random.Random(num_kills)
    codes, at = Counter(), {name: Counter() for name in before}
    for number in range(num_kills):
        name = list(before)[number % 2]
        folder = root / "killed"
        world.copy(before[name], folder)
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
    return codes, at
