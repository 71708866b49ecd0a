"""What a record says, string by string: its words are found where no id tells of the record."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import duckdb

from tunesmith.lineage import query
from tunesmith.lineage.versions import Held, readable
from tunesmith.project import Project
from tunesmith.records.data import DataAsset

COMMON = 20
"""A value that more records than these have is counted, and they are not named: an instruction, or
a country, is nobody's words."""


def strings(value: Any) -> Iterator[str]:
    """The strings in a value of JSON, at any depth, without the white space around them; also those
    in a string that is JSON itself, as what a tool is called with is."""
    if isinstance(value, str):
        if text := value.strip():
            yield text
        if text[:1] in ("{", "["):
            try:
                inside = json.loads(text)
            except (ValueError, RecursionError):
                return
            yield from strings(inside)
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from strings(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from strings(each)


def of_fields(fields: Mapping[str, Any], without: Collection[str]) -> Iterator[str]:
    """What a record's fields say, but for those `without`: that of its subject, which is looked for
    as a name, and that of the rows it was generated from."""
    return strings([value for name, value in fields.items() if name not in without])


def of_row(project: Project, held: Held, row: Mapping[str, Any]) -> tuple[str, ...]:
    """What a row of a data asset says, each once: its text, and its fields."""
    assert isinstance(held.record, DataAsset)
    seeds = held.record.synthetic.seeds if held.record.synthetic else ""
    without = {*subject_fields(project, held), seeds}
    fields = json.loads(row["attributes"])
    text = row["text"].strip()
    return tuple(dict.fromkeys([*([text] if text else []), *of_fields(fields, without)]))


def subject_fields(project: Project, held: Held) -> list[str]:
    """What the section says is the subject, now and when the version was made."""
    now = project.file.assets.get(held.version.name)
    record = held.record
    then = record.subject if isinstance(record, DataAsset) else ""
    return list(dict.fromkeys(name for name in (now.subject if now else "", then) if name))


def of_others(
    project: Project,
    connection: duckdb.DuckDBPyConnection,
    every: Sequence[Held],
    values: Collection[str],
    row_ids: Collection[str],
) -> tuple[set[str], list[tuple[Held, dict[str, Any]]]]:
    """Those of `values` that other rows of the newest versions say, too; and those rows, but of
    what is `COMMON`, or too short to be anybody's."""
    newest = {held.version.name: held for held in every if held.kind == "source"}
    shared: set[str] = set()
    rows: list[tuple[Held, dict[str, Any]]] = []
    for held, _, path in readable(project, list(newest.values()), "source", ("rows",)):
        found = query.others_that_say(connection, path, values, row_ids, COMMON)
        some = sorted({row_id for _, _, few in found for row_id in few})
        said = {row["row_id"]: row for row in query.rows_with_ids(connection, path, some)}
        says = {row_id: set(of_row(project, held, row)) for row_id, row in said.items()}
        named: dict[str, None] = {}
        for value, number, few in found:
            saying = [row_id for row_id in few if value in says[row_id]]
            shared |= {value} if saying else set()
            if number <= COMMON and len(value) >= query.MIN_TEXT:
                named |= dict.fromkeys(saying)
        rows += [(held, said[row_id]) for row_id in named]
    return shared, rows


def distinctive(values: Collection[str], shared: Collection[str]) -> list[str]:
    """Those of `values` by which somebody is found: long enough, and nobody else's."""
    return [value for value in values if len(value) >= query.MIN_TEXT and value not in shared]
