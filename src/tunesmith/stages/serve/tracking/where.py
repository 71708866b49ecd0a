"""A `filter` and an `order_by`, as MLflow's clients write them, as conditions and orders."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Protocol, TypeVar, get_args

from tunesmith.core.errors import UsageError
from tunesmith.core.tracked.find import ATTRIBUTES, Condition, Operator, Order, Place

_PLACES: dict[str, Place] = {
    **dict.fromkeys(("attribute", "attributes", "attr", "run"), "attribute"),
    **dict.fromkeys(("metric", "metrics"), "metric"),
    **dict.fromkeys(("param", "params", "parameter", "parameters"), "param"),
    **dict.fromkeys(("tag", "tags"), "tag"),
    **dict.fromkeys(("dataset", "datasets"), "dataset"),
}
_SAME = {
    **dict.fromkeys(("run name", "Run name", "Run Name"), "run_name"),
    **dict.fromkeys(("Created", "created"), "start_time"),
}
_NUMBERS = (
    *("start_time", "end_time", "creation_time", "last_update_time", "experiment_id"),
    *("version_number", "timestamp", "creation_timestamp", "last_updated_timestamp"),
)
_KEY = r"""`(?P<ticked>[^`]+)`|"(?P<quoted>[^"]+)"|(?P<plain>[\w.\-/@]+)"""
_NAME = rf"((?P<place>[A-Za-z]+)\.)?({_KEY})"
_TEXT = r"""'(?:[^']|'')*'|"(?:[^"]|"")*\""""
_LIST = rf"\(\s*(?:{_TEXT})(?:\s*,\s*(?:{_TEXT}))*\s*\)"
_NUMBER = r"[-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?"
_VALUE = rf"(?P<list>{_LIST})|(?P<text>{_TEXT})|(?P<number>{_NUMBER})"
_OPERATOR = r"(?P<operator>NOT\s+IN|ILIKE|LIKE|IN|!=|<=|>=|=|<|>)"
_NULL = r"(?P<null>IS\s+(?:NOT\s+)?NULL)"
_CONDITION = re.compile(rf"\s*{_NAME}\s*(?:{_OPERATOR}\s*({_VALUE})|{_NULL}\b)\s*", re.IGNORECASE)
_AND = re.compile(r"AND\b", re.IGNORECASE)
_ORDER = re.compile(rf"\s*{_NAME}(\s+(?P<way>ASC|DESC))?\s*", re.IGNORECASE)
MAX_LENGTH = 10_000
MAX_CONDITIONS = 50
_IS = ("IS NULL", "IS NOT NULL")
ATTRIBUTE: tuple[Place, ...] = ("attribute",)


class Named(Protocol):
    """What has tags; of some kinds parameters and last points, too."""

    @property
    def tags(self) -> Mapping[str, str]:
        """By key."""


Record = TypeVar("Record", bound=Named)


def conditions(text: str, attributes: Collection[str] = tuple(ATTRIBUTES)) -> list[Condition]:
    """What a filter asks for; `attributes` are the names that stand without a place.

    Raises:
        UsageError: it cannot be read; the message shows from where on.

    >>> conditions("metrics.acc > 0.5 and tags.`a b` = 'x'")[1].key
    'a b'
    """
    found: list[Condition] = []
    position = 0
    while text.strip():
        match = _CONDITION.match(text, position)
        if match is None or len(text) > MAX_LENGTH or len(found) == MAX_CONDITIONS:
            raise _unreadable(text, position)
        found.append(_condition(match, attributes))
        position = match.end()
        if position == len(text):
            break
        joined = _AND.match(text, position)
        if joined is None:
            raise _unreadable(text, position)
        position = joined.end()
    return found


def orders(
    texts: Sequence[str],
    attributes: Collection[str] = tuple(ATTRIBUTES),
    places: Collection[Place] = get_args(Place),
) -> list[Order]:
    """What `order_by` asks for, which may be of `places`.

    Raises:
        UsageError: it cannot be read, or asks for what nothing is ordered by.
    """
    if len(texts) > MAX_CONDITIONS:
        raise UsageError(f"order_by has more than {MAX_CONDITIONS} parts")
    found = []
    for text in texts:
        match = _ORDER.fullmatch(text[:MAX_LENGTH])
        if match is None:
            raise _unreadable(text, 0)
        place, key = _named(match, attributes)
        if place not in places:
            raise UsageError(
                f"order_by {text[:60]!r} is not offered",
                remedy=f"order by one of {', '.join(attributes)}",
            )
        descending = (match["way"] or "").upper() == "DESC"
        found.append(Order(place=place, key=key, descending=descending))
    return found


def chosen(
    found: Sequence[Record],
    asked: Sequence[Condition],
    by: Sequence[Order],
    names: Mapping[str, str],
) -> list[Record]:
    """Those of which every condition holds, in an order; what is equal in it, or has no such value,
    stays as it was, and the latter comes last. `names` is attribute -> field of a record."""
    kept = [
        each
        for each in found
        if all(holds(one, _value(each, one.place, one.key, names)) for one in asked)
    ]
    for order in reversed(by):
        values = [_value(each, order.place, order.key, names) for each in kept]
        have = [pair for pair in zip(values, kept, strict=True) if pair[0] is not None]
        have.sort(key=lambda pair: pair[0], reverse=order.descending)  # type: ignore[arg-type, return-value]
        lack = [each for value, each in zip(values, kept, strict=True) if value is None]
        kept = [*(each for _, each in have), *lack]
    return kept


def _value(record: Named, place: Place, key: str, names: Mapping[str, str]) -> str | float | None:
    match place:
        case "attribute":
            value: str | float = getattr(record, names[key])
            return value
        case "tag":
            return record.tags.get(key)
        case "param":
            return getattr(record, "params", {}).get(key)
        case "metric":
            latest = {each.key: each.value for each in getattr(record, "latest", ())}
            found = latest.get(key)
            return None if found is None or math.isnan(found) else found
        case "dataset":
            return None


def holds(condition: Condition, value: str | float | None) -> bool:
    """Whether a condition is true of a value that is not asked for in SQL; what has none differs
    from every value, which clients rely on to leave some models out."""
    wanted = condition.value
    if condition.operator in _IS:
        return (value is None) == (condition.operator == "IS NULL")
    if value is None:
        return condition.operator in ("!=", "NOT IN")
    if condition.operator in ("IN", "NOT IN"):
        assert isinstance(wanted, tuple)
        return (value in wanted) == (condition.operator == "IN")
    if condition.operator in ("LIKE", "ILIKE"):
        pattern = re.escape(str(wanted)).replace("%", ".*").replace("_", ".")
        flags = re.DOTALL | (re.IGNORECASE if condition.operator == "ILIKE" else 0)
        return re.fullmatch(pattern, str(value), flags) is not None
    if isinstance(value, str) != isinstance(wanted, str):
        raise UsageError(f"{condition.key!r} is compared with a value of another kind")
    compare: dict[str, Callable[[Any, Any], bool]] = {
        "=": lambda a, b: a == b,
        "!=": lambda a, b: a != b,
        "<": lambda a, b: a < b,
        "<=": lambda a, b: a <= b,
        ">": lambda a, b: a > b,
        ">=": lambda a, b: a >= b,
    }
    return compare[condition.operator](value, wanted)


def _condition(match: re.Match[str], attributes: Collection[str]) -> Condition:
    place, key = _named(match, attributes)
    operator = re.sub(r"\s+", " ", (match["operator"] or match["null"]).upper())
    if operator in _IS:
        if place not in ("tag", "param"):
            raise UsageError(f"{operator} is asked of tags and params, not of {place} {key!r}")
        return Condition(place=place, key=key, operator=operator, value="")  # type: ignore[arg-type]
    assert operator in get_args(Operator)
    value: str | float | tuple[str, ...]
    if match["list"]:
        value = tuple(_unquoted(each) for each in re.findall(_TEXT, match["list"]))
    elif match["text"] is not None:
        value = _unquoted(match["text"])
        if key == "version_number" and re.fullmatch("[0-9]{1,9}", value):
            value = float(value)  # MLflow takes these in quotes, too
    else:
        try:
            value = float(match["number"])
        except ValueError:
            raise UsageError(f"{match['number']!r} is no number") from None
    wants_number = place == "metric" or (place == "attribute" and key in _NUMBERS)
    is_list = isinstance(value, tuple)
    if is_list != (operator in ("IN", "NOT IN")) or (
        wants_number and (not isinstance(value, float) or "LIKE" in operator)
    ):
        raise UsageError(
            f"{key!r} cannot be compared with {operator} {match.group().strip()[-40:]!r}",
            remedy="metrics and times are compared with numbers, IN with a list of texts",
        )
    if not wants_number and isinstance(value, float):
        raise UsageError(f"{key!r} is a text", remedy="put what it is compared with in quotes")
    if key == "context" and place == "dataset" and operator not in ("=", "IN"):
        raise UsageError("the context of a dataset is compared by = or IN alone")
    return Condition(place=place, key=key, operator=operator, value=value)  # type: ignore[arg-type]


def _named(match: re.Match[str], attributes: Collection[str]) -> tuple[Place, str]:
    key = match["ticked"] or match["quoted"] or match["plain"]
    place: Place = "attribute"
    if match["place"]:
        known = _PLACES.get(match["place"].lower())
        if known is None:
            raise UsageError(
                f"{match['place']!r} is no part of a run",
                remedy="write metrics., params., tags., attributes. or dataset.",
            )
        place = known
    if place == "attribute":
        key = _SAME.get(key, key)
        if key not in attributes:
            raise UsageError(f"{key!r} is none of {', '.join(attributes)}")
    if place == "dataset" and key not in ("name", "digest", "context"):
        raise UsageError(f"of a dataset, name, digest and context are compared, not {key!r}")
    return place, key


def _unquoted(text: str) -> str:
    return text[1:-1].replace(text[0] * 2, text[0])


def _unreadable(text: str, position: int) -> UsageError:
    return UsageError(
        f"the filter cannot be read from {text[position : position + 60]!r} on",
        remedy="write conditions such as metrics.accuracy > 0.9, with AND between them",
    )
