"""How the page after one is found.

The kinds are those that clients of many APIs tell apart (dlt's paginators of `rest_api`, Singer's
SDK): a Link header, a field with an address, a field with a cursor, a number of a page or a row.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal, Self
from urllib.parse import quote, unquote_plus

from pydantic import model_validator

from tunesmith.core.errors import DataError
from tunesmith.core.section import Section
from tunesmith.stages.ingest.reach import joined

if TYPE_CHECKING:  # what asks is not needed to read a project file
    from tunesmith.stages.ingest.answers import Answer

_READ_BY = {
    "header": (),
    "link": ("field",),
    "cursor": ("field", "parameter"),
    "page": ("parameter",),
    "offset": ("parameter",),
}
_LINK = re.compile(r"<([^<>]*)>([^<]*)")
_RELATION = re.compile(r";\s*rel\s*=\s*(?:\"([^\"]*)\"|([^\s;,\"]+))", re.IGNORECASE)


class NextPage(Section):
    """How the page after one is found: `next` of a source."""

    by: Literal["header", "link", "cursor", "page", "offset"]
    """By the Link header with rel="next" ("header"); by a field of the answer that holds the next
    page's address ("link") or a cursor ("cursor"), neither of which is there on the last page; by
    the number of the page ("page") or of its first row ("offset"), until a page is empty."""
    field: str = ""
    """Where in the answer the address or the cursor is, as in "paging.next"."""
    parameter: str = ""
    """The parameter of the address that the cursor or the number is put into; the first number is
    written in the origin."""
    more: str = ""
    """A field of the answer that says whether there are more pages, as in "has_more", where the API
    has one."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        needed = _READ_BY[self.by]
        for key in ("field", "parameter"):
            if (key in needed) != bool(getattr(self, key)):
                said = "needs" if key in needed else "does not read"
                raise ValueError(f"by = {self.by!r} {said} {key}")
        return self

    @property
    def counts(self) -> bool:
        """Whether it goes by numbers."""
        return self.by in ("page", "offset")


def at(value: Any, path: str) -> Any:
    """What is at `path` in `value`, as in "data.items"; a name may have dots in itself.

    Raises:
        KeyError: there is nothing.
    """
    if not path:
        return value
    if isinstance(value, dict):
        parts = path.split(".")
        for length in range(len(parts), 0, -1):
            name = ".".join(parts[:length])
            if name in value:
                return at(value[name], ".".join(parts[length:]))
    raise KeyError(path)


def parameter(url: str, name: str) -> str:
    """What a parameter of an address is; empty where it is not there."""
    given = [pair.partition("=") for pair in url.partition("?")[2].split("&")]
    return next((unquote_plus(value) for key, _, value in given if unquote_plus(key) == name), "")


def with_parameter(url: str, name: str, value: str) -> str:
    """The address with that parameter in place of any of its name; the others stay as they are."""
    where, _, query = url.partition("?")
    pairs = [each for each in query.split("&") if each]
    kept = [each for each in pairs if unquote_plus(each.partition("=")[0]) != name]
    given = f"{quote(name, safe='')}={quote(value, safe='')}"
    return f"{where}?{'&'.join([*kept, given])}"


def after(rule: NextPage | None, url: str, answer: Answer, num_records: int) -> str:
    """The address of the page after the one at `url`; empty after the last.

    Raises:
        DataError: the answer does not say it in the way that it should.
    """
    if rule is None or (rule.more and not _found(answer, rule.more, is_needed=True)):
        return ""
    if rule.by == "header":
        return next((joined(url, link) for link in _next_links(answer.links)), "")
    if rule.counts:
        if not num_records and not rule.more:
            return ""
        step = 1 if rule.by == "page" else num_records
        number = int(parameter(url, rule.parameter)) + step
        return with_parameter(url, rule.parameter, str(number))
    found = _found(answer, rule.field, is_needed=bool(rule.more))
    if found is None or found is False or found == "":
        return ""
    is_number = isinstance(found, int) and not isinstance(found, bool)
    if not (isinstance(found, str) or (is_number and rule.by == "cursor")):
        raise DataError(
            f"{rule.field!r} of the answer is a {type(found).__name__}, no {rule.by}",
            remedy="name the field of the next page in `next`",
        )
    if rule.by == "link":
        return joined(url, str(found))
    return with_parameter(url, rule.parameter, str(found))


def _found(answer: Answer, path: str, *, is_needed: bool) -> Any:
    try:
        return at(answer.value, path)
    except KeyError:
        if not is_needed:  # many an API leaves it out on its last page
            return None
        has = ", ".join(answer.value) if isinstance(answer.value, dict) else "a list"
        raise DataError(
            f"the answer has no {path!r}", remedy=f"correct `next`; the answer has: {has[:200]}"
        ) from None


def _next_links(header: str) -> Iterator[str]:
    for link, said in _LINK.findall(header):
        for quoted, bare in _RELATION.findall(said):
            if "next" in (quoted or bare).lower().split():
                yield link
