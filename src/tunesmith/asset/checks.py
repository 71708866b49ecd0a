"""What must hold of all rows of a data asset together, counted in DuckDB; see `contract` for what
must hold of each."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import model_validator

from tunesmith.asset.contract import FieldRule
from tunesmith.asset.patterns import for_duckdb
from tunesmith.core.errors import DataError
from tunesmith.core.quoting import sql_name, sql_text
from tunesmith.core.section import Expression, Section
from tunesmith.records.contract import CheckResult

if TYPE_CHECKING:
    import duckdb

_OPERATORS: Mapping[str, tuple[str, str]] = {
    "must_be": ("{v} = {0}", "to be {0:g}"),
    "must_not_be": ("{v} <> {0}", "not to be {0:g}"),
    "must_be_greater_than": ("{v} > {0}", "to be greater than {0:g}"),
    "must_be_greater_or_equal_to": ("{v} >= {0}", "to be at least {0:g}"),
    "must_be_less_than": ("{v} < {0}", "to be less than {0:g}"),
    "must_be_less_or_equal_to": ("{v} <= {0}", "to be at most {0:g}"),
    "must_be_between": ("{v} BETWEEN {0} AND {1}", "to be from {0:g} to {1:g}"),
    "must_not_be_between": ("{v} NOT BETWEEN {0} AND {1}", "not to be from {0:g} to {1:g}"),
}
_READ_BY = {
    "values": ("missing_values", "invalid_values"),
    "pattern": ("invalid_values",),
    "query": ("sql",),
    "counts_nothing": ("missing_values",),
}
_TYPES = {"integer": "HUGEINT", "number": "DOUBLE", "boolean": "BOOLEAN"}
Pair = tuple[float, float]


class TableCheck(Section):
    """What must hold of all rows of a source together: an entry of its `checks`."""

    name: str = ""
    """What people call it."""
    metric: Literal[
        "row_count", "null_values", "missing_values", "invalid_values", "duplicate_values", "sql"
    ]
    """What is counted of the rows that break no rule of the contract: all; those with nothing in
    the field; with nothing, or one of `values`; with something that is none of `values`, or does
    not match `pattern`; those that say in `fields` what a row before them said; or what `query`
    says."""
    fields: tuple[str, ...] = ()
    """The field that is looked at; of duplicates, all that have to be the same."""
    values: tuple[str | int | float | bool, ...] = ()
    """Of missing values, what counts as missing; of invalid ones, what is valid."""
    counts_nothing: bool = True
    """Of missing values, whether a field that is not there, or is null, is one."""
    pattern: Expression = ""
    """What a valid value matches as a whole."""
    query: str = ""
    """One SELECT of one number, or of a boolean (1 or 0), from the table `rows`, which has a column
    for each field that the contract names."""
    unit: Literal["rows", "percent"] = "rows"
    """Whether rows are counted, or their share of all."""
    must_be: float | None = None
    """What the number has to be."""
    must_not_be: float | None = None
    """What it must not be."""
    must_be_greater_than: float | None = None
    """It has to be greater."""
    must_be_greater_or_equal_to: float | None = None
    """It has to be at least this."""
    must_be_less_than: float | None = None
    """It has to be less."""
    must_be_less_or_equal_to: float | None = None
    """It has to be at most this."""
    must_be_between: Pair | None = None
    """It has to be one of these, or between them."""
    must_not_be_between: Pair | None = None
    """It must be neither one of these nor between them."""
    severity: Literal["error", "warning"] = "error"
    """Whether the run stops where it does not hold, or the record says so."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        for key, metrics in _READ_BY.items():
            default = type(self).model_fields[key].default  # which is there when it is read again
            if getattr(self, key) != default and self.metric not in metrics:
                raise ValueError(f"{key} is not read with metric {self.metric!r}")
        wanted = {"row_count": 0, "sql": 0, "duplicate_values": None}.get(self.metric, 1)
        if not self.fields if wanted is None else len(self.fields) != wanted:
            number = "at least one field" if wanted is None else f"{wanted} fields"
            raise ValueError(f"metric {self.metric!r} is of {number}, not {len(self.fields)}")
        if self.metric == "invalid_values" and not (self.values or self.pattern):
            raise ValueError("say what is valid: values or pattern")
        if self.metric == "sql" and not self.query.strip():
            raise ValueError("metric 'sql' needs query")
        if self.unit == "percent" and self.metric in ("row_count", "sql"):
            raise ValueError(f"metric {self.metric!r} is not a share of the rows")
        if not self.bounds():
            raise ValueError(f"say what it must be, with one of {', '.join(_OPERATORS)}")
        if self.pattern:
            for_duckdb(self.pattern)
        return self

    def bounds(self) -> dict[str, Pair]:
        """What is set of the operators."""
        given = {key: getattr(self, key) for key in _OPERATORS}
        return {
            key: value if isinstance(value, tuple) else (value, value)
            for key, value in given.items()
            if value is not None
        }

    def what(self) -> str:
        """What is counted, in a few words."""
        of = f" of {', '.join(self.fields)}" if self.fields else ""
        return f"{self.metric}{of}{' in percent' if self.unit == 'percent' else ''}"

    def wanted(self) -> str:
        """What the number has to be, in words."""
        said = [_OPERATORS[key][1].format(*pair) for key, pair in self.bounds().items()]
        return " and ".join(said)

    def holds_sql(self) -> str:
        """A condition on `value`."""
        said = [_OPERATORS[key][0].format(*pair, v="value") for key, pair in self.bounds().items()]
        return " AND ".join(said)

    def value_sql(self) -> str:
        """A SELECT of the number, as `value`, from the table `rows`."""
        if self.metric == "sql":
            return f"SELECT * FROM ({self.query.strip().rstrip(';')}) AS counted(value)"  # noqa: S608
        columns = [sql_name(field) for field in self.fields]
        if self.metric == "duplicate_values":
            there = " AND ".join(f"{column} IS NOT NULL" for column in columns)
            group = ", ".join(columns)
            counted = f"count(*) FILTER ({there}) - count(DISTINCT ({group})) FILTER ({there})"
        else:
            counted = f"count(*) FILTER ({self._is_counted(columns[0] if columns else '')})"
        if self.unit == "percent":
            counted = f"coalesce(100.0 * ({counted}) / nullif(count(*), 0), 0)"
        return f"SELECT {counted} AS value FROM rows"  # noqa: S608

    def _is_counted(self, column: str) -> str:
        among = " OR ".join(_is_value(column, value) for value in self.values) or "false"
        if self.metric == "row_count":
            return "true"
        if self.metric == "null_values":
            return f"{column} IS NULL"
        if self.metric == "missing_values":
            return f"({among}){f' OR {column} IS NULL' if self.counts_nothing else ''}"
        tests = [f"NOT ({among})"] if self.values else []
        if self.pattern:
            pattern = sql_text(for_duckdb(self.pattern))
            tests.append(f"NOT regexp_full_match({column}::VARCHAR, {pattern})")
        return f"{column} IS NOT NULL AND ({' OR '.join(tests)})"


def rows_sql(
    checks: Sequence[TableCheck], rules: Mapping[str, FieldRule], has_strings_only: bool
) -> str:
    """The SELECT of the table `rows` of DuckDB from the table `accepted`, whose column `attributes`
    is a JSON object: a column for each field that the contract or a check names.

    In formats that know strings only, an empty one is nothing.
    """
    names = dict.fromkeys([*rules, *(name for check in checks for name in check.fields)])
    columns = []
    for name in names:
        said = f"json_extract_string(attributes, {sql_text('/' + _escaped(name))})"
        said = f"nullif({said}, '')" if has_strings_only else said
        kind = _TYPES.get(rules[name].type) if name in rules else None
        columns.append(f"try_cast({said} AS {kind})" if kind else said)
        columns[-1] += f" AS {sql_name(name)}"
    return f"SELECT {', '.join(columns) or '1 AS one'} FROM accepted"  # noqa: S608


def evaluate(
    checks: Sequence[TableCheck],
    rules: Mapping[str, FieldRule],
    rows: Path,
    *,
    has_strings_only: bool,
) -> list[CheckResult]:
    """What the checks find of the rows of a Parquet file with the column `attributes`.

    Raises:
        DataError: a query is no single SELECT of a number, or it fails.
    """
    if not checks:
        return []
    with _locked(checks, rules, rows, has_strings_only) as connection:
        return [_evaluated(connection, check) for check in checks]


def all_hold(results: Sequence[CheckResult]) -> bool:
    """Whether all do, warnings aside."""
    return all(each.holds or each.severity != "error" for each in results)


def require(results: Sequence[CheckResult], of: str) -> tuple[str, ...]:
    """What does not hold and is a warning, a sentence each.

    Raises:
        DataError: something does not hold and is an error.
    """
    lost = [each.said() for each in results if not each.holds and each.severity == "error"]
    if lost:
        raise DataError(
            "\n  ".join([f"{of} does not keep its contract:", *lost]),
            remedy="see what changed in what it comes from; or change the check, or "
            'give it severity "warning"',
        )
    return tuple(each.said() for each in results if not each.holds)


@contextlib.contextmanager
def _locked(
    checks: Sequence[TableCheck], rules: Mapping[str, FieldRule], rows: Path, strings_only: bool
) -> Iterator[duckdb.DuckDBPyConnection]:
    """A database in memory with the table `rows`, which reads nothing else any more."""
    from tunesmith.asset.scratch import lock, scratch_database  # for those who have checks

    with scratch_database() as connection:
        given = f"SELECT attributes FROM read_parquet({sql_text(str(rows))})"  # noqa: S608
        select = rows_sql(checks, rules, strings_only)
        connection.execute(f"CREATE TABLE rows AS WITH accepted AS ({given}) {select}")
        lock(connection)
        yield connection


def _evaluated(connection: duckdb.DuckDBPyConnection, check: TableCheck) -> CheckResult:
    import duckdb

    try:
        if check.metric == "sql":
            kinds = [each.type for each in connection.extract_statements(check.query)]
            if kinds != [duckdb.StatementType.SELECT]:
                raise _bad(check, "it is not one SELECT and nothing else")
            if len(connection.execute(f"DESCRIBE {check.query}").fetchall()) != 1:
                raise _bad(check, "it does not say one number")
        found = connection.execute(
            f"SELECT value::DOUBLE, {check.holds_sql()} "  # noqa: S608
            f"FROM (SELECT value::DOUBLE AS value FROM ({check.value_sql()}))"
        ).fetchmany(2)
    except duckdb.Error as error:
        raise _bad(check, " ".join(str(error).split())[:300]) from error
    if len(found) != 1 or found[0][0] is None:
        raise _bad(check, "it does not say one number")
    return CheckResult(
        name=check.name,
        what=check.what(),
        value=found[0][0],
        wanted=check.wanted(),
        holds=bool(found[0][1]),
        severity=check.severity,
    )


def _bad(check: TableCheck, what: str) -> DataError:
    return DataError(
        f"check {check.name or check.what()!r}: {what}",
        remedy="its query is one SELECT of one number from the table `rows`, which has a column "
        "for each field of the contract",
    )


def _is_value(column: str, value: Any) -> str:
    if isinstance(value, bool):
        return f"lower({column}::VARCHAR) = '{str(value).lower()}'"
    if isinstance(value, int | float):
        return f"coalesce(try_cast({column} AS DOUBLE) = {value!r}::DOUBLE, false)"
    return f"coalesce({column}::VARCHAR = {sql_text(value)}, false)"


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")
