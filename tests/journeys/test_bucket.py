"""From a bucket to a data asset; what is done when objects change, or somebody is forgotten."""

from __future__ import annotations

import json

import pytest

TAIL = """
[source.mail]
origin = "s3://{bucket}/2026"
endpoint = "http://{host}"
format = "jsonl"
text = "body"
subject = "customer"
owner = "mail room"
"""
SAID = "Why was nobody at the counter when I came with my grey parrot?"


def line(number: int, body: str) -> bytes:
    return json.dumps({"customer": f"customer-{number:04}", "body": body}).encode() + b"\n"


@pytest.fixture
def project(data_project, object_server):
    bucket = object_server.bucket()
    made = data_project("mail", TAIL.format(bucket=bucket, host=object_server.host))
    made.edit('name = "mail"', f'name = "mail"\nhosts = ["{object_server.host}"]')
    secrets = {"AWS_ACCESS_KEY_ID": "reader", "AWS_SECRET_ACCESS_KEY": "s3cret-of-the-reader"}
    made.environment.update(secrets)
    yield made, bucket
    for name in secrets:
        del made.environment[name]


def everything(project) -> bytes:
    files = [path for path in (project.folder / ".tunesmith").rglob("*") if path.is_file()]
    return b"\0".join(path.read_bytes() for path in files)


@pytest.mark.slow
def test_objects_that_change_are_seen_and_a_person_is_forgotten(project, object_server):
    project, bucket = project
    object_server.put(bucket, "2026/01.jsonl", line(1, "It rained.") + line(7, SAID))
    object_server.put(bucket, "2026/02.jsonl", line(2, "It snowed."))
    said = project.process("run")
    assert said.returncode == 0, said.stderr
    assert "rows: 3 in, 3 out" in said.stderr

    object_server.put(bucket, "2026/02.jsonl", line(2, "It snowed, and then it thawed."))
    state, reason = project.plan()["collect:mail"]
    assert (state, "sha256" in reason) == ("runs", True)
    project.tunesmith("run")
    found = json.loads(project.tunesmith("data", "diff", "mail@1", "mail@2", "--json"))
    assert (found["num_added"], found["num_removed"], found["num_edited"]) == (0, 0, 1)

    made = json.loads(project.tunesmith("data", "forget", "customer-0007", "--json"))
    assert made["found"] == []
    assert "collect:mail" in " ".join(made["purged"].values())
    assert made["files"] == [f"s3://{bucket}/2026"], "there it is the owner's to delete"
    # The bucket still has the record, in an object that is written again: not here.
    object_server.put(bucket, "2026/01.jsonl", line(1, "It hailed.") + line(7, SAID))
    said = project.process("run")
    assert said.returncode == 0, said.stderr
    assert "1 erased" in said.stderr
    left = everything(project)
    assert b"grey parrot" not in left
    assert b"It hailed" in left
    assert b"s3cret-of-the-reader" not in left
