"""What is read of the store for the facts of a model version, and how a fact is made of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TypedDict

from tunesmith.core.catalog import Alias, Run, Version
from tunesmith.core.evidence import Entry
from tunesmith.core.lifecycle import Change
from tunesmith.core.ref import to_plain
from tunesmith.documents.describe import NOT_STATED
from tunesmith.project import Project
from tunesmith.records.model import ModelVersion

NUM_DIGITS = 12
"""Of a digest, as shown to people."""


class Found(TypedDict):
    """A fact, before it is known whether it says anything."""

    key: str
    value: Any
    where: str
    at: str
    origin: Any


@dataclass(frozen=True, kw_only=True, eq=False)
class Store:
    """What has been read of the store, for one model version."""

    project: Project
    version: Version
    run: Run
    """The run that made it first."""
    model: ModelVersion
    runs: tuple[Run, ...]
    """Every run that succeeded, oldest first."""
    changes: tuple[Change, ...]
    """Of all versions of the model."""
    history: tuple[Alias, ...]
    entries: tuple[Entry, ...]
    failed: tuple[Run, ...] = ()
    """Every run that failed, oldest first."""
    first: dict[str, Run] = field(default_factory=dict)
    """By digest, the run that made a record first."""

    def __post_init__(self) -> None:
        for run in self.runs:
            self.first.setdefault(digest_of(run), run)

    @property
    def ref(self) -> str:
        """What people write, e.g. "desk@2"."""
        return f"{self.version.name}@{self.version.number}"

    def given(self, run: Run, name: str) -> list[str]:
        """The digests that a run was given as `name`."""
        found: list[str] = run.identity.get("inputs", {}).get(name, [])
        return found

    def input_of(self, run: Run, name: str) -> Run | None:
        """The run that made what a run was given as `name`."""
        digests = self.given(run, name)
        return self.first.get(digests[0]) if digests else None

    def of(self, kind: str, name: str, digest: str) -> Iterator[Run]:
        """The runs of a kind that were given a record as `name`."""
        for run in self.runs:
            if run.kind == kind and digest in self.given(run, name):
                yield run

    def load(self, run: Run) -> Any:
        """The record that a run made."""
        return self.project.load(run)


def known(value: Any) -> bool:
    """Whether a value says anything: nothing, an empty text and "not stated" do not."""
    return value not in (None, "", NOT_STATED, [], {}, ())


def digest_of(run: Run) -> str:
    """Of the record that a run made."""
    assert run.output is not None
    return run.output.sha256


def fact(key: str, value: Any, run: Run, what: str = "record") -> Found:
    """A fact that a run recorded."""
    where = f"run {run.id} ({run.step}), {what} sha256 {digest_of(run)[:NUM_DIGITS]}"
    at = run.finished_at or ""
    return {"key": key, "value": to_plain(value), "where": where, "at": at, "origin": "recorded"}


def told(entry: Entry) -> dict[str, Any]:
    """An entry of the evidence, as documents list it."""
    return {"evidence": entry.seq, "at": entry.at, "by": entry.actor, "what": entry.what}


def of_evidence(key: str, value: Any, entry: Entry) -> Found:
    """A fact that the evidence says."""
    where = f"evidence {entry.seq}, sha256 {entry.digest[:NUM_DIGITS]}"
    return {"key": key, "value": value, "where": where, "at": entry.at, "origin": "recorded"}
