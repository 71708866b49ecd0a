"""What a document asks, what answers it, and what is missing: the same for each kind."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tunesmith.core.canonical import fingerprint
from tunesmith.records.document import Completeness, Fact, FactBase, Lack

STATES = {"recorded": "evidenced", "declared": "declared"}
"""By the origin of a fact: what it makes of a question that it answers."""
MISSING = "missing"
REMEDIES = (
    ("dataset.languages", "name the dataset's `languages` in its [dataset] section, and run"),
    ("dataset.pii", "set `pii` in its [dataset] section, so that it is looked for, and run"),
    ("dataset.licences", "state the `licence` of each [source], and run"),
    ("dataset.", "run the project: `tunesmith run`"),
    ("data.assessments", "look at its sources: `tunesmith data show NAME`"),
    ("data.reviews", "let people judge its labels: a [review] section"),
    ("data.erasures", "nobody was forgotten here, so that it works was not shown"),
    ("licences.", "state the `licence` of each [source] and [base], and run"),
    ("checks.audit", "judge it: a [gate] section without `audit = false`, and `tunesmith run`"),
    ("checks.", "check it beyond its task: a [suite] section of kind {kind}, and `tunesmith run`"),
    ("gate.signed", "sign the newest report of its gate: `tunesmith model report`"),
    ("gate.", "judge it: a [gate] section, and `tunesmith run`"),
    ("evaluation.", "evaluate it: `tunesmith run`"),
    ("release.releases", "release it: a [gate] section that it passes, and `tunesmith run`"),
    ("release.changes", "promote it: `tunesmith model promote`, and let another approve"),
    ("registry", "name who approves: `approvers` in [registry]"),
    ("monitors", "watch it: a [monitor] section, and `tunesmith run`"),
    ("monitor.", "watch it: a [monitor] section, and `tunesmith run`"),
    ("retrain.", "watch it: a [monitor] section, and `tunesmith run`"),
    ("schedules", "let it run by itself: a [schedule] section"),
    ("services", "serve it: a [service] section"),
    ("exports", "export it: `tunesmith model export`"),
)
"""What to do about a fact that is not known, by how its key begins."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Need:
    """One thing that a document is to say."""

    what: str
    keys: tuple[str, ...]
    """Facts that say it, or a part of it: one is enough."""
    required: bool = True
    remedy: str = ""
    """What to do about it first, where it is missing; then come the remedies of the facts."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """A heading of a document, and what it is to say below it."""

    number: str
    title: str
    needs: tuple[Need, ...] = ()


class Reading:
    """A fact base that remembers which facts were asked for: what a document depends on."""

    def __init__(self, base: FactBase) -> None:
        self.base = base
        self.used: set[str] = set()

    def value(self, key: str, default: Any = None) -> Any:
        """What a fact says; `default` where it is not known."""
        self.used.add(key)
        return self.base.value(key, default)

    def facts(self, need: Need) -> list[Fact]:
        """The facts that answer it."""
        self.used |= set(need.keys)
        return [self.base.facts[key] for key in need.keys if key in self.base.facts]

    def state(self, need: Need) -> str:
        """evidenced, declared or missing: a record says it, only people do, or nothing does."""
        origins = {fact.origin for fact in self.facts(need)}
        return next((said for origin, said in STATES.items() if origin in origins), MISSING)

    def digest(self) -> str:
        """Of the facts that were asked for up to now."""
        return fingerprint([self.base.version, self.base.digests(sorted(self.used))])


def completeness(reading: Reading, needs: Iterable[Need]) -> Completeness:
    """How many of the needs that are required are answered, and what to do about the others."""
    required = [need for need in needs if need.required]
    lacks = [
        Lack(what=need.what, remedy=remedy(reading.base, need))
        for need in required
        if not reading.facts(need)
    ]
    return Completeness(num_required=len(required), lacks=tuple(lacks))


def remedy(base: FactBase, need: Need) -> str:
    """Who can supply what is missing, and where."""
    first = [need.remedy] if need.remedy else []
    return "; or ".join(dict.fromkeys([*first, *(remedy_of(base, key) for key in need.keys)]))


def remedy_of(base: FactBase, key: str) -> str:
    """... one fact."""
    section, _, field = key.partition(".")
    if section == "declared":
        return f"the provider states it: `{field}` in [document.{base.section}]"
    return next(
        (said.replace("{kind}", field) for start, said in REMEDIES if key.startswith(start)),
        "the run did not record it: tune it again with this version",
    )


def needs_of(parts: Sequence[Part]) -> Iterator[Need]:
    """All that the parts are to say."""
    for part in parts:
        yield from part.needs
