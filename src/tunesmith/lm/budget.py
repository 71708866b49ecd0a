"""What the operations of a template cost, paid before they are done.

A piece of work is a character or an item that is read or made, or an expression that is reached.
"""

from __future__ import annotations

import json
from collections.abc import (
    Callable,
    ItemsView,
    Iterator,
    KeysView,
    Mapping,
    Sequence,
    ValuesView,
)
from typing import Any

import jinja2
import jinja2.exceptions
import jinja2.runtime

BUDGET = "the budget"
"""Its name among a template's variables; with the blank no template can write it."""
MAX_INDENT = 16


class Budget:
    """The work that is left for one rendering."""

    def __init__(self, work: int) -> None:
        self._left = work

    def spend(self, work: int) -> None:
        """Take `work` off.

        Raises:
            SecurityError: there is not that much left.
        """
        self._left -= work
        if self._left < 0:
            raise jinja2.exceptions.SecurityError(
                "a chat template does too much: too many turns of its loops, or too much text"
            )

    def range(self, *bounds: int) -> range:
        """Python's, paid for."""
        found = range(*bounds)
        self.spend(len(found))
        return found


def budget_of(context: jinja2.runtime.Context) -> Budget:
    """The budget of the rendering that `context` belongs to."""
    budget = context.parent[BUDGET]
    assert isinstance(budget, Budget)
    return budget


def size(value: Any) -> int:
    """Characters and items in `value`, all the way down."""
    if isinstance(value, str):
        return 1 + len(value)
    if isinstance(value, Mapping):
        return 1 + sum(size(key) + size(item) for key, item in value.items())
    if isinstance(value, list | tuple | set | KeysView | ValuesView | ItemsView):
        return 1 + sum(size(item) for item in value)
    if isinstance(value, int):
        return 1 + value.bit_length() // 3
    return 1 + len(value) if isinstance(value, range) else 1


@jinja2.pass_context
def made(context: jinja2.runtime.Context, value: Any) -> Any:
    """`value`, paid for."""
    budget_of(context).spend(size(value))
    return value


@jinja2.pass_context
def turns(context: jinja2.runtime.Context, items: Any, weight: int) -> Any:
    """What a loop goes through, all its turns paid for."""
    if isinstance(items, jinja2.Undefined):
        return items
    found = list(items)
    budget_of(context).spend(weight * len(found))
    return found


@jinja2.pass_context
def concatenated(context: jinja2.runtime.Context, parts: Sequence[Any]) -> str:
    """`a ~ b ~ c`."""
    budget_of(context).spend(size(parts))
    return "".join(map(str, parts))


@jinja2.pass_context
def join(
    context: jinja2.runtime.Context, items: Any, d: Any = "", attribute: str | None = None
) -> str:
    """Jinja's filter `join`; the names of the parameters are its."""
    if attribute is not None:
        items = [context.environment.getitem(item, attribute) for item in items]
    items = list(items)
    budget_of(context).spend(size(items) + len(items) * size(d))
    return str(d).join(map(str, items))


@jinja2.pass_context
def replace(
    context: jinja2.runtime.Context, value: Any, old: Any, new: Any, count: int | None = None
) -> str:
    """Jinja's filter `replace`."""
    text, old, new = str(value), str(old), str(new)
    budget_of(context).spend(size(text) + text.count(old) * size(new))
    return text.replace(old, new, -1 if count is None else count)


@jinja2.pass_context
def to_json(
    context: jinja2.runtime.Context,
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """The filter `tojson` as transformers has it: nothing is escaped for HTML."""
    if indent is not None and not 0 <= int(indent) <= MAX_INDENT:
        raise jinja2.exceptions.SecurityError("a chat template indents too far")
    encoder = json.JSONEncoder(
        ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )
    parts = []
    for part in encoder.iterencode(value):
        budget_of(context).spend(size(part))
        parts.append(part)
    return "".join(parts)


def paid(function: Any) -> Callable[..., Any]:
    """A filter or test of Jinja's; what it reads and what it makes are paid for."""
    wants = getattr(getattr(function, "jinja_pass_arg", None), "name", "")

    @jinja2.pass_context
    def charged(context: jinja2.runtime.Context, *args: Any, **kwargs: Any) -> Any:
        budget_of(context).spend(size(args))
        given = {
            "context": (context,),
            "eval_context": (context.eval_ctx,),
            "environment": (context.environment,),
        }
        found = function(*given.get(wants, ()), *args, **kwargs)
        if isinstance(found, Iterator):
            found = list(found)
        return made(context, found)

    return charged
