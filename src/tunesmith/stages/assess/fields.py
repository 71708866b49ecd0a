"""The fields that the rows of a data asset have, and what kinds of values stand in them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from tunesmith.asset.scratch import scratch_database
from tunesmith.core.quoting import sql_text
from tunesmith.records.lineage import FieldChange

MAX_SAID = 12
"""Fields that a run names of those that changed; `tunesmith data log` has all."""
ROWS_FOR_TYPES = 50_000
"""Rows of which the values are looked at: a third of a second. The names are those of all rows."""
_TYPES = {
    str: "text", bool: "boolean", int: "integer", float: "number", list: "list", dict: "object",
    type(None): "null",
}  # fmt: skip


def fields_of(path: Path, num_rows: int) -> dict[str, str]:
    """The fields in the table `rows` of a data asset, which has `num_rows`, each with its type:
    "integer", "integer or text"; empty where none of the rows looked at has it.

    Of a field that most rows fill, whether some lack it, or have null, makes no other type.
    """
    every = -(-num_rows // ROWS_FOR_TYPES) or 1
    table = f"read_parquet({sql_text(str(path))}, file_row_number = true)"
    with scratch_database() as connection:
        names = connection.execute(
            f"SELECT DISTINCT unnest(keys) FROM (SELECT DISTINCT json_keys(attributes) AS keys"  # noqa: S608
            f" FROM {table})"
        ).fetchall()
        rows = connection.execute(
            f"SELECT attributes FROM {table} WHERE file_row_number % {every} = 0"  # noqa: S608
        )
        seen: dict[str, set[type]] = {name: set() for (name,) in names}
        while some := rows.fetchmany(5_000):
            for (attributes,) in some:
                for name, value in json.loads(attributes).items():
                    seen[name].add(type(value))
    return {name: _said(types) for name, types in sorted(seen.items())}


def field_changes(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[FieldChange, ...]:
    """What differs between the fields of two versions: those that came, those that went, then those
    of which the type is another."""
    return (
        *(_change("new", name, before, after) for name in after if name not in before),
        *(_change("gone", name, before, after) for name in before if name not in after),
        *(
            _change("other type", name, before, after)
            for name, type_ in after.items()
            if type_ and before.get(name) and type_ != before[name]
        ),
    )


def changes_said(changes: Sequence[FieldChange]) -> str:
    """The first changes in words; empty where there are none."""
    said = [each.said() for each in changes]
    more = [f"and {len(said) - MAX_SAID} more"] if len(said) > MAX_SAID else []
    return "; ".join((*said[:MAX_SAID], *more))


def _change(
    change: str, name: str, before: Mapping[str, str], after: Mapping[str, str]
) -> FieldChange:
    return FieldChange(
        change=change, name=name, before=before.get(name, ""), after=after.get(name, "")
    )


def _said(types: set[type]) -> str:
    if len(types) > 1:
        types = types - {type(None)}
    if float in types:  # 1 and 2.5 are numbers
        types = types - {int}
    return " or ".join(sorted(_TYPES[each] for each in types))
