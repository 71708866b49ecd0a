"""What a transform's query may say: one SELECT over its sources that answers the same each time.

The database that it runs in can reach nothing besides (`query.py`). This says why, by name, before
anything runs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from typing import Any

import duckdb

from tunesmith.core.errors import DataError

TABLE_FUNCTIONS = frozenset(
    {"generate_series", "json_each", "json_tree", "range", "repeat", "repeat_row", "unnest"}
)
"""Functions that make a table of what they are given, and of nothing else."""
_WITHOUT_BRACKETS = frozenset(
    {
        *("current_date", "current_time", "current_timestamp", "localtime", "localtimestamp"),
        *("current_catalog", "current_role", "current_schema", "current_user", "session_user"),
        "user",
    }
)
_CLOCK = r"\b(now|random|uuid|get_current_time|current_(date|time|timestamp|schema|database))\b"


def checked(
    connection: duckdb.DuckDBPyConnection, name: str, sql: str, columns: Collection[str]
) -> str:
    """The one SELECT that `sql` is; the connection has the sources as tables, `columns` are theirs.

    Raises:
        DataError: it is none, reads something else, or may answer otherwise the next time.
    """
    where = f"the query of transform {name!r}"
    try:
        statements = connection.extract_statements(sql)
    except duckdb.Error as error:
        raise DataError(f"{where} is no SQL: {said(error)}", remedy="correct it") from None
    kinds = [statement.type.name for statement in statements]
    if kinds != ["SELECT"]:
        raise DataError(
            f"{where} must be one SELECT, and is {', '.join(kinds) or 'nothing'}",
            remedy="leave the other statements out: a transform changes nothing but its own rows",
        )
    query = str(statements[0].query).strip().rstrip(";")
    (answer,) = connection.execute("SELECT json_serialize_sql(?)", [query]).fetchall()
    tree = json.loads(answer[0])
    if tree.get("error"):
        raise DataError(
            f"{where} cannot be looked into: {tree.get('error_message')}",
            remedy="write it as a plain SELECT",
        )
    nodes = list(_nodes(tree))
    _check_tables(connection, where, nodes)
    _check_functions(connection, where, nodes, {column.casefold() for column in columns})
    return query


def _check_tables(connection: duckdb.DuckDBPyConnection, where: str, nodes: list[Any]) -> None:
    found = connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()
    tables = [table for (table,) in found]
    known = {table.casefold() for table in tables}
    for node in nodes:  # what WITH names; a name stands for one thing in the whole query
        known |= {each["key"].casefold() for each in node.get("cte_map", {}).get("map", ())}
        known |= {str(node["cte_name"]).casefold()} if "cte_name" in node else set()
    for node in nodes:
        kind = node.get("type")
        if kind == "SHOW_REF":
            raise DataError(
                f"{where} describes a table, and makes no rows", remedy="SELECT the columns wanted"
            )
        if kind == "TABLE_FUNCTION":
            function = node["function"]["function_name"].lower()
            if function not in TABLE_FUNCTIONS:
                raise DataError(
                    f"{where} calls {function}, which reads something else than its sources",
                    remedy="make what it reads a source, and name that in `sources`",
                )
        if kind == "BASE_TABLE":
            table, schema = node["table_name"], node["schema_name"] or node["catalog_name"]
            if schema not in ("", "main") or table.casefold() not in known:
                raise DataError(
                    f"{where} reads {f'{schema}.' if schema else ''}{table}, which is none of its "
                    "sources",
                    remedy=f"there is: {', '.join(sorted(tables))}; name others in `sources`",
                )


def _check_functions(
    connection: duckdb.DuckDBPyConnection, where: str, nodes: list[Any], columns: Collection[str]
) -> None:
    unstable = {
        row[0].lower()
        for row in connection.execute(
            """SELECT DISTINCT function_name FROM duckdb_functions()
            WHERE coalesce(stability, 'CONSISTENT') <> 'CONSISTENT'
            OR function_type = 'macro' AND regexp_matches(macro_definition, ?)""",
            [_CLOCK],
        ).fetchall()
    } | {"reservoir_quantile"}
    for node in nodes:
        found = ""
        if "function_name" in node:
            found = str(node["function_name"]).lower()
            given = node.get("arguments", node.get("children", ()))
            if not (found in unstable or (found == "age" and len(given) == 1)):
                found = ""
        elif node.get("type") == "COLUMN_REF" and len(node["column_names"]) == 1:
            named = node["column_names"][0].lower()
            found = named if named in _WITHOUT_BRACKETS.difference(columns) else ""
        if node.get("sample"):
            found = "a sample"
        if found:
            raise DataError(
                f"{where} uses {found}, which may answer otherwise the next time",
                remedy="write what it is to say as a value, or read it from a field of a source; "
                "to draw rows, compare hash(row_id) with a number",
            )


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    """Every object in a tree of JSON."""
    if isinstance(tree, dict):
        yield tree
        for inner in tree.values():
            yield from _nodes(inner)
    elif isinstance(tree, list):
        for inner in tree:
            yield from _nodes(inner)


def said(error: duckdb.Error) -> str:
    """The first line of what the database says; where a row made it fail, without what that says,
    which may be anybody's and would outlive them in the record of the run."""
    line = next(iter(str(error).strip().splitlines()), type(error).__name__)
    if isinstance(error, duckdb.ParserException | duckdb.BinderException | duckdb.CatalogException):
        return line
    return re.sub(r"'.*'|\".*\"", "'...'", line)
