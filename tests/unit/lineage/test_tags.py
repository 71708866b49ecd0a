"""Tags of versions of data: given, moved, taken away, and what they keep."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from tunesmith.cli.main import app
from tunesmith.core import evidence
from tunesmith.core.errors import Conflict, NotFound, UsageError
from tunesmith.core.retention import StoreSection, mark
from tunesmith.core.verify import verify
from tunesmith.lineage.compare import compare
from tunesmith.lineage.load_out import load_out
from tunesmith.lineage.tags import tag, untag
from tunesmith.lineage.versions import checkout, find, log
from tunesmith.registry.labels import KEY
from tunesmith.registry.roles import acting


@pytest.fixture
def twice(folder):
    """Two versions of the notes."""
    lines = (folder.path / "notes.jsonl").read_text().splitlines()
    folder.write([json.loads(line) for line in lines[:-2]])
    folder.run()
    return folder


def test_a_tag_is_a_version_wherever_a_version_is_asked_for(twice, tmp_path):
    with twice.opened() as project:
        ann = acting(project)
        made = tag(project, "notes@1", "as-filed", ann, why="sent to the regulator")
        assert (made.number, made.actor) == (1, ann.name)
        assert find(project, "notes@as-filed").version == find(project, "notes@1").version
        assert find(project, "source:notes@as-filed").version.number == 1
        assert compare(project, "notes@as-filed", "notes").num_removed == 1
        checkout(project, "notes@as-filed", tmp_path / "a")
        assert "# Data asset notes@1" in (tmp_path / "a" / "card.md").read_text()
        assert (
            load_out(project, "notes@as-filed", str(tmp_path / "b"), "jsonl").version == "notes@1"
        )
        assert [line.tags for line in log(project, "notes")] == [("as-filed",), ()]
        with pytest.raises(NotFound) as caught:
            find(project, "notes@filed")
        assert caught.value.remedy == "there is: notes@1 = as-filed, notes@2"


def test_a_tag_stays_until_somebody_moves_it(twice):
    with twice.opened() as project:
        ann = acting(project)
        first = tag(project, "notes@1", "as-filed", ann)
        assert tag(project, "notes@1", "as-filed", ann) == first  # nothing new to say
        with pytest.raises(Conflict, match="is a tag of notes@1"):
            tag(project, "notes", "as-filed", ann)
        assert find(project, "notes@as-filed").version.number == 1
        assert tag(project, "notes", "as-filed", ann, move=True).number == 2
        assert find(project, "notes@as-filed").version.number == 2
        # The letters' tags are their own.
        tag(project, "letters", "as-filed", ann)
        assert find(project, "letters@as-filed").version.number == 1
        assert untag(project, "notes@as-filed", ann, why="a mistake").number == 2
        with pytest.raises(NotFound):
            find(project, "notes@as-filed")
        with pytest.raises(NotFound, match="no version of notes has the tag"):
            untag(project, "notes@as-filed", ann)
        with project.runner.database.read() as connection:
            said = [
                (entry.what, entry.body["name"], entry.body["number"])
                for entry in evidence.entries(connection, "data.tagged", "data.untagged")
            ]
        assert said == [
            ("data.tagged", "notes", 1),
            ("data.tagged", "notes", 2),
            ("data.tagged", "letters", 1),
            ("data.untagged", "notes", 2),
        ]
        assert not verify(project.runner.database, project.runner.blobs).problems


@pytest.mark.parametrize(
    ("ref", "name", "error", "words"),
    [
        ("notes@1", "2", UsageError, "begins with a letter"),
        ("notes@1", "", UsageError, "can be no tag"),
        ("notes@1", "a b", UsageError, "can be no tag"),
        ("notes@1", "a" * 64, UsageError, "63"),
        ("notes@1", "../x", UsageError, "can be no tag"),
        ("notes@9", "x", NotFound, "there is no version notes@9"),
        ("notes@", "x", UsageError, "NAME@NUMBER"),
        ("nots", "x", NotFound, "there is: letters, notes"),
    ],
)
def test_what_can_be_no_tag_is_refused_and_nothing_is_written(folder, ref, name, error, words):
    with folder.opened() as project:
        with pytest.raises(error) as caught:
            tag(project, ref, name, acting(project))
        assert words in str(caught.value)
        with project.runner.database.read() as connection:
            assert not list(evidence.entries(connection, "data.tagged"))


@pytest.mark.parametrize("ref", ["notes", "notes@1", "notes@"])
def test_what_names_no_tag_is_not_taken_away(folder, ref):
    with folder.opened() as project, pytest.raises(UsageError, match="names no tag"):
        untag(project, ref, acting(project))


def test_a_reason_is_no_document(folder):
    with folder.opened() as project, pytest.raises(UsageError, match="at most 4000"):
        tag(project, "notes", "x", acting(project), why="y" * 4001)


@given(st.text(max_size=6))
def test_no_tag_reads_as_a_number(text):
    assert not (KEY.fullmatch(text) and text.isdecimal())


def test_a_tagged_version_is_kept_and_no_longer_when_the_tag_is_gone(twice):
    """With a store that keeps the newest run of each step alone."""
    settings = StoreSection(keep_runs=1)
    with twice.opened() as project:
        rows = {number: find(project, f"notes@{number}").record.rows.sha256 for number in (1, 2)}
        newest = find(project, "notes"), find(project, "letters")

        def kept() -> dict[int, tuple[str, ...] | None]:
            with project.runner.database.read() as connection:
                why = mark(connection, settings, [held.run.id for held in newest]).why
            return {number: why.get(digest) for number, digest in rows.items()}

        assert kept()[1] is None
        tag(project, "notes@1", "as-filed", acting(project))
        assert kept()[1][0] == "tag as-filed of data notes"
        untag(project, "notes@as-filed", acting(project))
        assert kept()[1] is None
        assert kept()[2] is not None


def test_the_commands_say_what_they_did(twice):
    def said(*words: str) -> str:
        done = CliRunner().invoke(app, ["data", *words, "-p", str(twice.path)])
        assert done.exception is None, done.exception
        return done.stdout

    assert "notes@as-filed is notes@1" in said("tag", "notes@1", "as-filed", "--why", "for 2026")
    assert "tagged as-filed" in said("log", "notes")
    (first, _) = json.loads(said("log", "notes", "--json"))
    assert first["tags"] == ["as-filed"]
    moved = json.loads(said("tag", "notes", "as-filed", "--move", "--json"))
    assert (moved["number"], moved["why"]) == (2, "")
    assert "notes@2 is notes@as-filed no more" in said("untag", "notes@as-filed")
    done = CliRunner().invoke(
        app, ["data", "tag", "notes", "x", "--as", "eve", "-p", str(twice.path)]
    )
    assert "may not act as eve" in str(done.exception)


def test_commands_take_a_tag_or_say_that_they_tell_of_now_alone(twice):
    def done(*words: str):
        return CliRunner().invoke(app, ["data", *words, "-p", str(twice.path)])

    def said(*words: str) -> str:
        return done(*words).stdout

    with twice.opened() as project:
        tag(project, "notes@1", "as-filed", acting(project))
    assert said("log", "notes@as-filed").startswith("source notes@1")
    assert "notes@2" not in said("log", "notes@1")
    assert "notes.jsonl#13" in said("dropped", "notes@as-filed")
    assert "notes.jsonl#12" in said("dropped", "notes@2")
    refused = done("show", "notes@as-filed").exception
    assert isinstance(refused, UsageError)
    assert "data log notes@as-filed" in refused.remedy
    assert isinstance(done("dropped", "notes@9").exception, NotFound)
