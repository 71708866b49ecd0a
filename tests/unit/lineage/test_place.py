"""Where the words that are traced stand: the page, the section and the place in the text."""

from __future__ import annotations

import contextlib
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from tunesmith.cli.main import app
from tunesmith.core.errors import UsageError
from tunesmith.graph import build
from tunesmith.lineage.place import place_of
from tunesmith.lineage.trace import trace
from tunesmith.project import open_project

PROJECT = """\
[project]
name = "manuals"

[source.pdf]
origin = "file:manual.pdf"
format = "pdf"

[source.md]
origin = "file:manual.md"
format = "markdown"

[transform.paragraphs]
sources = ["pdf"]
python = "split.py:split"
"""
SPLIT = """
def split(row):
    return [{"text": each} for each in row["text"].split("\\n\\n")]
"""
FIRST, SECOND = "The first page is about parcels.", "A refund is ninety euros, a big refund."


def pdf(*pages: str) -> bytes:
    """A PDF with a line on each page."""
    kids = " ".join(f"{4 + 2 * n} 0 R" for n in range(len(pages)))
    objects = [
        "<</Type/Catalog/Pages 2 0 R>>",
        f"<</Type/Pages/Kids[{kids}]/Count {len(pages)}>>",
        "<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    ]
    for number, text in enumerate(pages):
        said = f"BT /F1 12 Tf 72 700 Td ({text}) Tj ET"
        objects += [
            "<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Resources<</Font<</F1 3 0 R>>>>"
            f"/Contents {5 + 2 * number} 0 R>>",
            f"<</Length {len(said)}>>stream\n{said}\nendstream",
        ]
    made, offsets = "%PDF-1.4\n", []
    for number, each in enumerate(objects, start=1):
        offsets.append(len(made))
        made += f"{number} 0 obj{each}endobj\n"
    table = "".join(f"{offset:010} 00000 n \n" for offset in offsets)
    return (
        f"{made}xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}"
        f"trailer<</Size {len(objects) + 1}/Root 1 0 R>>\nstartxref\n{len(made)}\n%%EOF"
    ).encode()


@pytest.fixture
def manuals(tmp_path):
    (tmp_path / "tunesmith.toml").write_text(PROJECT)
    (tmp_path / "split.py").write_text(SPLIT)
    (tmp_path / "manual.pdf").write_bytes(pdf(FIRST, SECOND))
    (tmp_path / "manual.md").write_text("# Start\n\nHello.\n\n## Alarms\n\nPress the red button.\n")
    project = open_project(tmp_path)
    for step in build(project.file).assets.values():
        project.run(step)
    yield project
    project.close()


def test_words_of_a_pdf_are_on_their_page(manuals):
    place = trace(manuals, "big refund").place
    start = len(FIRST) + 2 + SECOND.index("big refund")
    assert place is not None
    assert (place.start, place.end, place.pages) == (start, start + 10, ("page 2",))
    assert (place.section, place.num_places) == ("", 1)
    across = trace(manuals, "parcels.\n\nA refund").place
    assert across is not None
    assert across.pages == ("page 1", "page 2")
    twice = trace(manuals, "refund").place
    assert twice is not None
    assert twice.said() == "page 2, characters 36 to 42 (the first of 2 places)"


def test_words_of_markdown_are_in_their_section(manuals):
    place = trace(manuals, "red button").place
    assert place is not None
    assert (place.pages, place.section) == (("Alarms",), "Alarms")
    assert place.said() == "Alarms, characters 38 to 48"


def test_a_heading_on_a_page_is_said_beside_the_page():
    text = "One\n\nIt is.\n\nTwo\n\nIt was."
    said = json.dumps({"pages": [[0, 25, 1]], "sections": [0, 13]})
    row = {"text": text, "label": "", "pointer": "a.pdf", "attributes": said}
    place = place_of("was", row)
    assert place is not None
    assert place.said() == "page 1, under Two, characters 21 to 24"
    assert place_of("nowhere", row) is None


def test_a_row_that_was_made_of_a_page_leads_to_the_page(manuals):
    row_id = trace(manuals, SECOND).row_id  # to the letter, this is all that the made row says
    by_id = trace(manuals, row_id)
    assert by_id.place is None
    (came_from,) = by_id.ancestors
    assert came_from.place is not None
    assert came_from.place.pages == ("page 2",)
    start = len(FIRST) + 2
    assert (came_from.place.start, came_from.place.end) == (start, start + len(SECOND))


def test_the_command_says_the_place_for_people_and_for_programs(manuals):
    def said(*words: str) -> str:
        done = CliRunner().invoke(app, ["data", "trace", *words, "-p", str(manuals.folder)])
        assert done.exit_code == 0, done.output
        return done.stdout

    assert "\n  manual.pdf, page 2, characters 62 to 72\n" in said("big refund")
    assert json.loads(said("big refund", "--json"))["place"]["pages"] == ["page 2"]


MBOX = b"".join(
    b"From ada@x.example Thu Jan  1 00:00:00 2026\nFrom: ada@x.example\nSubject: %d\n\n"
    b"The %dth message is long enough.\n\n" % (number, number)
    for number in (1, 2, 3)
)
_TABLE = pa.BufferOutputStream()
pq.write_table(pa.table({"text": [f"The {n}th row of all." for n in (1, 2, 3)]}), _TABLE)
PARQUET = _TABLE.getvalue().to_pybytes()


@pytest.mark.parametrize(
    ("form", "name", "data", "words", "at"),
    [
        ("mbox", "box.mbox", MBOX, "The 2th message", ("box.mbox", "message", 2)),
        ("document", "box.mbox", MBOX, "The 3th message", ("box.mbox", "message", 3)),
        ("json", "t.json", b'[\n{"text": "a"},\n{"text": "two"}]', "two", ("t.json", "element", 2)),
        ("yaml", "t.yml", b"- text: one\n\n- text: two\n", "two", ("t.yml", "entry", 2)),
        ("parquet", "t.parquet", PARQUET, "The 3th", ("t.parquet", "row", 3)),
        ("csv", "t.csv", b'text\n"one\nand more"\ntwo\n', "two", ("t.csv", "line", 4)),
        ("jsonl", "t.jsonl", b'{"text": "a"}\n\n{"text": "two"}', "two", ("t.jsonl", "line", 3)),
        ("text", "t#3.txt", b"one\n", "one", ("t#3.txt", "", 0)),
    ],
)  # fmt: skip
def test_what_the_number_in_a_pointer_counts_is_said(tmp_path, form, name, data, words, at):
    (tmp_path / name).write_bytes(data)
    text = "" if form in ("mbox", "document", "text") else 'text = "text"\n'
    (tmp_path / "tunesmith.toml").write_text(
        f'[project]\nname = "n"\n[source.one]\norigin = "file:{name}"\nformat = "{form}"\n{text}'
    )
    with contextlib.closing(open_project(tmp_path)) as project:
        for step in build(project.file).assets.values():
            project.run(step)
        found = trace(project, words)
    assert (found.member, found.numbered, found.number) == at
    said = CliRunner().invoke(app, ["data", "trace", words, "-p", str(tmp_path)]).stdout
    assert (f"{at[0]}, {at[1]} {at[2]}" if at[1] else at[0]) in said


def test_words_that_an_edited_record_goes_on_saying_are_those_of_its_newest_version(tmp_path):
    (tmp_path / "tunesmith.toml").write_text(
        '[project]\nname = "n"\n'
        '[source.one]\norigin = "file:t.jsonl"\nformat = "jsonl"\ntext = "text"\n'
    )
    rows = [{"text": "The letter about the jetty."}, {"text": "Another."}]
    for more in ({}, {"prio": 1}):
        lines = [json.dumps({**row, **more}) for row in rows]
        (tmp_path / "t.jsonl").write_text("\n".join(lines) + "\n")
        with contextlib.closing(open_project(tmp_path)) as project:
            for step in build(project.file).assets.values():
                project.run(step)
            first = trace(project, "the jetty")
    with contextlib.closing(open_project(tmp_path)) as project:
        assert first.row_id == trace(project, "the jetty").row_id
        with pytest.raises(UsageError, match=r"\(one@2, t\.jsonl#1\); .*\(one@2, t\.jsonl#2\)"):
            trace(project, "r")
