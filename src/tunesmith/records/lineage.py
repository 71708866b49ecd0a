"""Versions of data and what differs between them; where a row came from and went; erasures."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from tunesmith.records.money import Money
from tunesmith.records.repair import Repair


@dataclass(frozen=True, kw_only=True, slots=True)
class FieldChange:
    """A field that the rows of a version have and those of the version before had not, or had
    otherwise."""

    change: str
    """"new", "gone" or "other type"."""
    name: str
    before: str
    """Its type, e.g. "integer or text"; empty where it was not there, or in no row looked at."""
    after: str

    def said(self) -> str:
        """In words, e.g. "id was integer, is text"."""
        name = " ".join(self.name.split())
        if self.change == "gone":
            return f"field {name} is gone"
        if self.change == "new":
            return f"new field {name}{f' ({self.after})' if self.after else ''}"
        return f"{name} was {self.before}, is {self.after}"


@dataclass(frozen=True, kw_only=True, slots=True)
class VersionLine:
    """One version of a data asset or a dataset.

    num_in == num_rows + num_quarantined + num_left_out + num_erased.
    """

    kind: str
    """"source", "transform" or "dataset"."""
    name: str
    number: int
    made_at: str
    digest: str
    """Of its record, which holds the digests of its tables."""
    num_in: int
    num_rows: int
    num_quarantined: int
    num_left_out: int
    """Rows not asked for, of a data asset; rows dropped, of a dataset."""
    num_erased: int
    num_repaired: int
    """Of `num_rows`, those that people repaired."""
    is_erased: bool
    """Whether its rows were purged by an erasure, and can no longer be read."""
    changed: tuple[str, ...]
    """What differs from the run that made the version before it; "first version" of the first."""
    num_read: int = 0
    """Of a transform: the rows of its sources. What came of them is `num_in`."""
    tags: tuple[str, ...] = ()
    """Names that people gave it."""
    gone: str = ""
    """What of it was purged by an erasure: "rows", or only "quarantined rows" or "dropped rows"."""
    fields: tuple[FieldChange, ...] = ()
    """Of a data asset: the fields that differ from those of the version before it; none where one
    of the two was erased."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Spread:
    """Lengths of texts, in bytes of UTF-8."""

    mean: float
    low: float
    """A tenth of the texts are shorter."""
    median: float
    high: float
    """A tenth are longer."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Shift:
    """How many rows of a kind there were, and are."""

    of: str
    """The label, the licence or the kind of personal data."""
    before: int
    after: int


@dataclass(frozen=True, kw_only=True, slots=True)
class RowChange:
    """One row that differs: added (nothing before), removed (nothing after) or edited (both)."""

    change: str
    """"added", "removed", "edited" or, of a dataset, "moved" to the other side of the split."""
    before: str
    """Its row id in the older version, or empty."""
    after: str
    pointer: str
    """Where in the source it is; of a row that was removed, where it was."""
    what: str
    """Which of its columns differ, or between which sides it moved."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """What differs between two versions of a table of rows.

    before.num_rows - num_removed + num_added == after.num_rows.
    """

    before: VersionLine
    after: VersionLine
    num_added: int
    num_removed: int
    num_edited: int
    num_moved: int
    num_same: int
    """Rows that are in both, neither edited nor moved."""
    labels: tuple[Shift, ...]
    """Every label, those that changed most first."""
    label_shift: float
    """Total variation distance of the shares of the labels: 0 the same, 1 no label in common."""
    licences: tuple[Shift, ...]
    """Rows by the licence that their source declares, those that changed most first."""
    obligations_new: tuple[str, ...]
    """What these licences ask for that those of the older version did not: `text.licences`."""
    obligations_gone: tuple[str, ...]
    pii: tuple[Shift, ...]
    """By kind (of `text.pii.Kind`), rows that have such personal data: among those that were
    removed or edited, as they were; and among those that were added or edited, as they are."""
    num_changed: int
    """Rows that were removed, added or edited; an edited one counts before and after."""
    num_looked_at: int
    """... and those of them in which personal data was looked for: all, or, where they say more
    than can be read in a moment, a sample by the hash of their ids."""
    lengths_before: Spread
    lengths_after: Spread
    examples: tuple[RowChange, ...]
    """The first of each kind of change, in the order of their pointers."""
    fields: tuple[FieldChange, ...] = ()
    """Of data assets: the fields that came, went or have another type."""


# Where a row came from, and where it went.


@dataclass(frozen=True, kw_only=True, slots=True)
class Holder:
    """Something that holds a row, or was made from it."""

    kind: str
    """"source", "transform", "dataset", "model", "index", "evaluation", "release", "export",
    "replay", "vectors" or "values"."""
    name: str
    """With its version where it has one, e.g. "desk@2"; else the step that made it."""
    run: int
    how: str
    """e.g. "train", "dropped: near duplicate of 1f2e...", "tuned on it"."""
    tags: tuple[str, ...] = ()
    """Names that people gave the version."""
    by_words: bool = False
    """Whether no id tells of the rows there, and what they say does."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where words stand in the text of a row."""

    start: int
    """In characters of the text, as citations have it."""
    end: int
    num_places: int
    """How often they stand in it; this is the first place."""
    pages: tuple[str, ...] = ()
    """Of a document: the pages that they are on, such as "page 2", or the sections, by their
    headings, where it has no pages."""
    section: str = ""
    """Of a document: the heading that they stand under, where it is known."""

    def said(self) -> str:
        """In words, e.g. "page 2, under Alarms, characters 34 to 48"."""
        under = self.section and self.section not in self.pages
        more = f" (the first of {self.num_places} places)" if self.num_places > 1 else ""
        parts = (*self.pages, *([f"under {self.section}"] if under else []))
        return ", ".join((*parts, f"characters {self.start} to {self.end}{more}"))


@dataclass(frozen=True, kw_only=True, slots=True)
class Ancestor:
    """A row that another was made from, by a transform or by several, one after the other."""

    name: str
    """The newest version that has it, e.g. "visits@2"."""
    row_id: str
    pointer: str
    """The file, or table, that it came from, and the line or key."""
    origin: str
    """The system that it came from."""
    parents: tuple[str, ...]
    """The rows that it was itself made from; none of a row of a source."""
    place: Place | None = None
    """Where the words that were asked for, or else the whole text of the row that is traced, stand
    in it; None where it does not say them to the letter."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RowTrace:
    """One row: up to where it came from, down to all that was made from it."""

    row_id: str
    text: str
    label: str
    origin: str
    """The system it came from."""
    package: str
    """The package or the local files, as they were taken into the store."""
    package_sha256: str
    member: str
    """The file in it."""
    numbered: str
    """What is counted in it: a "line" (the one that the record starts on), "element", "entry",
    "row" or "message"; empty where a file is one row, or its rows have names."""
    number: int
    """Which of them the record is, from 1 on; 0 where nothing is counted."""
    licence: str
    owner: str
    parents: tuple[str, ...]
    """Rows that were merged into this one: the duplicates that it was kept for."""
    ancestors: tuple[Ancestor, ...]
    """The rows that transforms made it from, the nearest first; none of a row of a source."""
    child: str
    """The row that was kept instead of this one; empty where it was not merged."""
    holders: tuple[Holder, ...]
    num_traces: int
    """Served requests whose question or answer has the whole text."""
    repair: Repair | None = None
    """What people changed of its record, which its contract refused as it was."""
    seeds: tuple[str, ...] = ()
    """Rows that a synthetic one was generated from."""
    place: Place | None = None
    """Where the words that were asked for stand in its text; None where an id was."""


# Erasure.


@dataclass(frozen=True, kw_only=True, slots=True)
class Remedy:
    """What erasing a person asks of one model."""

    model: str
    versions: tuple[str, ...]
    """Versions that were tuned on the rows, e.g. "desk@1"."""
    verdict: str
    """"retrain" or "evaluate again"."""
    why: str
    num_rows: int
    """Rows of the person that the newest of them was tuned on."""
    steps: tuple[str, ...]
    """What will run."""
    wall_s: float
    cost: Money
    """At what the last runs of those steps used; see `tunesmith.ledger.plan`."""
    num_unknown: int
    """Steps that never ran, and are not in the sum."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ErasurePlan:
    """All that holds a person, and what to forget them would take."""

    subject: str
    """As it was asked for."""
    named_by: str
    """"row id", or the fields that were looked in, e.g. "source.visits.subject = patient_id"."""
    row_ids: tuple[str, ...]
    shared: tuple[str, ...]
    """Rows of others that say the same, to the letter, in their text or in a field, but for what
    very many say; they stay."""
    holders: tuple[Holder, ...]
    remedies: tuple[Remedy, ...]
    num_traces: int
    """Served requests that have a text of theirs."""
    files: tuple[str, ...]
    """Files of the project's folder that still hold them, and are the user's to edit."""
    obstacles: tuple[str, ...]
    """Why the store's copy of a source cannot be rewritten, a sentence each; none as a rule."""
    copies: tuple[str, ...] = ()
    """What left the store and has, or may have, something of theirs: what, where to, when, by whom,
    and what is left to do there."""
    num_quarantined: int = 0
    """Records of theirs that versions have in quarantine."""
    num_shared: int = 0
    """Texts and values of fields that others' records have, too: nothing is searched for them."""
    num_too_short: int = 0
    """Those that only they have, and that are too short to be told from others' text."""

    def typed(self) -> str:
        """Whom it was asked for, as it is typed: ids, or one name, which may have blanks."""
        ids = self.subject.split(", ")
        return " ".join(ids) if self.named_by == "row id" else shlex.quote(self.subject)


@dataclass(frozen=True, kw_only=True, slots=True)
class ErasureCertificate:
    """What was erased, and the proof. It holds nothing of the person but keyed digests."""

    subject: str
    """Keyed digest (HMAC-SHA-256) of what was asked for."""
    rows: tuple[str, ...]
    """Keyed digests of the row ids."""
    key: str
    """Which key: the first digits of its own digest."""
    purged: Mapping[str, str]
    """Digest of each blob that was removed, and what it was."""
    num_traces: int
    """Served requests that were removed."""
    rewritten: tuple[str, ...]
    """New versions without the rows, e.g. "source visits@2"."""
    not_rewritten: tuple[str, ...]
    """What could not be made again without the rows, and why; it is purged all the same."""
    remedies: tuple[Remedy, ...]
    """Models that had learnt from the rows, and still have."""
    num_needles: int
    """Texts and values that were searched for."""
    num_too_short: int
    """Those that only they had, and that are too short to be told from others' text: of these the
    rows are gone by their ids."""
    num_blobs: int
    num_bytes: int
    """What was read for the proof: every blob, decoded, and the database."""
    found: tuple[str, ...]
    """Where one was found after all; none, or it is no proof."""
    files: tuple[str, ...]
    """Files of the project's folder that still hold the person: not the store's to change."""
    copies: tuple[str, ...] = ()
    """Copies that left the store and have, or may have, the person: for others to erase."""
    num_quarantined: int = 0
    """Records of theirs that were in quarantine."""
    num_shared: int = 0
    """Texts and values that others' records have, too, which stay: not searched for either."""
    unread: tuple[str, ...] | None = None
    """What the search could not read, and why: it may hold them. None of a certificate of before
    that was counted."""


# What left the store.


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadedOut:
    """A copy of a version that others read."""

    kind: str
    """"source" or "dataset"."""
    version: str
    """e.g. "visits@2"."""
    digest: str
    """Of the version's record."""
    format: str
    where: str
    """A folder, or a database without user and password."""
    table: str
    """Of a database; empty for files."""
    num_rows: Mapping[str, int]
    """By side of the split; of a data asset there is one, of its own name."""
    files: Mapping[str, str]
    """Path -> SHA-256; none for a database. In the evidence, the digest of this mapping."""
    licences: tuple[str, ...]
    is_new: bool
    """Whether something was written: a table that has this version is left as it is."""
