"""Where aliases pointed, and versions that are named by them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tunesmith.cli.main import app
from tunesmith.cli.moments import day_or_moment
from tunesmith.core.errors import NotFound, UsageError
from tunesmith.registry.change import approve, promote, roll_back
from tunesmith.registry.history import Stood, history
from tunesmith.registry.roles import Actor
from tunesmith.registry.standing import listed, numbered

ANN, BOB = (Actor(name=name, os_user=name) for name in ("ann", "bob"))


def produce(desk, version: str, why: str) -> None:
    promote(desk.project, version, "production", ANN, why)
    approve(desk.project, version, "production", BOB, why)


def lived(desk) -> None:
    """desk@1 into production, desk@2 in its place, and back again."""
    produce(desk, desk.release(), "first")
    produce(desk, desk.release(beside="desk@1"), "better")
    roll_back(desk.project, "desk", "production", ANN, "complaints")


def test_an_alias_has_a_version_from_one_move_to_the_next(desk) -> None:
    lived(desk)
    found = history(desk.project, "desk", "production")
    assert [(each.version, each.by, each.why) for each in found] == [
        ("desk@1", "bob", "promoted: first"),
        ("desk@2", "bob", "promoted: better"),
        ("desk@1", "ann", "rolled back: complaints"),
    ]
    assert [each.until for each in found] == [found[1].since, found[2].since, ""]
    every = history(desk.project, "desk")
    assert {each.alias for each in every} == {"candidate", "production"}
    assert [each for each in every if each.alias == "production"] == found


def test_what_never_was_is_not_found(desk) -> None:
    with pytest.raises(NotFound, match="no model desk"):
        history(desk.project, "desk")
    desk.release(passes=False)
    assert history(desk.project, "desk") == []
    with pytest.raises(NotFound, match="'production' of desk never"):
        history(desk.project, "desk", "production")


def stood(since: str, until: str) -> Stood:
    return Stood(alias="a", version="m@1", since=since, until=until, by="b", why="w", run=1)


@pytest.mark.parametrize(
    ("at", "is_there"),
    [
        ("2026-05-01", False),
        ("2026-05-02", True),  # for a part of the day
        ("2026-05-03", True),
        ("2026-05-04", True),
        ("2026-05-05", False),
        ("2026-05-02T09:59:59", False),
        ("2026-05-02T10:00:00", True),
        ("2026-05-02T12:00:00+02:00", True),
        ("2026-05-04T10:00:00", False),  # from then on another stands there
    ],
)
def test_a_day_is_all_of_it_and_a_moment_is_one(at: str, is_there: bool) -> None:
    one = stood("2026-05-02T10:00:00.000Z", "2026-05-04T10:00:00.000Z")
    assert one.overlaps(*day_or_moment(at, "--at")) == is_there
    assert stood("2026-05-02T10:00:00.000Z", "").overlaps(*day_or_moment("2030-01-01", "--at"))


def test_a_rollback_is_told_of_both_versions(desk) -> None:
    lived(desk)
    for entry in listed(desk.project, "desk"):
        (change,) = (change for change in entry.changes if change.what == "rolled back")
        assert (change.body["before"], change.version) == ("desk@2", "desk@1"), entry.name


def test_an_alias_names_the_version_that_it_points_at(desk) -> None:
    lived(desk)
    assert numbered(desk.project, "desk@production") == "desk@1"
    assert numbered(desk.project, "desk@candidate") == "desk@2"
    assert numbered(desk.project, "desk@7") == "desk@7"  # who looks for it says that there is none
    with pytest.raises(NotFound, match="no alias 'staging' of desk"):
        numbered(desk.project, "desk@staging")
    for wrong in ("desk", "desk@", "@2", "desk@01", "desk@0"):
        with pytest.raises(UsageError, match="is not a version"):
            numbered(desk.project, wrong)


def test_the_command_says_it_of_a_day_and_of_now(desk) -> None:
    lived(desk)
    folder = str(desk.project.folder)

    def run(*words: str) -> str:
        done = CliRunner().invoke(app, ["model", *words, "-p", folder])
        assert done.exit_code == 0, done.output
        return done.stdout

    first, *_ = history(desk.project, "desk", "production")
    then = json.loads(run("history", "desk", "--at", first.since, "--json"))
    assert {each["alias"]: each["version"] for each in then} == {
        "candidate": "desk@1",
        "production": "desk@1",
    }
    assert "rolled back: complaints" in run("history", "desk", "--alias", "production")
    assert "no alias of desk pointed anywhere on 2001-01-01" in run(
        "history", "desk", "--at", "2001-01-01"
    )
    run("tag", "desk@production", "team=legal")
    assert numbered(desk.project, "desk@production") == "desk@1"
    (tagged,) = (
        e for e in listed(desk.project, "desk") if any(c.what == "tagged" for c in e.changes)
    )
    assert tagged.name == "desk@1"
    assert Path(folder).exists()
