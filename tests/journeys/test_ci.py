"""The pipeline files that `tunesmith ci` writes: of the form that is asked for, and their very
commands run on a small project."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from tunesmith.cli.main import app

SCHEMAS = {"github": "vendor.github-workflows", "gitlab": "vendor.gitlab-ci"}
PROJECT = """\
[project]
name = "ci"

[source.notes]
origin = "file:notes.jsonl"
format = "jsonl"
text = "text"
licence = "CC0-1.0"
"""
ENVIRONMENT = {name: said for name, said in os.environ.items() if not name.startswith("TUNESMITH")}


@pytest.fixture
def repository(tmp_path, monkeypatch) -> Path:
    """A repository with a project in its folder models/desk."""
    folder = tmp_path / "models" / "desk"
    folder.mkdir(parents=True)
    (folder / "tunesmith.toml").write_text(PROJECT)
    (folder / "notes.jsonl").write_text('{"text": "one"}\n{"text": "two"}\n')
    monkeypatch.chdir(tmp_path)
    return tmp_path


def ci(*arguments: str, code: int = 0) -> str:
    done = CliRunner().invoke(app, ["ci", *arguments], standalone_mode=True)
    if code and done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == code, done.output
    return done.stdout


@pytest.mark.parametrize("project", [".", "models/desk"])
@pytest.mark.parametrize("service", SCHEMAS)
def test_it_has_the_form_that_the_service_asks_for(repository, service, project):
    if project == ".":
        (repository / "tunesmith.toml").write_text(PROJECT)
    path = repository / "out" / f"{service}.yml"
    ci(service, "--project", project, "--out", str(path))
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", SCHEMAS[service]]
    done = subprocess.run([*command, str(path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    wrong = path.with_name("wrong.yml")
    wrong.write_text(
        path.read_text()
        .replace("  script:\n", "  scripts:\n")
        .replace("    runs-on:", "    runs_on:")
    )
    assert subprocess.run([*command, str(wrong)], capture_output=True).returncode == 1
    assert "@" not in path.read_text().replace("@v", "")
    assert yaml.safe_load(path.read_text())


def commands(service: str) -> list[str]:
    """The shell texts of a pipeline after its installation, each with whether it always runs."""
    file = yaml.safe_load(ci(service, "-p", "models/desk", "--install", 'echo "installed: $HOME"'))
    if service == "github":
        job = file["jobs"]["run"]
        assert job["defaults"]["run"] == {"shell": "bash", "working-directory": "models/desk"}
        steps = [step for step in job["steps"] if "run" in step]
        assert steps[0]["run"] == 'echo "installed: $HOME"'
        # What GitHub calls for `shell: bash`; a step without `if` runs after those that succeeded.
        return [("" if "if" in step else "needs ") + step["run"] for step in steps]
    job = file["tunesmith"]
    assert job["before_script"][0] == 'echo "installed: $HOME"'
    return [
        "needs " + "\n".join([*job["before_script"], *job["script"]]),
        "\n".join(job["after_script"]),
    ]


def run_as(service: str, repository: Path) -> tuple[list[int], Path]:
    """What the service does with those texts: the exit codes, and the report's file."""
    summary = repository / "summary.md"
    folder = repository / "models" / "desk" if service == "github" else repository
    programs = repository / "bin"
    programs.mkdir(exist_ok=True)
    program = programs / "tunesmith"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m tunesmith "$@"\n')
    program.chmod(0o755)
    environment = ENVIRONMENT | {
        "GITHUB_STEP_SUMMARY": str(summary),
        "PATH": f"{programs}:{os.environ['PATH']}",
    }
    codes: list[int] = []
    for text in commands(service):
        if text.startswith("needs ") and any(codes):
            continue
        command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c"]
        if service == "gitlab":
            command = ["bash", "-e", "-c"]
        done = subprocess.run(
            [*command, text.removeprefix("needs ")], cwd=folder, env=environment,
            capture_output=True, text=True,
        )  # fmt: skip
        codes.append(done.returncode)
    return codes, summary


@pytest.mark.parametrize("service", ["github", pytest.param("gitlab", marks=pytest.mark.slow)])
def test_its_commands_run(repository, service):
    codes, summary = run_as(service, repository)
    assert not any(codes), codes
    project = repository / "models" / "desk"
    assert "ingest:notes" in (project / "plan.txt").read_text()
    assert "done in" in (project / "run.txt").read_text()
    assert "all hold" in (project / "verify.txt").read_text()
    if service == "github":
        said = summary.read_text()
        assert "### run\n\n```\n" in said
        assert said.count("```") == 6


@pytest.mark.parametrize("service", [pytest.param("github", marks=pytest.mark.slow), "gitlab"])
def test_a_run_that_fails_is_red_and_is_reported_all_the_same(repository, service):
    strict = 'contract = { text = { values = ["x"] } }\nmax_quarantined = 0.0\n'
    with (repository / "models" / "desk" / "tunesmith.toml").open("a") as file:
        file.write(strict)
    codes, _ = run_as(service, repository)
    assert [code for code in codes if code], "its exit code is not lost in the pipe"
    assert "all hold" in (repository / "models" / "desk" / "verify.txt").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("service", SCHEMAS)
def test_a_gate_that_fails_is_exit_code_3(new_project, service, monkeypatch, tmp_path):
    project = new_project()
    project.edit("at_least = 0.0", "at_least = 1.0")
    (tmp_path / "models").mkdir()
    project.folder.rename(tmp_path / "models" / "desk")
    monkeypatch.chdir(tmp_path)
    for name, said in project.environment.items():
        monkeypatch.setitem(ENVIRONMENT, name, said)
    codes, summary = run_as(service, tmp_path)
    assert 3 in codes
    if service == "github":
        assert "### verify" in summary.read_text()


def test_the_commands_of_the_page(repository):
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "run-in-ci.md").read_text()
    written = re.findall(r"^    tunesmith (ci .*)", page, re.MULTILINE)
    (repository / "tunesmith.toml").write_text(PROJECT)
    for command in written:
        ci(*shlex.split(command)[1:])
    assert (repository / ".github" / "workflows" / "tunesmith.yml").exists()
    assert (repository / ".gitlab-ci.yml").exists()
    (install,) = re.findall(r"`--install '(.*)'`", page)
    assert install in ci("gitlab", "--install", install)


def test_what_cannot_be_right(repository, tmp_path):
    from tunesmith.core.errors import Conflict, NotFound, UsageError

    assert "jenkins" in CliRunner().invoke(app, ["ci", "jenkins"]).output
    assert CliRunner().invoke(app, ["ci", "jenkins"]).exit_code == 2
    for folder in ("nowhere", "models"):
        with pytest.raises(NotFound):
            ci("github", "-p", folder, code=4)
    with pytest.raises(UsageError, match="main folder"):
        ci("github", "-p", str(repository / "models" / "desk"), code=2)
    path = repository / "other.yml"
    path.write_text("on: push\n")
    with pytest.raises(Conflict, match="another one"):
        ci("github", "-p", "models/desk", "--out", str(path), code=5)
    assert path.read_text() == "on: push\n"
