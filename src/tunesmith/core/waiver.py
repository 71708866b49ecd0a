"""Waivers: somebody keeps a step's old result although the code that made it has changed since.

A waiver is evidence: who, why, the key of the old result and the key that it stands for now. Only
the step's code and the versions of libraries can be waived. Another setting or another input asks
for another result, whatever anybody says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy.engine import Connection

from tunesmith.core import catalog, evidence
from tunesmith.core.catalog import Run
from tunesmith.core.errors import UsageError
from tunesmith.core.plan import changes
from tunesmith.core.ref import to_plain

ACCEPTED = "step.accepted"
WAIVABLE = ("code", "environment")


@dataclass(frozen=True, kw_only=True, slots=True)
class Waiver:
    """One result that is kept."""

    step: str
    run: int
    """The run whose result it is."""
    output: str
    """Digest of the record."""
    old_key: str
    new_key: str
    changed: tuple[str, ...]
    """What is another one now, a phrase each."""
    why: str
    actor: str = ""
    at: str = ""

    def said(self) -> str:
        """For people: what is kept, who says so, and why."""
        return (
            f"{self.step}: run {self.run} stands for the code of {self.at[:10]} "
            f"({'; '.join(self.changed)}): {self.actor}: {self.why}"
        )


def of_key(connection: Connection, key: str) -> Waiver | None:
    """The newest waiver by which an old result stands for `key`."""
    found = [waiver for waiver in every(connection) if waiver.new_key == key]
    return found[-1] if found else None


def every(connection: Connection) -> list[Waiver]:
    """All waivers, oldest first."""
    return [
        Waiver(**(dict(entry.body) | {"changed": tuple(entry.body["changed"])}),
               actor=entry.actor, at=entry.at)
        for entry in evidence.entries(connection, ACCEPTED)
    ]  # fmt: skip


def behind(connection: Connection, *digests: str) -> list[Waiver]:
    """The waivers of the records of those digests, and of what they were made from at any remove,
    oldest first."""
    waivers = every(connection)
    if not waivers:
        return []
    made: dict[str, list[Run]] = {}
    for run in catalog.all_runs(connection):
        if run.output is not None:
            made.setdefault(run.output.sha256, []).append(run)
    seen: set[str] = set()
    waiting = list(digests)
    while waiting:
        at = waiting.pop()
        if at not in seen:
            seen.add(at)
            given = (run.identity["inputs"].values() for run in made.get(at, ()))
            waiting += [each for inputs in given for position in inputs for each in position]
    return [waiver for waiver in waivers if waiver.output in seen]


def differs_by_code_alone(run: Run, what: Mapping[str, Any]) -> bool:
    """Whether `run` was of what a step is now, but for its code and the versions of libraries."""
    return all(run.identity[part] == what[part] for part in what if part not in WAIVABLE)


def keepable(runs: list[Run], what: Mapping[str, Any], step: str) -> Run:
    """The newest of `runs` that differs from `what` in nothing but what can be waived.

    Raises:
        UsageError: there is none.
    """
    for run in reversed(runs):
        if differs_by_code_alone(run, what):
            return run
    if not runs:
        raise UsageError(f"{step} has no earlier result to keep", remedy="run it: `tunesmith run`")
    apart = (set(what) | set(runs[-1].identity)) - set(WAIVABLE)
    before, after = (
        {part: each[part] for part in apart if part in each} for each in (runs[-1].identity, what)
    )
    raise UsageError(
        f"the result of {step} cannot be kept: {'; '.join(changes(before, after))}",
        remedy="only a change of the step's code or of libraries can be waived: set back what was "
        "changed, or run the step",
    )


def record(connection: Connection, waiver: Waiver) -> None:
    """Put a waiver into the evidence."""
    body = {name: value for name, value in to_plain(waiver).items() if name not in ("actor", "at")}
    evidence.append(connection, ACCEPTED, waiver.actor, body)
