"""The training-content sheet: what a dataset contributes to the public summary of training content
that Article 53(1)(d) of the EU's AI Act, Regulation (EU) 2024/1689, asks of the provider of a
general-purpose AI model.

The headings and questions are those of the Commission's template of 24 July 2025 (general
information; list of data sources; data processing aspects), without its optional comments and
without what it asks only where the answer before is yes. What the store has no record of is "not
stated": a sheet that guesses is worse than none. It is a draft for the provider and for counsel.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tunesmith.documents.describe import (
    NOT_STATED,
    PACKAGE,
    DatasetFacts,
    limitations,
    personal_data,
    preprocessing,
    synthetic,
)
from tunesmith.documents.markdown import line, table
from tunesmith.stages.curate.config import TASKS

TITLE = "Public summary of training content"
_SOURCES = "2. List of data sources"
SIZES = (
    (1_000_000_000, "less than 1 billion tokens"),
    (10_000_000_000_000, "1 billion to 10 trillion tokens"),
)
"""The template's classes of a text's size: below the number; above the last, more than that."""
SCOPE = """\
This is a draft, made of what the store has on record of one dataset. It is for the provider of the
model (for personal data: the controller) and for counsel to check and complete; it is no legal
advice, and having it does not mean that the obligation is met, or that there is one.

It covers what was trained on here, and nothing else. Whoever fine-tunes another's general-purpose
model owes a summary, if at all, for that modification only (recital 109); what the base model was
trained on is its provider's to say."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Field:
    """A question of the template, and the answer."""

    asked: str
    answer: str = ""
    """Empty where nothing is recorded."""
    note: str = ""
    """What helps to complete it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """A heading of the template, and what is asked below it."""

    heading: str
    fields: tuple[Field, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Sheet:
    """A dataset's part of the summary."""

    dataset: str
    """e.g. "letters@2"."""
    digest: str
    """Of its record."""
    parts: tuple[Part, ...]
    sources: tuple[tuple[str, ...], ...]
    """A line each of the table of what it was cut from; the first is its heading."""
    num_fields: int
    num_filled: int


def training_content(facts: DatasetFacts) -> Sheet:
    """The sheet of a dataset: a pure function of what is recorded of it."""
    parts = tuple(_parts(facts))
    fields = [field for part in parts for field in part.fields]
    return Sheet(
        dataset=facts.ref,
        digest=facts.digest,
        parts=parts,
        sources=tuple(_sources(facts)),
        num_fields=len(fields),
        num_filled=sum(bool(field.answer) for field in fields),
    )


def write_sheet(sheet: Sheet) -> str:
    """The sheet as Markdown."""
    lines = [
        f"# {TITLE}: draft for {sheet.dataset}",
        "",
        SCOPE,
        "",
        f"{sheet.num_filled} of {sheet.num_fields} fields are filled; the others are "
        f"{NOT_STATED!r}.",
        f"The dataset is {sheet.dataset}, whose record has the sha256 {sheet.digest}.",
    ]
    for part in sheet.parts:
        depth = part.heading.partition(" ")[0].count(".")  # "2.2.1." is below "2.2."
        lines += ["", f"{'#' * (max(depth, 1) + 1)} {part.heading}"]
        if part.heading == _SOURCES:
            lines += ["", "What is recorded of them, before any question of the template:", ""]
            lines += table(sheet.sources[0], sheet.sources[1:])
        lines += ["", *map(_answered, part.fields)] if part.fields else []
    return "\n".join(lines) + "\n"


def _answered(field: Field) -> str:
    note = f" ({field.note})" if field.note else ""
    return f"- **{field.asked}** {line(field.answer) or NOT_STATED}{note}"


def _parts(facts: DatasetFacts) -> Iterator[Part]:
    yield _asked(
        "Summary",
        Field(asked="Version of the summary:", answer=f"draft of {facts.ref}"),
        Field(asked="Last update:", answer=facts.made_at[:10]),
    )
    yield from _general(facts)
    yield from _data_sources(facts)
    yield from _processing(facts)


def _general(facts: DatasetFacts) -> Iterator[Part]:
    yield _asked("1. General information")
    yield _asked(
        "1.1. Provider identification",
        Field(asked="Provider name and contact details:"),
        Field(asked="Authorised representative name and contact details:"),
    )
    bases = dict.fromkeys(f"{m.base.name} ({m.base.origin})" for m in facts.models)
    yield _asked(
        "1.2. Model identification",
        Field(
            asked="Versioned model name(s):",
            answer=", ".join(model.name for model in facts.models),
            note="as they are called here" if facts.models else "",
        ),
        Field(
            asked="Model dependencies:",
            answer=", ".join(bases),
            note="link its provider's summary, if it is a general-purpose model on the market",
        ),
        Field(asked="Date of placement of the model on the Union market:"),
    )
    yield _asked(
        "1.3. Modalities, overall training data size and other characteristics",
        *_characteristics(facts),
    )


def _characteristics(facts: DatasetFacts) -> Iterator[Field]:
    train, format = facts.dataset.train, facts.dataset.format
    read_on = max(source.read_on for source in facts.sources)
    yield Field(asked="Modality:", answer="text")
    yield Field(
        asked="Training data size:",
        answer=f"{_size(train.num_tokens)}: {train.num_tokens:,} tokens in {train.num_rows:,} "
        f"rows, counted with the tokenizer of {facts.base.name}",
    )
    yield Field(
        asked="Types of content:",
        answer=f"rows of the format {format!r}: {TASKS[format]}",
        note="add what kind of texts they are, e.g. non-fiction, letters",
    )
    yield Field(
        asked="Latest date of data acquisition/collection for model training:",
        answer=f"{read_on[5:7]}/{read_on[:4]}",
        note="when the last of its sources was first read; when that was collected is not recorded",
    )
    yield Field(asked="Is the model continuously trained on new data after this date?")
    yield Field(
        asked="Linguistic characteristics of the overall training data:",
        answer=", ".join(facts.languages),
        note="" if facts.languages else "`languages` of the dataset would have it told",
    )
    yield Field(asked="Other relevant characteristics of the overall training data:")


def _data_sources(facts: DatasetFacts) -> Iterator[Part]:
    yield _asked(_SOURCES)
    yield _asked("2.1. Publicly available datasets", *_public(facts))
    yield _asked("2.2. Private non-publicly available datasets obtained from third parties")
    yield _asked(
        "2.2.1. Datasets commercially licensed by rightsholders or their representatives",
        Field(asked="Have you concluded transactional commercial licensing agreement(s)?"),
    )
    yield _asked(
        "2.2.2. Private datasets obtained from other third parties",
        Field(asked="Have you obtained private datasets that are not licensed as in 2.2.1?"),
    )
    yield _asked(
        "2.3. Data crawled and scraped from online sources",
        Field(
            asked="Were crawlers used by the provider or on behalf of the provider?",
            note="Tunesmith crawls nothing; what was done before the sources were read is not "
            "recorded",
        ),
    )
    yield _asked(
        "2.4. User data",
        Field(asked="Was data from user interactions with the AI model used to train the model?"),
        Field(
            asked="Was data collected from user interactions with the provider's other services or "
            "products used to train the model?"
        ),
    )
    made = " ".join(synthetic(facts))
    teachers = ", ".join(dict.fromkeys(m.teacher for m in facts.models if m.teacher))
    yield _asked(
        "2.5. Synthetic data",
        Field(
            asked="Was synthetic AI-generated data created by the provider or on their behalf to "
            "train the model?",
            answer="; ".join(
                [
                    *([f"yes, by distillation: taught by {teachers}"] if teachers else []),
                    *([f"yes: {made}"] if made else []),
                ]
            ),
            note="the dataset's card names the generators"
            if made
            else ""
            if teachers
            else "no source says that its rows were generated",
        ),
    )
    yield _asked(
        "2.6. Other sources of data",
        Field(
            asked="Have data sources other than those described in Sections 2.1 to 2.5 been used?",
            note="files and databases of the table belong here, or under 2.2 to 2.4",
        ),
    )


def _public(facts: DatasetFacts) -> Iterator[Field]:
    packages = [source.asset for source in facts.sources if source.kind == PACKAGE]
    asked = "Have you used publicly available datasets to train the model?"
    if not packages:
        yield Field(asked=asked)
        return
    yield Field(
        asked=asked,
        answer="yes, from a package index",
        note="if that index is open to the public",
    )
    yield Field(asked="Modality(ies) of the content covered by the datasets:", answer="text")
    yield Field(
        asked="List of publicly available datasets:",
        answer="; ".join(f"{each.name}: {each.origin}" for each in packages),
        note="the template lists large ones, and describes the others in general",
    )


def _processing(facts: DatasetFacts) -> Iterator[Part]:
    yield _asked("3. Data processing aspects")
    allowed = ", ".join(facts.config.get("licences", ()))
    yield _asked(
        "3.1. Respect of reservation of rights from text and data mining exception or limitation",
        Field(asked="Are you a signatory to the code of practice for general-purpose AI models?"),
        Field(
            asked="Measures implemented to respect reservations of rights:",
            answer=f"only sources that declare one of these licences were let in: {allowed}"
            if allowed
            else "",
            note="add which opt-outs were honoured, and by whom" if allowed else "",
        ),
    )
    yield _asked("3.2. Removal of illegal content", Field(asked="Measures taken:"))
    yield _asked(
        "3.3. Other information (optional)",
        Field(asked="Personal data:", answer=" ".join(personal_data(facts))),
        Field(asked="Preparation of the rows:", answer=" ".join(preprocessing(facts))),
        Field(asked="Limitations:", answer=" ".join(limitations(facts))),
    )


def _asked(heading: str, *fields: Field) -> Part:
    return Part(heading=heading, fields=fields)


def _sources(facts: DatasetFacts) -> Iterator[tuple[str, ...]]:
    yield (
        "data asset", "kind", "origin", "licence", "owner", "purpose", "rows", "first read",
        "sha256 of its record",
    )  # fmt: skip
    for source in facts.sources:
        asset = source.asset
        yield (
            asset.name,
            source.kind,
            asset.origin,
            asset.licence,
            asset.owner,
            asset.purpose,
            str(asset.num_rows),
            source.read_on,
            source.digest,
        )


def _size(num_tokens: int) -> str:
    return next(
        (name for limit, name in SIZES if num_tokens < limit), "more than 10 trillion tokens"
    )
