"""Settings of datasets: the `[dataset.NAME]` sections of the project file."""

from __future__ import annotations

import dataclasses
import datetime
import difflib
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PrivateAttr,
    SerializerFunctionWrapHandler,
    StringConstraints,
    ValidationInfo,
    field_validator,
    model_serializer,
    model_validator,
)
from pydantic_core import PydanticCustomError

from tunesmith.core.section import Section
from tunesmith.records.review import ReviewedLabels
from tunesmith.records.rows import FORMATS
from tunesmith.text.language import known_languages
from tunesmith.text.names import NameKind
from tunesmith.text.pii import has_phones
from tunesmith.text.quality import Rule

SHORT_SIMILARITY = 0.8
"""Where one of two texts has fewer than 20 words their sets of words are compared instead of their
5-grams, and it takes at least this much to be near duplicates. Not a setting: short notices of
different licences share half of their words as a matter of course, so a lower figure would throw
away what tells them apart."""
SHORT_LEAK_SIMILARITY = 0.7
"""... and at least this much to be put on one side of the split. Lower ones chain most short texts
into a single component."""

ASKED = ("chat", "preference", "feedback", "checked")
"""Formats, beside labels, of which a row is asked by the chat template."""
_OTHERS = tuple(name for name in FORMATS if name != "labels")
READ_BY = {
    "columns": _OTHERS,
    "instruction": ("labels", *ASKED),
    "num_labels": ("labels",),
    "labels": ("labels",),
    "train_per_label": ("labels",),
    "test_per_label": ("labels",),
    "train_rows": _OTHERS,
    "test_rows": _OTHERS,
    "test_share": _OTHERS,
    "max_tokens": tuple(name for name in FORMATS if name != "text"),
    "min_chars": ("labels", "text"),
    "similarity": ("labels", "chat", "completion", "text"),
}
"""Settings that not every format reads, and the formats that do."""
TASKS = {
    "labels": "given a text, name its label",
    "chat": "go on with a conversation, as the assistant's turns do",
    "completion": "go on with a prompt as it stands, without a chat template",
    "text": "learn texts as a whole",
    "preference": "of two answers to a question, prefer the chosen one",
    "feedback": "answer as the answers that were liked, and not as the others",
    "checked": "answer so that rules are kept that can be checked",
    "tags": "give each word of a text its tag",
    "pairs": "tell texts that belong together from others",
}
"""By format: what a model learns of it."""
TREATED = {
    "report": "It was counted, and left where it is.",
    "mask": "Each was replaced by its kind.",
    "pseudonymise": "Each was replaced by a keyed pseudonym (HMAC-SHA-256), the same for the same.",
    "refuse": "A row with any would have stopped the dataset.",
}
"""By setting: what was done about personal data."""


def _written_out(date: Any) -> Any:
    """TOML has dates of its own."""
    return date.isoformat() if isinstance(date, datetime.date) else date


def _checked_date(date: str) -> str:
    if date:
        try:
            datetime.datetime.fromisoformat(date)
        except ValueError:
            raise ValueError(f"{date!r} is no date; write it as 2026-07-01") from None
    return date


Cleared = Annotated[str, StringConstraints(min_length=20, strip_whitespace=True)]
"""By whom, when and why: no fewer characters say it."""


class SemanticConfig(Section):
    """Which rows say the same in other words."""

    encoder: str
    """Name of the base model whose vectors of two rows are compared; one that reads both ways."""
    at_least: float = Field(gt=0, lt=1)
    """The cosine of their vectors from which two rows say the same."""


class DatasetConfig(Section):
    """A frozen, split training set."""

    name: str = ""
    """Name of the dataset: what follows `dataset.` in the section's heading."""
    sources: tuple[str, ...] = Field(min_length=1)
    """Names of the sources that it is cut from; of two equal rows the first source's is kept."""
    base: str
    """Name of the base model; rows are measured with its tokenizer and its chat template."""
    format: Literal[
        "labels", "chat", "completion", "text", "preference", "feedback", "checked", "tags", "pairs"
    ] = "labels"
    """What a row says: a text and its label ("labels"), a conversation ("chat"), a prompt and what
    follows it, without a chat template ("completion"), a text to learn as a whole ("text"), two
    answers of which one is better ("preference"), an answer that was liked or not ("feedback"),
    a question whose answers can be checked ("checked"), words and the tag of each ("tags"), or
    texts that belong together ("pairs")."""
    columns: dict[str, str] = Field(default_factory=dict)
    """Which field of the source a field of the format is read from, where the names differ."""
    instruction: str = Field(default="", validate_default=True)
    """The system message that every row starts with, at tuning and at serving; labels need it.
    Without it a conversation has its own system message, or none."""
    num_labels: int = Field(default=10, ge=2)
    """Keep this many labels: the commonest, counted after duplicates are gone; ties by name."""
    labels: tuple[str, ...] = ()
    """Keep exactly these labels instead; each must occur."""
    train_per_label: int = Field(default=40, ge=1)
    """At most this many rows of a label to tune on."""
    test_per_label: int = Field(default=8, ge=1)
    """At most this many rows of a label to test on."""
    train_rows: int = Field(default=0, ge=0)
    """At most this many rows to tune on; 0 is all that are not to test on."""
    test_share: float = Field(default=0.1, gt=0, lt=1)
    """Test on this share of the rows, at least on one."""
    test_rows: int = Field(default=0, ge=0)
    """Test on this many rows instead, but never on more than half of them; 0 is `test_share`."""
    max_tokens: int = Field(default=512, ge=8)
    """Drop rows with more tokens than this in one piece: the whole conversation (instruction, text,
    answer), a prompt with either of its answers, each of the texts of a pair. A text that is learnt
    as a whole is learnt in windows, so it is never too long."""
    min_chars: int = Field(default=20, ge=1)
    """Drop rows whose text is shorter than this many characters."""
    similarity: float = Field(default=0.6, gt=0, le=1)
    """Drop one of two rows, of labels one of two of a label, that share this much (Jaccard
    similarity of their word 5-grams; of their words, and at least 0.8, if either has fewer than 20
    words)."""
    leak_similarity: float = Field(default=0.4, gt=0, le=1)
    """Rows that share this much, whatever their labels, are all put on one side of the split (in
    words, at least 0.7, if either has fewer than 20)."""
    semantic: SemanticConfig | None = None
    """Also find rows that say the same in other words, such as { encoder = "minilm", at_least =
    0.95 }: those whose vectors by this base model have a cosine of at least that much. Where near
    duplicates are dropped (`similarity`), one of two such rows is, of labels one of two of a label;
    all are put on one side of the split. Those with different labels are listed by `tunesmith data
    contradictions`. Without it no encoder is asked."""

    together: tuple[str, ...] = ()
    """Fields of the sources' records, such as a case's or a contract's number: rows that have a
    value of one of them in common are all put on one side of the split. Those of one person, by the
    `subject` of their sources, always are."""
    date: str = ""
    """Field with the date of a record (ISO 8601, with or without a time), for `test_from`."""
    test_from: Annotated[str, BeforeValidator(_written_out), AfterValidator(_checked_date)] = ""
    """Test on the rows of this date and later, such as "2026-07-01", and tune on those before, so
    that the model is judged on what it could not have seen. A later row that belongs to an earlier
    one, or resembles it, is left out."""
    apart_from: tuple[str, ...] = ()
    """Names of other datasets: no row is trained on that is one of their test rows, resembles one
    as `leak_similarity` says, or in which one stands. Name every dataset that the model is judged
    on."""
    reviewed: str = ""
    """Name of a review: what it settled, and what was accepted of that (`tunesmith review accept`),
    stands in place of what the sources say: labels, for every row with the same text; of rows
    without labels corrections, and which answer is better. What is unusable, or was rejected, is
    dropped."""
    licences: tuple[str, ...] = ()
    """Licences (SPDX) that its sources may have, or families of them ("public-domain",
    "permissive", "weak-copyleft", "strong-copyleft", "network-copyleft", "non-commercial",
    "no-derivatives"); any other, or none stated, stops it. Of a choice ("MIT OR GPL-2.0-only") one
    must be listed, of "AND" all. Without a list every licence is let through, and on the card, but
    those without commercial use or derivatives. With or without: see `licence_cleared`."""
    licence_cleared: dict[str, Cleared] = Field(default_factory=dict)
    """Sources whose licence is doubtful, or not for tuning, and who decided that they may be used
    here, when, and why, as in { songs = "J. Doe (legal), 2026-07-01: contract 17 with the label" }.
    It is on the card. Read from the project file alone."""
    shares: dict[str, Annotated[float, Field(gt=0, lt=1)]] = Field(default_factory=dict)
    """How the sources are mixed: the share of each of the rows to tune on, as in { letters = 0.7,
    mails = 0.3 }. There are as many rows as the shares allow, drawn by the seed; none is repeated,
    and those beyond a source's share are left out. Without it every row that fits is taken."""
    quality: tuple[Rule, ...] = ()
    """Rules of `tunesmith data show SOURCE` (how many rows break which) that a row may not break:
    "few-letters", "odd-words", "symbols", "bullets", "ellipses", "repeated-lines",
    "repeated-words". They are for prose in words of letters."""
    languages: tuple[str, ...] = ()
    """Keep rows in these languages (ISO 639-1, such as "en"); without a list every row. Listing
    "und" keeps those of which it cannot be told, mostly short ones, and "zxx" what is no language.
    """
    max_synthetic: float = Field(default=1.0, ge=0, le=1)
    """The share of the rows to tune on that may be synthetic, of sources that say so (`synthetic`);
    above it there is no dataset."""
    test_synthetic: bool = False
    """Whether synthetic rows may be tested on, too. Without it those that belong to a row that is
    tested on, such as those made from it, are dropped, and the others are tuned on."""
    pii: Literal["report", "mask", "pseudonymise", "refuse", "off"] = "report"
    """What is done about personal data that has a form (e-mail and IP addresses, IBANs, payment
    cards, telephone and national numbers), and about `pii_names`: counted ("report"), replaced
    by its kind ("mask") or by a keyed pseudonym ("pseudonymise"), a reason to stop ("refuse"), not
    looked for ("off"). What is replaced is replaced before rows are compared and counted."""
    pii_regions: tuple[Annotated[str, StringConstraints(pattern="^[A-Z]{2}$")], ...] = ()
    """Countries (ISO 3166, such as "US") whose telephone numbers are known without the prefix."""
    pii_names: tuple[NameKind, ...] = ()
    """Also find names of persons ("person"), and, if listed, of places ("location") and of
    organisations ("organisation"), in English text, by a model; needs the extra `pii`. It misses
    names, and takes other words for some: the card says how often in a measurement."""
    pii_key_file: str = ""
    """File with the secret key of the pseudonyms: at least 32 random bytes, outside of the store,
    readable by its owner alone. It is read, never stored and never printed."""
    pii_key_id: Annotated[str, StringConstraints(pattern="^([0-9a-f]{16})?$")] = ""
    """Which key it must be; without it, the one that is in the file. The card says which it was."""

    _accepted: ReviewedLabels | None = PrivateAttr(default=None)

    @property
    def accepted(self) -> ReviewedLabels | None:
        """What `reviewed` names; the evidence says it, and no project file can."""
        return self._accepted

    def with_accepted(self, accepted: ReviewedLabels | None) -> Self:
        """The same settings, with the labels that were accepted."""
        changed = self.model_copy()
        changed._accepted = accepted
        return changed

    @field_validator("instruction")
    @classmethod
    def _labels_are_asked_for(cls, instruction: str, info: ValidationInfo) -> str:
        if not instruction and info.data.get("format") == "labels":
            raise PydanticCustomError("missing", "format 'labels' needs it")
        return instruction

    @model_validator(mode="after")
    def _refuse_what_is_not_read(self) -> Self:
        for key, formats in READ_BY.items():
            if key in self.model_fields_set and self.format not in formats:
                raise ValueError(
                    f"{key} is not read with format {self.format!r}: leave {key} out, or set "
                    f"format to {' or '.join(map(repr, formats))}"
                )
        return self

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.format in READ_BY["similarity"] and self.leak_similarity > self.similarity:
            raise ValueError("leak_similarity must not be above similarity")
        if len(set(self.labels)) != len(self.labels) or len(self.labels) == 1:
            raise ValueError("labels must name at least two, each once")
        if self.test_rows and "test_share" in self.model_fields_set:
            raise ValueError("test_rows and test_share say the same: leave one of them out")
        if bool(self.test_from) != bool(self.date):
            raise ValueError("date and test_from go together: set both, or none of them")
        if self.test_from and "test_share" in self.model_fields_set:
            raise ValueError("test_share is not read with test_from: the date decides")
        if self.shares and set(self.shares) != set(self.sources):
            raise ValueError("shares names each of its sources, and nothing else")
        if self.shares and abs(sum(self.shares.values()) - 1) > 1e-6:
            raise ValueError(f"shares add up to {sum(self.shares.values()):g}, and should to 1")
        known = [field.name for field in dataclasses.fields(FORMATS[self.format])]
        for field in self.columns:
            if field not in known:
                raise ValueError(
                    f"columns names {field!r}, which is no field of format {self.format!r}; it "
                    f"has {', '.join(known)}"
                )
        return self

    @field_validator("languages")
    @classmethod
    def _languages_are_known(cls, languages: tuple[str, ...]) -> tuple[str, ...]:
        for code in languages:
            if code not in known_languages():
                near = difflib.get_close_matches(code, sorted(known_languages()), n=3, cutoff=0.3)
                raise ValueError(
                    f"there is no language {code!r}; codes have two letters (ISO 639-1), such as "
                    f"{', '.join(near) or 'en'}"
                )
        return languages

    @model_validator(mode="after")
    def _check_pii(self) -> Self:
        if self.pii == "pseudonymise" and not self.pii_key_file:
            raise ValueError(
                "pseudonyms need pii_key_file: a file with 32 random bytes, outside of the store"
            )
        for key in ("pii_key_file", "pii_key_id"):
            if key in self.model_fields_set and self.pii != "pseudonymise":
                raise ValueError(f'{key} is read with pii = "pseudonymise" alone: leave it out')
        for key in ("pii_regions", "pii_names"):
            if getattr(self, key) and self.pii == "off":
                raise ValueError(f'{key} is not read with pii = "off": leave it out')
        if len(set(self.pii_names)) != len(self.pii_names):
            raise ValueError("pii_names must name each kind once")
        for region in self.pii_regions:
            if not has_phones(region):
                raise ValueError(f"pii_regions: there is no country {region!r} with telephones")
        return self

    @model_serializer(mode="wrap")
    def _leave_out_what_is_not_read(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Else a default, written out and read again, would look like a value that was given."""
        unread = ["test_share"] if self.test_rows or self.test_from else []
        if not self.reviewed:  # so that a dataset without it is known by the key that it had
            unread.append("reviewed")
        if not self.licence_cleared:
            unread.append("licence_cleared")
        if self.pii != "pseudonymise":
            unread += ["pii_key_file", "pii_key_id"]
        if self.semantic is None:  # what is not asked for is in no key
            unread.append("semantic")
        for key in ("pii_names", "max_synthetic", "test_synthetic", "shares", "quality"):
            field = type(self).model_fields[key]
            if getattr(self, key) == field.get_default(call_default_factory=True):
                unread.append(key)
        return {
            key: value
            for key, value in plain(self).items()
            if self.format in READ_BY.get(key, (self.format,)) and key not in unread
        }
