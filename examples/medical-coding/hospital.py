"""The hospital's coding system, as a database to read from: ICD-10-CM's terms and their codes.

    pip install simple-icd-10-cm==1.5.0
    python hospital.py hospital.db                          SQLite
    python hospital.py postgresql://HOST:PORT/DATABASE      Postgres; user and password as for psql

The terms are those of the tabular list that the package brings (U.S. National Center for Health
Statistics, April 2026): titles of codes, and the inclusion terms below them. The package is read
as data and never imported. Two tables are made anew: `code` and `term`.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import re
import sqlite3
import sys
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree

PACKAGE = "simple-icd-10-cm"
TABLES = """
DROP TABLE IF EXISTS term;
DROP TABLE IF EXISTS code;
CREATE TABLE code (code TEXT PRIMARY KEY, category TEXT NOT NULL, chapter TEXT NOT NULL);
CREATE TABLE term (
    id INTEGER PRIMARY KEY,
    code TEXT NOT NULL REFERENCES code (code),
    kind TEXT NOT NULL,
    words TEXT NOT NULL
);
"""
Code = tuple[str, str, str]
Term = tuple[int, str, str, str]


def tabular_list() -> ElementTree.Element:
    """The package's XML."""
    try:
        files = importlib.metadata.files(PACKAGE) or []
    except importlib.metadata.PackageNotFoundError:
        sys.exit(f"{PACKAGE} is not installed: pip install {PACKAGE}==1.5.0")
    (path,) = (path for path in files if re.search(r"tabular.*\.xml$", path.name))
    return ElementTree.parse(path.locate()).getroot()  # noqa: S314 - a file of a known package


def read(root: ElementTree.Element) -> tuple[list[Code], list[Term]]:
    """Every code with its category and chapter, and every term with its code."""
    codes: list[Code] = []
    terms: list[Term] = []
    for chapter in root.iter("chapter"):
        title = re.sub(r"\s*\([A-Z0-9-]+\)$", "", chapter.findtext("desc", ""))
        for diagnosis in chapter.iter("diag"):
            code = diagnosis.findtext("name", "")
            codes.append((code, code[:3], title))
            for kind, words in said_of(diagnosis):
                terms.append((len(terms) + 1, code, kind, words))
    return codes, terms


def said_of(diagnosis: ElementTree.Element) -> Iterator[tuple[str, str]]:
    """The title of a code, and the terms that the list includes under it."""
    yield "title", diagnosis.findtext("desc", "")
    for note in diagnosis.iterfind("inclusionTerm/note"):
        yield "inclusion", "".join(note.itertext()).strip()


def fill(database: Any, mark: str, codes: list[Code], terms: list[Term]) -> None:
    """Make the tables; `mark` is what stands for a value in a statement."""
    cursor = database.cursor()
    for statement in TABLES.split(";"):
        if statement.strip():
            cursor.execute(statement)
    cursor.executemany("INSERT INTO code VALUES (?, ?, ?)".replace("?", mark), codes)
    cursor.executemany("INSERT INTO term VALUES (?, ?, ?, ?)".replace("?", mark), terms)
    database.commit()


def main() -> None:
    """Fill the database that is named."""
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    (where,) = sys.argv[1:]
    codes, terms = read(tabular_list())
    if where.startswith("postgresql://"):
        import psycopg

        with psycopg.connect(where) as server:
            fill(server, "%s", codes, terms)
    else:
        with contextlib.closing(sqlite3.connect(where)) as file:
            fill(file, "?", codes, terms)
    print(f"{len(codes)} codes and {len(terms)} terms")


if __name__ == "__main__":
    main()
