"""A contract as SQL: the same verdict as Python's check, record for record."""

from __future__ import annotations

import json
import re
import string
import sys

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunesmith.asset.contract import Contract, FieldRule
from tunesmith.asset.contract_sql import compile_contract
from tunesmith.asset.patterns import for_duckdb
from tunesmith.core.errors import UsageError
from tunesmith.stages.ingest import json_text

CONNECTION = duckdb.connect()


def by_sql(rules, records, **how):
    """(rule, field) of each record."""
    CONNECTION.execute("CREATE OR REPLACE TABLE records (place BIGINT, pointer TEXT, fields TEXT)")
    rows = [[n, f"r#{n}", json_text.write(record)] for n, record in enumerate(records)]
    if rows:
        CONNECTION.executemany("INSERT INTO records VALUES (?, ?, ?)", rows)
    found = CONNECTION.execute(compile_contract(rules, **how)).fetchall()
    assert [row[:2] for row in found] == [(n, f"r#{n}") for n in range(len(records))]
    return [(rule, field) for _, _, rule, field in found]


def by_python(rules, records, **how):
    contract = Contract(rules, **how)
    said = []
    for number, record in enumerate(records):
        problem = contract.problem(record, f"r#{number}")
        if problem is None:
            said.append((None, None))
        else:
            rule, reason = problem
            named = [name for name in rules if reason.startswith(f"the field {name!r} ")]
            said.append((rule, named[0] if named and rule != "unknown-field" else None))
    return said


NAMES = ("a", "b/c", 'd"e', "f~1g", "ü")
PATTERNS = ("", "[a-c]+", r"\d{2}(?:x|y)*", r"^a.?\s$", r"[^\d\]-]*", "(a|bc)+?", r"\x41\.")
SMALL = st.integers(-5, 5) | st.sampled_from([2**53 + 1, -(2**63), 2**70])
FLOATS = st.sampled_from([0.0, -0.0, 0.5, 1.0, 2.5, -3.25, 1e300, 1e16])
TEXTS = st.text("abcxy01 .A\n\t\u3000é🦆", max_size=5)
SAID = "1 01 +1 1.0 -0 0.0 1e3 .5 5. 1e999 -1e999 1_0 ٣ 0x1 NaN yes TRUE yeſ [1] [ null"
NUMERALS = st.sampled_from(
    [*SAID.split(" "), " 1\u3000", "-" + "1" * 31, "12345678901234567890123", "No ", '{"a": 1}']
)
DATES = st.sampled_from(
    ["2026-02-28", "2026-02-30", "0000-01-01", "2026-11-26T15:20", "2026-11-26 15:20:01.25Z",
     "2026-13-01", "2026-11-26T24:01", "2026-11-26T15:20+01:00", "26.11.2026", "soon", "2026-1-1"]
)  # fmt: skip
VALUES = st.one_of(
    st.none(), st.booleans(), SMALL, FLOATS, TEXTS, NUMERALS, DATES,
    st.lists(SMALL, max_size=2), st.dictionaries(st.sampled_from("ab"), SMALL, max_size=1),
)  # fmt: skip


@st.composite
def field_rules(draw, may_be_unique: bool):
    kind = draw(
        st.sampled_from(["string", "integer", "number", "boolean", "date", "list", "object"])
    )
    given: dict = {"type": kind, "required": draw(st.booleans())}
    if kind == "string":
        given["pattern"] = draw(st.sampled_from(PATTERNS))
        given["min_chars"] = draw(st.integers(0, 3))
        given["max_chars"] = draw(st.none() | st.integers(1, 5))
        given["values"] = draw(st.lists(TEXTS, max_size=2))
    if kind in ("integer", "number"):
        bound = st.none() | st.sampled_from([-1, 0, 0.5, 2, float(2**53), 1e38])
        given["minimum"], given["maximum"] = draw(bound), draw(bound)
        given["values"] = draw(st.lists(st.integers(-3, 3), max_size=2))
    if may_be_unique and kind not in ("list", "object"):
        given["unique"] = draw(st.booleans())
    return FieldRule(**given)


@st.composite
def contracts(draw):
    names = draw(st.permutations(NAMES))[: draw(st.integers(0, 3))]
    unique = draw(st.sampled_from(names)) if names else ""
    return {name: draw(field_rules(name == unique)) for name in names}


@settings(max_examples=100)
@given(
    contracts(),
    st.lists(st.dictionaries(st.sampled_from(NAMES), VALUES), max_size=8),
    st.booleans(),
)
def test_both_say_the_same_of_typed_records(rules, records, allows_others):
    how = {"allows_others": allows_others, "has_strings_only": False}
    assert by_sql(rules, records, **how) == by_python(rules, records, **how)


@settings(max_examples=100)
@given(
    contracts(),
    st.lists(st.dictionaries(st.sampled_from(NAMES), TEXTS | NUMERALS | DATES), max_size=8),
    st.booleans(),
)
def test_both_say_the_same_of_records_of_strings(rules, records, allows_others):
    how = {"allows_others": allows_others, "has_strings_only": True}
    assert by_sql(rules, records, **how) == by_python(rules, records, **how)


@given(
    st.recursive(
        st.sampled_from(
            ["a", "b", "-", r"\.", ".", r"\d", r"\S", "[a-c]", "[^b-]", r"[\s\]]", "x", "é"]
        ),
        lambda inner: st.one_of(
            st.tuples(inner, inner).map("".join),
            st.tuples(inner, inner).map(lambda pair: f"(?:{pair[0]}|{pair[1]})"),
            st.tuples(inner, st.sampled_from(["*", "+", "?", "{2}", "{0,2}", "*?"])).map(
                lambda pair: f"({pair[0]}){pair[1]}"
            ),
        ),
        max_leaves=6,
    ),
    st.lists(st.text("ab-.1x\n\u3000é]c", max_size=6), min_size=1, max_size=6),
)
def test_patterns_match_the_same_strings(pattern, texts):
    found = CONNECTION.execute(
        "SELECT regexp_full_match(unnest(?), ?)", [texts, for_duckdb(pattern)]
    ).fetchall()
    assert [said for (said,) in found] == [bool(re.fullmatch(pattern, text)) for text in texts]


@pytest.mark.parametrize("of", [r"\d", r"\s"])
def test_classes_are_pythons_for_every_character(of):
    every = [chr(n) for n in range(sys.maxunicode + 1) if not 0xD800 <= n <= 0xDFFF]
    found = CONNECTION.execute(
        "SELECT list_filter(?, lambda each: regexp_full_match(each, ?))", [every, for_duckdb(of)]
    ).fetchone()
    wanted = [each for each in every if re.fullmatch(of, each)]
    newer = set(found[0]) ^ set(wanted)
    assert all(ord(each) > 0xFFFF for each in newer), "but for scripts of another Unicode's version"
    assert len(newer) < 100


@pytest.mark.parametrize(
    "pattern",
    [r"\w+", r"\bx", "(?i)a", "(?=a)b", r"(a)\1", "a$b", "b^", "(?P<n>a)", "a{2000}", "[a--b]",
     r"\Z", "a{,3}", "a++"],
)  # fmt: skip
def test_a_pattern_that_the_two_read_differently_is_refused(pattern):
    with pytest.raises(UsageError, match="does not understand as Python does"):
        for_duckdb(pattern)


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ({"a": {"unique": True}, "b": {"unique": True}}, "'a' and 'b' are unique each"),
        ({"a": {"type": "list", "unique": True}}, "is unique and a list"),
    ],
)
def test_what_cannot_be_one_select_is_refused(rules, said):
    with pytest.raises(UsageError, match=said):
        compile_contract(
            {name: FieldRule(**rule) for name, rule in rules.items()},
            allows_others=True,
            has_strings_only=False,
        )


def test_names_and_values_cannot_leave_their_quotes():
    name = "x'; DROP TABLE records; --"
    rules = {name: FieldRule(values=("it's",), pattern="'+.*")}
    how = {"allows_others": False, "has_strings_only": False}
    records = [{name: "it's"}, {name: "no"}, {string.ascii_letters: 1}]
    assert by_sql(rules, records, **how) == by_python(rules, records, **how)
    assert json.dumps(by_sql(rules, records, **how)[1][0]) == '"unknown-value"'
