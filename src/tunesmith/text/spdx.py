"""Licence expressions as SPDX writes them: which licences one names, and whether a list allows it.

Grammar: SPDX specification 2.3, annex D. `OR` is a choice, so one allowed side is enough; `AND`
asks for both; what follows `WITH` is an exception, which only ever permits more.
"""

from __future__ import annotations

import re
from collections.abc import Collection

_TOKEN = re.compile(r"\s*(\(|\)|[A-Za-z0-9.+:-]+)")
_OPERATORS = ("AND", "OR", "WITH")


class NotAnExpression(ValueError):
    """A text that is no SPDX expression."""


def refused(expression: str, allowed: Collection[str]) -> tuple[str, ...]:
    """The licences that keep `allowed` from covering `expression`; none if it is covered.

    Capitals do not matter. A text that is no expression ("internal") is covered if it is listed as
    it stands.
    """
    known = {each.casefold() for each in allowed}
    if expression.casefold() in known:
        return ()
    try:
        return _Reader(expression, known).read()
    except NotAnExpression:
        return (expression,)


class _Reader:
    """Reads one expression; each level returns what is not allowed in it, nothing if it is."""

    def __init__(self, expression: str, known: Collection[str]) -> None:
        self._known = known
        self._tokens: list[str] = []
        at = 0
        while at < len(expression.rstrip()):
            match = _TOKEN.match(expression, at)
            if match is None:
                raise NotAnExpression(expression)
            self._tokens.append(match[1])
            at = match.end()
        self._tokens.reverse()  # the next one is the last

    def read(self) -> tuple[str, ...]:
        found = self._any(0)
        if self._tokens:
            raise NotAnExpression(self._tokens[-1])
        return found

    def _any(self, depth: int) -> tuple[str, ...]:
        sides = [self._all(depth)]
        while self._take("OR"):
            sides.append(self._all(depth))
        return () if () in sides else tuple(each for side in sides for each in side)

    def _all(self, depth: int) -> tuple[str, ...]:
        found = self._one(depth)
        while self._take("AND"):
            found += self._one(depth)
        return found

    def _one(self, depth: int) -> tuple[str, ...]:
        if self._take("("):
            if depth > 50:
                raise NotAnExpression("(")
            found = self._any(depth + 1)
            if not self._take(")"):
                raise NotAnExpression("(")
            return found
        licence = self._name()
        if not self._take("WITH"):
            return () if licence.casefold() in self._known else (licence,)
        whole = f"{licence} WITH {self._name()}"
        return () if {licence.casefold(), whole.casefold()} & set(self._known) else (whole,)

    def _take(self, token: str) -> bool:
        if self._tokens and self._tokens[-1].upper() == token:
            self._tokens.pop()
            return True
        return False

    def _name(self) -> str:
        if not self._tokens or self._tokens[-1].upper() in (*_OPERATORS, "(", ")"):
            raise NotAnExpression("a licence is missing")
        return self._tokens.pop()
