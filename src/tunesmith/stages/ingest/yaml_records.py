"""Records in YAML: a list of mappings, or of conversations, read from the parser's events.

As with front matter (`front_matter.py`): every scalar stays the string that was written, nothing is
constructed, aliases and deep nesting are refused. A list of strings is a conversation, in which
the user speaks first and the assistant answers: it becomes `messages`, as a dataset of chats reads
them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

from tunesmith.stages.ingest import json_text
from tunesmith.stages.ingest.entry import ERASED, Entry, Quarantined, Unreadable, quarantined
from tunesmith.stages.ingest.front_matter import plain_text, value_of

_ROLES = ("user", "assistant")


def read_yaml(member: str, data: bytes, records: str) -> Iterator[Entry | Quarantined]:
    """The records of a file: the list under the key `records` ("data.items"), or the file's own.

    Raises:
        Unreadable: it is no YAML, or there is no such list.
    """
    for number, element in enumerate(list_of(data, records)[1], start=1):
        pointer = f"{member}#{number}"
        if element == ERASED:
            continue
        fields = _fields(element)
        if fields is None:
            reason = "neither a mapping nor a list of strings"
            yield quarantined(pointer, "not-an-object", reason, repr(element)[:200])
            continue
        try:
            content = json_text.identify(fields)
        except Unreadable as error:
            yield quarantined(pointer, error.rule, str(error), error.value)
            continue
        yield Entry(pointer=pointer, fields=fields, text=None, data=content)


def list_of(data: bytes, records: str) -> tuple[Any, list[Any]]:
    """What a file says, and the list in it under the key `records`.

    Raises:
        Unreadable: as `read_yaml` does.
    """
    try:
        whole = value = value_of(plain_text(data))
    except yaml.YAMLError as error:
        raise Unreadable("bad-yaml", " ".join(str(error).split())[:200]) from None
    for key in records.split(".") if records else ():
        value = value.get(key) if isinstance(value, dict) else None
    if not isinstance(value, list):
        where = f"under {records!r}" if records else "in the file"
        raise Unreadable("bad-yaml", f"there is no list {where}: set `records`", repr(value)[:80])
    return whole, value


def _fields(element: Any) -> dict[str, Any] | None:
    if isinstance(element, dict):
        return element
    if not isinstance(element, list) or not all(isinstance(said, str) for said in element):
        return None
    turns = [{"role": _ROLES[place % 2], "content": said} for place, said in enumerate(element)]
    return {"messages": turns}
