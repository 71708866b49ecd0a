"""A project whose dataset has versions, made up but for the store they lie in, and three people."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tunesmith.core import catalog
from tunesmith.core.canonical import canonical_json, fingerprint
from tunesmith.core.publish import Publisher
from tunesmith.core.ref import Blob
from tunesmith.project import Project, open_project
from tunesmith.project_file import FILE, read
from tunesmith.records.data import Dataset, Split
from tunesmith.records.review import Judgement
from tunesmith.records.rows import Completion, Content
from tunesmith.registry.roles import Actor
from tunesmith.review.desk import at_work, decide, judge, start

PROJECT = """
[project]
name = "notes"
[source.notes]
origin = "pypi:notes==1.0"
files = ["*"]
label = "kind"
[base.small]
origin = "pypi:small==1.0"
file = "model"
[dataset.notes]
sources = ["notes"]
base = "small"
instruction = "Name it."
[review.kinds]
dataset = "notes"
guidelines = "guidelines.md"
reviewers = ["ann", "bob"]
adjudicators = ["cat", "ann"]
idle_after_s = 60
order = "drawn"
[registry]
allow_as = true
[ledger]
per_review_hour = "36.00"
"""
GUIDELINES = "# Kinds\n\nA fall is a fall.\n"
NOTES = [(f"{kind} note number {number} of the ward", kind) for kind in "ab" for number in range(4)]

COMPLETIONS = {
    row: Completion(prompt=f"The dose of drug {row[0]} is", completion=f" {place} mg a day.")
    for place, row in enumerate((each * 32 for each in "abcd"), start=1)
}


def row_id(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


@dataclass
class Ward:
    """The project, and how its people do things in it."""

    project: Project

    def set(self, old: str, new: str) -> None:
        """Change the project file."""
        path = self.project.folder / FILE
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))
        self.project.file = read(self.project.folder)[0]

    def write_guidelines(self, text: str) -> None:
        (self.project.folder / "guidelines.md").write_bytes(text.encode())

    def cut(self, notes: Sequence[tuple[str, str]] = NOTES) -> Dataset:
        """Put another version of the dataset into the catalogue; its last note is to test on."""
        labels = tuple(sorted({label for _, label in notes}))
        return self._put(
            "labels", labels, len(notes), self._table(notes[:-1]), self._table(notes[-1:])
        )

    def cut_contents(
        self, form: str, contents: Mapping[str, Content], labels: tuple[str, ...] = ()
    ) -> Dataset:
        """The same of rows of another format, by their ids; all are to tune on."""
        sink = io.BytesIO()
        columns = {
            "row_id": list(contents),
            "asset": ["notes"] * len(contents),
            "content": [canonical_json(each).decode() for each in contents.values()],
        }
        pq.write_table(pa.table(columns), sink)
        empty = {name: [] for name in columns}
        nothing = io.BytesIO()
        pq.write_table(pa.table(empty, schema=pa.table(columns).schema), nothing)
        put = self.project.runner.blobs.put
        return self._put(form, labels, len(contents), put(sink.getvalue()), put(nothing.getvalue()))

    def _put(
        self, form: str, labels: tuple[str, ...], num: int, train: Blob, test: Blob
    ) -> Dataset:
        runner = self.project.runner
        blob = runner.blobs.put(b"nothing")
        dataset = Dataset(
            name="notes",
            instruction="Name it.",
            format=form,
            labels=labels,
            train=Split(rows=train, num_rows=num - 1, num_tokens=9),
            test=Split(rows=test, num_rows=1, num_tokens=9),
            dropped=blob,
            num_in=num,
            num_dropped=0,
            dropped_by_reason={},
            num_components=num,
            card=blob,
            licences=(),
        )
        output = runner.blobs.put(canonical_json(dataset), "application/json")
        values = {
            "key": fingerprint(dataset),
            "step": "curate:notes",
            "kind": "curate@1",
            "identity": '{"config": {"sources": ["notes", "letters"]}}',
            "owner": "here",
            "actor": "ann",
        }
        with runner.database.write() as connection:
            run_id = catalog.insert_run(connection, values, lease_s=60)
            catalog.record_blobs(connection, run_id, [output])
            catalog.record_version(connection, "dataset", "notes", output.sha256, run_id)
            publisher = Publisher(database=runner.database, actor=runner.actor)
            assert publisher.end(connection, run_id, status="succeeded", output=output.sha256)
        return dataset

    def start(self, limit: int = 0) -> list[str]:
        """Begin the review; its rows in order."""
        start(self.project, "kinds", ANN, limit)
        return at_work(self.project, "kinds").rows

    def judge(
        self, who: str, row: str, label: str, seconds: float | None = 10.0, text: str = ""
    ) -> Judgement:
        desk = at_work(self.project, "kinds")
        return judge(desk, Actor(name=who, os_user=who), row, label, seconds, text)

    def decide(
        self, who: str, row: str, label: str, seconds: float | None = 10.0, text: str = ""
    ) -> Judgement:
        desk = at_work(self.project, "kinds")
        return decide(desk, Actor(name=who, os_user=who), row, label, seconds, text)

    def waiting(self, who: str, *, decides: bool = False) -> list[str]:
        return at_work(self.project, "kinds").waiting(who, decides=decides)

    def _table(self, notes: Sequence[tuple[str, str]]) -> Blob:
        columns = {
            "row_id": [row_id(text) for text, _ in notes],
            "asset": ["notes"] * len(notes),
            "pointer": [f"notes#{place}" for place in range(len(notes))],
            "text": [text for text, _ in notes],
            "label": [label for _, label in notes],
            "component": [row_id(text) for text, _ in notes],
        }
        sink = io.BytesIO()
        pq.write_table(pa.table(columns), sink)
        return self.project.runner.blobs.put(sink.getvalue())


ANN = Actor(name="ann", os_user="ann")


@pytest.fixture
def make_ward(tmp_path: Path) -> Iterator[Callable[[str], Ward]]:
    """make_ward("one") -> a project in a folder of that name, whose dataset is cut; ann acts."""
    made: list[Project] = []

    def make(name: str) -> Ward:
        folder = tmp_path / name
        folder.mkdir()
        (folder / FILE).write_text(PROJECT)
        project = open_project(folder)
        project.runner.actor = "ann"
        made.append(project)
        ward = Ward(project)
        ward.write_guidelines(GUIDELINES)
        ward.cut()
        return ward

    yield make
    for project in made:
        project.close()


@pytest.fixture
def answers(make_ward: Callable[[str], Ward]) -> Ward:
    """A project whose dataset has four prompts with what follows each; its review was not begun."""
    ward = make_ward("answers")
    ward.set('instruction = "Name it."', 'format = "completion"')
    ward.cut_contents("completion", COMPLETIONS)
    return ward


@pytest.fixture
def ward(make_ward: Callable[[str], Ward]) -> Ward:
    """A project whose dataset is cut, and whose review was not begun."""
    return make_ward("ward")
