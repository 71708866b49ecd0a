"""The how-to of signatures, command by command, and what becomes of those who tamper.

Commands run in this process: they start faster."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import tunesmith
from tunesmith.core import evidence
from tunesmith.core.canonical import canonical_json, parse
from tunesmith.core.errors import GateFailed, NotFound, SignatureError, TunesmithError, UsageError

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "sign-and-verify-a-model.md"
SERVICE = """
[service.desk]
models = ["desk"]

"""


@pytest.fixture(scope="module")
def base_section(project_text: str) -> str:
    return project_text[project_text.index("[base.tiny]") : project_text.index("[dataset.small]")]


@pytest.fixture(scope="module")
def desk(
    tmp_path_factory: pytest.TempPathFactory,
    mini_environment: dict[str, str],
    base_section: str,
    calls: Any,
):
    """A folder with a project whose file has the how-to's settings, before its first command."""
    folder = tmp_path_factory.mktemp("signing") / "desk"
    folder.mkdir()
    settings = re.findall(r"```toml\n(.*?)```", PAGE.read_text(), re.DOTALL)[0]
    text = f'[project]\nname = "desk"\n\n{base_section}{calls.sections}{SERVICE}{settings}'
    (folder / "tunesmith.toml").write_text(text)
    (folder / "calls.jsonl").write_text(calls.text)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in mini_environment.items():
            if name.startswith("PIP_"):
                patch.setenv(name, value)
        patch.chdir(folder)
        yield folder


def run(*words: str) -> str:
    from tunesmith.cli.main import app

    done = CliRunner().invoke(app, list(words))
    if isinstance(done.exception, TunesmithError):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.fixture(scope="module")
def said(desk: Path) -> dict[str, str]:
    """What each command of the page printed, in its order."""
    blocks = re.findall(r"```console\n(.*?)```", PAGE.read_text(), re.DOTALL)
    lines = [line.removeprefix("$ tunesmith ") for block in blocks for line in block.splitlines()]
    return {line: run(*shlex.split(line)) for line in lines}


def test_every_command_of_the_page_does_what_it_says(said: dict[str, str], desk: Path) -> None:
    def by(start: str) -> str:
        return next(text for line, text in said.items() if line.startswith(start))

    assert "desk@1 is what was signed with key" in by("model verify desk@1")
    assert "signed: model.sig" in by("model export")
    assert "../given is what was signed" in by("model verify ../given")
    assert "../report, the report of desk@1 is what was signed" in by("model verify ../report")
    assert "desk@1: bitwise" in by("model reproduce")
    assert "desk" in by("model list")
    shown = by("model show")
    assert "tags: team=legal, ticket=DESK-7" in shown
    for what in (
        "signed",
        "report sealed",
        "report signed",
        "reproduced",
        "tagged",
        "noted",
        "Weak on old notices",
    ):
        assert what in shown, what
    assert "audit: 5 of 5 rules are met" in shown
    assert "not looked at: other triggers" in shown
    key = (desk.parent / "desk.pem").read_text().splitlines()[1]
    for path in (desk / ".tunesmith").rglob("*"):
        assert not path.is_file() or key.encode() not in path.read_bytes(), path
    assert "all hold" in run("verify")


def test_the_run_signed_the_release_itself_and_only_once(said: dict[str, str]) -> None:
    run("run")
    found = json.loads(run("model", "show", "desk@1", "--json"))
    signed = [change for change in found["entry"]["changes"] if change["what"] == "signed"]
    assert len(signed) == 2  # by the run, and by the page's own command


def test_model_signing_verifies_the_export(said: dict[str, str], desk: Path) -> None:
    given = desk.parent / "given"
    words = [
        "--signature",
        given / "model.sig",
        "--public_key",
        desk.parent / "desk.pem.pub",
        given,
    ]
    command = [sys.executable, "-m", "model_signing", "verify", "key", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "# Model Card for desk@1" in (given / "README.md").read_text()
    (given / "adapter_config.json").chmod(0o644)
    with (given / "adapter_config.json").open("a") as target:
        target.write(" ")
    with pytest.raises(SignatureError, match=r"changed: adapter_config\.json"):
        run("model", "verify", str(given), "--public-key", str(desk.parent / "desk.pem.pub"))


def test_the_report_says_what_the_verdict_rests_on(said: dict[str, str], desk: Path) -> None:
    data = (desk.parent / "report" / "report.json").read_bytes()
    report = parse(data)
    assert canonical_json(report) == data
    assert report["subject"][0]["name"] == "desk@1"
    found = report["predicate"]
    registered = found["thresholds"]["registered"]
    assert registered["before_result"] is True
    assert 0 < registered["seq"] < registered["result_seq"] < found["evidence"]["seq"]
    assert found["thresholds"]["settings"]["beats_base_by"] == -0.99
    assert found["gate"]["verdict"] == "pass"
    assert [rule["rule"] for rule in found["rules"]] == [
        "beats the base model", "audit: finite weights", "audit: declared modules",
        "audit: update norms", "audit: ranks", "audit: triggers",
    ]  # fmt: skip
    kinds = {step["kind"] for step in found["inputs"]["steps"]}
    assert {"finetune@1", "evaluate-tuned@1", "evaluate-base@1", "audit@1", "curate@1"} <= kinds
    run_ = next(step for step in found["inputs"]["steps"] if step["kind"] == "finetune@1")
    assert run_["output"] == report["subject"][0]["digest"]["sha256"]
    assert run_["by"] == found["made_by"]["name"] == found["gate"]["judged"]["by"]
    assert found["version"]["state"] == "made", "it is sealed before anything moves by it"
    assert found["done"] == []
    with pytest.raises(TunesmithError, match="is there already"):
        run("model", "report", "desk@1", "--out", "../report")
    with pytest.raises(NotFound, match="desk@7"):
        run("model", "report", "desk@7", "--out", "../other")


def test_a_forged_report_is_refused(said: dict[str, str], desk: Path) -> None:
    path = desk.parent / "report" / "report.json"
    was = path.read_bytes()
    path.write_bytes(was.replace(b'"verdict":"pass"', b'"verdict":"fail"', 1))
    try:
        with pytest.raises(SignatureError, match="is not what was signed"):
            run("model", "verify", "../report", "--public-key", "../desk.pem.pub")
    finally:
        path.write_bytes(was)


def test_a_service_starts_by_the_alias_that_was_signed_alone(
    said: dict[str, str], desk: Path
) -> None:
    """The real model, loaded and asked; then somebody points production at it without the key."""
    from fastapi.testclient import TestClient

    from tunesmith.core import lifecycle
    from tunesmith.endpoint import endpoint
    from tunesmith.project import open_project

    asked = {"model": "desk@1", "messages": [{"role": "user", "content": "abcd efgh"}]}
    project = open_project(desk)
    try:
        config = project.file.service["desk"]
        with TestClient(endpoint(project, config, None), base_url="http://127.0.0.1") as client:
            answer = client.post("/v1/chat/completions", json=asked)
        assert answer.status_code == 200, answer.text
        with project.runner.database.write() as connection:
            (moved,) = (
                dict(entry.body)
                for entry in evidence.entries(connection, lifecycle.MOVED)
                if entry.body["name"] == "desk"
            )
            lifecycle.move_alias(connection, moved | {"alias": "production"})
        with pytest.raises(SignatureError, match="that 'production' of desk points at desk@1"):
            endpoint(project, config, None)
    finally:
        project.close()
    run("model", "sign", "desk@1", "--alias", "production")
    project = open_project(desk)
    try:
        assert endpoint(project, project.file.service["desk"], None) is not None
    finally:
        project.close()


def test_where_the_export_and_the_log_went_is_on_record(said: dict[str, str], desk: Path) -> None:
    from tunesmith.project import open_project

    project = open_project(desk)
    try:
        with project.runner.database.read() as connection:
            bodies = [entry.body for entry in evidence.entries(connection, "copy.left")]
    finally:
        project.close()
    (left,) = [each for each in bodies if each["has"] == "weights"]
    written = desk.parent / "log.jsonl"
    (log,) = [each for each in bodies if each["where"] == str(written)]
    assert log["form"] == "an export of the evidence"
    assert log["digests"] == [hashlib.sha256(written.read_bytes()).hexdigest()]
    assert left["of"] == ["model desk@1"]
    assert (left["form"], left["has"]) == ("adapter", "weights")
    assert left["where"] == str(desk.parent / "given")


@pytest.mark.slow
def test_a_whole_run_is_made_again_weights_and_all(
    said: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONHASHSEED", "7")  # which does not reach the run
    found = json.loads(run("model", "reproduce", "desk@1", "--steps", "100000", "--json"))
    assert (found["verdict"], found["whole"]) == ("bitwise", True)
    assert found["num_steps"] == found["of_steps"]
    assert found["changed"] == []


def test_another_python_makes_it_again(
    said: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second interpreter with a site of its own, which has another version of a library."""
    folder = tmp_path / "clean"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    (packages,) = (folder / "lib").glob("python*/site-packages")
    places = [str(Path(tunesmith.__file__).parents[1])]
    places += [each for each in sys.path if each.endswith("site-packages")]
    (packages / "places.pth").write_text("\n".join(places) + "\n")
    (packages / "gguf-99.0.dist-info").mkdir()
    (packages / "gguf-99.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: gguf\nVersion: 99.0\n"
    )
    (tmp_path / "torch.py").write_text("raise SystemExit('not this one')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    words = ["desk@1", "--steps", "2", "--python", str(folder)]
    found = json.loads(run("model", "reproduce", *words, "--json"))
    assert found["verdict"] == "bitwise"
    assert found["python"] == str(folder / "bin" / "python")
    assert found["now"] == {**found["then"], "gguf": "99.0"}
    assert found["changed"] == [f"environment.gguf: {found['then']['gguf']} -> 99.0"]
    run("audit", "export", "--out", str(tmp_path / "log.jsonl"))
    last = json.loads((tmp_path / "log.jsonl").read_text().splitlines()[-1])
    assert last["what"] == "model.reproduced"
    assert (last["body"]["then"], last["body"]["now"]) == (found["then"], found["now"])


@pytest.mark.slow
def test_another_run_is_told_apart(said: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the recipe's learning rate had not been what was recorded."""
    from tunesmith.registry import reproduce

    real = reproduce._tuned_again

    def otherwise(project: Any, made: Any, config: Any, *rest: Any) -> Any:
        return real(project, made, {**config, "learning_rate": 0.05}, *rest)

    monkeypatch.setattr(reproduce, "_tuned_again", otherwise)
    with pytest.raises(GateFailed, match=r"differ by up to .* of the loss, from step 2 on"):
        run("model", "reproduce", "desk@1", "--steps", "3")
    assert "failed: the losses" in run("model", "show", "desk@1")


def test_tags_and_search(said: dict[str, str], desk: Path) -> None:
    def names(*words: str) -> list[str]:
        return [entry["name"] for entry in json.loads(run("model", "list", "--json", *words))]

    assert names("--tag", "team") == names("--tag", "ticket=DESK-7") == ["desk@1"]
    assert names("--search", "OLD NOTICES") == names("--search", "desk-7") == ["desk@1"]
    assert names("--tag", "team=sales") == names("--search", "nothing like it") == []
    run("model", "tag", "desk@1", "team=")
    assert names("--tag", "team") == []
    for bad in ("team", "=x", "9a=b", "a b=c"):
        with pytest.raises(UsageError, match="tag"):
            run("model", "tag", "desk@1", bad)
    with pytest.raises(UsageError, match="1 to 4000 characters"):
        run("model", "note", "desk@1", "  ")
    with pytest.raises(NotFound):
        run("model", "note", "desk@9", "x")


def test_a_gate_without_an_audit(desk: Path, said: dict[str, str]) -> None:
    path = desk / "tunesmith.toml"
    text = path.read_text()
    path.write_text(text.replace("beats_base_by = -0.99", "beats_base_by = -0.99\naudit = false"))
    try:
        plan = json.loads(run("plan", "--json"))["lines"]
        assert not any(line["step"] == "audit:desk" for line in plan)
    finally:
        path.write_text(text)


def test_with_another_public_key_nothing_is_exported(desk: Path, said: dict[str, str]) -> None:
    run("key", "new", "--out", "../other.pem")
    path = desk / "tunesmith.toml"
    text = path.read_text()
    path.write_text(text.replace("../desk.pem.pub", "../other.pem.pub"))
    try:
        with pytest.raises(SignatureError, match="desk@1 is not signed with the key"):
            run("model", "export", "desk", "--format", "adapter", "--out", "../none")
    finally:
        path.write_text(text)
    assert not (desk.parent / "none").exists()
