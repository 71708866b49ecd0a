"""From a Singer tap to a data asset; what is done next time, or when somebody is forgotten."""

from __future__ import annotations

import json
import sys

import pytest

TAIL = """
[source.mail]
origin = "singer:"
tap = ["./tap.py"]
stream = "mail"
text = "body"
subject = "customer"
"""
TAP = """\
import json, sys
def say(kind, **rest): print(json.dumps({"type": kind, **rest}))
since = 0
if "--state" in sys.argv:
    since = json.load(open(sys.argv[sys.argv.index("--state") + 1]))["bookmarks"]["mail"]["at"]
table = json.load(open("data/table.json"))
say("SCHEMA", stream="mail", schema={"properties": {}}, key_properties=["id"])
for row in table:
    if row["at"] > since: say("RECORD", stream="mail", record=row)
say("STATE", value={"bookmarks": {"mail": {"at": max(row["at"] for row in table)}}})
open("asked", "a").write(f"{since}\\n")
"""
SAID = "Why was nobody at the counter when I came with my grey parrot?"


def everything(project) -> bytes:
    files = [path for path in (project.folder / ".tunesmith").rglob("*") if path.is_file()]
    return b"\0".join(path.read_bytes() for path in files)


@pytest.mark.slow
def test_a_tap_goes_on_and_a_person_is_forgotten(data_project):
    project = data_project("mail", TAIL)
    (project.folder / "tap.py").write_text(f"#!{sys.executable} -IS\n{TAP}")
    (project.folder / "tap.py").chmod(0o755)
    table = [{"id": n, "at": n, "customer": f"customer-{n:04}", "body": f"It rained, {n}."}
             for n in range(1, 9)]  # fmt: skip
    table[6]["body"] = SAID

    def write() -> None:
        (project.folder / "data" / "table.json").write_text(json.dumps(table))

    write()
    said = project.process("run")
    assert said.returncode == 0, said.stderr
    assert "rows: 8 in, 8 out" in said.stderr
    table[2] |= {"body": "It snowed.", "at": 9}
    table.append({"id": 9, "at": 10, "customer": "customer-0009", "body": "It thawed."})
    write()
    project.tunesmith("run")
    found = json.loads(project.tunesmith("data", "diff", "mail@1", "mail@2", "--json"))
    assert (found["num_added"], found["num_removed"], found["num_edited"]) == (1, 0, 1)
    assert project.plan()["stream:mail"][0] == "hit"
    assert (project.folder / "asked").read_text().split() == ["0", "8", "10"]

    made = json.loads(project.tunesmith("data", "forget", "customer-0007", "--json"))
    assert made["found"] == []
    assert made["files"] == ["singer:"], "there it is the owner's to delete"
    table[6]["at"] = 11  # the system still has the record, and tells of it again: not here
    table[1] |= {"at": 12, "body": "It hailed."}
    write()
    said = project.process("run")
    assert said.returncode == 0, said.stderr
    assert "1 erased" in said.stderr
    left = everything(project)
    assert b"grey parrot" not in left
    assert b"It hailed" in left
