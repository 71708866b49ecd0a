"""Tags: names that people give to versions of data, so that `visits@as-filed` is the same rows for
whoever reads it next year."""

from __future__ import annotations

from tunesmith.core import data_tags, evidence
from tunesmith.core.data_tags import DataTag
from tunesmith.core.errors import Conflict, NotFound, UsageError
from tunesmith.lineage.versions import find, named
from tunesmith.project import Project
from tunesmith.registry.labels import KEY, LONGEST
from tunesmith.registry.roles import Actor


def tag(
    project: Project, ref: str, name: str, actor: Actor, *, why: str = "", move: bool = False
) -> DataTag:
    """Give the version that `ref` names the tag `name`; with `move`, take it from another version.

    Raises:
        UsageError: `name` can be no tag, or the reason is long.
        NotFound: there is no such version.
        Conflict: another version of the same thing has the tag.
    """
    if not KEY.fullmatch(name):
        raise UsageError(
            f"{name[:60]!r} can be no tag",
            remedy="a tag begins with a letter, and has at most 63 letters, digits, . - and _",
        )
    if len(why) > LONGEST:
        raise UsageError(
            f"a reason has at most {LONGEST} characters, and this one {len(why)}",
            remedy="write it shorter; name a document for the rest",
        )
    version = find(project, ref).version
    body = {
        "kind": version.kind, "name": version.name, "tag": name,
        "number": version.number, "digest": version.digest, "why": why.strip(), **actor.body(),
    }  # fmt: skip
    with project.runner.database.write() as connection:
        there = data_tags.find(connection, version.kind, version.name, name)
        if there is not None and there.number == version.number:
            return there
        if there is not None and not move:
            raise Conflict(
                f"{name!r} is a tag of {there.name}@{there.number}, given by {there.actor} on "
                f"{there.at[:10]}",
                remedy="take another name; or --move it, which the evidence will say",
            )
        evidence.append(connection, data_tags.TAGGED, actor.name, body)
        made = data_tags.find(connection, version.kind, version.name, name)
        assert made is not None
        return made


def untag(project: Project, ref: str, actor: Actor, *, why: str = "") -> DataTag:
    """Take a tag away: `ref` is NAME@TAG. The evidence goes on saying that it was there.

    Raises:
        UsageError: `ref` names no tag.
        NotFound: there is no such tag.
    """
    name, _, which = ref.partition("@")
    if not KEY.fullmatch(which):
        raise UsageError(f"{ref!r} names no tag", remedy="write NAME@TAG, e.g. visits@as-filed")
    version = named(project, name)[0].version
    body = {"kind": version.kind, "name": version.name, "tag": which}
    with project.runner.database.write() as connection:
        taken = data_tags.find(connection, version.kind, version.name, which)
        if taken is None:
            raise NotFound(
                f"no version of {version.name} has the tag {which!r}",
                remedy=f"see the tags: `tunesmith data log {version.name}`",
            )
        said = {**body, "number": taken.number, "digest": taken.digest, "why": why.strip()}
        evidence.append(connection, data_tags.UNTAGGED, actor.name, {**said, **actor.body()})
    return taken
