"""Settings of datasets: the `[dataset.NAME]` sections of the project file."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal, Self

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    ValidationInfo,
    field_validator,
    model_serializer,
    model_validator,
)
from pydantic_core import PydanticCustomError

from tunesmith.core.section import Section
from tunesmith.records.rows import FORMATS

SHORT_SIMILARITY = 0.8
"""Where one of two texts has fewer than 20 words their sets of words are compared instead of their
5-grams, and it takes at least this much to be near duplicates. Not a setting: short notices of
different licences share half of their words as a matter of course, so a lower figure would throw
away what tells them apart."""
SHORT_LEAK_SIMILARITY = 0.7
"""... and at least this much to be put on one side of the split. Lower ones chain most short texts
into a single component."""

ASKED = ("chat", "preference", "feedback")
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


class DatasetConfig(Section):
    """A frozen, split training set."""

    name: str = ""
    """Name of the dataset: what follows `dataset.` in the section's heading."""
    sources: tuple[str, ...] = Field(min_length=1)
    """Names of the sources that it is cut from; of two equal rows the first source's is kept."""
    base: str
    """Name of the base model; rows are measured with its tokenizer and its chat template."""
    format: Literal[
        "labels", "chat", "completion", "text", "preference", "feedback", "tags", "pairs"
    ] = "labels"
    """What a row says: a text and its label ("labels"), a conversation ("chat"), a prompt and what
    follows it, without a chat template ("completion"), a text to learn as a whole ("text"), two
    answers of which one is better ("preference"), an answer that was liked or not ("feedback"),
    words and the tag of each ("tags"), or texts that belong together ("pairs")."""
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
        known = [field.name for field in dataclasses.fields(FORMATS[self.format])]
        for field in self.columns:
            if field not in known:
                raise ValueError(
                    f"columns names {field!r}, which is no field of format {self.format!r}; it "
                    f"has {', '.join(known)}"
                )
        return self

    @model_serializer(mode="wrap")
    def _leave_out_what_is_not_read(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Else a default, written out and read again, would look like a value that was given."""
        by_rows = ("test_share",) if self.test_rows else ()
        return {
            key: value
            for key, value in plain(self).items()
            if self.format in READ_BY.get(key, (self.format,)) and key not in by_rows
        }
