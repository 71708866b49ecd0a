"""Rows by a query: DuckDB, in a database that has the sources as tables and can reach nothing else.

It works in one thread: sums of fractions, and what comes first, are then the same each time.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import duckdb

from tunesmith.asset.scratch import lock, scratch_database
from tunesmith.core.blobs import Blobs
from tunesmith.core.errors import DataError
from tunesmith.core.quoting import sql_name
from tunesmith.core.step import Context
from tunesmith.records.data import DataAsset
from tunesmith.stages.transform.came import Came, Given
from tunesmith.stages.transform.config import TransformConfig
from tunesmith.stages.transform.statement import checked, said

MEMORY = "2GB"
"""Beyond it, what the query sorts and joins lies in the step's own folder."""
OWN = ("row_id", "text", "label")
"""Columns of every source; a field of one of these names is not a column of its own."""
_ROWS_AT_ONCE = 1000
_MOST_BIGINT = 2**63 - 1
_WHOLE, _NUMBER = {"UBIGINT", "BIGINT"}, {"UBIGINT", "BIGINT", "DOUBLE"}
_LINEAGE = (
    "select the row_id of the row that a row is made from; of several rows their ids as row_ids: "
    "[a.row_id, b.row_id] AS row_ids of a join, list(row_id) AS row_ids of a group"
)


def rows_of_query(
    config: TransformConfig, sql: str, assets: Sequence[DataAsset], given: Given, ctx: Context
) -> Iterator[Came]:
    """What the query answers, in an order that depends on what the rows say alone.

    Raises:
        DataError: it is not allowed, fails, takes too long, or says of a row not where it is from.
    """
    places = {row_id: place for place, row_id in enumerate(given.row_ids)}
    with scratch_database(
        threads=1,
        memory_limit=MEMORY,
        temp_directory=str(ctx.workdir / "query"),
        python_enable_replacements="false",
    ) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        columns: set[str] = set()
        for asset in assets:
            ctx.progress(0, 0, f"reads {asset.name}")
            columns |= _load(connection, asset, ctx.blobs)
        lock(connection)
        query = checked(connection, config.name, sql, columns)
        ctx.progress(0, 0, "runs the query")
        for row in _answers(connection, config, query):
            yield Came(parents=_parents(config, row, places), fields=row)


def _load(connection: duckdb.DuckDBPyConnection, asset: DataAsset, blobs: Blobs) -> set[str]:
    """A source as a table; the names of its columns."""
    path = str(blobs.path(asset.rows))
    types = _types(connection, asset.name, path)
    fields = "".join(f", s.{sql_name(name)} AS {sql_name(name)}" for name in types)
    structure = json.dumps(types) if types else '{"row_id": "VARCHAR"}'
    connection.execute(
        f"CREATE TABLE {sql_name(asset.name)} AS SELECT row_id, text, label{fields} FROM ("  # noqa: S608
        "SELECT row_id, text, label, from_json(attributes, ?) AS s FROM read_parquet(?))",
        [structure, path],
    )
    return {*OWN, *types}


def _types(connection: duckdb.DuckDBPyConnection, name: str, path: str) -> dict[str, str]:
    """The type of each field, by all that its values are: whole numbers, numbers, texts, truth
    values, and JSON for lists, objects, and a field whose values are of several kinds."""
    shapes = connection.execute(
        "SELECT DISTINCT json_structure(attributes) FROM read_parquet(?)", [path]
    ).fetchall()
    kinds: dict[str, set[str]] = {}
    for (shape,) in shapes:
        for field, kind in json.loads(shape).items():
            kinds.setdefault(field, set()).add(kind if isinstance(kind, str) else "JSON")
    types: dict[str, str] = {}
    for field in sorted(kinds):
        if not field or field.casefold() in OWN:
            continue
        alike = [each for each in types if each.casefold() == field.casefold()]
        if alike:
            raise DataError(
                f"source {name!r} has the fields {alike[0]!r} and {field!r}, which SQL cannot tell "
                "apart",
                remedy="transform it by a function (`python`), which can",
            )
        types[field] = _type(kinds[field] - {"NULL"})
    whole = {field: "HUGEINT" for field, kind in types.items() if kind == "BIGINT"}
    if whole:
        most = ", ".join(f"max(s.{sql_name(field)})" for field in whole)
        (largest,) = connection.execute(
            f"SELECT {most} FROM (SELECT from_json(attributes, ?) AS s FROM read_parquet(?))",  # noqa: S608
            [json.dumps(whole), path],
        ).fetchall()
        for field, value in zip(whole, largest, strict=True):
            types[field] = "HUGEINT" if (value or 0) > _MOST_BIGINT else "BIGINT"
    return types


def _type(kinds: Collection[str]) -> str:
    if not kinds:
        return "VARCHAR"
    for all_of, type_ in ((_WHOLE, "BIGINT"), (_NUMBER, "DOUBLE")):
        if set(kinds) <= all_of:
            return type_
    (kind, *others) = kinds
    return kind if not others and kind in ("VARCHAR", "BOOLEAN") else "JSON"


def _answers(
    connection: duckdb.DuckDBPyConnection, config: TransformConfig, query: str
) -> Iterator[dict[str, Any]]:
    timer = threading.Timer(config.timeout_s, connection.interrupt)
    timer.daemon = True
    timer.start()
    try:
        relation = connection.sql(query)
        names, types = relation.columns, [str(each) for each in relation.types]
        _check_names(config, names)
        wanted = ", ".join(map(_selected, names, types))
        is_json = [_is_json(type_) for type_ in types]
        connection.execute(f"SELECT {wanted} FROM (\n{query}\n) ORDER BY ALL")  # noqa: S608
        while rows := connection.fetchmany(_ROWS_AT_ONCE):
            for row in rows:
                values = zip(names, row, is_json, strict=True)
                yield {
                    name: json.loads(value) if packed and value is not None else value
                    for name, value, packed in values
                }
    except duckdb.InterruptException:
        raise DataError(
            f"the query of transform {config.name!r} had no answer after {config.timeout_s:g} s",
            remedy="write it so that it does less, or raise `timeout_s`",
        ) from None
    except duckdb.Error as error:
        raise DataError(
            f"the query of transform {config.name!r} fails: {said(error)}",
            remedy="correct it; the fields of its sources are in `tunesmith data checkout`'s "
            "tables, as attributes",
        ) from None
    finally:
        timer.cancel()


def _selected(name: str, type_: str) -> str:
    if _is_json(type_):
        return f"to_json({sql_name(name)})"
    if type_ == "TIMESTAMP WITH TIME ZONE":
        return f"strftime({sql_name(name)}, '%Y-%m-%dT%H:%M:%S.%fZ')"
    return sql_name(name)


def _is_json(type_: str) -> bool:
    return "JSON" in type_


def _check_names(config: TransformConfig, names: Sequence[str]) -> None:
    folded = [name.casefold() for name in names]
    for name in names:
        if folded.count(name.casefold()) > 1:
            raise DataError(
                f"the query of transform {config.name!r} answers with two columns {name!r}",
                remedy=f"name one otherwise: {name} AS other_{name}",
            )
    if ("row_id" in names) == ("row_ids" in names):
        which = "both row_id and row_ids" if "row_id" in names else "neither row_id nor row_ids"
        raise DataError(
            f"the query of transform {config.name!r} answers with {which}, so that nobody knows "
            "what its rows are made from",
            remedy=_LINEAGE,
        )
    for key in ("text", "label", "title", "subject"):
        column = getattr(config, key)
        if column and column not in names:
            raise DataError(
                f"the query of transform {config.name!r} answers without the column {column!r}, "
                f"which is its {key}",
                remedy=f"select it, or set {key} to one of {', '.join(names)}",
            )


def _parents(
    config: TransformConfig, row: dict[str, Any], places: Mapping[str, int]
) -> tuple[int, ...]:
    """The places of the rows that a row is made from; their ids are taken out of it."""
    is_one = "row_id" in row
    named = row.pop("row_id" if is_one else "row_ids")
    row_ids = [named] if is_one else named
    where = f"the query of transform {config.name!r} answers with a row"
    if not isinstance(row_ids, list) or not row_ids:
        raise DataError(f"{where} whose row_ids are no list of ids, or empty", remedy=_LINEAGE)
    for row_id in row_ids:
        if row_id is None:
            raise DataError(
                f"{where} that has no id where a row's should be (NULL)",
                remedy="of an outer join, name only the rows that are there: "
                "list_filter([a.row_id, b.row_id], id -> id IS NOT NULL) AS row_ids",
            )
        if not isinstance(row_id, str) or row_id not in places:
            raise DataError(  # what it says instead is not repeated: it may be anybody's text
                f"{where} whose {'row_id' if is_one else 'row_ids'} names no row of "
                f"{', '.join(config.sources)}",
                remedy=_LINEAGE,
            )
    return tuple(sorted({places[row_id] for row_id in row_ids}))
