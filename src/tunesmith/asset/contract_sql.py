"""A contract as SQL: for each record the first rule that it breaks, just as `Contract` finds it.

Python checks while it reads; this is for those who want to see, or run, the same where the data is.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

from tunesmith.asset.contract import FieldRule
from tunesmith.asset.patterns import SPACES, for_duckdb
from tunesmith.core.errors import UsageError
from tunesmith.core.quoting import sql_text

_DATE = (
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"([Tt ]([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9]([.,][0-9]{1,9})?)?"
    r"(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])?)?"
)
_KINDS = {"boolean": "BOOLEAN", "list": "ARRAY", "object": "OBJECT"}
_SAID = {
    "integer": f"{SPACES}[+-]?[0-9]{{1,30}}{SPACES}",
    "number": rf"{SPACES}[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{{1,3}})?{SPACES}",
    "boolean": f"{SPACES}([Tt][Rr][Uu][Ee]|[Ff][Aa][Ll][Ss][Ee]|[Yy][Ee][Ss]|[Nn][Oo]){SPACES}",
}
_NUMBERS = {
    "integer": "[+]?(-?[0-9]+)",
    "number": r"[+]?(-?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?)",
}
"""What of such a text is the number."""


def compile_contract(
    rules: Mapping[str, FieldRule], *, allows_others: bool, has_strings_only: bool
) -> str:
    """A SELECT of DuckDB over the table `records`, with the columns `place` (their order),
    `pointer` and `fields` (a JSON object): `place`, `pointer`, and the `rule` that is broken first
    with its `field`, both NULL of a record that breaks none.

    A date is read in ISO 8601's extended forms; Python also takes its basic forms and its weeks.

    Raises:
        UsageError: it cannot be one SELECT: several fields are unique, so that which record is kept
            depends on which were kept before; one of lists or objects is; or a pattern cannot be
            said in SQL.
    """
    unique = [name for name, rule in rules.items() if rule.unique]
    if len(unique) > 1:
        raise UsageError(
            f"{' and '.join(map(repr, unique))} are unique each: which record is kept depends on "
            "which were kept before, which one SELECT cannot tell",
            remedy="leave one of them unique, and let a check count the duplicates of the other",
        )
    cases: list[tuple[str, str, str]] = []
    if not allows_others and rules:
        known = ", ".join(sql_text(name) for name in rules)
        unknown = f"len(list_filter(json_keys(fields), lambda k: k NOT IN ({known}))) > 0"
        cases.append((unknown, "unknown-field", "NULL"))
    for number, (name, rule) in enumerate(rules.items()):
        cases += [(test, what, sql_text(name)) for test, what in _tests(number, rule)]
    said = [_said(number, name) for number, name in enumerate(rules)]
    read = [
        column
        for number, rule in enumerate(rules.values())
        for column in _read(number, rule, has_strings_only)
    ]
    others = _case([case for case in cases if case[1] != "not-unique"])
    first = _first(rules, unique)
    return "\n".join(
        [
            "WITH said AS (  -- of each field the type and the text",
            f"  SELECT place, pointer, fields{_listed(said)}",
            "  FROM records),",
            "looked AS (  -- what it is, with nothing and an empty text the same, and its value",
            f"  SELECT place, pointer, fields{_listed(read)}",
            "  FROM said),",
            "judged AS (  -- what is wrong with it beside a value that is there already",
            f"  SELECT *,\n    {others} AS other",
            "  FROM looked),",
            "ranked AS (  -- where its unique value comes first",
            f"  SELECT *,\n    {first} AS first_place",
            "  FROM judged),",
            "broken AS (",
            f"  SELECT place, pointer,\n    {_case(cases)} AS what",
            "  FROM ranked)",
            "SELECT place, pointer, what.rule, what.field FROM broken ORDER BY place",
        ]
    )


def _listed(columns: list[str]) -> str:
    return "".join(f",\n    {column}" for column in columns)


def _said(number: int, name: str) -> str:
    at = sql_text("/" + name.replace("~", "~0").replace("/", "~1"))
    kind, said = f"json_type(fields, {at})", f"json_extract_string(fields, {at})"
    return f"coalesce({kind}, 'NULL') AS t{number}, {said} AS s{number}"


def _read(number: int, rule: FieldRule, has_strings_only: bool) -> list[str]:
    """Of the field `number`: what it is (`k`), and its value as text (`v`), as Python reads it."""
    kind, said, value = f"t{number}", f"s{number}", f"s{number}"
    whens = [f"WHEN {kind} = 'VARCHAR' AND {said} = '' THEN 'NULL'"]
    if has_strings_only and rule.type not in ("string", "date"):
        read_as = {"integer": "INTEGER", "number": "NUMBER", **_KINDS}[rule.type]
        says = f"json_valid({said}) AND json_type(try_cast({said} AS JSON)) = '{read_as}'"
        if rule.type in _SAID:
            says = f"regexp_full_match({said}, {sql_text(_SAID[rule.type])})"
        whens.append(f"WHEN {kind} = 'VARCHAR' AND {says} THEN '{read_as}'")
        if rule.type in _NUMBERS:
            value = f"regexp_extract({said}, {sql_text(_NUMBERS[rule.type])}, 1)"
    elif rule.type in _NUMBERS:
        whole = f"regexp_full_match({said}, '-?[0-9]+')"
        is_number = f"{kind} IN ('UBIGINT', 'BIGINT', 'DOUBLE')"
        whens.append(f"WHEN {is_number} THEN CASE WHEN {whole} THEN 'INTEGER' ELSE 'NUMBER' END")
    return [f"CASE {' '.join(whens)} ELSE {kind} END AS k{number}", f"{value} AS v{number}"]


def _tests(number: int, rule: FieldRule) -> list[tuple[str, str]]:
    """(what is true of a record that breaks it, the rule's name), in the order of `Contract`."""
    kind, said = f"k{number}", f"v{number}"
    tests = [(f"{kind} = 'NULL'", "missing-field")] if rule.required else []
    is_type = {
        "string": f"{kind} = 'VARCHAR'",
        "date": f"({kind} = 'VARCHAR' AND {_is_date(said)})",
        "integer": f"{kind} = 'INTEGER'",
        "number": f"{kind} IN ('INTEGER', 'NUMBER')",
    }.get(rule.type) or f"{kind} = '{_KINDS.get(rule.type, '')}'"
    more = [(f"NOT {is_type}", "wrong-type")]
    if rule.values:
        more.append((f"NOT {_is_among(rule, said)}", "unknown-value"))
    if rule.min_chars:
        more.append((f"length({said}) < {rule.min_chars}", "wrong-length"))
    if rule.max_chars is not None:
        more.append((f"length({said}) > {rule.max_chars}", "wrong-length"))
    if rule.pattern:
        pattern = sql_text(for_duckdb(rule.pattern))
        more.append((f"NOT regexp_full_match({said}, {pattern})", "wrong-form"))
    if rule.minimum is not None:
        more.append((_compared(said, "<", rule.minimum), "out-of-range"))
    if rule.maximum is not None:
        more.append((_compared(said, ">", rule.maximum), "out-of-range"))
    if rule.unique:
        more.append(("first_place < place", "not-unique"))
    return tests + [(f"{kind} <> 'NULL' AND {test}", what) for test, what in more]


def _is_date(said: str) -> str:
    form = f"regexp_full_match({said}, {sql_text(_DATE)})"
    return f"({form} AND try_cast({said}[1:10] AS DATE) IS NOT NULL AND {said}[1:4] <> '0000')"


def _is_among(rule: FieldRule, said: str) -> str:
    if rule.type in ("string", "date"):
        return f"{said} IN ({', '.join(sql_text(str(value)) for value in rule.values)})"
    values = [_number(float(value)) for value in rule.values]
    return f"try_cast({said} AS DOUBLE) IN ({', '.join(values)})"


def _compared(said: str, sign: str, bound: float) -> str:
    """An integer is compared as one, as far as it has 38 digits."""
    double = f"try_cast({said} AS DOUBLE) {sign} {_number(bound)}"
    if not math.isfinite(bound) or abs(bound) > 1e37:
        return f"({double})"
    nearest = math.ceil(bound) if sign == "<" else math.floor(bound)
    whole = f"try_cast(regexp_extract({said}, '^-?[0-9]+$') AS HUGEINT)"
    return f"coalesce({whole} {sign} {nearest}::HUGEINT, {double})"


def _first(rules: Mapping[str, FieldRule], unique: list[str]) -> str:
    """The place of the first record that breaks no other rule and has the same unique value."""
    if not unique:
        return "NULL::BIGINT"
    number, rule = list(rules).index(unique[0]), rules[unique[0]]
    if rule.type in ("list", "object"):
        raise UsageError(
            f"{unique[0]!r} is unique and a {rule.type}: when two of them are the same depends on "
            "how they are written, which SQL does not see",
            remedy="make a field unique that is a string or a number",
        )
    said = f"v{number}"
    same = {
        "integer": f"coalesce(try_cast({said} AS HUGEINT)::VARCHAR, {said})",
        "number": f"CASE k{number} WHEN 'INTEGER' THEN {said} "
        f"ELSE 'f' || try_cast({said} AS DOUBLE)::VARCHAR END",
        "boolean": f"lower(regexp_extract({said}, '[A-Za-z]')) IN ('t', 'y')",
    }.get(rule.type, said)
    clean = f"other IS NULL AND k{number} <> 'NULL'"
    return f"min(CASE WHEN {clean} THEN place END) OVER (PARTITION BY {same})"


def _case(cases: list[tuple[str, str, str]]) -> str:
    """The first of (what is true, rule, field) as a struct; NULL where none is."""
    nothing = "NULL::STRUCT(rule VARCHAR, field VARCHAR)"
    if not cases:
        return nothing
    whens = [f"WHEN {test} THEN {{rule: '{rule}', field: {field}}}" for test, rule, field in cases]
    return "CASE " + "\n      ".join(whens) + f"\n      ELSE {nothing} END"


def _number(value: float) -> str:
    return f"{sql_text(json.dumps(value))}::DOUBLE"
