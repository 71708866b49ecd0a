"""A whole project with several steps at a time: the same store as one step after another leaves."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tunesmith.cli.main import app
from tunesmith.core.errors import ConfigError, UsageError
from tunesmith.core.verify import verify
from tunesmith.graph import build, steps
from tunesmith.pipeline import books, run
from tunesmith.project import open_project
from tunesmith.project_file import read

ENVIRONMENT = {name: said for name, said in os.environ.items() if not name.startswith("TUNESMITH")}


def told(project) -> dict:
    """What the store says, without what differs from run to run: times and measurements."""
    opened = open_project(project.folder)
    try:
        runs = {run.step: run for run in opened.runs()}
        return {
            "runs": {name: (run.key, run.status, run.kind) for name, run in runs.items()},
            "inputs": {name: run.identity["inputs"] for name, run in runs.items()},
            "outputs": {name: run.output.sha256 for name, run in runs.items()},
            "versions": {(v.kind, v.name, v.number, v.digest) for v in opened.versions()},
        }
    finally:
        opened.close()


def booked(project) -> Counter:
    opened = open_project(project.folder)
    try:
        assert verify(opened.runner.database, opened.runner.blobs).problems == ()
        return Counter((each.step, each.phase, each.rule) for each in books(opened).entries)
    finally:
        opened.close()


def at_once(project) -> None:
    """One step at a time, in this process."""
    opened = open_project(project.folder)
    try:
        opened.clean_up()
        run(opened)
    finally:
        opened.close()


def hits(project) -> set[bool]:
    opened = open_project(project.folder)
    try:
        return {each.hit is not None for each in opened.runner.plan(steps(build(opened.file)))}
    finally:
        opened.close()


@pytest.fixture
def make_light(tmp_path, miniature):
    """make_light(name, num_rows) -> a project of data alone: two files, and one made of both."""

    def make(name: str, num_rows: int):
        folder = tmp_path / name
        folder.mkdir()
        sections = ['[project]\nname = "light"\n']
        for source in ("one", "two"):
            rows = [{"id": n, "text": f"{source} says {n} times {n * n}"} for n in range(num_rows)]
            lines = [json.dumps(row) + "\n" for row in rows]
            (folder / f"{source}.jsonl").write_text("".join(lines))
            sections.append(
                f'[source.{source}]\norigin = "file:{source}.jsonl"\nformat = "jsonl"\n'
                'text = "text"\nlicence = "CC0-1.0"\n'
            )
        sql = "SELECT one.text AS text, [one.row_id, two.row_id] AS row_ids "
        sql += "FROM one JOIN two ON one.id = two.id"
        sections.append(f'[transform.both]\nsources = ["one", "two"]\nsql = "{sql}"\n')
        (folder / "tunesmith.toml").write_text("\n".join(sections))
        return miniature(folder=folder, environment=ENVIRONMENT)

    return make


def test_the_store_is_that_of_one_step_at_a_time(make_light):
    alone, project = make_light("alone", 50), make_light("together", 50)
    at_once(alone)
    done = project.process("run", "--jobs", "3", "--json")
    assert done.returncode == 0, done.stderr
    assert told(project) == told(alone)
    assert booked(project) == booked(alone)
    said = done.stderr.splitlines()
    # Where several were at work each line says whose it is.
    assert any(re.match(r"  (land|ingest):\w+: took ", line) for line in said), done.stderr
    assert said.index("> transform:both") > max(
        said.index(f"> ingest:{source}") for source in ("one", "two")
    )
    assert set(json.loads(done.stdout)) >= {"assets", "datasets", "models", "indexes", "watched"}
    # And one at a time everything is there.
    assert hits(project) == {True}


@pytest.mark.parametrize("jobs", ["1", "3"])
def test_a_source_that_fails_stops_what_needs_it_and_nothing_else(make_light, jobs):
    project = make_light("failing", 5)
    there = (project.folder / "one.jsonl").read_bytes()
    (project.folder / "one.jsonl").unlink()
    done = project.process("run", "--jobs", jobs, "--json")
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr.endswith(f"""\
error: 1 failed, and 2 of 5 steps were not run
  land:one: there is no one.jsonl in {project.folder}
    -> the path of an origin is relative to the folder of the project file
  not run, because land:one failed: ingest:one, transform:both
  -> put right what failed, and run the same command again: what was made is kept
""")
    failed = f"! land:one failed: there is no one.jsonl in {project.folder}; what does not need it"
    assert failed in done.stderr.replace("\n    ", " ")
    statuses = {
        run["step"]: run["status"] for run in json.loads(project.tunesmith("runs", "--json"))
    }
    assert statuses == {"land:one": "failed", "land:two": "succeeded", "ingest:two": "succeeded"}
    (project.folder / "one.jsonl").write_bytes(there)
    again = project.process("run", "--jobs", jobs)
    assert again.returncode == 0, again.stderr
    assert "= ingest:two: unchanged" in again.stderr
    assert hits(project) == {True}
    assert booked(project)  # and the store is whole


@pytest.mark.slow
def test_the_commands_of_the_page(make_light, monkeypatch):
    page = (Path(__file__).parents[2] / "docs/how-to/run-steps-side-by-side.md").read_text()
    project = make_light("page", 5)
    monkeypatch.chdir(project.folder)
    commands = re.findall(r"^    tunesmith (.*)", page, re.MULTILINE)
    assert len(commands) == 3
    for command in commands:
        written = shlex.split(command.replace("ingest:licences", "ingest:one"))
        done = CliRunner().invoke(app, written)
        assert done.exit_code == 0, done.output
    refused = CliRunner().invoke(app, ["run", "--accept-unchanged", "ingest:none", "--why", "x"])
    assert isinstance(refused.exception, UsageError)
    assert "did you mean 'ingest:one'?" in str(refused.exception)


@pytest.mark.slow
def test_a_whole_life_side_by_side(new_project, finished):
    project = new_project()
    project.tunesmith("run", "--jobs", "3")
    assert told(project) == told(finished)
    assert booked(project) == booked(finished)


def test_ctrl_c_stops_all_and_the_next_run_goes_on(make_light):
    project = make_light("stopped", 60_000)  # for a second: rows load faster than they did
    running = subprocess.Popen(
        [sys.executable, "-m", "tunesmith", "run", "--jobs", "3"],
        cwd=project.folder,
        env=project.environment,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    assert running.stderr is not None
    for line in running.stderr:
        if line.startswith("> ingest"):
            break
    os.kill(running.pid, signal.SIGINT)
    asked = time.monotonic()
    _, rest = running.communicate(timeout=60)
    assert time.monotonic() - asked < 20
    assert running.returncode not in (0, None)
    assert "stopped; what was finished is kept" in rest
    opened = open_project(project.folder)
    try:
        statuses = Counter(run.status for run in opened.runs())
    finally:
        opened.close()
    assert statuses["interrupted"] >= 1
    assert set(statuses) <= {"succeeded", "interrupted"}, statuses
    at_once(project)
    assert hits(project) == {True}
    assert booked(project)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ("jobs = 0", "project.jobs"),
        ("retries = -1", "project.retries"),
        ('retries_of = { "ingest:on" = 2 }', "did you mean 'ingest:one'?"),
    ],
)
def test_settings_that_cannot_be_right(make_light, settings, says):
    project = make_light("wrong", 1)
    project.edit('name = "light"', f'name = "light"\n{settings}')
    with pytest.raises(ConfigError) as refused:
        build(read(project.folder)[0])
    assert says in str(refused.value)
