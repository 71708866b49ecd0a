"""Tags and notes: what people say of versions, each an entry of the evidence."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from tunesmith.core import evidence, lifecycle
from tunesmith.core.errors import UsageError
from tunesmith.core.lifecycle import Change
from tunesmith.project import Project
from tunesmith.registry.roles import Actor
from tunesmith.registry.standing import Entry, version_of

KEY = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,62}")
LONGEST = 4000
"""Characters of a note or a tag's value: more belongs into a document."""


def tag(project: Project, version: str, tags: Sequence[str], actor: Actor) -> list[Change]:
    """Give a version tags, each "key=value"; a later value replaces an earlier one, and "key="
    takes the tag away.

    Raises:
        UsageError: one is not of that form.
        NotFound: there is no such version.
    """
    pairs = [_pair(each) for each in tags]
    made = []
    for key, value in pairs:
        why = f"{key}={value}" if value else f"{key} taken away"
        body = {"why": why, "key": key, "value": value}
        made.append(_say(project, lifecycle.TAGGED, version, body, actor))
    return made


def note(project: Project, version: str, text: str, actor: Actor) -> Change:
    """Say something of a version.

    Raises:
        UsageError: it is empty, or long.
        NotFound: there is no such version.
    """
    if not text.strip() or len(text) > LONGEST:
        raise UsageError(
            f"a note has 1 to {LONGEST} characters, and this one {len(text.strip())}",
            remedy="write it shorter; name a document for the rest",
        )
    return _say(project, lifecycle.NOTED, version, {"why": text.strip()}, actor)


def tags_of(entry: Entry) -> dict[str, str]:
    """The tags of a version as they are now, in the order of their keys."""
    found: dict[str, str] = {}
    for change in entry.changes:
        if change.what == lifecycle.CHANGES[lifecycle.TAGGED]:
            found[change.body["key"]] = change.body["value"]
    return {key: value for key, value in sorted(found.items()) if value}


def found(entries: Iterable[Entry], tags: Sequence[str] = (), words: str = "") -> list[Entry]:
    """The versions that have all of `tags` ("key", or "key=value"), and of which a name, state,
    alias, tag, note or reason has `words`, in whatever case.

    Raises:
        UsageError: a tag is not of that form.
    """
    wanted = [_pair(each) if "=" in each else (_key(each), None) for each in tags]
    return [
        entry
        for entry in entries
        if all(_has(tags_of(entry), key, value) for key, value in wanted)
        and words.casefold() in _said(entry).casefold()
    ]


def _has(tags: Mapping[str, str], key: str, value: str | None) -> bool:
    return key in tags if value is None else tags.get(key) == value


def _said(entry: Entry) -> str:
    tags = (f"{key}={value}" for key, value in tags_of(entry).items())
    reasons = (
        change.why
        for change in entry.changes
        if change.what != lifecycle.CHANGES[lifecycle.TAGGED]  # these hold what was taken away, too
    )
    return "\n".join([entry.name, entry.state, *entry.aliases, *tags, *reasons])


def _pair(text: str) -> tuple[str, str]:
    key, mark, value = text.partition("=")
    if not mark or len(value) > LONGEST:
        raise UsageError(f"{text[:60]!r} is no tag", remedy="write KEY=VALUE, such as team=legal")
    return _key(key), value.strip()


def _key(key: str) -> str:
    if not KEY.fullmatch(key):
        raise UsageError(
            f"{key[:60]!r} is no key of a tag",
            remedy="a key begins with a letter, and has letters, digits, . - and _",
        )
    return key


def _say(
    project: Project, what: str, version: str, body: Mapping[str, str], actor: Actor
) -> Change:
    with project.runner.database.write() as connection:
        model = version_of(connection, version).name
        said = {"model": model, "version": version, **body, **actor.body()}
        evidence.append(connection, what, actor.name, said)
        return lifecycle.changes(connection, model)[-1]
