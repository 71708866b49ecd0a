"""Contracts as files of the Open Data Contract Standard (Bitol, ODCS v3): read and written.

What of the standard is for people is read over; what is a rule is kept, or refused by its name: no
rule is there that nobody checks. https://bitol-io.github.io/open-data-contract-standard
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydantic

from tunesmith.asset.checks import TableCheck
from tunesmith.asset.contract import FieldRule
from tunesmith.core.errors import ConfigError, DataError, NotFound
from tunesmith.core.quoting import sql_name
from tunesmith.stages.ingest import odcs_shape as shape
from tunesmith.stages.ingest.config import SourceConfig
from tunesmith.stages.ingest.local import plain_file
from tunesmith.stages.ingest.odcs_sla import refresh_within, written

VERSIONS = ("v3.0.0", "v3.0.1", "v3.0.2", "v3.1.0", "v3.2.0")
_FOR_PEOPLE = frozenset(
    {"id", "description", "tags", "authoritativeDefinitions", "customProperties", "businessName"}
)
_OF_FILE = _FOR_PEOPLE | {
    "name", "tenant", "domain", "dataProduct", "team", "support", "roles", "servers", "price",
    "contractCreatedTs",
}  # fmt: skip
_OF_OBJECT = _FOR_PEOPLE | {
    "physicalName", "physicalType", "dataGranularityDescription", "deprecated", "synonyms",
}  # fmt: skip
_OF_PROPERTY = _FOR_PEOPLE | {
    "physicalType", "classification", "transformSourceObjects", "transformLogic",
    "transformDescription", "examples", "criticalDataElement", "partitioned",
    "partitionKeyPosition", "primaryKeyPosition", "deprecated", "synonyms", "semanticType",
}  # fmt: skip
_OF_QUALITY = _FOR_PEOPLE | {"dimension", "businessImpact", "method"}
_TYPES = {
    "string": "string", "integer": "integer", "number": "number", "boolean": "boolean",
    "date": "date", "timestamp": "date", "array": "list", "object": "object",
}  # fmt: skip
_OPTIONS = {
    "string": {"minLength": "min_chars", "maxLength": "max_chars", "pattern": "pattern"},
    "integer": {"minimum": "minimum", "maximum": "maximum"},
    "number": {"minimum": "minimum", "maximum": "maximum"},
}
_METRICS = {
    "rowCount": "row_count", "nullValues": "null_values", "missingValues": "missing_values",
    "invalidValues": "invalid_values", "duplicateValues": "duplicate_values",
}  # fmt: skip
_OPERATORS = {
    "mustBe": "must_be", "mustNotBe": "must_not_be", "mustBeGreaterThan": "must_be_greater_than",
    "mustBeGreaterOrEqualTo": "must_be_greater_or_equal_to",
    "mustBeLessThan": "must_be_less_than", "mustBeLessOrEqualTo": "must_be_less_or_equal_to",
    "mustBeBetween": "must_be_between", "mustNotBeBetween": "must_not_be_between",
}  # fmt: skip
_ARGUMENTS = {
    "missing_values": {"missingValues"},
    "invalid_values": {"validValues", "pattern"},
    "duplicate_values": {"properties"},
}
_WHOLE = ("^(?:", ")$")


def with_contract_file(source: SourceConfig, project: Path) -> SourceConfig:
    """A source whose contract is in a file, with what the file says.

    Raises:
        ConfigError: the file is not there, is none of the standard, or has a rule that is not
            checked here.
    """
    if not source.contract_file:
        return source
    key = f"source.{source.name}.contract_file"
    try:
        data = plain_file(project, project / source.contract_file).read_bytes()
        said = read(data, source.name)
    except (DataError, NotFound) as error:
        message = f"{source.contract_file}: {error.message}"
        raise ConfigError(key, message, remedy=error.remedy) from error
    found: dict[str, Any] = {"contract": said.contract, "checks": said.checks, "contract_file": ""}
    if said.refresh_within is not None:
        if source.refresh_within not in (None, said.refresh_within):
            raise ConfigError(
                f"source.{source.name}.refresh_within",
                f"it is {source.refresh_within} here and {said.refresh_within} days in the "
                f"slaProperties of {source.contract_file}",
                remedy="say it once",
            )
        found |= {"refresh_within": said.refresh_within}
    return source.model_copy(update=found)


@dataclass(frozen=True, kw_only=True, slots=True)
class Contract:
    """What a file of the standard says of a source, by its settings."""

    contract: Mapping[str, FieldRule]
    checks: tuple[TableCheck, ...]
    refresh_within: int | None


def read(data: bytes, source: str) -> Contract:
    """The rules for each record, for all rows together, and how old they may be, of a file of the
    standard. A file with several tables has to have one of the source's name.

    What no row may break is a rule for each record: a metric of a property that must be 0.

    Raises:
        DataError: it is none of the standard, or has what is not read here; says where.
    """
    from tunesmith.stages.ingest.odcs_yaml import parse  # YAML is for those who have a file

    file = shape.mapping(parse(data), "the file")
    shape.known(file, "the file", _OF_FILE | {"apiVersion", "kind", "version", "status", "schema",
                                      "slaProperties"})  # fmt: skip
    if file.get("kind") != "DataContract" or file.get("apiVersion") not in VERSIONS:
        raise shape.bad(
            "the file", f"it is no DataContract of {VERSIONS[0]} to {VERSIONS[-1]}", "say kind and "
            "apiVersion",
        )  # fmt: skip
    for key in ("id", "version", "status"):
        if not isinstance(file.get(key), str):
            raise shape.bad(
                "the file", f"it has no {key}, or it is no string", "the standard needs it"
            )
    tables = [shape.mapping(each, "schema") for each in shape.listed(file.get("schema"), "schema")]
    named = [each for each in tables if each.get("name") == source] or tables
    if len(named) != 1:
        raise shape.bad("schema", f"none of its {len(tables)} tables is {source!r}", "name one so")
    rules, checks = _table(named[0])
    dates = [name for name, rule in rules.items() if rule.type == "date"]
    others = [str(each.get("name")) for each in tables if each is not named[0]]
    promised = refresh_within(
        file.get("slaProperties", []), str(named[0].get("name")), dates, others
    )
    return Contract(contract=rules, checks=checks, refresh_within=promised)


def _table(table: Mapping[str, Any]) -> tuple[dict[str, FieldRule], tuple[TableCheck, ...]]:
    shape.known(table, "schema", _OF_OBJECT | {"name", "logicalType", "properties", "quality"})
    rules: dict[str, FieldRule] = {}
    checks: list[TableCheck] = []
    keys: list[str] = []
    for each in shape.listed(table.get("properties", []), "properties"):
        given = shape.mapping(each, "properties")
        name = given.get("name")
        if not isinstance(name, str) or not name or name in rules:
            raise shape.bad(
                "properties", f"one has no name, or one of another: {name!r}", "name it"
            )
        if given.get("primaryKey"):
            keys.append(name)
        own = list(_quality(given.get("quality", []), f"properties.{name}.quality", name))
        strict = [check for check in own if _is_of_each(check)]
        checks += [check for check in own if not _is_of_each(check)]
        rules[name] = _rule(name, given, strict)
    if len(keys) == 1:
        rules[keys[0]] = rules[keys[0]].model_copy(update={"unique": True})
    elif keys:
        key = TableCheck(
            name="primary key", metric="duplicate_values", fields=tuple(keys), must_be=0
        )
        checks.append(key)
    checks += _quality(table.get("quality", []), "quality", "")
    return rules, tuple(checks)


def _rule(name: str, given: Mapping[str, Any], strict: list[TableCheck]) -> FieldRule:
    where = f"properties.{name}"
    own = {
        "name", "logicalType", "logicalTypeOptions", "required", "unique", "primaryKey", "enum",
        "quality", "physicalName",
    }  # fmt: skip
    shape.known(given, where, _OF_PROPERTY | own)
    if given.get("physicalName", name) != name:
        raise shape.bad(where, "physicalName is another name", "name it as the records do")
    logical = given.get("logicalType")
    if logical not in _TYPES:
        raise shape.bad(where, f"logicalType {logical!r}", f"there is: {', '.join(_TYPES)}")
    is_key = shape.flag(given, where, "primaryKey")
    made: dict[str, Any] = {
        "type": _TYPES[logical],
        "required": shape.flag(given, where, "required") or is_key,
        "unique": shape.flag(given, where, "unique"),
    }
    options = shape.mapping(given.get("logicalTypeOptions", {}), f"{where}.logicalTypeOptions")
    shape.known(options, f"{where}.logicalTypeOptions", _OPTIONS.get(logical, {}).keys())
    for key, value in options.items():
        made[_OPTIONS[logical][key]] = _pattern(where, value) if key == "pattern" else value
    if "enum" in given:
        entries = [
            shape.mapping(each, f"{where}.enum") for each in shape.listed(given["enum"], where)
        ]
        made["values"] = [each.get("value") for each in entries]
    for check in strict:
        made |= {"unique": True} if check.metric == "duplicate_values" else {}
        made |= {"required": True} if check.metric in ("null_values", "missing_values") else {}
        if check.metric == "invalid_values":
            twice = {"values", "pattern"} & made.keys() & check.model_fields_set
            if twice:
                raise shape.bad(where, f"{twice.pop()} is said twice", "say it once")
            made |= {"values": check.values} if check.values else {}
            made |= {"pattern": check.pattern} if check.pattern else {}
    try:
        return FieldRule(**made)
    except pydantic.ValidationError as error:
        said = error.errors()[0]
        at = ".".join(map(str, said["loc"]))
        raise shape.bad(
            where, f"{at} {said['msg']}".strip(), "see the type of the property"
        ) from None


def _is_of_each(check: TableCheck) -> bool:
    """Whether no row may break it, so that each that does goes to the quarantine."""
    nothing = check.metric != "missing_values" or (
        check.counts_nothing and set(check.values) <= {""}
    )
    is_one = check.bounds() == {"must_be": (0.0, 0.0)} and check.severity == "error"
    return is_one and nothing and len(check.fields) == 1 and check.metric != "sql"


def _quality(given: Any, where: str, name: str) -> Iterator[TableCheck]:
    own = {"name", "type", "metric", "arguments", "unit", "query", "severity"}
    for each in shape.listed(given, where):
        rule = shape.mapping(each, where)
        kind = rule.get("type", "library")
        if kind == "text":  # the standard says of it that it is for people
            continue
        shape.known(rule, where, _OF_QUALITY | own | _OPERATORS.keys())
        if kind == "sql":
            query = str(rule.get("query", "")).replace("{object}", "rows")
            made: dict[str, Any] = {"metric": "sql", "query": _of_property(query, where, name)}
        elif kind == "library" and rule.get("metric") in _METRICS:
            metric = _METRICS[rule["metric"]]
            made = {"metric": metric, "fields": [name] if name else []}
            made |= _arguments(shape.mapping(rule.get("arguments", {}), where), where, metric)
        else:
            what = f"metric {rule.get('metric')!r}" if kind == "library" else f"type {kind!r}"
            raise shape.bad(
                where, what, f"there is type sql, and the metrics {', '.join(_METRICS)}"
            )
        severity = rule.get("severity", "error")
        if severity not in ("error", "warning", "info"):
            raise shape.bad(where, f"severity {severity!r}", "there is: error, warning, info")
        made |= {"severity": "error" if severity == "error" else "warning"}
        made |= {key: rule[key] for key in ("name", "unit") if key in rule}
        made |= {_OPERATORS[key]: rule[key] for key in _OPERATORS if key in rule}
        try:
            yield TableCheck(**made)
        except pydantic.ValidationError as error:
            said = error.errors()[0]
            at = ".".join(map(str, said["loc"]))
            raise shape.bad(where, f"{at} {said['msg']}".strip(), "see the standard") from None


def _arguments(given: Mapping[str, Any], where: str, metric: str) -> dict[str, Any]:
    shape.known(given, f"{where}.arguments", _ARGUMENTS.get(metric, set()))
    made: dict[str, Any] = {}
    if metric == "missing_values":
        listed = shape.listed(given.get("missingValues", [None, ""]), where)
        made["counts_nothing"] = None in listed
        made["values"] = [value for value in listed if value is not None]
    if "validValues" in given:
        made["values"] = shape.listed(given["validValues"], where)
    if "pattern" in given:
        made["pattern"] = _pattern(where, given["pattern"])
    if "properties" in given:
        made["fields"] = shape.listed(given["properties"], where)
    return made


def _of_property(query: str, where: str, name: str) -> str:
    if "{property}" in query and not name:
        raise shape.bad(
            where, "its query has {property}, and it is of no property", "name the field"
        )
    return query.replace("{property}", sql_name(name))


def _pattern(where: str, given: Any) -> str:
    """An expression for the whole of a string; others mean a part of it, or not, by the reader."""
    if not (isinstance(given, str) and given.startswith("^") and given.endswith("$")):
        raise shape.bad(
            where, f"pattern {given!r} does not say where it begins and ends",
            "begin it with ^ and end it with $; to match a part, write ^.*(?:...).*$",
        )  # fmt: skip
    if given.startswith(_WHOLE[0]) and given.endswith(_WHOLE[1]):
        return given[len(_WHOLE[0]) : -len(_WHOLE[1])]
    return given


# Writing.


def write(source: SourceConfig) -> str:
    """The contract of a source in the standard's form (v3.1.0)."""
    import yaml

    table: dict[str, Any] = {
        "name": source.name,
        "logicalType": "object",
        "properties": [_property(name, rule) for name, rule in source.contract.items()],
    }
    if source.checks:
        table["quality"] = [_check(check) for check in source.checks if not _of_one(check)]
    for check in source.checks:
        if _of_one(check):
            (given,) = (each for each in table["properties"] if each["name"] == check.fields[0])
            given.setdefault("quality", []).append(_check(check))
    file = {
        "apiVersion": "v3.1.0",
        "kind": "DataContract",
        "id": source.name,
        "name": source.name,
        "version": "1.0.0",
        "status": "active",
        "schema": [table],
    }
    if source.refresh_within is not None:
        file["slaProperties"] = [written(source.refresh_within)]
    return yaml.safe_dump(file, sort_keys=False, allow_unicode=True, width=100)


def _of_one(check: TableCheck) -> bool:
    return len(check.fields) == 1


def _property(name: str, rule: FieldRule) -> dict[str, Any]:
    logical = {"list": "array"}.get(rule.type, rule.type)
    options = {
        key: getattr(rule, own)
        for key, own in _OPTIONS.get(logical, {}).items()
        if getattr(rule, own) != FieldRule.model_fields[own].default
    }
    if rule.pattern:
        options["pattern"] = rule.pattern.join(_WHOLE)
    valid = {"metric": "invalidValues", "mustBe": 0, "arguments": {"validValues": [*rule.values]}}
    return {
        "name": name,
        "logicalType": logical,
        "required": rule.required,
        **({"unique": True} if rule.unique else {}),
        **({"logicalTypeOptions": options} if options else {}),
        **({"quality": [valid]} if rule.values else {}),
    }


def _check(check: TableCheck) -> dict[str, Any]:
    made: dict[str, Any] = {"name": check.name} if check.name else {}
    if check.metric == "sql":
        made |= {"type": "sql", "query": check.query}
    else:
        made |= {"metric": {own: key for key, own in _METRICS.items()}[check.metric]}
    arguments: dict[str, Any] = {}
    if check.metric == "missing_values":
        nothing = [None] if check.counts_nothing else []
        arguments["missingValues"] = [*nothing, *check.values]
    elif check.values:
        arguments["validValues"] = [*check.values]
    if check.pattern:
        arguments["pattern"] = check.pattern.join(_WHOLE)
    if len(check.fields) > 1:
        arguments["properties"] = [*check.fields]
    made |= {"arguments": arguments} if arguments else {}
    made |= {"unit": check.unit} if check.unit == "percent" else {}
    for key, own in _OPERATORS.items():
        value = getattr(check, own)
        if value is not None:
            made[key] = [*value] if isinstance(value, tuple) else value
    return made | ({"severity": "warning"} if check.severity == "warning" else {})
