"""What the evidence says of erasures, and what `verify` makes of it."""

from __future__ import annotations

from tunesmith.core import erasure, evidence
from tunesmith.core.step import Step
from tunesmith.core.verify import verify
from tunesmith.testing import EchoConfig

BODY = {"id": "1", "subject": "s1", "rows": {"a": ["r1"]}, "key": "k", "blobs": []}


def said(runner, what: str, **body) -> int:
    with runner.database.write() as connection:
        evidence.append(connection, what, "tester", {**BODY, **body})
        return [entry.seq for entry in evidence.entries(connection, what)][-1]


def test_purged_blobs_read_as_erased_and_others_as_damage(make_runner):
    runner, _ = make_runner()
    kept, gone = (
        runner.run(Step(name=name, kind="echo@1", config=EchoConfig(text=name))).text
        for name in ("kept", "gone")
    )
    begun = said(runner, erasure.BEGUN, blobs=[gone.sha256])
    runner.blobs.remove(gone.sha256)
    assert verify(runner.database, runner.blobs).problems == (
        f"the erasure that evidence {begun} says was begun is not finished",
    )
    said(runner, erasure.DONE, begun=begun, blobs=[gone.sha256])
    report = verify(runner.database, runner.blobs)
    assert (report.problems, report.num_erased) == ((), 1)

    runner.blobs.put(b"gone")
    (problem,) = verify(runner.database, runner.blobs).problems
    assert "was erased and is there again" in problem
    runner.blobs.remove(gone.sha256)
    runner.blobs.remove(kept.sha256)
    (problem,) = verify(runner.database, runner.blobs).problems
    assert kept.sha256[:12] in problem


def test_erasures_add_up(make_runner):
    runner, _ = make_runner()
    said(runner, erasure.BEGUN)
    said(runner, erasure.BEGUN, id="2", subject="", rows={"a": ["r2", "r1"], "b": ["r3"]})
    with runner.database.read() as connection:
        state = erasure.read(connection)
    assert state.subjects == ("s1",)
    assert state.rows == {"a": ("r1", "r2"), "b": ("r3",)}
    assert len(state.unfinished) == 2


def test_a_key_is_made_once_and_only_for_its_owner(tmp_path):
    key = erasure.key_of(tmp_path, make=True)
    assert erasure.key_of(tmp_path, make=True) == key
    assert (tmp_path / erasure.KEY_FILE).stat().st_mode & 0o777 == 0o600
    digests = {erasure.keyed(key, what, "x") for what in ("subject", "row", "record")}
    assert len(digests) == 3
    assert erasure.keyed(b"other", "subject", "x") not in digests
