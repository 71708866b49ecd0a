"""SQL over the tables of versions: DuckDB reads the Parquet blobs where they lie."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb

from tunesmith.asset.scratch import scratch_database
from tunesmith.core.quoting import sql_text

MIN_TEXT = 12
"""Characters from which a text is not to be found by chance."""

_POINTER = (  # the file, and after a `#` the line; 0 where a file is one row
    "CREATE TEMP MACRO member(p) AS regexp_replace(p, '#[0-9]+$', '')",
    "CREATE TEMP MACRO line(p) AS coalesce(try_cast(nullif(regexp_extract(p, '#([0-9]+)$', 1), '')"
    " AS BIGINT), 0)",
)

# Numbers only: a million rows of strings would take seconds to copy. Ids and contents are compared
# by hashes of 64 bits: that two of a million rows share one by chance has odds of 1 to 30 million.
_NARROW = """CREATE TEMP TABLE {name} AS SELECT hash({id}) AS key, {side} AS side,
    file_row_number AS place, strlen(text)::INTEGER AS num_bytes, hash(text) AS text,
    hash(label) AS label, hash({rest}) AS rest FROM read_parquet({file}, file_row_number = true)"""

_MATCHED = """CREATE TEMP TABLE matched AS
    SELECT b.side AS side_before, b.place AS place_before, a.side, a.place,
        b.text <> a.text AS text, b.label <> a.label AS label, b.rest <> a.rest AS rest
    FROM before b JOIN after a USING (key)
    WHERE b.text <> a.text OR b.label <> a.label OR b.rest <> a.rest OR b.side <> a.side"""

# Rows without a partner. One whose other fields changed has another id, but says the same in the
# same file: a new field gives every row of a file another id at once.
_LONE = """CREATE TEMP TABLE {side}_lone_places AS
        SELECT * FROM {side} ANTI JOIN {other} USING (key);
    CREATE TEMP TABLE {side}_near AS  -- their pointers, and those of the rows before them
        WITH wanted AS (SELECT side, place FROM {side}_lone_places
            UNION SELECT side, place - 1 FROM {side}_lone_places)
        SELECT side, place, asset, pointer FROM {side}_rows SEMI JOIN wanted USING (side, place);
    CREATE TEMP TABLE {side}_lone AS
        SELECT n.*, asset, pointer, member(pointer) AS member, line(pointer) AS line,
            row_number() OVER (PARTITION BY asset, pointer, n.text, n.label ORDER BY n.side,
                n.place) AS twin
        FROM {side}_lone_places n JOIN {side}_near r ON r.side = n.side AND r.place = n.place"""

# In the same place first; else in their order, where as many say it as did: of several that say the
# same nothing tells which one left.
_SAME_PLACE = """CREATE TEMP TABLE same_words AS
    SELECT b.side AS side_before, b.place AS place_before, a.side, a.place,
        false AS text, false AS label, b.rest <> a.rest AS rest
    FROM before_lone b JOIN after_lone a USING (asset, pointer, text, label, twin)"""

_ELSEWHERE = """CREATE TEMP TABLE {side}_elsewhere AS
    SELECT *, row_number() OVER (PARTITION BY asset, member, text, label ORDER BY side, place)
            AS turn, count(*) OVER (PARTITION BY asset, member, text, label) AS copies
    FROM {side}_lone ANTI JOIN same_words s
        ON s.side{suffix} = {side}_lone.side AND s.place{suffix} = {side}_lone.place
    WHERE num_bytes >= {least}"""

_SAME_WORDS = """INSERT INTO same_words
    SELECT b.side, b.place, a.side, a.place, false, false, b.rest <> a.rest
    FROM before_elsewhere b JOIN after_elsewhere a
        USING (asset, member, text, label, copies, turn)"""

# Of the others, where they stand between those that have a partner: an edited record of a file has
# another id, but stands as many lines behind the same neighbour, however many lines came before it,
# and whichever of those between are in quarantine.
_ALONE = """CREATE TEMP TABLE {side}_alone AS
    WITH alone AS (SELECT * EXCLUDE twin, place - row_number() OVER (ORDER BY side, place) AS gap
            FROM {side}_lone ANTI JOIN same_words s
            ON s.side{suffix} = {side}_lone.side AND s.place{suffix} = {side}_lone.place),
        leads AS (SELECT side, gap, member(pointer) AS member, line(pointer) AS line
            FROM (SELECT side, gap, min(place) - 1 AS place FROM alone GROUP BY side, gap)
            JOIN {side}_near USING (side, place))
    SELECT alone.*, alone.line > 0 AS is_line, alone.line - coalesce(leads.line, 0) AS turn,
        row_number() OVER (PARTITION BY asset, pointer ORDER BY key) AS twin
    FROM alone LEFT JOIN leads USING (side, gap, member)"""

_PAIRED = """CREATE TEMP TABLE paired AS
    FROM same_words
    UNION ALL SELECT b.side, b.place, a.side, a.place,
        b.text <> a.text, b.label <> a.label, b.rest <> a.rest
    FROM before_alone b JOIN after_alone a
        ON b.asset = a.asset AND b.pointer = a.pointer AND b.twin = a.twin
    WHERE NOT (b.is_line AND {by_neighbours})
    UNION ALL SELECT b.side, b.place, a.side, a.place,
        b.text <> a.text, b.label <> a.label, b.rest <> a.rest
    FROM before_alone b JOIN after_alone a
        ON b.member = a.member AND b.gap = a.gap AND b.turn = a.turn
    WHERE b.is_line AND a.is_line AND {by_neighbours}"""

_CHANGES = """CREATE TEMP TABLE changes AS
    WITH pairs AS (SELECT * FROM matched UNION ALL SELECT * FROM paired)
    SELECT CASE WHEN text OR label OR rest THEN 'edited' WHEN side_before <> side THEN 'moved'
            ELSE 'same' END AS change, side_before, place_before, side, place,
        CASE WHEN text OR label THEN concat_ws(', ', CASE WHEN text THEN 'text' END,
            CASE WHEN label THEN 'label' END) WHEN rest THEN 'other fields'
            ELSE side_before || ' to ' || side END AS what
    FROM pairs
    UNION ALL SELECT 'removed', side, place, NULL, NULL, '' FROM before_alone b
        WHERE NOT EXISTS (FROM paired p
            WHERE p.side_before = b.side AND p.place_before = b.place)
    UNION ALL SELECT 'added', NULL, NULL, side, place, '' FROM after_alone a
        WHERE NOT EXISTS (FROM paired p WHERE p.side = a.side AND p.place = a.place)"""

_EXAMPLES = """WITH few AS (SELECT * FROM changes WHERE change <> 'same'
        QUALIFY row_number() OVER (PARTITION BY change
            ORDER BY coalesce(side, side_before), coalesce(place, place_before)) <= ?)
    SELECT change, coalesce(b.row_id, '') AS before, coalesce(a.row_id, '') AS after,
        coalesce(a.pointer, b.pointer) AS pointer, what, b.rest AS had, a.rest AS has
    FROM few LEFT JOIN before_rows b ON b.side = side_before AND b.place = place_before
        LEFT JOIN after_rows a ON a.side = few.side AND a.place = few.place
    ORDER BY change, coalesce(few.side, side_before), coalesce(few.place, place_before)"""


_OTHERS = """WITH sought AS (SELECT unnest($1) AS value, unnest($2) AS piece),
        others AS (SELECT row_id, text, attributes FROM read_parquet($3)
            WHERE row_id NOT IN (SELECT unnest($4))),
        parts AS (SELECT row_id, unnest(string_split(attributes, '"')) AS part FROM others),
        hits AS (SELECT value, row_id FROM parts JOIN sought ON part = piece
            UNION SELECT value, row_id FROM others JOIN sought ON trim(text) = value)
    SELECT value, count(*), min(row_id, $5) FROM hits GROUP BY value"""


@contextlib.contextmanager
def opened() -> Iterator[duckdb.DuckDBPyConnection]:
    """A database in memory that fetches no extension."""
    with scratch_database(preserve_insertion_order="false") as connection:
        for macro in _POINTER:
            connection.execute(macro)
        yield connection


def load(connection: duckdb.DuckDBPyConnection, name: str, tables: Mapping[str, Path]) -> None:
    """The rows of one version as the narrow table `name`, and as the view `name`_rows: of a data
    asset those of its table `rows`, of a dataset those of both sides."""
    sides = {side: sql_text(str(path)) for side, path in tables.items()}
    is_asset = set(sides) == {"rows"}
    identity, rest = ("row_id", "attributes") if is_asset else ("asset || ':' || row_id", "content")
    asset = "''" if is_asset else "asset"
    parts = [
        f"SELECT '{side}' AS side, file_row_number AS place, row_id, pointer, label, text,"  # noqa: S608
        f" {asset} AS asset, {rest} AS rest FROM read_parquet({file}, file_row_number = true)"
        for side, file in sides.items()
    ]
    connection.execute(f"CREATE TEMP VIEW {name}_rows AS {' UNION ALL '.join(parts)}")
    create, _, select = _NARROW.partition(" AS SELECT ")
    selects = [
        f"SELECT {select}".format(id=identity, rest=rest, side=f"'{side}'", file=file)
        for side, file in sides.items()
    ]
    connection.execute(f"{create.format(name=name)} AS {' UNION ALL '.join(selects)}")


def compare(connection: duckdb.DuckDBPyConnection, *, in_file_order: bool) -> None:
    """Make the table `changes` of what differs between the versions `before` and `after`.

    A row is the same if its id is; else if it says the same in the same file; else, where the rows
    are `in_file_order`, if it stands between the same neighbours, or is the whole of the same file;
    else if it has the same pointer.
    """
    connection.execute(_MATCHED)
    for side, other in (("before", "after"), ("after", "before")):
        connection.execute(_LONE.format(side=side, other=other))
    connection.execute(_SAME_PLACE)
    sides = (("before", "_before"), ("after", ""))
    for side, suffix in sides:
        connection.execute(_ELSEWHERE.format(side=side, suffix=suffix, least=MIN_TEXT))
    connection.execute(_SAME_WORDS)
    for side, suffix in sides:
        connection.execute(_ALONE.format(side=side, suffix=suffix))
    connection.execute(_PAIRED.format(by_neighbours="true" if in_file_order else "false"))
    connection.execute(_CHANGES)


def counts(connection: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """How many rows there are of each change."""
    rows = connection.execute("SELECT change, count(*) FROM changes GROUP BY change").fetchall()
    return dict(rows)


def num_rows(connection: duckdb.DuckDBPyConnection, name: str) -> int:
    """How many rows a table has."""
    ((number,),) = connection.execute(f"SELECT count(*) FROM {name}").fetchall()  # noqa: S608
    return int(number)


def examples(connection: duckdb.DuckDBPyConnection, limit: int) -> list[dict[str, Any]]:
    """The first `limit` rows of each kind of change, in the order of the table."""
    found = _dicts(connection.execute(_EXAMPLES, [limit]))
    for row in found:
        had, has = row.pop("had"), row.pop("has")
        if row["what"] == "other fields":
            row["what"] += f": {', '.join(_differing(json.loads(had), json.loads(has)))}"
    return found


def _differing(had: Mapping[str, Any], has: Mapping[str, Any]) -> list[str]:
    """The fields that only one of two records has, or that differ; True is not 1."""
    return [
        name
        for name in dict.fromkeys((*had, *has))
        if (name in had) != (name in has) or json.dumps(had[name]) != json.dumps(has[name])
    ]


def labels(connection: duckdb.DuckDBPyConnection) -> list[tuple[str, int, int]]:
    """(label, rows before, rows after), those that changed most first."""
    return connection.execute(
        """SELECT label, coalesce(b.n, 0)::BIGINT, coalesce(a.n, 0)::BIGINT
        FROM (SELECT label, count(*) AS n FROM before_rows GROUP BY label) b
        FULL JOIN (SELECT label, count(*) AS n FROM after_rows GROUP BY label) a USING (label)
        ORDER BY abs(coalesce(a.n, 0) - coalesce(b.n, 0)) DESC, label"""
    ).fetchall()


def assets(connection: duckdb.DuckDBPyConnection, name: str) -> dict[str, int]:
    """How many rows of a dataset's version are of each data asset."""
    rows = connection.execute(f"SELECT asset, count(*) FROM {name}_rows GROUP BY asset")  # noqa: S608
    return dict(rows.fetchall())


def changed_texts(
    connection: duckdb.DuckDBPyConnection, name: str, max_bytes: int
) -> tuple[list[tuple[str, str]], int]:
    """(text, attributes or content) of the rows of one version that the other has not, or has
    otherwise; and how many such rows there are. Those with the least hashes, where they have more
    than `max_bytes` of text, and one at least."""
    column = "_before" if name == "before" else ""
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE picked AS
        WITH changed AS (SELECT key, n.side, n.place, num_bytes FROM {name} n JOIN changes c
                ON c.side{column} = n.side AND c.place{column} = n.place
            WHERE change IN ('added', 'removed', 'edited'))
        SELECT side, place, coalesce(sum(num_bytes) OVER (ORDER BY key, side, place
            ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS before_it FROM changed"""  # noqa: S608
    )
    texts = connection.execute(
        f"""SELECT text, rest FROM {name}_rows SEMI JOIN
        (FROM picked WHERE before_it < ?) USING (side, place)""",  # noqa: S608
        [max_bytes],
    ).fetchall()
    return texts, num_rows(connection, "picked")


def lengths(connection: duckdb.DuckDBPyConnection, name: str) -> tuple[float, ...]:
    """Mean, tenth, median and nine tenths of the bytes of the texts in a table."""
    row = connection.execute(
        f"""SELECT coalesce(avg(num_bytes), 0), coalesce(quantile_disc(num_bytes, 0.1), 0),
        coalesce(quantile_disc(num_bytes, 0.5), 0), coalesce(quantile_disc(num_bytes, 0.9), 0)
        FROM {name}"""  # noqa: S608
    ).fetchone()
    assert row is not None
    return tuple(map(float, row))


def rows_where(
    connection: duckdb.DuckDBPyConnection,
    path: Path | str,
    condition: str,
    values: Sequence[Any] = (),
    *,
    columns: str = "*",
) -> list[dict[str, Any]]:
    """The rows of one Parquet table that meet a condition of this program's own."""
    statement = f"SELECT {columns} FROM read_parquet(?) WHERE {condition}"  # noqa: S608
    return _dicts(connection.execute(statement, [str(path), *values]))


def rows_with_ids(
    connection: duckdb.DuckDBPyConnection, path: str, row_ids: Sequence[str], *, columns: str = "*"
) -> list[dict[str, Any]]:
    """The rows of one Parquet table that have one of the ids."""
    condition = "list_contains(?, row_id)" if len(row_ids) == 1 else "row_id IN (SELECT unnest(?))"
    return rows_where(connection, path, condition, [list(row_ids)], columns=columns)


def edges_of(
    connection: duckdb.DuckDBPyConnection, path: str, row_ids: Sequence[str], *, end: str
) -> list[tuple[str, str]]:
    """(row, parent) of a table of edges, where the one of the two that is `end` has one of the
    ids: "row_id" or "parent"."""
    statement = f"SELECT row_id, parent FROM read_parquet(?) WHERE {end} IN (SELECT unnest(?))"  # noqa: S608
    return connection.execute(statement, [path, list(row_ids)]).fetchall()


def duplicates_of(
    connection: duckdb.DuckDBPyConnection, path: str, row_id: str, reasons: Sequence[str]
) -> list[dict[str, Any]]:
    """The dropped rows, of these reasons, that a row was kept for; and itself, if it was one."""
    condition = "(detail = ? OR row_id = ?) AND list_contains(?, reason)"
    values = [row_id, row_id, list(reasons)]
    return rows_where(connection, path, condition, values, columns="row_id, detail")


def rows_of_subject(
    connection: duckdb.DuckDBPyConnection, path: str, name: str, subject: str
) -> list[dict[str, Any]]:
    """The rows of a data asset whose field `name` says `subject`, which is in NFC."""
    condition = """contains(nfc_normalize(attributes), ?)
        AND nfc_normalize(trim(json_extract_string(attributes, ?))) = ?"""
    return rows_where(connection, path, condition, [_inside(subject), _json_path(name), subject])


def rows_made_from(
    connection: duckdb.DuckDBPyConnection, path: str, name: str, row_ids: Sequence[str]
) -> list[dict[str, Any]]:
    """The rows of a data asset whose field `name` has one of the ids in it."""
    condition = """list_has_any(
        regexp_extract_all(json_extract_string(attributes, ?), '[0-9a-f]{32}'), ?)"""
    return rows_where(connection, path, condition, [_json_path(name), list(row_ids)])


def rows_with_label(
    connection: duckdb.DuckDBPyConnection, path: str, _name: str, label: str
) -> list[dict[str, Any]]:
    """The rows of a data asset whose label is `label`, which is in NFC, whatever field it was read
    from."""
    return rows_where(connection, path, "nfc_normalize(label) = ?", [label])


def copies_of(
    connection: duckdb.DuckDBPyConnection, path: str, row: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """The rows of a data asset that say the same as one of them, itself among them."""
    condition = "text = ? AND label = ? AND attributes = ?"
    values = [row["text"], row["label"], row["attributes"]]
    return rows_where(connection, path, condition, values)


def others_that_say(
    connection: duckdb.DuckDBPyConnection,
    path: str,
    values: Collection[str],
    row_ids: Collection[str],
    most: int,
) -> list[tuple[str, int, list[str]]]:
    """(value, rows, ids of `most` of them) of those of `values` that are the text of rows of a data
    asset that have none of the ids, or seem to be a string in a field.

    The fields are cut at their quotation marks, once for all values: each is looked up by its
    longest part. What only has this part in common seems to be the value.
    """
    sought = [(value, piece) for value in values for piece in _pieces(value)]
    said, pieces = [value for value, _ in sought], [piece for _, piece in sought]
    return connection.execute(_OTHERS, [said, pieces, path, list(row_ids), most]).fetchall()


def _pieces(value: str) -> Iterator[str]:
    """The longest part of a value between quotation marks, as it may stand in JSON, also before one
    of its own or in JSON within JSON, and with a space or a line's end around it."""
    longest = max(_inside(value).split('"'), key=len).rstrip("\\")
    yield from (longest, f"{longest}\\", f"{longest} ", f" {longest}", f"{longest}\\n")


def _json_path(name: str) -> str:
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'$."{escaped}"'


def _inside(value: str) -> str:
    """A string as it stands in JSON."""
    return json.dumps(value, ensure_ascii=False)[1:-1]


def _dicts(result: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
    names = [column[0] for column in result.description or ()]
    return [dict(zip(names, row, strict=True)) for row in result.fetchall()]
