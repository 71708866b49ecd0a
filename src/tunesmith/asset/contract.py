"""What the fields of a source's records must be; a record that breaks it is quarantined, and the
rule that it breaks says why."""

from __future__ import annotations

import datetime
import functools
import hashlib
import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from types import NoneType
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from tunesmith.core.section import Expression, Section

Problem = tuple[str, str]
"""(rule, reason)"""
_Shape = tuple[tuple[str, ...], tuple[type, ...]]
"""The names of a record's fields, and what their values are."""
_MOST_SHAPES = 1000
_MOST_VALUES = 10_000


class FieldRule(Section):
    """What one field must be: an entry of a source's `contract`."""

    type: Literal["string", "integer", "number", "boolean", "date", "list", "object"] = "string"
    """What its value is. A "date" is ISO 8601, with or without a time. CSV, TSV and front matter
    know strings only: there it is what the string says."""
    required: bool = True
    """Whether a record must have it, and not empty."""
    unique: bool = False
    """Whether no two records may have the same; the first is kept."""
    values: tuple[str | int | float | bool, ...] = ()
    """What it may be; empty: anything of its type."""
    pattern: Expression = ""
    """A regular expression that the whole of a string must match."""
    min_chars: int = Field(default=0, ge=0)
    """The fewest characters of a string."""
    max_chars: int | None = Field(default=None, ge=1)
    """The most characters of a string."""
    minimum: float | None = None
    """The least number."""
    maximum: float | None = None
    """The greatest number."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        kinds = {
            "pattern": ("string",), "min_chars": ("string",), "max_chars": ("string",),
            "minimum": ("integer", "number"), "maximum": ("integer", "number"),
            "values": ("string", "integer", "number", "date"),
        }  # fmt: skip
        for key, types in kinds.items():
            default = type(self).model_fields[key].default  # which is there when it is read again
            if getattr(self, key) != default and self.type not in types:
                raise ValueError(f"{key} is not read with type {self.type!r}")
        for value in self.values:
            if not _IS[self.type](value):
                raise ValueError(f"values: {value!r} is no {self.type}")
        return self


class Contract:
    """The rules of one source, and what they have seen of it so far."""

    def __init__(
        self, rules: Mapping[str, FieldRule], *, allows_others: bool, has_strings_only: bool
    ) -> None:
        self._rules, self._allows_others = rules, allows_others
        self._has_strings_only = has_strings_only
        self._more_than_a_shape = {
            name: rule
            for name, rule in rules.items()
            if not _is_of_its_type(rule, has_strings_only)
        }
        """Rules that ask for more of a value than what Python's type for it says."""
        self._shapes: set[_Shape] = set()
        """Those of records that broke no rule."""
        self._right: dict[str, set[Any]] = {name: {None, ""} for name in rules}
        """Values that a rule allows, nothing among them: most columns say the same ones again and
        again."""
        self._seen: dict[str, dict[bytes, str]] = {
            name: {} for name, rule in rules.items() if rule.unique
        }

    def problem(self, fields: Mapping[str, Any], pointer: str) -> Problem | None:
        """The first rule that the record at `pointer` breaks, and how.

        A record that breaks none counts as seen for those that come after it.
        """
        if not self._rules:
            return None
        values = fields.values()
        shape = tuple(fields), tuple(map(type, values))
        is_known = shape in self._shapes and "" not in values
        if not (is_known or self._allows_others):
            for name in fields:
                if name not in self._rules:
                    return "unknown-field", f"the contract has no field {name!r}"
        seen: list[tuple[dict[bytes, str], bytes]] = []
        rules = self._more_than_a_shape if is_known else self._rules
        for name, rule in rules.items():
            value = fields.get(name)
            if value is None or value == "":
                if rule.required:
                    return "missing-field", f"the field {name!r} is missing or empty"
                continue
            value = self._value(rule, value)
            found = _problem(rule, value)
            if found is not None:
                return found[0], f"the field {name!r} is {_shown(value)}{found[1]}"
            if rule.unique:
                digest = _identity(value)
                there = self._seen[name].get(digest)
                if there is not None:
                    return "not-unique", f"the field {name!r} is {_shown(value)} in {there}, too"
                seen.append((self._seen[name], digest))
        for places, digest in seen:
            places[digest] = pointer
        if not is_known and len(self._shapes) < _MOST_SHAPES:
            self._shapes.add(shape)
        return None

    def accepts(self, columns: Mapping[str, Sequence[Any]], pointers: Sequence[str]) -> bool:
        """Whether no record of a batch breaks a rule; then all of them count as seen.

        If it says no, `problem` has to be asked about each.
        """
        if not self._rules:
            return True
        if not (self._allows_others or columns.keys() <= self._rules.keys()):
            return False
        for name, rule in self._rules.items():
            if not self._is_right(name, rule, columns.get(name, (None,))):
                return False
        seen: list[tuple[dict[bytes, str], dict[bytes, str]]] = []
        for name, places in self._seen.items():
            column = columns.get(name, ())
            new = {
                _identity(self._value(self._rules[name], value)): pointer
                for value, pointer in zip(column, pointers, strict=bool(column))
                if value is not None and value != ""
            }
            num_values = len(column) - column.count(None) - column.count("")
            if len(new) < num_values or not places.keys().isdisjoint(new):
                return False
            seen.append((places, new))
        for places, new in seen:
            places |= new
        return True

    def _is_right(self, name: str, rule: FieldRule, column: Sequence[Any]) -> bool:
        """Whether all values of a column are what its rule asks for."""
        kinds = set(map(type, column))
        if rule.required and (NoneType in kinds or "" in column):
            return False
        if not self._has_strings_only and not kinds <= _KINDS[rule.type]:
            return False
        if name not in self._more_than_a_shape:
            return True
        if self._right[name].issuperset(column):
            return True
        new = set(column) - self._right[name]
        if not (self._has_strings_only and _are_numbers(rule, new)) and any(
            _problem(rule, self._value(rule, value)) for value in new
        ):
            return False
        if len(self._right[name]) < _MOST_VALUES:
            self._right[name] |= new
        return True

    def _value(self, rule: FieldRule, value: Any) -> Any:
        """What a value says, in a format that knows strings only; else the value."""
        if self._has_strings_only and isinstance(value, str):
            return _READ[rule.type](value)
        return value


def _identity(value: Any) -> bytes:
    return hashlib.blake2b(json.dumps(value).encode(), digest_size=16).digest()


def _is_of_its_type(rule: FieldRule, has_strings_only: bool) -> bool:
    """Whether any value is right that has the type in Python, if it is not empty."""
    is_told_by_type = rule.type == "string" if has_strings_only else rule.type != "date"
    return is_told_by_type and rule == FieldRule(type=rule.type, required=rule.required)


def _problem(rule: FieldRule, value: Any) -> Problem | None:
    """What is wrong with a value that is there: the rule, and how to go on behind the value."""
    if not _IS[rule.type](value):
        return "wrong-type", f", and no {rule.type}"
    if rule.values and value not in rule.values:
        some = ", ".join(map(_shown, rule.values[:6])) + (", ..." if len(rule.values) > 6 else "")
        return "unknown-value", f", and none of {some}"
    if isinstance(value, str):
        most = rule.max_chars
        if len(value) < rule.min_chars or (most is not None and len(value) > most):
            bounds = f"{rule.min_chars} to {'any number' if most is None else most}"
            return "wrong-length", f": {len(value)} characters, where {bounds} are allowed"
        if rule.pattern and not re.fullmatch(rule.pattern, value):
            return "wrong-form", f", and does not match {rule.pattern}"
    if isinstance(value, int | float):
        if rule.minimum is not None and value < rule.minimum:
            return "out-of-range", f", and less than {rule.minimum:g}"
        if rule.maximum is not None and value > rule.maximum:
            return "out-of-range", f", and more than {rule.maximum:g}"
    return None


_KINDS: Mapping[str, frozenset[type]] = {
    "string": frozenset({str, NoneType}),
    "integer": frozenset({int, NoneType}),
    "number": frozenset({int, float, NoneType}),
    "boolean": frozenset({bool, NoneType}),
    "date": frozenset({str, NoneType}),
    "list": frozenset({NoneType}),
    "object": frozenset({NoneType}),
}
"""What Python has for the values of a batch that can be right; empty ones may be left out."""


def _are_numbers(rule: FieldRule, texts: Collection[str]) -> bool:
    """Whether a rule for numbers is kept by what all these say, looked at as one text; if not, or
    if it is another rule, each has to be looked at."""
    if rule.type not in _ALL or rule.values:
        return False
    whole = "\0".join(texts) + "\0"
    if whole.count("\0") != len(texts) or not _ALL[rule.type].fullmatch(whole):
        return False
    read = int if rule.type == "integer" else float
    return (rule.minimum is None or min(map(read, texts)) >= rule.minimum) and (
        rule.maximum is None or max(map(read, texts)) <= rule.maximum
    )


def _is_date(value: Any) -> bool:
    try:
        return isinstance(value, str) and bool(datetime.datetime.fromisoformat(value))
    except ValueError:
        return False


_IS: Mapping[str, Callable[[Any], bool]] = {
    "string": lambda value: isinstance(value, str),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "boolean": lambda value: isinstance(value, bool),
    "date": _is_date,
    "list": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
}


@functools.lru_cache(1 << 14)
def _integer(text: str) -> Any:
    return int(text) if _INTEGER.fullmatch(text) else text


@functools.lru_cache(1 << 14)
def _number(text: str) -> Any:
    return float(text) if _NUMBER.fullmatch(text) else text


def _boolean(text: str) -> Any:
    said = text.strip().lower()
    return said in ("true", "yes") if said in ("true", "false", "yes", "no") else text


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _as_it_is(text: str) -> str:
    return text


_INTEGER = re.compile(r"\s*+[+-]?[0-9]{1,30}+\s*+")
_NUMBER = re.compile(r"\s*+[+-]?(?:[0-9]++\.?[0-9]*+|\.[0-9]++)(?:[eE][+-]?[0-9]{1,3})?\s*+")
_ALL = {
    "integer": re.compile(rf"(?:{_INTEGER.pattern}\0)*+"),
    "number": re.compile(rf"(?:{_NUMBER.pattern}\0)*+"),
}
"""Of texts that each end in NUL."""
_READ: Mapping[str, Callable[[str], Any]] = {
    "string": _as_it_is,
    "integer": _integer,
    "number": _number,
    "boolean": _boolean,
    "date": _as_it_is,
    "list": _json,
    "object": _json,
}
"""What a string says, as a value of a type; the string itself where it says none."""


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:59]}…"


def read_as(kind: str, text: str) -> Any:
    """What a string says, as a value of a rule's type; the string itself where it says none."""
    return _READ[kind](text)
