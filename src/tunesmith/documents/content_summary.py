"""The draft of the EU's public summary of training content, of one model: its dataset's sheet, with
what the provider states in the places where the sheet of a dataset can say nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from tunesmith.core.ref import from_plain, to_plain
from tunesmith.documents.outline import croissant_of, lacking, provenance
from tunesmith.documents.sheet import Reading
from tunesmith.documents.training_content import Field, Sheet, write_sheet
from tunesmith.records.document import Completeness, Lack

STATED = {
    "Provider name and contact details:": ("declared.provider", "declared.contact"),
    "Authorised representative name and contact details:": ("declared.representative",),
    "Date of placement of the model on the Union market:": ("declared.market_date",),
    "Linguistic characteristics of the overall training data:": ("declared.languages",),
}
"""Questions that statements answer where nothing is recorded."""
OPTIONAL = "3.3."
"""How the part begins that the template leaves to the provider."""


def sheet(reading: Reading) -> Sheet | None:
    """The draft; None where no dataset is on record."""
    plain = reading.value("dataset.training_content")
    if plain is None:
        return None
    found: Sheet = from_plain(Sheet, plain)
    parts = tuple(
        replace(part, fields=tuple(_answered(reading, field) for field in part.fields))
        for part in found.parts
    )
    answers = [field for part in parts for field in part.fields]
    return replace(found, parts=parts, num_filled=sum(bool(field.answer) for field in answers))


def completeness(reading: Reading) -> Completeness:
    """How many of the questions are answered that the template requires."""
    found = sheet(reading)
    if found is None:
        lack = Lack(what="a dataset on record", remedy="tune it with this version: `tunesmith run`")
        return Completeness(num_required=1, lacks=(lack,))
    required = [
        (part.heading, field)
        for part in found.parts
        if not part.heading.startswith(OPTIONAL)
        for field in part.fields
    ]
    lacks = tuple(
        Lack(what=f"{heading}: {field.asked.rstrip(':')}", remedy=_remedy(reading, field))
        for heading, field in required
        if not field.answer
    )
    return Completeness(num_required=len(required), lacks=lacks)


def markdown(reading: Reading) -> str:
    """The draft, for people."""
    found = sheet(reading)
    head = write_sheet(found) if found else "# Public summary of training content\n"
    lines = [*lacking(completeness(reading)), *provenance(reading)]
    return head + "\n" + "\n".join(lines) + "\n"


def data(reading: Reading) -> dict[str, Any]:
    """The draft, for programs."""
    found = completeness(reading)
    return {
        "document": "training-content",
        "version": reading.base.version,
        "completeness": {
            "score": round(found.score, 4),
            "required": found.num_required,
            "missing": to_plain(found.lacks),
        },
        "sheet": to_plain(sheet(reading)),
        "croissant": croissant_of(reading),
        "facts": {"sha256": reading.base.digest, "used_sha256": reading.digest()},
    }


def questions(reading: Reading) -> Iterator[str]:
    """The questions, as the draft asks them."""
    found = sheet(reading)
    for part in found.parts if found else ():
        for field in part.fields:
            yield field.asked


def _answered(reading: Reading, field: Field) -> Field:
    """The field, answered by a statement if nothing is recorded."""
    own = (reading.value("declared.answers") or {}).get(field.asked, "")
    stated = [reading.value(key) for key in STATED.get(field.asked, ())]
    said = [", ".join(each) if isinstance(each, list) else each for each in stated if each]
    answer = own or ", ".join(said)
    if field.answer or not answer:
        return field
    return replace(field, answer=answer, note="declared")


def _remedy(reading: Reading, field: Field) -> str:
    section = f"[document.{reading.base.section}]"
    if field.asked in STATED:
        keys = " and ".join(f"`{k.partition('.')[2]}`" for k in STATED[field.asked])
        return f"the provider states it: {keys} in {section}"
    return f"the provider answers it: `answers` in {section}, by the question"
