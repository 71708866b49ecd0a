"""From a folder of documents to an answer that says on which page it stands."""

from __future__ import annotations

import json
import zipfile

import pytest

PROJECT = """
[project]
name = "desk"

[source.policies]
origin = "file:policies"
format = "document"

[index.policies]
source = "policies"
"""
MAIL = "From: a@example.org\nSubject: {}\n\n{}\n"


@pytest.fixture
def project(new_project):
    made = new_project()
    (made.folder / "tunesmith.toml").write_text(PROJECT)
    folder = made.folder / "policies"
    folder.mkdir()
    (folder / "travel.md").write_text(
        "# Travel\n\nTrips are booked by the travel desk.\n\n## Hotels\n\n"
        "A hotel costs ninety euros at most, breakfast included.\n"
    )
    (folder / "travel.html").write_bytes("<p>caf\xe9".encode("latin-1"))
    with zipfile.ZipFile(folder / "mail.zip", "w") as archive:
        first = MAIL.format("Keys", "Keys of the cellar are kept by the porter.")
        second = MAIL.format("Bicycles", "Bicycles stand in the yard behind the kitchen.")
        archive.writestr("2026.mbox", f"From x\n{first}\nFrom y\n{second}")
    return made


def test_an_answer_says_on_which_page_or_in_which_section_it_is(project):
    said = project.process("run")
    assert said.returncode == 0, said.stderr
    assert "not-text 1" in said.stderr
    answer = json.loads(
        project.tunesmith("ask", "What does a hotel cost, breakfast included?", "--json")
    )
    (citation, *_) = answer["answer"]["citations"]
    assert citation["quote"] == "A hotel costs ninety euros at most, breakfast included."
    assert (citation["document"], citation["page"]) == ("travel.md", "Hotels")
    assert "travel.md, Hotels" in project.tunesmith("show", answer["links"][0]).replace(
        "Travel (travel.md)", "travel.md"
    )
    shown = json.loads(project.tunesmith("show", answer["links"][0], "--json"))
    assert shown["pages"] == ["Hotels"]
    assert shown["text"] == citation["quote"]

    answer = json.loads(project.tunesmith("ask", "Where do bicycles stand, in the yard?", "--json"))
    assert answer["answer"]["citations"][0]["document"] == "mail.zip/2026.mbox#2"
    assert "Bicycles" in project.tunesmith("show", answer["links"][0])
    assert "kitchen" in project.tunesmith("show", "mail.zip/2026.mbox#2")
    refused = json.loads(project.tunesmith("data", "dropped", "policies", "--json"))
    assert [(row["pointer"], row["rule"]) for row in refused] == [("travel.html", "not-text")]


def test_a_document_that_was_edited_or_deleted_answers_no_more(project):
    question = "What does a hotel cost, breakfast included?"

    def said():
        project.tunesmith("run")
        answer = json.loads(project.tunesmith("ask", question, "--json"))["answer"]
        return [citation["quote"] for citation in answer["citations"]]

    assert "A hotel costs ninety euros at most, breakfast included." in said()
    document = project.folder / "policies" / "travel.md"
    document.write_text(document.read_text().replace("ninety", "eighty"))
    assert said() == ["A hotel costs eighty euros at most, breakfast included."]
    document.unlink()
    assert said() == []
    assert project.process("show", "travel.md").returncode == 4


def test_code_is_shown_as_it_is_indented(project):
    page = "<h1>Timer</h1><p>The timer rings as follows:</p><pre>def ring():\n    bell(3)\n</pre>"
    (project.folder / "policies" / "timer.html").write_text(page)
    project.tunesmith("run")
    assert "def ring():\n    bell(3)" in project.tunesmith("show", "timer.html")
