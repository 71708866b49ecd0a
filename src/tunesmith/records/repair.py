"""Records of a source that its contract refused, and what people did about them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """What one field of a record was, and is to be; each as JSON."""

    field: str
    before: str | None
    """None where the record had no such field."""
    after: str | None
    """None where it is to have none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Repair:
    """What somebody changed of one record, so that it could be used."""

    record: str
    """The id of its row: a digest of what stands in the source, so that it fits no other record."""
    pointer: str
    """Where it stood."""
    subject: str
    """Whom it is about, so that it is found when they are forgotten; empty where nobody is."""
    changes: tuple[Change, ...]
    by: str
    """A user of the operating system."""
    at: str
    why: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Repairs:
    """All repairs of one source, in the order of their records: what its step is given."""

    source: str
    repairs: tuple[Repair, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class BadRecord:
    """A record that is in quarantine, as it is after what was repaired of it so far."""

    record: str
    """The id that its row would have; empty where it could not be read."""
    pointer: str
    rule: str
    reason: str
    fields: Mapping[str, Any] | None
    """None where it could not be read: it is to be mended in the source."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BrokenRule:
    """One rule, and the records that break it."""

    rule: str
    count: int
    num_unreadable: int
    """Of these, those that have no fields to repair."""
    examples: tuple[BadRecord, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class RepairState:
    """One repair, and what came of it."""

    repair: Repair
    state: str
    """"re-admitted"; "quarantined", as it still breaks a rule; "not asked for" by `where`; or
    "stale": the record changed in the source, or is gone."""
    reason: str
    """Which rule it breaks, and how; empty for the others."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Quarantine:
    """What of a source is in quarantine, by the contract and the repairs of this moment."""

    source: str
    num_bad: int
    rules: tuple[BrokenRule, ...]
    """The most frequent first."""
    repairs: tuple[RepairState, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Repairing:
    """What became of a table of repaired records."""

    source: str
    file: str
    """Where repairs are kept, in the project's folder."""
    made: tuple[Repair, ...]
    refused: tuple[BadRecord, ...]
    """Records that break a rule after their repair, too: of these nothing is kept."""
    stale: tuple[str, ...]
    """Ids of records that are not in quarantine: they changed, are gone, or were repaired."""
    num_unchanged: int
