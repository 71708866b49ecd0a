"""Licence expressions as SPDX writes them: which licences one names, and whether a list allows it.

Grammar: SPDX specification 2.3, annex D. `OR` is a choice, so one allowed side is enough; `AND`
asks for both; what follows `WITH` is an exception, which only ever permits more.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from typing import TypeVar

_TOKEN = re.compile(r"\s*(\(|\)|[A-Za-z0-9.+:-]+)")
_OPERATORS = ("AND", "OR", "WITH")
_MAX_DEPTH = 50

Found = TypeVar("Found")


class NotAnExpression(ValueError):
    """A text that is no SPDX expression."""


def refused(expression: str, allowed: Collection[str]) -> tuple[str, ...]:
    """The licences that keep `allowed` from covering `expression`; none if it is covered.

    Capitals do not matter. A text that is no expression ("internal") is covered if it is listed as
    it stands.
    """
    known = {each.casefold() for each in allowed}

    def of_one(licence: str, exception: str) -> tuple[str, ...]:
        whole = f"{licence} WITH {exception}" if exception else licence
        return () if {licence.casefold(), whole.casefold()} & known else (whole,)

    if expression.casefold() in known:
        return ()
    try:
        return fold(expression, of_one, of_any=_unless_one_is_covered, of_all=_joined)
    except NotAnExpression:
        return (expression,)


def fold(
    expression: str,
    of_one: Callable[[str, str], Found],
    of_any: Callable[[Sequence[Found]], Found],
    of_all: Callable[[Sequence[Found]], Found],
) -> Found:
    """What an expression comes to: `of_one` says it of a licence and its exception (empty for
    none), `of_any` of the sides of an OR, `of_all` of those of an AND.

    Raises:
        NotAnExpression: it is none.
    """
    reader = _Reader(expression)

    def any_of(depth: int) -> Found:
        sides = [all_of(depth)]
        while reader.take("OR"):
            sides.append(all_of(depth))
        return sides[0] if len(sides) == 1 else of_any(sides)

    def all_of(depth: int) -> Found:
        sides = [one(depth)]
        while reader.take("AND"):
            sides.append(one(depth))
        return sides[0] if len(sides) == 1 else of_all(sides)

    def one(depth: int) -> Found:
        if reader.take("("):
            if depth > _MAX_DEPTH:
                raise NotAnExpression("(")
            found = any_of(depth + 1)
            if not reader.take(")"):
                raise NotAnExpression("(")
            return found
        licence = reader.name()
        return of_one(licence, reader.name() if reader.take("WITH") else "")

    found = any_of(0)
    reader.end()
    return found


def _unless_one_is_covered(sides: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    return () if () in sides else _joined(sides)


def _joined(sides: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(each for side in sides for each in side)


class _Reader:
    """The words of one expression, from first to last."""

    def __init__(self, expression: str) -> None:
        self._tokens: list[str] = []
        at = 0
        while at < len(expression.rstrip()):
            match = _TOKEN.match(expression, at)
            if match is None:
                raise NotAnExpression(expression)
            self._tokens.append(match[1])
            at = match.end()
        self._tokens.reverse()  # the next one is the last

    def take(self, token: str) -> bool:
        if self._tokens and self._tokens[-1].upper() == token:
            self._tokens.pop()
            return True
        return False

    def name(self) -> str:
        if not self._tokens or self._tokens[-1].upper() in (*_OPERATORS, "(", ")"):
            raise NotAnExpression("a licence is missing")
        return self._tokens.pop()

    def end(self) -> None:
        if self._tokens:
            raise NotAnExpression(self._tokens[-1])
