"""Which version a name means, what is said against it, and what became of it."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tunesmith.core import evidence
from tunesmith.core.copies import LEFT, Copy, put_on_record
from tunesmith.core.errors import Conflict, NotFound, UsageError
from tunesmith.documents.facts import _store, _version
from tunesmith.documents.status import of_status
from tunesmith.pipeline import export
from tunesmith.registry.change import approve, close, promote, roll_back
from tunesmith.registry.choice import choose
from tunesmith.registry.roles import Actor
from tunesmith.stages.export.config import ExportConfig

ANN, BOB = (Actor(name=name, os_user=name) for name in ("ann", "bob"))


def put(desk: Any, version: str) -> None:
    promote(desk.project, version, "production", ANN, "better")
    approve(desk.project, version, "production", BOB, "agreed")


def chosen(desk: Any, wanted: str = "desk") -> tuple[str, str]:
    found = choose(desk.project, wanted)
    assert found.name == f"desk@{found.version.number}"
    assert found.model.num_steps == found.version.number  # the record is that version's
    return found.name, found.why


def status(desk: Any, version: str) -> str:
    (fact,) = of_status(_store(desk.project, _version(desk.project, *version.split("@"), version)))
    return "; ".join(fact["value"]["said"])


def test_production_comes_before_the_candidate_and_that_before_the_newest(desk: Any) -> None:
    desk.release(passes=False)
    assert chosen(desk) == ("desk@1", "the newest: none is 'production' or 'candidate'")
    second = desk.release()
    desk.release(passes=False)
    assert chosen(desk) == (second, "it is 'candidate', and none is 'production'")
    put(desk, second)
    fourth = desk.release(beside=second)
    assert chosen(desk) == (second, "it is 'production'")
    assert chosen(desk, "desk@candidate") == (fourth, "it has the alias 'candidate'")
    assert chosen(desk, "desk@production")[0] == second
    assert chosen(desk, "desk@1") == ("desk@1", "as named")


def test_a_retired_version_is_only_meant_by_who_names_it(desk: Any) -> None:
    first, second = desk.release(), desk.release()
    close(desk.project, second, "retired", BOB, "leaks names")
    assert chosen(desk) == (first, "the newest: none is 'production' or 'candidate'")
    named = choose(desk.project, "desk@candidate")
    assert named.name == second
    (said,) = (each for each in named.warnings if "retired" in each)
    assert said.startswith("desk@2 is retired since 20")
    assert said.endswith(", by bob: leaks names")
    close(desk.project, first, "retired", BOB, "old")
    with pytest.raises(Conflict, match="every version of desk is retired"):
        choose(desk.project, "desk")
    assert chosen(desk, "desk@1")[0] == first


def test_what_is_not_there_is_said_with_what_is(desk: Any) -> None:
    with pytest.raises(NotFound, match="no version of desk yet"):
        choose(desk.project, "desk")
    desk.release()
    for wanted, error, said in [
        ("desk@2", NotFound, "there is: desk@1"),
        ("desk@01", UsageError, "MODEL@NUMBER"),
        ("desk@production", NotFound, r"candidate \(desk@1\)"),
        ("dusk", NotFound, "there is: desk"),
        ("dusk@1", NotFound, "there is: desk"),
    ]:
        with pytest.raises(error) as raised:
            choose(desk.project, wanted)
        assert raised.match("desk|dusk")
        assert re.search(said, raised.value.remedy or ""), wanted


def test_an_erased_version_is_refused_and_one_of_erased_rows_is_doubtful(desk: Any) -> None:
    first = desk.release(is_judged=False)
    found = choose(desk.project, first)
    assert found.warnings == ("no gate has judged desk@1",)

    desk.project.purged = frozenset({found.dataset.train.rows.sha256})
    doubt = choose(desk.project, first).warnings[-1]
    assert "rows that desk@1 was tuned on were erased since" in doubt

    desk.project.purged = frozenset({found.dataset.test.rows.sha256})
    with pytest.raises(Conflict, match="rows of d, on which it was tuned"):
        export(desk.project, choose(desk.project, first), ExportConfig())

    desk.project.purged = frozenset()
    desk.project.runner.blobs.remove(found.dataset.test.rows.sha256)
    with pytest.raises(NotFound, match="desk@1 is not whole"):
        export(desk.project, choose(desk.project, first), ExportConfig())

    desk.project.purged = frozenset({found.model.adapter.sha256})
    with pytest.raises(Conflict, match="desk@1 was erased when somebody was forgotten"):
        choose(desk.project, "desk")


def test_a_copy_without_warnings_is_the_same_entry_as_before_there_were_any(desk: Any) -> None:
    runner = desk.project.runner
    given = {"form": "gguf", "of": ("model desk@1",), "digests": ("0" * 64,), "where": "/out"}
    copy = Copy(**given, has="weights")
    warned = Copy(**given, has="weights", warnings=("it is deprecated",))
    for each in (copy, copy, warned, warned):
        put_on_record(runner.database, "ann", each)
    with runner.database.read() as connection:
        bodies = [entry.body for entry in evidence.entries(connection, LEFT)]
    assert [body.get("warnings") for body in bodies] == [None, ["it is deprecated"]]


def test_documents_say_what_became_of_a_version(desk: Any) -> None:
    failed = desk.release(passes=False)
    assert status(desk, failed) == "not released: no alias ever pointed at it"
    second = desk.release()
    assert status(desk, second).startswith("candidate since 20")
    put(desk, second)
    third = desk.release(beside=second)
    put(desk, third)
    assert "production until 20" in status(desk, second)
    assert status(desk, second).endswith("when desk@3 took its place")
    roll_back(desk.project, "desk", "production", BOB, "secret reason")
    assert "production again since 20" in status(desk, second)
    assert status(desk, second).endswith("when it was rolled back to from desk@3")
    assert status(desk, third).endswith("when it was rolled back to desk@2")
    close(desk.project, second, "deprecated", ANN, "secret reason")
    assert status(desk, second).startswith("deprecated since 20")
    close(desk.project, third, "retired", BOB, "secret reason")
    assert status(desk, third).startswith("retired since 20")
    assert "the alias 'candidate' still points at it, and serves nobody" in status(desk, third)
    for version in (second, third):  # what is for others has no names and no reasons
        assert not {"secret", "bob", "ann"} & set(status(desk, version).replace(",", " ").split())


def test_a_version_that_is_judged_again_stands_where_it_stood(desk: Any) -> None:
    first = desk.release()
    since = status(desk, first)
    desk.release(beside="another", of=1)
    assert status(desk, first) == since
