"""Promises of the Open Data Contract Standard (`slaProperties`): how old the newest row may be.

What a service promises of itself (when it ends, how often it may fail) is for people, as its team
and its price are. Of what it promises of rows, `freshness` is what the catalogue looks at.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from tunesmith.stages.ingest import odcs_shape as shape

_OF_SERVICE = frozenset(
    {"availability", "endOfLife", "endOfSupport", "errorRate", "generalAvailability", "throughput"}
    | {"timeOfAvailability", "timeToDetect", "timeToNotify", "timeToRepair"}
)
_KEYS = frozenset(
    {"id", "property", "value", "unit", "element", "driver", "description", "customProperties"}
    | {"authoritativeDefinitions"}
)
_HOURS = {
    **dict.fromkeys(("h", "hr", "hour", "hours"), 1),
    **dict.fromkeys(("d", "day", "days"), 24),
    **dict.fromkeys(("w", "week", "weeks"), 7 * 24),
    **dict.fromkeys(("y", "yr", "year", "years"), 365 * 24),
}
_SAY = "write {property: freshness, value: 2, unit: d}: the newest date lies 2 days back at most"


def refresh_within(
    given: Any, table: str, dates: Collection[str], others: Collection[str]
) -> int | None:
    """The most days that the newest date of a table may lie back; None where nothing is promised.

    `dates` are its fields of dates, `others` the other tables of the file.

    Raises:
        DataError: what is promised of rows is not looked at here, or is no whole number of days.
    """
    found: int | None = None
    for number, each in enumerate(shape.listed(given, "slaProperties")):
        where = f"slaProperties.{number}"
        promise = shape.mapping(each, where)
        kind = promise.get("property")
        if kind in _OF_SERVICE:
            continue
        if kind != "freshness":
            raise shape.bad(
                where, f"nobody would look at property {kind!r}", f"take it out, or {_SAY}"
            )
        shape.known(promise, where, _KEYS)
        if not _is_meant(promise.get("element"), where, table, dates, others):
            continue
        if found is not None:
            raise shape.bad(where, f"freshness of {table} is said twice", "say it once")
        found = _days(promise, where)
    return found


def written(days: int) -> Mapping[str, Any]:
    """The same promise in the standard's form."""
    return {"property": "freshness", "value": days, "unit": "d"}


def _is_meant(
    element: Any, where: str, table: str, dates: Collection[str], others: Collection[str]
) -> bool:
    """Whether a promise is about a table: about all of it, or about one of its fields of dates."""
    if element is None:
        return True
    if not isinstance(element, str):
        raise shape.bad(where, f"element {element!r} is no string", "name a table, or TABLE.FIELD")
    mine = []
    for part in map(str.strip, element.split(",")):
        of, _, field = part.partition(".")
        if of == table or (of not in others and not field):
            mine.append(field if of == table else of)
        elif of not in others:
            raise shape.bad(where, f"element {part!r} is of no table here", f"name {table!r}")
    for field in mine:
        if field and field not in dates:
            raise shape.bad(
                where,
                f"element {field!r} is no date of {table}",
                f"name one of logicalType date or timestamp: {', '.join(dates) or 'there is none'}",
            )
    return bool(mine)


def _days(promise: Mapping[str, Any], where: str) -> int:
    value, unit = promise.get("value"), promise.get("unit", "d")
    if isinstance(value, str) and value.strip().isdecimal():
        value = int(value)
    hours = _HOURS.get(unit) if isinstance(unit, str) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or hours is None:
        raise shape.bad(where, f"{value!r} {unit!r} is no time", _SAY)
    days = value * hours / 24
    if not (days >= 1 and float(days).is_integer()):
        raise shape.bad(where, f"{value:g} {unit} is no whole number of days", _SAY)
    return int(days)
