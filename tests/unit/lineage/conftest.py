"""A project of people and their notes, without a model: read in a blink."""

from __future__ import annotations

import io
import json
import sqlite3
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tunesmith.graph import build
from tunesmith.project import Project, open_project
from tunesmith.records.service import Trace

PROJECT = """\
[project]
name = "notes"

[source.notes]
origin = "file:notes.jsonl"
format = "jsonl"
text = "note"
label = "kind"
subject = "who"

[source.letters]
origin = "file:letters/"
label = "key"
subject = "who"

[index.letters]
source = "letters"
"""
WHO = "person-0042"
SAID = 'She said "never ägain" and left the house at seven in the morning.'


def note(number: int, **changes: Any) -> dict[str, Any]:
    """One note of one of three people."""
    who = f"person-{number % 3:04}"
    return {"who": who, "note": f"Note {number} of {who}.", "kind": "abc"[number % 3], **changes}


class Folder:
    """A project's folder: what is written to it, and what is in its store."""

    who, said = WHO, SAID

    def __init__(self, path: Path) -> None:
        self.path = path
        (path / "tunesmith.toml").write_text(PROJECT)
        (path / "letters").mkdir()
        for number in range(4):
            self.letter(number, f"person-{number:04}", f"Letter {number}. All is well here.")

    def letter(self, number: int, who: str, said: str) -> None:
        """Write a letter."""
        head = f"---\nkey: letter-{number}\nwho: {who}\n---\n\n"
        (self.path / "letters" / f"{number}.md").write_text(f"{head}{said}\n")

    def write(self, rows: Sequence[dict[str, Any]]) -> None:
        """Write the file of notes, with a line at its end that is no record."""
        lines = [json.dumps(row, ensure_ascii=False) for row in rows]
        (self.path / "notes.jsonl").write_text("\n".join([*lines, "{broken"]) + "\n")

    @contextmanager
    def opened(self) -> Iterator[Project]:
        """The project, open."""
        project = open_project(self.path)
        try:
            yield project
        finally:
            project.close()

    def everything(self) -> bytes:
        """All that the store says, decoded by means of these tests' own."""
        parts: list[bytes] = []
        for path in sorted((self.path / ".tunesmith").rglob("*")):
            data = path.read_bytes() if path.is_file() else b""
            parts.append(data)
            if data.startswith(b"PAR1"):
                rows = pq.read_table(path).to_pylist()
                parts.append(json.dumps(rows, ensure_ascii=False).encode())
            elif data.startswith(b"PK"):
                with zipfile.ZipFile(io.BytesIO(data)) as archive:
                    parts += [archive.read(name) for name in archive.namelist()]
            elif data.startswith(b"SQLite"):
                with sqlite3.connect(path) as database:
                    parts.append("\n".join(database.iterdump()).encode())
                database.close()
        return b"\n".join(parts)

    def run(self) -> None:
        """Read the sources and index the letters."""
        with self.opened() as project:
            graph = build(project.file)
            for step in (*graph.assets.values(), *graph.indexes.values()):
                project.run(step)


@pytest.fixture
def served() -> Callable[..., None]:
    """served(project, text, answer) keeps a request that was served."""

    def keep(project: Project, text: str, answer: str = "b") -> None:
        project.add_trace(
            Trace(
                service="desk",
                model="desk@1",
                source="served",
                traffic="served",
                text=text,
                answer=answer,
                num_prompt_tokens=1,
                num_answer_tokens=1,
                finish_reason="stop",
                wall_s=0.1,
            )
        )

    return keep


@pytest.fixture
def make_folder(tmp_path: Path) -> Callable[[], Folder]:
    """make_folder() -> a project that has read nothing yet."""

    def make() -> Folder:
        path = tmp_path / "project"
        path.mkdir()
        return Folder(path)

    return make


@pytest.fixture
def folder(make_folder: Callable[[], Folder]) -> Folder:
    """A project that read twelve notes, of which the one at line 5 and a letter are of `WHO`."""
    made = make_folder()
    rows = [note(number) for number in range(12)]
    rows[4] = note(4, who=WHO, note=SAID)
    made.write(rows)
    made.letter(3, WHO, f"Dear you. {SAID} Yours.")
    made.run()
    return made
