"""Where the aliases of a model pointed, from when until when, who moved them and why."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tunesmith.core import catalog
from tunesmith.core.errors import NotFound
from tunesmith.project import Project
from tunesmith.registry.standing import released


@dataclass(frozen=True, kw_only=True, slots=True)
class Stood:
    """A version under an alias, from one move of the alias to the next."""

    alias: str
    version: str
    since: str
    until: str
    """Empty: it stands there now."""
    by: str
    """Who moved it there."""
    why: str
    run: int
    """The run that made the release."""

    def overlaps(self, start: str, end: str) -> bool:
        """Whether it stood there at some time from `start` on and before `end`; at `start` itself
        where that is the end, too. Times are as the evidence writes them."""
        begun = self.since < end or self.since == start
        return begun and (not self.until or self.until > start)


def history(project: Project, model: str, alias: str = "") -> list[Stood]:
    """What stood under each alias of a model, or under one, oldest first.

    Raises:
        NotFound: there is no such model, or that alias of it never pointed anywhere.
    """
    if all(each.name != model for each in project.versions() if each.kind == "model"):
        raise NotFound(f"there is no model {model}", remedy="see `tunesmith model list`")
    found = list(_stood(project, model))
    if alias and all(each.alias != alias for each in found):
        names = ", ".join(dict.fromkeys(each.alias for each in found))
        raise NotFound(
            f"the alias {alias!r} of {model} never pointed anywhere",
            remedy=f"there is: {names}" if names else "run the project until its gate passes",
        )
    return [each for each in found if not alias or each.alias == alias]


def _stood(project: Project, model: str) -> Iterator[Stood]:
    versions: dict[str, str] = {}
    with project.runner.database.read() as connection:
        rows = catalog.alias_history(connection, "model", model)
        for number, row in enumerate(rows):
            if row.digest not in versions:
                versions[row.digest] = released(project, connection, row).version
            later = (each.at for each in rows[number + 1 :] if each.alias == row.alias)
            yield Stood(
                alias=row.alias,
                version=versions[row.digest],
                since=row.at,
                until=next(later, ""),
                by=row.actor,
                why=row.reason,
                run=row.run_id,
            )
