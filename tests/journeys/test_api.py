"""From an API to a data asset; what is done when its records change, or somebody is forgotten."""

from __future__ import annotations

import json
import random

import pytest

TAIL = """
[source.mail]
origin = "{url}"
records = "data"
next = {{ by = "cursor", field = "next", parameter = "after" }}
key = "id"
token_env = "CRM_TOKEN"
subject = "customer"
owner = "mail room"
"""
SAID = "Why was nobody at the counter when I came with my grey parrot?"
TOKEN = "s3cret-token-of-the-crm"


@pytest.fixture
def crm(api):
    """A server of 28 records, in pages of ten; those who do not say the token are sent away."""
    draw = random.Random(1)

    def words() -> str:
        return " ".join("".join(draw.choices("abcdefgh", k=5)) for _ in range(8))

    rows = {
        n: {"id": n, "customer": f"customer-{n:04}", "question": words(), "better": words(),
            "worse": words()}
        for n in range(28)
    }  # fmt: skip
    rows[7] |= {"question": SAID, "better": "We are sorry."}

    def answer(target):
        if api.requests[-1][1].get("authorization") != f"Bearer {TOKEN}":
            return 401, {}, b""
        start = int(target.partition("after=")[2] or 0)
        page = list(api.rows.values())[start : start + 10]
        return api.json({"data": page, "next": start + 10 if start + 10 < len(api.rows) else None})

    api.rows, api.answer = rows, answer
    return api


@pytest.fixture
def project(data_project, crm):
    made = data_project("crm", TAIL.format(url=crm.url()))
    made.edit('name = "crm"', f'name = "crm"\nhosts = ["{crm.host}"]')
    made.environment["CRM_TOKEN"] = TOKEN
    yield made
    del made.environment["CRM_TOKEN"]


def everything(project) -> bytes:
    files = [path for path in (project.folder / ".tunesmith").rglob("*") if path.is_file()]
    return b"\0".join(path.read_bytes() for path in files)


def test_records_that_change_are_seen_and_a_person_is_forgotten(project, crm):
    said = project.process("run")
    assert said.returncode == 0, said.stderr
    assert "rows: 28 in, 28 out" in said.stderr
    assert len(crm.requests) == 3, "the step takes what was looked at"

    crm.rows[3]["better"] = "It leaves today."
    del crm.rows[4]
    crm.rows[40] = crm.rows[5] | {"id": 40, "question": "Is it late?", "customer": "customer-0040"}
    state, reason = project.plan()["call:mail"]
    assert (state, "sha256" in reason) == ("runs", True)
    assert b"customer-0040" not in everything(project), "what was looked at is gone"
    project.tunesmith("run")
    asked = len(crm.requests)
    found = json.loads(project.tunesmith("data", "diff", "mail@1", "mail@2", "--json"))
    assert len(crm.requests) == asked, "what only looks asks nobody"
    assert (found["num_added"], found["num_removed"], found["num_edited"]) == (1, 1, 1)
    (edited,) = [each for each in found["examples"] if each["change"] == "edited"]
    assert edited["pointer"] == "tickets#id=3"

    made = json.loads(project.tunesmith("data", "forget", "customer-0007", "--json"))
    assert made["found"] == []
    assert "call:mail" in " ".join(made["purged"].values())
    assert made["files"] == [crm.url()], "there it is the owner's to delete"
    # The API still has the record, and another change brings it in again: not here.
    crm.rows[7]["better"] = crm.rows[3]["better"] = "Not today."
    said = project.process("run")
    assert said.returncode == 0, said.stderr
    assert "1 erased" in said.stderr
    left = everything(project)
    assert b"grey parrot" not in left
    assert TOKEN.encode() not in left
