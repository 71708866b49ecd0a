"""Rows of a person as reviewers corrected them: found by the row that the evidence says each is of,
and by what they say."""

from __future__ import annotations

from tunesmith.core import evidence
from tunesmith.core.ref import Blob, from_plain
from tunesmith.lineage import scan
from tunesmith.lineage.person import Person
from tunesmith.project import Project
from tunesmith.records.review import DECIDED, JUDGED


def blobs_with(project: Project, person: Person) -> set[str]:
    """Digests of the corrections of the person's rows, and of those of others' rows that have a
    text or the name of theirs: a reviewer may have written it."""
    row_ids, wanted = set(person.row_ids), scan.needles(person.texts)
    here = set(project.runner.blobs.digests())
    found: set[str] = set()
    with project.runner.database.read() as connection:
        for entry in evidence.entries(connection, JUDGED, DECIDED):
            for kept in entry.body.get("kept", ()):
                blob = from_plain(Blob, kept)
                if blob.sha256 in here and (
                    entry.body["row"] in row_ids
                    or scan.holds(project.runner.blobs.path(blob), wanted)
                ):
                    found.add(blob.sha256)
    return found
