"""The pipeline files that `tunesmith ci` writes: of the form that is asked for, and their very
commands run on a small project."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.parse import parse_qs

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
    assert not re.search(r"@[A-Z]+@", path.read_text()), "all is filled in"


def test_it_may_read_and_comment_and_runs_the_code_of_others_by_commit(repository):
    text = ci("github", "-p", "models/desk")
    file = yaml.safe_load(text)
    assert file["permissions"] == {"contents": "read", "pull-requests": "write"}
    assert all("permissions" not in job for job in file["jobs"].values())
    assert "secrets." not in text
    assert "pull_request_target" not in text
    steps = file["jobs"]["run"]["steps"]
    used = [step["uses"] for step in steps if "uses" in step]
    assert len(used) == 5
    for each in used:
        assert re.fullmatch(r"actions/[a-z/-]+@[0-9a-f]{40}", each), each
    assert len(re.findall(r"@[0-9a-f]{40} # v\d+\.\d+\.\d+$", text, re.MULTILINE)) == 5
    assert steps[0]["with"] == {"persist-credentials": False}
    for step in steps:  # what somebody else may name, as a branch, reaches no shell
        assert "${{" not in step.get("run", "")
    given = [step["name"] for step in steps if "github.token" in str(step)]
    assert given == ["Comment on the pull request"], "nothing else gets the token"


ECHO = 'echo "installed: $HOME"'


REQUEST = {
    "github.token": "t0ken",
    "github.repository": "firm/desk",
    "github.event_name": "pull_request",
    "github.event.pull_request.number": "7",
    "github.event.pull_request.head.repo.full_name": "firm/desk",
}
"""What GitHub says of a pull request from the repository itself."""


@dataclass(frozen=True, kw_only=True)
class Shell:
    """One shell text of a pipeline."""

    text: str
    condition: str = ""
    """Of GitHub; without one it runs after steps that succeeded."""
    environment: dict[str, str] = field(default_factory=dict)
    name: str = ""
    may_fail: bool = False

    def is_run(self, said: dict[str, str], codes: list[int]) -> bool:
        if not self.condition:
            return not any(codes)
        sides = [each.strip().partition(" == ") for each in self.condition.split("&&")]
        assert ("always()", "", "") in sides
        return all(_value(a, said) == _value(b, said) for a, equals, b in sides if equals)


def _value(text: str, said: dict[str, str]) -> str:
    return text[1:-1] if text.startswith("'") else said[text]


def commands(service: str, install: str = ECHO) -> list[Shell]:
    """The shell texts of a pipeline."""
    file = yaml.safe_load(ci(service, "-p", "models/desk", "--install", install))
    if service == "github":
        job = file["jobs"]["run"]
        assert job["defaults"]["run"] == {"shell": "bash", "working-directory": "models/desk"}
        steps = [step for step in job["steps"] if "run" in step]
        assert steps[0]["run"] == install
        return [
            Shell(
                text=step["run"],
                condition=step.get("if", ""),
                environment=step.get("env", {}),
                name=step.get("id", ""),
                may_fail=step.get("continue-on-error", False),
            )
            for step in steps
        ]
    job = file["tunesmith"]
    assert job["before_script"][0] == install
    assert "after_script" not in job, "its exit code counts for nothing there"
    return [Shell(text="\n".join([*job["before_script"], *job["script"]]))]


def run_as(
    service: str,
    repository: Path,
    install: str = ECHO,
    environment: dict[str, str] | None = None,
    said: dict[str, str] = REQUEST,
) -> tuple[list[int], Path]:
    """What the service does with those texts: the exit codes, and the report's file."""
    summary = repository / "summary.md"
    folder = repository / "models" / "desk" if service == "github" else repository
    if environment is None:
        environment = ENVIRONMENT | {"PATH": f"{_shim(repository)}:{os.environ['PATH']}"}
    environment = environment | {"GITHUB_STEP_SUMMARY": str(summary)}
    codes: list[int] = []
    said = dict(said)
    for shell in commands(service, install):
        if not shell.is_run(said, codes):
            continue
        # What GitHub calls for `shell: bash`.
        command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c"]
        if service == "gitlab":
            command = ["bash", "-e", "-c"]
        values = {k: said[v.strip("${} ")] for k, v in shell.environment.items()}
        done = subprocess.run(
            [*command, shell.text], cwd=folder, env=environment | values,
            capture_output=True, text=True,
        )  # fmt: skip
        codes.append(0 if shell.may_fail else done.returncode)
        said[f"steps.{shell.name}.outcome"] = "failure" if done.returncode else "success"
        print(done.stdout, done.stderr)
    return codes, summary


def _shim(repository: Path) -> Path:
    """A folder with a `tunesmith` that is this one."""
    programs = repository / "bin"
    programs.mkdir(exist_ok=True)
    program = programs / "tunesmith"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m tunesmith "$@"\n')
    program.chmod(0o755)
    return programs


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """What is installed: the files of this repository that a package is made of."""
    root, folder = Path(__file__).parents[2], tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(root / name, folder)
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    shutil.copytree(root / "src", folder / "src", ignore=ignored)
    return folder


@pytest.fixture
def runner(tmp_path) -> dict[str, str]:
    """The environment of a machine that has Python, the libraries, and no Tunesmith; there is
    nothing else in it than what bash needs."""
    folder = tmp_path / "machine"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    (packages,) = (folder / "venv" / "lib").glob("python*/site-packages")
    # A path in such a file is looked through, but the .pth files in it, by which this repository
    # itself is found, are not heard.
    specs = [importlib.util.find_spec(name) for name in ("pip", "setuptools", "sqlalchemy")]
    places = dict.fromkeys(str(Path(spec.origin).parents[1]) for spec in specs)
    (packages / "libraries.pth").write_text("\n".join(places) + "\n")
    (folder / "home").mkdir()
    return {"PATH": f"{folder / 'venv' / 'bin'}:/usr/bin:/bin", "HOME": str(folder / "home")}


@pytest.mark.parametrize("service", ["github", pytest.param("gitlab", marks=pytest.mark.slow)])
def test_its_commands_run_on_a_bare_machine(repository, service, source, runner):
    absent = subprocess.run(["bash", "-c", "tunesmith --help"], env=runner, capture_output=True)
    assert absent.returncode == 127
    how = (
        "python -m pip install --quiet --no-index --no-deps --no-build-isolation --force-reinstall"
    )
    codes, summary = run_as(service, repository, f"{how} {source}", runner)
    assert not any(codes), codes
    project = repository / "models" / "desk"
    assert "ingest:notes" in (project / "plan.txt").read_text()
    assert "done in" in (project / "run.txt").read_text()
    assert "all hold" in (project / "verify.txt").read_text()
    if service == "github":
        said = summary.read_text()
        assert said.startswith("### Tunesmith: `ci`\n")
        assert "\n### run\n\n    \n    ci: done in" in said
        assert "```" not in said
    where = 'python -c "import tunesmith; print(tunesmith.__file__)"'
    found = subprocess.run(["bash", "-c", where], env=runner, capture_output=True, text=True)
    assert found.stdout.startswith(str(Path(runner["HOME"]).parent)), "not this repository's"


@pytest.mark.parametrize("service", SCHEMAS)
def test_what_cannot_be_installed_is_red_and_nothing_runs(repository, service):
    codes, _ = run_as(service, repository, "false", ENVIRONMENT | {"PATH": "/usr/bin:/bin"})
    assert codes[0] == 1
    assert not (repository / "models" / "desk" / "plan.txt").exists()


@pytest.mark.parametrize("service", [pytest.param("github", marks=pytest.mark.slow), "gitlab"])
def test_a_run_that_fails_is_red_and_is_reported_all_the_same(repository, service):
    strict = 'contract = { text = { values = ["x"] } }\nmax_quarantined = 0.0\n'
    with (repository / "models" / "desk" / "tunesmith.toml").open("a") as file:
        file.write(strict)
    codes, _ = run_as(service, repository)
    assert [code for code in codes if code], "its exit code is not lost in the pipe"
    assert "all hold" in (repository / "models" / "desk" / "verify.txt").read_text()


@pytest.mark.parametrize("service", SCHEMAS)
@pytest.mark.parametrize(("run", "verify", "first"), [(0, 0, 0), (3, 0, 3), (0, 1, 1), (3, 1, 3)])
def test_the_first_that_fails_is_the_exit_code(repository, service, run, verify, first):
    """Evidence that does not hold is red, too, and is looked at after a red run."""
    programs = repository / "bin"
    programs.mkdir()
    (programs / "tunesmith").write_text(
        f'#!/bin/sh\necho "$1"\ncase "$1" in run) exit {run};; verify) exit {verify};; esac\n'
    )
    (programs / "tunesmith").chmod(0o755)
    _gh(programs)
    codes, _ = run_as(service, repository, environment={"PATH": f"{programs}:/usr/bin:/bin"})
    assert next((code for code in codes if code), 0) == first
    assert (repository / "models" / "desk" / "verify.txt").read_text() == "verify\n"


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
    report = tmp_path / "models" / "desk" / "reports" / "desk@1" / "report.json"
    assert '"verdict":"fail"' in report.read_text(), "a gate that fails has a report, too"
    said = (tmp_path / "models" / "desk" / "summary.md").read_text()
    assert "**fail**: `desk@1`, by gate `desk`" in said
    assert "- `accuracy`: base " in said
    assert "steps were to run" in said
    if service == "github":
        assert "### verify" in summary.read_text()


def _gh(programs: Path, code: int = 0) -> Path:
    """A `gh` that writes down what it is called with, and that file; GitHub itself is not here."""
    heard = programs / "heard.jsonl"
    program = programs / "gh"
    program.write_text(
        f"#!{sys.executable}\nimport json, os, sys\n"
        "given = {name: os.environ[name] for name in ('GH_TOKEN', 'GH_REPO')}\n"
        "body = open(sys.argv[-1], encoding='utf-8').read()\n"
        f"with open({str(heard)!r}, 'a') as file:\n"
        "    print(json.dumps([sys.argv[1:], given, body]), file=file)\n"
        f"sys.exit({code})\n"
    )
    program.chmod(0o755)
    return heard


@pytest.mark.parametrize(
    ("changed", "is_said"),
    [
        ({}, True),
        ({"github.event.pull_request.head.repo.full_name": "somebody/desk"}, False),
        ({"github.event_name": "push"}, False),
    ],
)
def test_github_is_told_on_the_pull_request(repository, changed, is_said):
    heard = _gh(_shim(repository), code=1)
    codes, page = run_as("github", repository, said=REQUEST | changed)
    assert not any(codes), "a comment that cannot be posted is not red"
    assert page.read_text().startswith("### Tunesmith: `ci`\n")
    assert heard.exists() == is_said
    if is_said:
        (line,) = heard.read_text().splitlines()
        called, given, body = json.loads(line)
        assert " ".join(called) == (
            "pr comment 7 --edit-last --create-if-none --body-file summary.md"
        )
        assert given == {"GH_TOKEN": "t0ken", "GH_REPO": "firm/desk"}
        assert body.startswith(
            "### Tunesmith: `ci`\n\nCost: 0.00 EUR; of all runs so far 0.00 EUR\n"
        )
        assert "2 of 2 steps were to run, 2 did" in body
        assert "\n- `ingest:notes`: succeeded, " in body


class Notes(BaseHTTPRequestHandler):
    """What GitLab has of notes on merge requests: the newest first, and each changed by its author
    alone."""

    def do_GET(self) -> None:
        self._answer(self.server.notes[::-1])

    def do_POST(self) -> None:
        self.server.notes.append({"id": len(self.server.notes) + 1, "body": self._said()})
        self._answer(self.server.notes[-1])

    def do_PUT(self) -> None:
        note = next(n for n in self.server.notes if n["id"] == int(self.path.rpartition("/")[2]))
        note["body"] = self._said()
        self._answer(note)

    def _said(self) -> str:
        length = int(self.headers["Content-Length"])
        return parse_qs(self.rfile.read(length).decode(), strict_parsing=True)["body"][0]

    def _answer(self, value: object) -> None:
        self.server.asked.append(f"{self.command} {self.path}")
        is_known = self.headers["PRIVATE-TOKEN"] == "s3cret"
        self.send_response(200 if is_known else 401)
        self.end_headers()
        self.wfile.write(json.dumps(value if is_known else {}).encode())

    def log_message(self, *_: object) -> None:
        """Says nothing: the tests look at what was asked."""


@pytest.fixture
def gitlab() -> Iterator[HTTPServer]:
    """A server of notes on this machine."""
    server = HTTPServer(("127.0.0.1", 0), Notes)
    server.notes, server.asked = [], []
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def _merge_request(repository: Path, server: HTTPServer, token: str) -> dict[str, str]:
    return ENVIRONMENT | {
        "PATH": f"{_shim(repository)}:{os.environ['PATH']}",
        "CI_API_V4_URL": f"http://127.0.0.1:{server.server_port}/api/v4",
        "CI_PROJECT_ID": "11",
        "CI_MERGE_REQUEST_IID": "7",
        "TUNESMITH_COMMENT_TOKEN": token,
    }


def test_gitlab_is_told_on_the_merge_request_once(repository, gitlab):
    gitlab.notes.append({"id": 1, "body": "Looks good & 100 % fine"})
    environment = _merge_request(repository, gitlab, "s3cret")
    assert run_as("gitlab", repository, environment=environment)[0] == [0]
    first = gitlab.notes[1]["body"]
    assert first == (repository / "models" / "desk" / "summary.md").read_text()
    assert first.startswith("<!-- tunesmith: models/desk -->\n### Tunesmith: `ci`\n")
    assert "2 of 2 steps were to run, 2 did" in first
    # The next time it is changed in its place; that nothing could be planned is said, too.
    (repository / "models" / "desk" / "plan.json").unlink()
    breaks = "echo '[' > models/desk/tunesmith.toml"
    assert run_as("gitlab", repository, breaks, environment)[0] == [2]
    head, *_ = first.splitlines()
    told = f"{head}\nTunesmith: there is no summary. The log of the job says why.\n"
    assert [note["body"] for note in gitlab.notes] == ["Looks good & 100 % fine", told]
    notes = "/api/v4/projects/11/merge_requests/7/notes"
    asked = f"GET {notes}?per_page=100"
    assert gitlab.asked == [asked, f"POST {notes}", asked, f"PUT {notes}/2"]


@pytest.mark.parametrize(
    ("token", "why"),
    [("", "the variable TUNESMITH_COMMENT_TOKEN"), ("wrong", "GitLab did not take it")],
)
def test_gitlab_is_not_told_without_a_token(repository, gitlab, capsys, token, why):
    environment = _merge_request(repository, gitlab, token)
    assert run_as("gitlab", repository, environment=environment)[0] == [0]
    assert f"no comment: {why}" in capsys.readouterr().out.replace("set the", "the")
    assert gitlab.notes == []
    assert bool(gitlab.asked) == bool(token)


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
