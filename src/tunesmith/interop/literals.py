"""What a Python file says in plain values: parsed, and never imported or run.

Read are texts, numbers, lists and mappings that are written out, joined by `+`, repeated by `*`, or
filled by an f-string from names that were given such a value before. All else is not known, and
nothing is put in its place.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from tunesmith.core.errors import DataError

MAX_CHARS = 1 << 14
"""Of a text that is put together: a short file could ask for a very long one."""
MAX_ENTRIES = 1_000
"""Of a list that is put together."""
MAX_NAMES = 50_000
"""In all classes together, each with what it inherits."""
Value: TypeAlias = "str | int | list[Any] | dict[str, Any] | None"
"""None is what is not known, also as an entry."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Class:
    """A class of the file."""

    name: str
    values: Mapping[str, Value]
    """What its body, and the bodies of its bases in the file, give names."""
    others: frozenset[str]
    """Its bases, and theirs, which are not in the file, by the names that it calls them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Literals:
    """What was read."""

    values: dict[str, Value] = field(default_factory=dict)
    classes: dict[str, Class] = field(default_factory=dict)


def read_literals(text: str, name: str) -> Literals:
    """The plain values of the Python file that people know as `name`.

    Raises:
        DataError: it cannot be parsed, or its classes have too many names.
    """
    found, num_names = Literals(), 0
    try:
        for statement in ast.parse(text).body:
            if isinstance(statement, ast.ClassDef):
                made = _class(statement, found)
                found.classes[statement.name] = made
                found.values[statement.name] = None
                num_names += len(made.values)
                if num_names > MAX_NAMES:
                    raise DataError(f"{name}: its classes have more than {MAX_NAMES} names")
            else:
                found.values.update(_assigned(statement, found))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise DataError(f"{name} cannot be parsed: {str(error)[:200]}") from error
    return found


def _class(node: ast.ClassDef, known: Literals) -> Class:
    values: dict[str, Value] = {}
    others: set[str] = set()
    for base in reversed(node.bases):  # the first one has the last word
        dotted = ast.unparse(base)
        if here := known.classes.get(dotted):
            values |= here.values
            others |= here.others
        else:
            others.add(dotted)
    inside = Literals(values=dict(known.values), classes=known.classes)
    for statement in node.body:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            own = dict.fromkeys(_set_later(statement))
        else:
            own = dict(_assigned(statement, inside))
        inside.values.update(own)
        values |= own
    return Class(name=node.name, values=values, others=frozenset(others))


def _assigned(statement: ast.stmt, known: Literals) -> Iterator[tuple[str, Value]]:
    """The names that a statement gives a value."""
    match statement:
        case (
            ast.Assign(targets=[ast.Name(id=name)], value=ast.expr() as value)
            | ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value)
        ):
            yield name, _value(value, known)
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
            yield name, None
        case _:  # under a condition, in a loop, several at once
            for node in ast.walk(statement):
                if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store | ast.Del):
                    yield node.id, None


def _set_later(function: ast.stmt) -> Iterator[str]:
    """What a method sets of its own object: what the body of the class says holds no longer."""
    for node in ast.walk(function):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store | ast.Del):
            yield node.attr


def _value(node: ast.expr, known: Literals) -> Value:
    match node:
        case ast.Constant(value=str() | int() as value):
            return value
        case ast.List(elts=entries) | ast.Tuple(elts=entries):
            starred = any(isinstance(each, ast.Starred) for each in entries)
            return None if starred else [_value(each, known) for each in entries]
        case ast.Dict(keys=keys, values=values):
            return _mapping(keys, values, known)
        case ast.JoinedStr(values=parts):
            return _joined([_part(each, known) for each in parts])
        case ast.Name(id=name):
            return known.values.get(name)
        case ast.Attribute(value=ast.Name(id=owner), attr=name) if owner in known.classes:
            return known.classes[owner].values.get(name)
        case ast.BinOp(left=left, op=operator, right=right):
            return _combined(_value(left, known), operator, _value(right, known))
        case _:
            return None


def _mapping(keys: Sequence[ast.expr | None], values: Sequence[ast.expr], known: Literals) -> Value:
    named = [key.value if isinstance(key, ast.Constant) else None for key in keys]
    if not all(isinstance(key, str) for key in named):
        return None
    return {str(key): _value(each, known) for key, each in zip(named, values, strict=True)}


def _part(node: ast.expr, known: Literals) -> Value:
    """Of an f-string; how a value is to be formatted is not looked into."""
    if isinstance(node, ast.FormattedValue):
        plain = node.conversion == -1 and node.format_spec is None
        return _value(node.value, known) if plain else None
    return _value(node, known)


def _joined(parts: Sequence[Value]) -> Value:
    texts = [each for each in parts if isinstance(each, str)]
    if len(texts) < len(parts) or sum(map(len, texts)) > MAX_CHARS:
        return None
    return "".join(texts)


def _combined(left: Value, operator: ast.operator, right: Value) -> Value:
    match left, operator, right:
        case str(), ast.Add(), str():
            return _joined([left, right])
        case list(), ast.Add(), list() if len(left) + len(right) <= MAX_ENTRIES:
            return left + right
        case str(), ast.Mult(), int() if len(left) * right <= MAX_CHARS:
            return left * right
        case _:
            return None
