"""Whatever is wrong gets a message that says what to do, and the right exit code."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import zipfile

import pytest


def fails(project, *arguments: str, code: int, **environment: str) -> str:
    """The error message; no traceback, and a remedy where one exists."""
    done = project.process(*arguments, **environment)
    assert done.returncode == code, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr
    return done.stderr


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("rank = 4", "rnak = 4", ["model.desk.rnak", "did you mean 'rank'"]),
        ("rank = 4", 'rank = "four"', ["model.desk.rank", "four"]),
        ("[gate.desk]", "[gates.desk]", ["gates", "did you mean 'gate'"]),
        ('base = "tiny"\ninstr', 'base = "tinny"\ninstr', ["dataset.small.base", "'tiny'"]),
        ("seed = 3", "seed = ", ["not TOML", "line"]),
        ('instruction = "Name the licence."\n', "", ["dataset.small.instruction", "missing"]),
        ('per_kwh = "0.30"', "per_kwh = 0.30", ["ledger.per_kwh", "quotes"]),
        ('index = "licences"', 'host = "0.0.0.0"', ["service.desk.host", "127.0.0.1"]),
        ('"dataset:small/test"', '"dataset:small"', ["monitor.desk.replay", "source:NAME"]),
    ],
)
def test_a_wrong_project_file(new_project, old, new, words):
    project = new_project()
    project.edit(old, new)
    message = fails(project, "plan", code=2)
    for word in words:
        assert word in message
    assert not (project.folder / ".tunesmith").exists(), "nothing was opened"


def test_no_project_file(new_project):
    project = new_project()
    (project.folder / "tunesmith.toml").unlink()
    assert "tunesmith init" in fails(project, "run", code=4)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("mini-notices==1.0", "mini-missing==1.0", ["mini-missing"]),
        ('sha256 = "', 'sha256 = "' + "0" * 64 + '"\n#', ["not what was pinned", "0000"]),
        ("mini/rules/*.RULE", "mini/nothing/*.RULE", ["no file", "matches"]),
        ('label = "license_expression"', 'label = "no_such_field"', ["no usable row"]),
        ("num_labels = 4", 'labels = ["mit", "beer-ware"]', ["beer-ware"]),
        ("max_tokens = 250", "max_tokens = 8", ["too long"]),
        ('file = "mini_llm/model"', 'file = "mini_llm/modle"', ["modle", "model"]),
    ],
)
def test_wrong_data(new_project, old, new, words):
    project = new_project()
    project.edit(old, new)
    done = project.process("run")
    assert done.returncode in (1, 4), done.stderr
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr
    # What was finished is kept, what failed left only its record.
    runs = json.loads(project.tunesmith("runs", "--json"))
    failed = [run["step"] for run in runs if run["status"] == "failed"]
    assert failed
    assert len(failed) == len(set(failed)), "each was tried once"
    assert all(run["output"] is None for run in runs if run["step"] in failed)
    assert f"error: {len(failed)} failed" in done.stderr
    assert all(f"\n  {step}: " in done.stderr for step in failed)
    assert json.loads(project.tunesmith("verify", "--json"))["problems"] == []


@pytest.mark.parametrize("hostile", ["../evil.RULE", "/etc/evil.RULE", "a\\..\\evil.RULE", "link"])
def test_a_hostile_wheel(new_project, tmp_path, hostile):
    import hashlib

    project = new_project()
    house = tmp_path / "hostile"
    house.mkdir()
    path = house / "mini_notices-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        member = zipfile.ZipInfo(hostile)
        if hostile == "link":
            member.external_attr = 0o120777 << 16
        wheel.writestr("mini_notices-1.0.dist-info/METADATA", "Name: mini-notices\nVersion: 1.0\n")
        wheel.writestr("mini_notices-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\n")
        wheel.writestr("mini_notices-1.0.dist-info/RECORD", "")
        wheel.writestr(member, "/etc/passwd")
    text = (project.folder / "tunesmith.toml").read_text()
    pinned = text.split('sha256 = "')[1].split('"')[0]
    project.edit(pinned, hashlib.sha256(path.read_bytes()).hexdigest())
    message = fails(project, "run", code=1, PIP_FIND_LINKS=str(house))
    assert "error:" in message


def test_unknown_things_are_not_found(finished):
    assert "licences" in fails(finished, "ask", "what?", "--index", "nothing", code=4)
    assert "no document" in fails(finished, "show", "no-such-licence#1-2", code=4)
    assert "not a place" in fails(finished, "show", "mit#5-999999", code=2)
    assert "desk" in fails(finished, "monitor", "nothing", code=4)
    assert "No such command" in fails(finished, "rnu", code=2)
    assert "has no value" in fails(finished, "plan", "--set", "x", code=2)


def test_init_does_not_write_over_another_project(finished):
    assert "is there already" in fails(finished, "init", ".", code=5)
    assert "licence-desk" in fails(finished, "init", "new", "--example", "nothing", code=4)


def test_a_locked_store(new_project):
    project = new_project()
    project.tunesmith("runs")
    path = project.folder / ".tunesmith" / "tunesmith.db"
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    message = fails(project, "run", code=5, TUNESMITH__PROJECT__BUSY_TIMEOUT_S="0.2")
    holder.close()
    assert "locked" in message
    assert "another process" in message


def test_a_store_of_a_newer_version(new_project):
    project = new_project()
    project.tunesmith("runs")
    connection = sqlite3.connect(project.folder / ".tunesmith" / "tunesmith.db")
    connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.commit()
    connection.close()
    assert "upgrade tunesmith" in fails(project, "run", code=1)


def test_an_edited_evidence_entry_and_a_flipped_byte_are_found(new_project):
    project = new_project()
    project.edit("mini/rules/*.RULE", "mini/none/*.RULE")  # the fetch succeeds, the ingest fails
    project.process("run")
    connection = sqlite3.connect(project.folder / ".tunesmith" / "tunesmith.db")
    connection.execute("UPDATE evidence SET actor = 'nobody' WHERE seq = 1")
    connection.commit()
    connection.close()
    blob = max(
        (p for p in (project.folder / ".tunesmith/blobs").rglob("*") if p.is_file()),
        key=lambda p: p.stat().st_size,
    )
    blob.chmod(0o644)
    data = bytearray(blob.read_bytes())
    data[len(data) // 2] ^= 1
    blob.write_bytes(data)
    message = fails(project, "verify", code=1)
    assert "evidence 1" in message
    assert "damaged" in message


def test_no_space(new_project):
    """A limit on the size of files stands for a full disk: writing fails in the same way."""
    project = new_project()
    script = (
        "import resource, runpy, signal, sys;"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000));"
        "sys.argv = ['tunesmith', 'run'];"
        "runpy.run_module('tunesmith', run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=project.folder,
        env=project.environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert "space" in done.stderr
    project.tunesmith("run")


def test_json_on_every_looking_command(finished):
    for command in (
        ["plan"], ["runs"], ["verify"], ["doctor"], ["config", "show"], ["data", "list"],
        ["data", "card", "small"], ["model", "list"], ["model", "card", "desk"], ["monitor"],
        ["retrain"], ["ledger", "register"], ["run"],
    ):  # fmt: skip
        json.loads(finished.tunesmith(*command, "--json"))
