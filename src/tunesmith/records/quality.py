"""How good the rows of a data asset are, and what a catalogue says of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from tunesmith.records.data import TrueSize
from tunesmith.records.money import Money


@dataclass(frozen=True, kw_only=True, slots=True)
class Filled:
    """In how many rows something is there, and not empty."""

    name: str
    """"text", "label", or "field NAME"."""
    num_rows: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Quality:
    """Numbers about the rows of a version of a data asset; no text of one."""

    fields: tuple[Filled, ...]
    """Completeness; what is nowhere filled is not there."""
    size: TrueSize
    """Uniqueness."""
    newest: Mapping[str, str]
    """Timeliness: of each field that holds dates, the latest."""
    pii: Mapping[str, int]
    """In how many of the sampled rows there is personal data, by kind of `text.pii.Kind`."""
    num_sampled: int
    licences: Mapping[str, int]
    """In how many rows a licence is named by a tag or an address."""
    low: Mapping[str, int] = field(default_factory=dict)
    """In how many rows a rule of `text.quality` is broken, by rule."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LicenceLine:
    """A statement about the licence, with its words as they stand in the file."""

    file: str
    line: int
    says: str
    words: str
    """Empty where the file is gone."""
    is_doubt: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Freshness:
    """How old a data asset is."""

    loaded_at: str
    """When these rows were read in (ISO 8601, UTC)."""
    newest: str
    """The latest date in the rows; empty where no field is known to hold dates."""
    age_days: float
    """Since the latest date; without one, since they were read in."""
    refresh_within: int | None
    """The promise, in days."""

    @property
    def is_kept(self) -> bool | None:
        """Whether the promise is kept; None without one."""
        return None if self.refresh_within is None else self.age_days <= self.refresh_within


@dataclass(frozen=True, kw_only=True, slots=True)
class CatalogueEntry:
    """One data asset in the catalogue: what is recorded of its newest version."""

    name: str
    version: int
    origin: str
    num_rows: int
    num_quarantined: int
    stated: Mapping[str, str]
    """What its section says, by setting; "not stated" of what it does not."""
    licence: str
    """What is to be thought of the licence: clear, differs, doubtful, not for tuning, not stated,
    or, before anybody looked, not looked at."""
    package_licence: str
    """What the package says of itself; empty for nothing."""
    statements: tuple[LicenceLine, ...]
    """What differs from the declared licence, or makes it doubtful."""
    obligations: Mapping[str, tuple[str, ...]]
    freshness: Freshness
    cpu_s: float
    cost: Money | None
    """Of reading it in, over all attempts; None where no rates are set."""
    review_s: float
    """Seconds of people who looked at its rows, in whatever review."""
    review_cost: Money | None
    """The same, priced; None where `per_review_hour` is not set."""
    quality: Quality | None
    """None before anybody asked."""
    used_by: tuple[str, ...]
    """What was made of this version, e.g. "dataset letters@2"; and what serves it."""
    remarks: tuple[str, ...]
    """What does not fit together, and what is missing; each with the setting."""

    @property
    def cost_per_row(self) -> Money | None:
        """Of reading it in and of looking at it, by its rows; None where neither has a price."""
        known = [each for each in (self.cost, self.review_cost) if each is not None]
        if not known:
            return None
        total = sum((each.amount for each in known), Decimal(0))
        return Money(amount=total / max(self.num_rows, 1), currency=known[0].currency)

    @property
    def validity(self) -> float:
        """The share of the records that broke no rule, in [0, 1]."""
        total = self.num_rows + self.num_quarantined
        return self.num_rows / total if total else 0.0
