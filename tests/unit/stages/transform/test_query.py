"""Rows by a query: what it answers, what each row is made from, and what it may not say."""

from __future__ import annotations

import collections
import json

import pytest

from tunesmith.core.errors import DataError

MAIL = [
    {"id": n, "who": f"p{n % 3}", "text": f"Letter {n}.", "label": "ab"[n % 2], "pages": n / 2}
    for n in range(7)
]
PEOPLE = [{"who": f"p{n}", "town": f"town-{n}"} for n in range(2)]
ALL = "SELECT row_id, text FROM mail"


def test_a_join_has_parents_on_both_sides(desk, id_of):
    """Against the join worked out in plain Python."""
    made = desk.run(
        desk.asset("mail", *MAIL, subject="who"),
        desk.asset("people", *PEOPLE, licence="CC0-1.0 OR MIT", owner="town hall"),
        sql="SELECT [m.row_id, p.row_id] AS row_ids, m.text, m.label, m.who, p.town "
        "FROM mail m JOIN people p USING (who)",
    )
    wanted = {
        (mail["text"], person["town"]): {id_of("mail", m), id_of("people", p)}
        for m, mail in enumerate(MAIL)
        for p, person in enumerate(PEOPLE)
        if mail["who"] == person["who"]
    }
    rows, parents = desk.rows(made), desk.parents(made)
    found = {(r["text"], r["attributes"]["town"]): set(parents[r["row_id"]]) for r in rows}
    assert found == wanted
    assert (made.num_in, made.num_rows, made.num_quarantined) == (5, 5, 0)
    assert (made.num_read, made.num_used, made.num_refused, made.num_unused) == (9, 7, 0, 2)
    assert (made.licence, made.owner) == ("MIT AND (CC0-1.0 OR MIT)", "desk, town hall")
    assert (made.subject, made.origin) == ("who", "file:mail.jsonl, file:people.jsonl")
    assert {row["label"] for row in rows} == {"a", "b"}
    assert all(row["pointer"].startswith("mail.jsonl#") for row in rows)
    assert rows[0]["pointer"].endswith(" and 1 more")


def test_a_group_is_made_from_all_its_rows(desk, id_of):
    made = desk.run(
        desk.asset("mail", *MAIL),
        sql="SELECT list(row_id) AS row_ids, who, count(*) AS n, sum(id) AS total FROM mail "
        "WHERE id > 0 GROUP BY who",
    )
    wanted: dict[str, list[int]] = collections.defaultdict(list)
    for n, mail in enumerate(MAIL):
        if n > 0:
            wanted[mail["who"]].append(n)
    parents = desk.parents(made)
    for row in desk.rows(made):
        numbers = wanted.pop(row["attributes"]["who"])
        # In the order of the source, whatever the order of the list was.
        assert parents[row["row_id"]] == [id_of("mail", n) for n in numbers]
        assert (row["attributes"]["n"], row["attributes"]["total"]) == (len(numbers), sum(numbers))
        assert json.loads(row["text"]) == row["attributes"], "a row without a text is its fields"
    assert wanted == {}
    assert (made.num_used, made.num_unused) == (6, 1)
    assert made.subject == ""


def test_fields_have_the_types_that_all_their_values_have(desk):
    made = desk.run(
        desk.asset(
            "all",
            {"whole": 1, "part": 1, "text": "x", "yes": True, "mixed": 1, "many": [1], "large": 1},
            {"part": 0.5, "mixed": "1", "many": ["é"], "of": {"a": None}, "large": 2**63},
            {"whole": None, "text": "y", "none": None, 'a b"c': "q", "minus": -1},
        ),
        sql="""SELECT row_id, typeof(whole) AS whole, typeof(part) AS part, typeof(yes) AS yes,
            typeof(mixed) AS mixed, typeof(many) AS many, typeof("of") AS "of",
            typeof(large) AS large, typeof("none") AS nothing, typeof("a b""c") AS odd,
            typeof(minus) AS minus FROM "all" """,
    )
    (types,) = {json.dumps(row["attributes"], sort_keys=True) for row in desk.rows(made)}
    assert json.loads(types) == {
        "whole": "BIGINT", "part": "DOUBLE", "yes": "BOOLEAN", "mixed": "JSON", "many": "JSON",
        "of": "JSON", "large": "HUGEINT", "nothing": "VARCHAR", "odd": "VARCHAR",
        "minus": "BIGINT",
    }  # fmt: skip


def test_values_come_out_as_they_went_in(desk):
    rows = [
        {"a": 2**63 + 1, "b": [1, {"c": None}], "c": "x\u0000y", "d": 0.1, "e": True},
        {"a": 5, "b": {"d": "é"}, "c": None, "d": 1e300, "e": False},
    ]
    made = desk.run(desk.asset("all", *rows), sql='SELECT * EXCLUDE (text, label) FROM "all"')
    found = [row["attributes"] for row in desk.rows(made)]
    assert sorted(found, key=lambda row: row["d"]) == rows


def test_values_that_json_has_not(desk):
    made = desk.run(
        desk.asset("mail", *MAIL[:2]),
        sql="""SELECT row_id, DATE '2026-01-02' AS day, 1.10::DECIMAL(4, 2) AS money,
            TIMESTAMPTZ '2026-01-02 01:00:00+02' AS moment, 'a'::BLOB AS bytes, 'nan'::DOUBLE AS n,
            CASE WHEN id = 1 THEN 1 / 0::DOUBLE END AS infinite, {'a': [1]} AS packed FROM mail""",
    )
    (row,) = desk.rows(made)
    assert row["attributes"] == {
        "day": "2026-01-02", "money": "1.10", "moment": "2026-01-01T23:00:00.000000Z",
        "bytes": "YQ==", "n": None, "infinite": None, "packed": {"a": [1]},
    }  # fmt: skip
    (refused,) = desk.rows(made, "quarantine")
    assert refused["rule"] == "bad-value"
    assert "'infinite'" in refused["reason"]
    assert desk.parents(made).keys() == {row["row_id"], refused["row_id"]}
    assert (made.num_used, made.num_refused, made.num_unused) == (1, 1, 0)


@pytest.mark.parametrize("order", ["id DESC", "hash(id)"])
def test_neither_the_order_of_the_query_nor_of_a_list_matters(desk, order):
    mail = desk.asset("mail", *MAIL)
    for sql in (
        "SELECT row_id, id, text FROM mail",
        "SELECT list(row_id) AS row_ids, count(*) AS n FROM (FROM mail)",
    ):
        shuffled = desk.run(mail, sql=sql.replace("(FROM mail", f"(FROM mail ORDER BY {order}"))
        if "list" not in sql:
            shuffled = desk.run(mail, sql=f"{sql} ORDER BY {order};")
        assert shuffled == desk.run(mail, sql=sql), "to the bytes of each table"


def test_equal_rows_of_one_row_have_ids_of_their_own(desk):
    made = desk.run(
        desk.asset("mail", *MAIL[:2]), sql="SELECT row_id, 'same' AS text FROM mail, range(3)"
    )
    assert len({row["row_id"] for row in desk.rows(made)}) == made.num_rows == 6
    assert (made.num_used, made.num_unused) == (2, 0)


HOSTILE = {
    "COPY mail TO '{path}'": "one SELECT, and is COPY",
    "ATTACH '{path}' AS other": "one SELECT, and is ATTACH",
    "INSTALL httpfs": "one SELECT",
    "LOAD httpfs": "one SELECT",
    "PRAGMA version": "one SELECT, and is PRAGMA",
    "SET threads = 8": "one SELECT, and is SET",
    "CALL pragma_version()": "one SELECT, and is CALL",
    "CREATE TABLE t AS SELECT 1": "one SELECT, and is CREATE",
    "DELETE FROM mail": "one SELECT, and is DELETE",
    "EXPORT DATABASE '{path}'": "one SELECT, and is EXPORT",
    "SELECT row_id FROM mail; DROP TABLE mail": "one SELECT, and is SELECT, DROP",
    "": "needs",
    "   -- nothing": "one SELECT, and is nothing",
    "SELEC row_id FROM mail": "no SQL",
    "SELECT row_id FROM mail) UNION (SELECT row_id FROM mail": "no SQL",
    "DESCRIBE mail": "describes a table",
    "SELECT * FROM read_csv('/etc/passwd')": "calls read_csv",
    "SELECT row_id, (SELECT content FROM read_text('/etc/passwd')) FROM mail": "calls read_text",
    "SELECT * FROM read_blob('/etc/passwd')": "calls read_blob",
    "SELECT * FROM parquet_scan('{path}')": "calls parquet_scan",
    "SELECT * FROM glob('/etc/*')": "calls glob",
    "SELECT * FROM query('SELECT 1')": "calls query",
    "SELECT * FROM duckdb_settings()": "calls duckdb_settings",
    "SELECT * FROM '/etc/passwd'": "reads /etc/passwd",
    "SELECT * FROM mail, information_schema.tables": "reads information_schema.tables",
    "SELECT * FROM desk": "reads desk, which is none of its sources",
    "SELECT row_id, random() AS r FROM mail": "uses random",
    "SELECT row_id FROM mail ORDER BY RANDOM()": "uses random",
    "SELECT row_id, uuid() AS u FROM mail": "uses uuid",
    "SELECT row_id, now() AS t FROM mail": "uses now",
    "SELECT row_id, current_date AS t FROM mail": "uses current_date",
    "SELECT row_id, CURRENT_TIMESTAMP AS t FROM mail": "uses current_timestamp",
    "SELECT row_id, today() AS t FROM mail": "uses today",
    "SELECT row_id, ago(INTERVAL 1 DAY) AS t FROM mail": "uses ago",
    "SELECT row_id, age(TIMESTAMP '2026-01-01') AS t FROM mail": "uses age",
    "SELECT row_id, nextval('s') AS t FROM mail": "uses nextval",
    "SELECT row_id, current_setting('threads') AS t FROM mail": "uses current_setting",
    "SELECT row_id FROM mail USING SAMPLE 2 ROWS": "uses a sample",
    "SELECT row_id FROM mail TABLESAMPLE 10%": "uses a sample",
    "WITH q AS (SELECT row_id, random() AS r FROM mail) SELECT * FROM q": "uses random",
}


@pytest.mark.parametrize("sql", HOSTILE)
def test_what_a_query_may_not_say(desk, tmp_path, sql):
    path = tmp_path / "stolen"
    mail = desk.asset("mail", *MAIL)
    with pytest.raises((DataError, ValueError)) as caught:
        desk.run(mail, sql=sql.format(path=path))
    if sql:
        assert HOSTILE[sql] in " ".join(str(caught.value).split())
        assert isinstance(caught.value, DataError)
        assert caught.value.remedy
    assert not path.exists()
    assert "root:" not in str(caught.value)


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM read_text('/etc/passwd')",
        "FROM '/etc/passwd'",
        "COPY mail TO '{path}'",
        "ATTACH '{path}'",
        "SET enable_external_access = true",
        "SET threads = 4",
        "INSTALL httpfs",
    ],
)
def test_the_database_itself_reaches_nothing(desk, tmp_path, statement):
    """What the first check would let through finds the second door closed."""
    import duckdb

    from tunesmith.asset.scratch import lock, scratch_database
    from tunesmith.stages.transform import query

    with scratch_database() as connection:
        query._load(connection, desk.asset("mail", *MAIL), desk.blobs)
        lock(connection)
        with pytest.raises(duckdb.Error):
            connection.execute(statement.format(path=tmp_path / "stolen")).fetchall()
    assert not (tmp_path / "stolen").exists()


def test_a_column_may_have_the_name_of_what_needs_no_brackets(desk):
    rows = [{"user": "ann", "text": "x"}]
    made = desk.run(desk.asset("mail", *rows), sql="SELECT row_id, user, text FROM mail")
    assert desk.rows(made)[0]["attributes"]["user"] == "ann"


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("SELECT text FROM mail", "neither row_id nor row_ids"),
        ("SELECT row_id, [row_id] AS row_ids FROM mail", "both row_id and row_ids"),
        ("SELECT NULL::VARCHAR AS row_id FROM mail", "no id where a row's should be"),
        ("SELECT [row_id, NULL] AS row_ids FROM mail", "list_filter"),
        ("SELECT []::VARCHAR[] AS row_ids FROM mail", "no list of ids, or empty"),
        ("SELECT NULL::VARCHAR[] AS row_ids FROM mail", "no list of ids, or empty"),
        ("SELECT text AS row_id FROM mail", "names no row of mail"),
        ("SELECT id AS row_id FROM mail", "names no row of mail"),
        ("SELECT row_id, text, id AS Text FROM mail", "two columns 'text'"),
        ("SELECT row_id, text FROM mail WHERE false", "no usable row"),
        ("SELECT row_id, nothing FROM mail", "nothing"),
        ("SELECT row_id, text::INTEGER AS n FROM mail", "Could not convert string '...'"),
    ],
)
def test_a_query_that_cannot_be_used(desk, sql, words):
    with pytest.raises(DataError) as caught:
        desk.run(desk.asset("mail", *MAIL), sql=sql)
    said = " ".join(str(caught.value).split())
    assert words in said
    assert caught.value.remedy
    assert "Letter" not in said, "an error is kept in the record of the run: it repeats no text"


def test_columns_that_the_section_names_have_to_be_there(desk):
    mail = desk.asset("mail", *MAIL)
    for key in ("text", "label", "title", "subject"):
        with pytest.raises(DataError, match=f"which is its {key}"):
            desk.run(mail, sql="SELECT row_id, id FROM mail", **{key: "kind"})
    made = desk.run(
        mail, sql="SELECT row_id, text AS said, CASE WHEN id > 1 THEN id END AS kind FROM mail",
        text="said", label="kind", title="said", subject="kind",
    )  # fmt: skip
    assert made.quarantined_by_rule == {"no-label": 2}
    assert made.subject == "kind"
    row = next(row for row in desk.rows(made) if row["label"] == "3")
    assert (row["text"], row["attributes"]["title"]) == ("Letter 3.", "Letter 3.")


def test_a_query_that_takes_too_long_is_stopped(desk):
    rows = [{"n": n} for n in range(50)]
    names = ", ".join(f"mail {letter}" for letter in "abcdefgh")
    with pytest.raises(DataError, match=r"no answer after 0\.3 s"):
        desk.run(
            desk.asset("mail", *rows),
            sql=f"SELECT list(DISTINCT a.row_id) AS row_ids, sum(a.n * h.n) AS s FROM {names}",
            timeout_s=0.3,
        )


def test_fields_that_differ_in_capitals_are_refused(desk):
    asset = desk.asset("mail", {"Who": 1, "text": "x"}, {"who": 2, "text": "y"})
    with pytest.raises(DataError, match="'Who' and 'who', which SQL cannot tell apart"):
        desk.run(asset, sql=ALL)


def test_too_many_in_quarantine_stop_the_run(desk):
    mail = desk.asset("mail", *MAIL)
    sql = "SELECT row_id, CASE WHEN id > 1 THEN text ELSE ' ' END AS text FROM mail"
    assert desk.run(mail, sql=sql, max_quarantined=0.3).quarantined_by_rule == {"empty-text": 2}
    with pytest.raises(DataError, match=r"2 of 7 rows would be quarantined \(empty-text 2\)"):
        desk.run(mail, sql=sql, max_quarantined=0.2)
