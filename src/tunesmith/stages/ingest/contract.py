"""What the fields of a source's records must be; a record that breaks it is quarantined, and the
rule that it breaks says why."""

from __future__ import annotations

import datetime
import hashlib
import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from tunesmith.core.section import Expression, Section

Problem = tuple[str, str]
"""(rule, reason)"""


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
        self._seen: dict[str, dict[bytes, str]] = {
            name: {} for name, rule in rules.items() if rule.unique
        }

    def problem(self, fields: Mapping[str, Any], pointer: str) -> Problem | None:
        """The first rule that the record at `pointer` breaks, and how.

        A record that breaks none counts as seen for those that come after it.
        """
        if not self._rules:
            return None
        if not self._allows_others:
            for name in fields:
                if name not in self._rules:
                    return "unknown-field", f"the contract has no field {name!r}"
        seen: list[tuple[dict[bytes, str], bytes]] = []
        for name, rule in self._rules.items():
            value = fields.get(name)
            if value is None or value == "":
                if rule.required:
                    return "missing-field", f"the field {name!r} is missing or empty"
                continue
            if self._has_strings_only:
                value = _read(rule.type, value)
            found = _problem(name, rule, value)
            if found is not None:
                return found
            if rule.unique:
                digest = hashlib.blake2b(json.dumps(value).encode(), digest_size=16).digest()
                there = self._seen[name].get(digest)
                if there is not None:
                    return "not-unique", f"the field {name!r} is {_shown(value)} in {there}, too"
                seen.append((self._seen[name], digest))
        for places, digest in seen:
            places[digest] = pointer
        return None


def _problem(name: str, rule: FieldRule, value: Any) -> Problem | None:
    """What is wrong with a value that is there."""
    said = f"the field {name!r} is {_shown(value)}"
    if not _IS[rule.type](value):
        return "wrong-type", f"{said}, and no {rule.type}"
    if rule.values and value not in rule.values:
        some = ", ".join(map(_shown, rule.values[:6])) + (", ..." if len(rule.values) > 6 else "")
        return "unknown-value", f"{said}, and none of {some}"
    if isinstance(value, str):
        most = rule.max_chars
        if len(value) < rule.min_chars or (most is not None and len(value) > most):
            bounds = f"{rule.min_chars} to {'any number' if most is None else most}"
            return "wrong-length", f"{said}: {len(value)} characters, where {bounds} are allowed"
        if rule.pattern and not re.fullmatch(rule.pattern, value):
            return "wrong-form", f"{said}, and does not match {rule.pattern}"
    if isinstance(value, int | float):
        if rule.minimum is not None and value < rule.minimum:
            return "out-of-range", f"{said}, and less than {rule.minimum:g}"
        if rule.maximum is not None and value > rule.maximum:
            return "out-of-range", f"{said}, and more than {rule.maximum:g}"
    return None


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


def _read(kind: str, value: Any) -> Any:
    """What a string says, as a value of `kind`; the string itself where it says none."""
    if not isinstance(value, str):
        return value
    text = value.strip()
    match kind:
        case "integer" if re.fullmatch(r"[+-]?[0-9]{1,30}", text):
            return int(text)
        case "number" if re.fullmatch(
            r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?", text
        ):
            return float(text)
        case "boolean" if text.lower() in ("true", "false", "yes", "no"):
            return text.lower() in ("true", "yes")
        case "list" | "object":
            try:
                return json.loads(text)
            except (ValueError, RecursionError):
                return value
        case _:
            return value


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:59]}…"
