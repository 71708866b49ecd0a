"""Facts of a model version, each with where it stands on record; and what a document lacks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from tunesmith.core.canonical import fingerprint

DocumentKind = Literal["model-card", "ml-bom", "annex-iv", "nist-rmf", "training-content"]
KINDS: tuple[DocumentKind, ...] = get_args(DocumentKind)
WRITTEN = "document.written"
"""What the evidence calls it that a document was written."""
STATED = "document.stated"
"""... and that people stated what no run can record."""
NUM_DIGITS = 16
"""Of a fact's digest, as the evidence keeps it: to notice a change, not to prove anything."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Fact:
    """Something that is known of a model version."""

    key: str
    """e.g. "model.num_steps"."""
    value: Any
    """JSON; never empty: what is not known is no fact."""
    where: str
    """Where it stands: a run and a digest, an entry of the evidence, a key of the project file."""
    at: str
    """When it was recorded (ISO 8601, UTC); empty for a setting, which has no date."""
    origin: Literal["recorded", "declared"]
    """A run recorded it, or people wrote it into the project file."""

    @property
    def digest(self) -> str:
        """Of what it says; where and when it was said again changes nothing."""
        return fingerprint([self.key, self.value, self.origin])


@dataclass(frozen=True, kw_only=True, slots=True)
class FactBase:
    """All that is known of one model version; documents are functions of it alone."""

    version: str
    """e.g. "desk@2"."""
    section: str
    """Name of the `[document.NAME]` section that says, or would say, what people state of it."""
    facts: Mapping[str, Fact]

    @property
    def digest(self) -> str:
        """Of everything that is known."""
        return fingerprint([self.version, sorted(each.digest for each in self.facts.values())])

    def value(self, key: str, default: Any = None) -> Any:
        """What a fact says; `default` where it is not known."""
        return self.facts[key].value if key in self.facts else default

    def digests(self, keys: Iterable[str]) -> dict[str, str]:
        """The first digits of the digest of each of these facts; empty where it is not known."""
        return {
            key: self.facts[key].digest[:NUM_DIGITS] if key in self.facts else "" for key in keys
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Lack:
    """Something that a document is to say and cannot."""

    what: str
    remedy: str
    """Who can supply it, and where: a key of the project file, or a command."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Completeness:
    """How much of what a document is to say is known."""

    num_required: int
    lacks: tuple[Lack, ...]

    @property
    def score(self) -> float:
        """Share of what is required that is there, in [0, 1]."""
        return (self.num_required - len(self.lacks)) / self.num_required


@dataclass(frozen=True, kw_only=True, slots=True)
class BeforeGate:
    """What a document could say before a gate judged: of its required fields those that can be
    known by then."""

    kind: DocumentKind
    num_asked: int
    """Required fields that can be known before the gate."""
    lacks: tuple[Lack, ...]
    """Those of them that are not filled."""
    stated: Mapping[str, str]
    """What people state of it, by key, a digest each: with another statement a gate judges anew."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Documented:
    """The documents that a gate asks for."""

    documents: tuple[BeforeGate, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Document:
    """A document, compiled from the facts of one model version."""

    kind: DocumentKind
    version: str
    form: Literal["md", "json"]
    text: str
    """The file's content."""
    completeness: Completeness
    base: str
    """Digest of the whole fact base."""
    uses: Mapping[str, str]
    """The facts that it is made of, by key; see `FactBase.digests`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """A document as it could be written now, beside the one that was written last."""

    kind: DocumentKind
    score: float
    lacks: tuple[Lack, ...]
    written_at: str
    """Empty where none was written."""
    written_by: str
    file: str
    """Name of the file; where it was put is not on record."""
    changed: tuple[str, ...]
    """Keys of facts that it says and that are others now; none where it is up to date."""
