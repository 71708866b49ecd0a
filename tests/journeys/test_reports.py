"""Reports of gates: one for each judgement, kept as it is, whatever happens meanwhile."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tunesmith.core import catalog, evidence, lifecycle
from tunesmith.core.errors import (
    DataError,
    GateFailed,
    SignatureError,
    StoreError,
    TunesmithError,
    UsageError,
)

PASSES, FAILS = "beats_base_by = -0.99", "beats_base_by = 0.99"


@pytest.fixture
def desk(data_project: Any, calls: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A project that has not run, in whose folder commands are called."""
    made = data_project("desk", calls.sections)
    (made.folder / "calls.jsonl").write_text(calls.text)
    made.lead_pip(monkeypatch)
    monkeypatch.chdir(made.folder)
    return made


def run(*words: str) -> str:
    from tunesmith.cli.main import app

    done = CliRunner().invoke(app, list(words))
    if isinstance(done.exception, TunesmithError):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.stdout


def entries(folder: Path, *kinds: str) -> list[evidence.Entry]:
    from tunesmith.project import open_store

    project = open_store(folder)
    try:
        with project.runner.database.read() as connection:
            return list(evidence.entries(connection, *kinds))
    finally:
        project.close()


def moves(folder: Path) -> int:
    from tunesmith.project import open_store

    project = open_store(folder)
    try:
        with project.runner.database.read() as connection:
            return len(catalog.alias_moves(connection))
    finally:
        project.close()


def test_each_judgement_has_one_report_that_never_changes(desk: Any, tmp_path: Path) -> None:
    desk.edit(PASSES, FAILS)
    with pytest.raises(GateFailed):
        run("run")
    (failed,) = entries(desk.folder, lifecycle.SEALED)
    assert (failed.body["version"], failed.body["verdict"]) == ("desk@1", "fail")
    assert failed.body["why"].endswith("not signed")
    with pytest.raises(GateFailed):
        run("run")  # nothing is judged, so nothing is sealed
    assert len(entries(desk.folder, lifecycle.SEALED)) == 1

    desk.edit(FAILS, PASSES)
    run("run")
    _, passed = entries(desk.folder, lifecycle.SEALED)
    assert passed.body["verdict"] == "pass"
    moved = entries(desk.folder, lifecycle.MOVED)[0]
    assert passed.seq < moved.seq, "nothing moves by a verdict whose report is not kept"

    run("model", "report", "desk@1", "--out", str(tmp_path / "a"))
    run("model", "note", "desk@1", "looked at")
    run("model", "report", "desk@1", "--out", str(tmp_path / "b"))
    data = (tmp_path / "a" / "report.json").read_bytes()
    assert (tmp_path / "b" / "report.json").read_bytes() == data
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["report.json"]
    said = json.loads(data)["predicate"]
    assert said["gate"]["verdict"] == "pass"
    assert said["gate"]["judged"]["finished_at"] <= said["made_at"] <= passed.at
    with pytest.raises(SignatureError, match="is not signed"):
        run("model", "verify", str(tmp_path / "a"), "--public-key", str(tmp_path / "no.pub"))
    assert "report sealed" in run("model", "show", "desk@1")

    listed = run("audit", "log", "--model", "desk@1", "--kind", "gate.*")
    assert [line.split()[3] for line in listed.splitlines()[1:]] == ["gate.sealed"] * 2
    newest = json.loads(run("audit", "log", "--limit", "1", "--json"))
    assert [entry["what"] for entry in newest] == ["version.noted"]
    assert "earlier ones" in run("audit", "log", "--limit", "1")
    assert run("audit", "log", "--kind", "nothing").strip() == "no entry is meant by that"
    with pytest.raises(UsageError, match="no day and no moment"):
        run("audit", "log", "--since", "yesterday")

    every = json.loads(run("model", "report", "--out", str(tmp_path / "all"), "--json"))
    assert [each["version"] for each in every] == ["desk@1"]
    assert (tmp_path / "all" / "desk@1" / "report.json").read_bytes() == data


def test_a_key_signs_that_report_once_and_everything_verifies_it(desk: Any, tmp_path: Path) -> None:
    run("run")
    (sealed,) = entries(desk.folder, lifecycle.SEALED)
    key, public = tmp_path / "k.pem", str(tmp_path / "k.pem.pub")
    run("key", "new", "--out", str(key))
    with pytest.raises(UsageError, match="of one version"):
        run("model", "report", "--out", str(tmp_path / "no"), "--key", str(key))
    for name in ("one", "two"):
        run("model", "report", "desk@1", "--out", str(tmp_path / name), "--key", str(key))
    run("model", "report", "desk@1", "--out", str(tmp_path / "three"))  # no key: as it was signed
    for name in ("report.json", "report.dsse.json"):
        kept = {(tmp_path / each / name).read_bytes() for each in ("one", "two", "three")}
        assert len(kept) == 1, name
    (signed,) = entries(desk.folder, lifecycle.REPORTED)
    assert signed.body["report"] == sealed.body["report"]
    assert "is what was signed" in run(
        "model", "verify", str(tmp_path / "one"), "--public-key", public
    )
    run("model", "sign", "desk@1", "--key", str(key))
    assert "signed with that key" in run("model", "verify", "desk@1", "--public-key", public)

    # By an auditor, who has the log and the report and nothing else.
    log = str(tmp_path / "log.jsonl")
    run("audit", "export", "--out", log)
    said = run("audit", "verify", log, "--report", str(tmp_path / "one"))
    assert f"as it was sealed (desk@1, evidence {sealed.seq})" in said
    path = tmp_path / "one" / "report.json"
    path.write_bytes(path.read_bytes().replace(b'"verdict":"pass"', b'"verdict":"fail"', 1))
    with pytest.raises(DataError, match=r"no entry that is shown says that .*report\.json"):
        run("audit", "verify", log, "--report", str(tmp_path / "one"))


def test_it_is_kept_by_gc_and_in_backups_and_missed_when_it_is_gone(
    desk: Any, tmp_path: Path
) -> None:
    run("run")
    (sealed,) = entries(desk.folder, lifecycle.SEALED)
    run("store", "backup", str(tmp_path / "backup"))
    desk.edit("[project]", "[store]\nkeep_runs = 1\nmin_age_hours = 0.000001\n\n[project]")
    run("store", "gc", "--apply")
    digest = sealed.body["report"]
    path = desk.folder / ".tunesmith" / "blobs" / digest[:2] / digest[2:]
    assert path.is_file()
    path.unlink()
    with pytest.raises(StoreError, match=digest[:12]):
        run("verify")
    with pytest.raises(StoreError, match="is not whole") as refused:
        run("model", "report", "desk@1", "--out", str(tmp_path / "out"))
    assert "from a backup" in refused.value.remedy
    assert not (tmp_path / "out").exists()
    run("verify", "--repair", "--from", str(tmp_path / "backup"))
    run("model", "report", "desk@1", "--out", str(tmp_path / "out"))


def test_a_process_that_ended_between_judging_and_sealing_leaves_it_to_the_next(desk: Any) -> None:
    done = desk.process("run", TUNESMITH_FAILPOINT="report.stored")
    assert done.returncode == -signal.SIGKILL
    assert entries(desk.folder, lifecycle.SEALED) == []
    assert moves(desk.folder) == 0
    desk.edit("rank = 4", "rank = 2")  # another version: the first one's judgement is not forgotten
    desk.tunesmith("run")
    sealed = entries(desk.folder, lifecycle.SEALED)
    assert [each.body["version"] for each in sealed] == ["desk@1", "desk@2"]
    assert "all hold" in desk.tunesmith("verify")
    desk.tunesmith("run")
    assert len(entries(desk.folder, lifecycle.SEALED)) == 2
