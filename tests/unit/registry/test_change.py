"""Promotion: a passed gate, four eyes, a way back; and each change in the evidence."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunesmith.core import catalog, evidence
from tunesmith.core.errors import (
    BlobMissing,
    ConfigError,
    Conflict,
    GateFailed,
    NotAllowed,
    NotFound,
    UsageError,
)
from tunesmith.core.ref import find
from tunesmith.core.verify import verify
from tunesmith.pipeline import books
from tunesmith.registry import change
from tunesmith.registry.change import approve, close, promote, reject, roll_back
from tunesmith.registry.labels import tag
from tunesmith.registry.roles import Actor, acting
from tunesmith.registry.standing import listed, split

TO = "production"
ANN, BOB = (Actor(name=name, os_user=name) for name in ("ann", "bob"))


def put(desk, version: str, by: Actor = ANN, approver: Actor = BOB) -> None:
    promote(desk.project, version, TO, by, "better")
    approve(desk.project, version, TO, approver, "agreed")


def flip(path: Path) -> None:
    """One bit of a file's last byte is another; it is as long as before."""
    path.chmod(0o600)
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))


def states(desk) -> dict[str, str]:
    return {entry.name: entry.state for entry in listed(desk.project)}


def log(desk, *whats: str) -> list[evidence.Entry]:
    with desk.project.runner.database.read() as connection:
        return list(evidence.entries(connection, *whats))


def holds(desk) -> bool:
    runner = desk.project.runner
    return verify(runner.database, runner.blobs).problems == ()


def test_from_candidate_to_production(desk) -> None:
    version = desk.release()
    assert states(desk) == {version: "candidate"}

    change = promote(desk.project, version, TO, ANN, "it is ready")
    assert states(desk) == {version: "asked"}
    assert (change.what, change.actor, change.why) == ("asked", "ann", "it is ready")
    with pytest.raises(NotFound):
        desk.project.released("desk", TO)

    moved = approve(desk.project, version, TO, BOB, "looked at the mistakes")
    assert (moved.version, moved.before) == (version, "")
    assert states(desk) == {version: "production"}
    assert desk.project.in_use("desk")[1] == version
    (entry,) = log(desk, "promotion.approved")
    assert (entry.actor, entry.body["why"]) == ("bob", "looked at the mistakes")
    assert entry.body["asked"] == change.seq
    assert entry.body["four_eyes"] is True
    assert entry.body["roles"]["approvers"] == ["bob", "ann"]
    assert holds(desk)


def test_whoever_tuned_or_asked_does_not_approve(desk) -> None:
    version = desk.release(by="bob")
    promote(desk.project, version, TO, ANN, "ready")

    with pytest.raises(NotAllowed, match="ann tuned, judged or asked"):  # asked
        approve(desk.project, version, TO, ANN, "fine")
    with pytest.raises(NotAllowed, match="bob tuned, judged or asked"):  # tuned
        approve(desk.project, version, TO, BOB, "fine")
    with pytest.raises(NotAllowed, match="eve may not approve"):  # neither, and no approver
        approve(desk.project, version, TO, Actor(name="eve", os_user="eve"), "fine")
    assert log(desk, "promotion.approved") == []
    assert states(desk) == {version: "asked"}


@pytest.mark.parametrize("asked", ["ann", "Ann", "ANN", " ann "])
def test_two_spellings_are_one_pair_of_eyes(desk, asked) -> None:
    version = desk.release(by="carl")
    promote(desk.project, version, TO, Actor(name=asked, os_user=asked), "ready")
    with pytest.raises(NotAllowed, match="ann tuned, judged or asked") as refused:
        approve(desk.project, version, TO, ANN, "fine")
    assert refused.value.remedy == "ask one of: bob"
    approve(desk.project, version, TO, BOB, "fine")


def test_whoever_acts_for_another_names_somebody_who_is_known(desk) -> None:
    version = desk.release(by="carl")
    assert acting(desk.project, " bob ") == Actor(name="bob", os_user="carl")
    with pytest.raises(UsageError, match="--as is blank"):
        acting(desk.project, "  ")
    for name, remedy in (("Bob", "did you mean 'bob'?"), ("eve", 'askers = ["eve"]')):
        with pytest.raises(NotAllowed, match=f"{name} may not ask") as refused:
            promote(desk.project, version, TO, acting(desk.project, name), "ready")
        assert remedy in refused.value.remedy
    assert log(desk, "promotion.asked") == []
    promote(desk.project, version, TO, acting(desk.project), "ready")  # a user of the system
    reject(desk.project, version, TO, BOB, "not yet")

    desk.set("[registry]", '[registry]\naskers = ["eve"]')
    with pytest.raises(NotAllowed, match="carl may not ask"):
        promote(desk.project, version, TO, acting(desk.project), "ready")
    promote(desk.project, version, TO, acting(desk.project, "eve"), "ready")
    with pytest.raises(NotAllowed, match="eve may not approve"):
        approve(desk.project, version, TO, acting(desk.project, "eve"), "fine")


def test_a_team_of_one_has_to_say_so_and_the_evidence_does(desk) -> None:
    version = desk.release(by="ann")
    promote(desk.project, version, TO, ANN, "ready")
    desk.set("[registry]", "[registry]\nfour_eyes = false")

    approve(desk.project, version, TO, ANN, "alone")

    (entry,) = log(desk, "promotion.approved")
    assert entry.body["four_eyes"] is False


def test_nobody_approves_where_nobody_is_named(desk) -> None:
    version = desk.release()
    promote(desk.project, version, TO, ANN, "ready")
    desk.set('approvers = ["bob", "ann"]\n', "")
    with pytest.raises(ConfigError, match=r"registry\.approvers"):
        approve(desk.project, version, TO, BOB, "fine")


def test_without_a_passed_gate_nothing_is_promoted(desk) -> None:
    version = desk.release(passes=False)
    assert states(desk) == {version: "made"}
    with pytest.raises(GateFailed, match="never passed"):
        promote(desk.project, version, TO, ANN, "please")
    with pytest.raises(NotFound, match="no model version"):
        promote(desk.project, "desk@7", TO, ANN, "please")
    with pytest.raises(UsageError, match="not a version"):
        promote(desk.project, "desk", TO, ANN, "please")


def test_the_newest_verdict_decides_not_the_newest_release(desk) -> None:
    first = desk.release()
    promote(desk.project, first, TO, ANN, "ready")
    desk.release(of=1, passes=False)  # judged again, by the same rules
    with pytest.raises(GateFailed, match=r"gate desk says fail of desk@1 \(run"):
        approve(desk.project, first, TO, BOB, "fine")
    reject(desk.project, first, TO, BOB, "see the report")
    with pytest.raises(GateFailed, match=r"gate desk says fail of desk@1 \(run"):
        promote(desk.project, first, TO, ANN, "ready?")
    desk.release(of=1, beside="desk@9")
    put(desk, first)


def test_a_verdict_by_other_rules_is_none(desk) -> None:
    first = desk.release()
    promote(desk.project, first, TO, ANN, "ready")
    desk.set('model = "desk"\n[registry]', 'model = "desk"\nconfidence = 0.99\n[registry]')
    says = "gate desk has changed since it judged desk@1: confidence: 0.95 -> 0.99"
    with pytest.raises(GateFailed, match=says) as refused:
        approve(desk.project, first, TO, BOB, "fine")
    assert "`tunesmith run`" in refused.value.remedy
    desk.set("confidence = 0.99", 'confidence = 0.95\nalias = "tried"')  # which judges nothing
    approve(desk.project, first, TO, BOB, "fine")

    # Rules that go beyond those of the file, as a retrained model has them, are enough; fewer not.
    desk.set('alias = "tried"', 'rules = [{ against = "released", margin = -1.0 }]')
    second = desk.release(beside=first)
    desk.set('rules = [{ against = "released", margin = -1.0 }]\n', "")
    promote(desk.project, second, TO, ANN, "ready")
    desk.set("[registry]", "rules = [{ at_least = 0.5 }]\n[registry]")
    with pytest.raises(GateFailed, match=r"since it judged desk@2: rules\.1\."):
        approve(desk.project, second, TO, BOB, "fine")


def test_without_a_gate_nothing_is_promoted_and_the_way_back_stays(desk) -> None:
    first = desk.release()
    put(desk, first)
    second = desk.release(beside=first)
    put(desk, second)
    third = desk.release(beside=second)
    desk.set('[gate.desk]\nmodel = "desk"\n', "")
    with pytest.raises(GateFailed, match="no gate judges desk any more"):
        promote(desk.project, third, TO, ANN, "ready")
    assert roll_back(desk.project, "desk", TO, BOB, "complaints").version == first


def test_the_verdict_beside_what_stands_there_again_is_the_one(desk) -> None:
    """A run of the project would use it again, and judge nothing anew."""
    first = desk.release()
    put(desk, first)
    second = desk.release(beside=first)
    third = desk.release(beside=first)
    put(desk, second)
    desk.release(of=3, beside=second, passes=False)
    with pytest.raises(GateFailed, match="gate desk says fail of desk@3"):
        promote(desk.project, third, TO, ANN, "ready")
    roll_back(desk.project, "desk", TO, BOB, "complaints")
    put(desk, third)


def test_weights_that_are_gone_are_said_when_it_is_asked(desk) -> None:
    version = desk.release()
    release, _ = desk.project.released("desk", "candidate")
    path = desk.project.runner.blobs.path(release.model.adapter)
    kept = path.read_bytes()
    path.unlink()
    with pytest.raises(BlobMissing, match=r"desk@1 is not whole.* is not in") as refused:
        promote(desk.project, version, TO, ANN, "ready")
    assert "verify --repair --from" in refused.value.remedy
    assert log(desk, "promotion.asked") == []
    path.write_bytes(kept)
    promote(desk.project, version, TO, ANN, "ready")
    path.unlink()
    with pytest.raises(BlobMissing, match="desk@1 is not whole"):
        approve(desk.project, version, TO, BOB, "fine")


@pytest.mark.parametrize(
    "alias", ["", " ", "7", "a b", "desk@1", "base", "Released", "latest", "v2", "a/b", "x" * 64]
)
def test_what_can_be_no_alias(desk, alias) -> None:
    version = desk.release()
    with pytest.raises(UsageError, match=r"can be no alias|in other letters"):
        promote(desk.project, version, alias, ANN, "ready")
    assert log(desk, "promotion.asked") == []


def test_aliases_do_not_differ_by_case_alone(desk) -> None:
    version = desk.release()
    for alias in ("Production", "CANDIDATE"):
        with pytest.raises(UsageError, match=f"{alias}' is '{alias.lower()}' in other letters"):
            promote(desk.project, version, alias, ANN, "ready")
    promote(desk.project, version, "eu-west_1.b", ANN, "ready")


@pytest.mark.parametrize("why", ["", "  ", "\t\n"])
def test_every_change_has_a_reason(desk, why) -> None:
    first = desk.release()
    put(desk, first)
    second = desk.release(beside=first)
    for say in (
        lambda: promote(desk.project, second, TO, ANN, why),
        lambda: approve(desk.project, second, TO, BOB, why),
        lambda: approve(desk.project, second, TO, BOB, "fine", without_way_back=why or " "),
        lambda: reject(desk.project, second, TO, BOB, why),
        lambda: roll_back(desk.project, "desk", TO, BOB, why),
        lambda: close(desk.project, second, "deprecated", BOB, why),
        lambda: close(desk.project, second, "retired", BOB, why),
    ):
        with pytest.raises(UsageError, match="is blank"):
            say()
    assert states(desk) == {first: "production", second: "candidate"}


def test_what_was_not_compared_with_production_does_not_replace_it(desk) -> None:
    first = desk.release()
    put(desk, first)
    second = desk.release()
    with pytest.raises(GateFailed, match=f"did not compare {second} with {first}"):
        promote(desk.project, second, TO, ANN, "newer")
    third = desk.release(beside=first)
    put(desk, third)
    assert states(desk) == {first: "made", second: "made", third: "production"}


def test_what_is_damaged_in_production_can_be_replaced_though_nothing_is_compared_with_it(
    desk,
) -> None:
    first = desk.release()
    put(desk, first)
    release, _ = desk.project.released("desk", TO)
    flip(desk.project.runner.blobs.path(release.model.adapter))
    second = desk.release()
    promote(desk.project, second, TO, ANN, "the first is damaged")
    with pytest.raises(GateFailed, match="cannot be gone back to"):
        approve(desk.project, second, TO, BOB, "fine")
    approve(desk.project, second, TO, BOB, "fine", without_way_back="the first is damaged")
    assert states(desk)[second] == "production"


def test_names_of_the_project_file_are_in_one_form(desk) -> None:
    version = desk.release()
    desk.set('approvers = ["bob", "ann"]', 'approvers = [" zoe\u0308 "]')
    promote(desk.project, version, TO, ANN, "ready")
    approve(desk.project, version, TO, acting(desk.project, "zo\u00eb"), "fine")


def test_production_that_changed_since_it_was_asked_is_seen(desk) -> None:
    first, second, third = desk.release(), desk.release(), desk.release()
    promote(desk.project, second, TO, ANN, "ready")
    put(desk, first)
    with pytest.raises(GateFailed, match="did not compare"):
        approve(desk.project, second, TO, BOB, "fine")
    assert states(desk)[third] == "candidate"


def test_what_was_judged_anew_is_asked_for_anew(desk) -> None:
    version = desk.release()
    promote(desk.project, version, TO, ANN, "ready")
    desk.release(of=1, beside="desk@7")
    with pytest.raises(Conflict, match="judged anew"):
        approve(desk.project, version, TO, BOB, "fine")
    reject(desk.project, version, TO, BOB, "look at the new report first")
    put(desk, version)
    assert states(desk) == {version: "production"}


def test_rejected_and_asked_again(desk) -> None:
    version = desk.release()
    promote(desk.project, version, TO, ANN, "ready")
    with pytest.raises(Conflict, match="waits for approval"):
        promote(desk.project, version, TO, ANN, "ready?")
    reject(desk.project, version, TO, BOB, "too few rows")
    assert states(desk) == {version: "rejected"}
    with pytest.raises(NotFound, match="nobody asks"):
        approve(desk.project, version, TO, BOB, "or not")
    put(desk, version)
    assert states(desk) == {version: "production"}


def test_back_by_one_row(desk) -> None:
    first = desk.release()
    put(desk, first)
    second = desk.release(beside=first)
    put(desk, second)
    with desk.project.runner.database.read() as connection:
        before = catalog.alias_history(connection, "model", "desk", TO)

    moved = roll_back(desk.project, "desk", TO, BOB, "wrong answers about mit")

    assert (moved.version, moved.before) == (first, second)
    assert desk.project.in_use("desk")[1] == first
    with desk.project.runner.database.read() as connection:
        after = catalog.alias_history(connection, "model", "desk", TO)
    assert after[:-1] == before
    assert after[-1].digest == before[0].digest
    (entry,) = log(desk, "alias.rolled_back")
    assert (entry.actor, entry.body["why"]) == ("bob", "wrong answers about mit")
    assert entry.body["wall_ms"] > 0
    assert holds(desk)


def test_going_back_twice_goes_further_back_and_not_forth(desk) -> None:
    first = desk.release()
    put(desk, first)
    second = desk.release(beside=first)
    put(desk, second)
    third = desk.release(beside=second)
    put(desk, third)

    assert roll_back(desk.project, "desk", TO, BOB, "bad").version == second
    assert roll_back(desk.project, "desk", TO, BOB, "bad too").version == first
    with pytest.raises(NotFound, match=f"no version before {first}"):
        roll_back(desk.project, "desk", TO, BOB, "still bad")
    put(desk, second)  # which was compared with the first
    assert roll_back(desk.project, "desk", TO, BOB, "bad again").version == first
    assert holds(desk)


def test_a_way_back_that_is_damaged_is_noticed_before_it_is_needed(desk) -> None:
    first = desk.release()
    put(desk, first)
    second = desk.release(beside=first)
    promote(desk.project, second, TO, ANN, "ready")
    release, _ = desk.project.released("desk", TO)
    path = desk.project.runner.blobs.path(release.model.adapter)
    flip(path)
    with pytest.raises(GateFailed, match=r"desk@1 cannot be gone back to: blob .* is damaged"):
        approve(desk.project, second, TO, BOB, "fine")
    assert desk.project.released("desk", TO)[1] == first
    assert next(find(release, type(release.model))) == release.model


def test_the_way_back_is_rehearsed_and_leaves_no_trace_but_the_approvals_word(desk) -> None:
    first = desk.release()
    put(desk, first)
    second = desk.release(beside=first)
    put(desk, second)
    with desk.project.runner.database.read() as connection:
        told = [entry.body for entry in evidence.entries(connection, "promotion.approved")]
        history = catalog.alias_history(connection, "model", "desk", TO)
    assert told[0]["way_back"] == "none: there is no version before"
    assert told[1]["way_back"] == (
        f"rehearsed, to {first}; read, every byte; loaded, and it answered"
    )
    assert told[1]["way_back_ms"] > 0
    tried = told[1]["way_back_tried"]
    assert (tried["version"], tried["signed"]) == (first, False)
    assert min(tried["read_ms"], tried["load_ms"], tried["answer_ms"]) > 0
    assert [row.reason.partition(":")[0] for row in history] == ["promoted", "promoted"]
    assert holds(desk)


def test_a_way_back_that_leads_elsewhere_stops_the_approval(desk, monkeypatch) -> None:
    """As if a rollback did not move the alias."""
    first = desk.release()
    put(desk, first)
    second = desk.release(beside=first)
    promote(desk.project, second, TO, ANN, "ready")
    real = change._point

    def lost(connection, to, alias, actor, reason) -> None:
        if not reason.startswith("rolled back"):
            real(connection, to, alias, actor, reason)

    monkeypatch.setattr(change, "_point", lost)
    with pytest.raises(Conflict, match="was rehearsed, and it would point at desk@2"):
        approve(desk.project, second, TO, BOB, "fine")
    assert desk.project.released("desk", TO)[1] == first
    assert holds(desk)


def test_retired_versions_are_not_served_nor_promoted_nor_gone_back_to(desk) -> None:
    first = desk.release()
    put(desk, first)
    with pytest.raises(Conflict, match="is in production"):
        close(desk.project, first, "retired", BOB, "old")
    second = desk.release(beside=first)
    put(desk, second)
    close(desk.project, first, "deprecated", ANN, "old")
    assert states(desk)[first] == "deprecated"
    with pytest.raises(NotAllowed, match="eve may not retire"):
        close(desk.project, first, "retired", Actor(name="eve", os_user="eve"), "old")
    close(desk.project, first, "retired", BOB, "too old")
    assert states(desk)[first] == "retired"
    with pytest.raises(NotFound, match="no version before"):
        roll_back(desk.project, "desk", TO, BOB, "bad")
    with pytest.raises(Conflict, match="retired"):
        promote(desk.project, first, TO, ANN, "again")


def test_a_retired_candidate_is_not_served(desk) -> None:
    version = desk.release()
    assert desk.project.in_use("desk")[1] == version
    close(desk.project, version, "retired", BOB, "a leak in its rows")
    with pytest.raises(Conflict, match="is retired"):
        desk.project.in_use("desk")


def test_acting_for_another_is_for_those_whom_the_project_file_lets(desk) -> None:
    assert acting(desk.project, "bob") == Actor(name="bob", os_user="ann")
    version = desk.release()
    promote(desk.project, version, TO, acting(desk.project, "bob"), "ready")
    (entry,) = log(desk, "promotion.asked")
    assert (entry.actor, entry.body["os_user"]) == ("bob", "ann")
    desk.set("allow_as = true", "allow_as = false")
    with pytest.raises(NotAllowed, match="ann may not act as bob"):
        acting(desk.project, "bob")
    assert acting(desk.project).name == "ann"


def test_the_user_is_who_the_system_says_not_what_the_environment_says(
    desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tunesmith.project import open_project

    for name in ("LOGNAME", "USER", "LNAME", "USERNAME", "TUNESMITH_ACTOR"):
        monkeypatch.setenv(name, "bob")
    project = open_project(desk.project.folder)
    assert project.runner.actor != "bob"
    project.close()


def test_roles_come_from_the_project_file_alone(desk, monkeypatch: pytest.MonkeyPatch) -> None:
    from tunesmith.project_file import read

    with pytest.raises(ConfigError, match="roles are read from the project file alone"):
        read(desk.project.folder, flags=['registry.approvers=["ann"]'])
    monkeypatch.setenv("TUNESMITH__REGISTRY__FOUR_EYES", "false")
    with pytest.raises(ConfigError, match=r"registry\.four_eyes.*TUNESMITH__REGISTRY"):
        read(desk.project.folder)


def test_a_gate_alone_puts_nothing_into_production_where_people_approve(desk) -> None:
    with pytest.raises(ConfigError, match=r"gate\.desk\.alias"):
        desk.set('[gate.desk]\nmodel = "desk"', '[gate.desk]\nmodel = "desk"\nalias = "production"')


def test_the_books_know_since_when_it_is_in_use(desk) -> None:
    version = desk.release()
    assert [holding.available_since for holding in books(desk.project).holdings] == [""]
    put(desk, version)
    (entry,) = log(desk, "promotion.approved")
    (holding,) = books(desk.project).holdings
    assert holding.available_since.startswith(entry.at.rstrip("Z")[:23])


def test_versions_have_a_name_and_a_number() -> None:
    assert split("desk@12") == ("desk", 12)
    for wrong in ("desk", "@1", "desk@", "desk@x"):
        with pytest.raises(UsageError):
            split(wrong)


@pytest.mark.parametrize("version", ["desk@01", "desk@+1", "desk@١", "desk@ 1", "desk@0", "desk@"])
def test_a_version_has_one_spelling(desk, version) -> None:
    """What is said of another would be said of nothing, and stand in the evidence for good."""
    first = desk.release()
    put(desk, first)
    for say in (
        lambda: close(desk.project, version, "retired", BOB, "old"),
        lambda: promote(desk.project, version, "production", ANN, "better"),
        lambda: tag(desk.project, version, ["team=legal"], ANN),
    ):
        with pytest.raises(UsageError, match="is not a version"):
            say()
    assert states(desk)[first] == "production"
