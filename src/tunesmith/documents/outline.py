"""A document that is an outline: headings, and below each the facts that answer it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tunesmith.core.ref import to_plain
from tunesmith.documents.markdown import line, table
from tunesmith.documents.say import said, where
from tunesmith.documents.sheet import (
    MISSING,
    Need,
    Part,
    Reading,
    completeness,
    needs_of,
    remedy,
)
from tunesmith.records.document import Completeness, Fact


def as_markdown(
    reading: Reading,
    title: str,
    scope: str,
    parts: Sequence[Part],
    *,
    extra: Mapping[str, Sequence[str]],
) -> str:
    """The outline for people; `extra` are lines to add below a part, by its number."""
    lines = [f"# {title}: {reading.base.version}", "", scope]
    body: list[str] = []
    for part in parts:
        depth = "##" if "(" not in part.number else "###"
        body += ["", f"{depth} {part.number}. {part.title}"]
        if part.needs:
            body += ["", *[each for need in part.needs for each in _item(reading, need)]]
        body += extra.get(part.number, [])
    found = completeness(reading, needs_of(parts))
    lines += ["", *summary(found), *body, "", *lacking(found), *provenance(reading)]
    return "\n".join(lines) + "\n"


def _item(reading: Reading, need: Need) -> list[str]:
    facts = reading.facts(need)
    if not facts:
        if not need.required:
            return []
        return [f"- **{need.what}**: MISSING: {remedy(reading.base, need)}"]
    return [each for fact in facts for each in _answer(need, fact)]


def _answer(need: Need, fact: Fact) -> list[str]:
    first, *others = said(fact) or [""]
    head = f"- **{need.what}** ({where(fact)}):"
    if not first:  # a block
        return [head, "", *[f"  {each}".rstrip() for each in others], ""]
    if not others:
        return [f"{head} {first}"]
    return [head, *[f"  - {each}" for each in (first, *others)]]


def as_json(
    reading: Reading, kind: str, title: str, scope: str, parts: Sequence[Part]
) -> dict[str, Any]:
    """The outline for programs."""
    found = completeness(reading, needs_of(parts))
    return {
        "document": kind,
        "title": title,
        "scope": scope,
        "version": reading.base.version,
        "completeness": {
            "score": round(found.score, 4),
            "required": found.num_required,
            "missing": to_plain(found.lacks),
        },
        "parts": [
            {
                "number": part.number,
                "title": part.title,
                "items": [_plain(reading, need) for need in part.needs],
            }
            for part in parts
        ],
        "croissant": croissant_of(reading),
        "facts": {"sha256": reading.base.digest, "used_sha256": reading.digest()},
    }


def _plain(reading: Reading, need: Need) -> dict[str, Any]:
    state = reading.state(need)
    item: dict[str, Any] = {"what": need.what, "required": need.required, "state": state}
    if state == MISSING:
        return item | {"remedy": remedy(reading.base, need)}
    return item | {"facts": [to_plain(fact) for fact in reading.facts(need)]}


def croissant_of(reading: Reading) -> dict[str, Any]:
    """The description of its dataset for others: where it is, its digest, how it is made."""
    found: dict[str, Any] = reading.value("dataset.croissant", {})
    return {"url": reading.value("declared.croissant_url") or "croissant.json", **found}


def croissant_link(reading: Reading) -> str:
    """... in a sentence."""
    found = croissant_of(reading)
    return (
        f"The dataset in Croissant: {line(found['url'])}, sha256 {found.get('sha256')} "
        f"(`{found.get('command')}`)."
    )


def summary(found: Completeness) -> list[str]:
    """How complete it is, in a sentence."""
    have = found.num_required - len(found.lacks)
    return [
        f"{have} of {found.num_required} required fields are filled ({found.score:.0%}); "
        "the others are named as MISSING, with who can supply them."
    ]


def lacking(found: Completeness) -> list[str]:
    """What is missing, as a table; nothing where nothing is."""
    if not found.lacks:
        return []
    rows = [[each.what, each.remedy] for each in found.lacks]
    return ["## What is missing", "", *table(["field", "remedy"], rows), ""]


def provenance(reading: Reading) -> list[str]:
    """Where each fact stands that the document says."""
    described = croissant_link(reading)
    used = [reading.base.facts[key] for key in sorted(reading.used) if key in reading.base.facts]
    rows = [[fact.key, fact.origin, fact.where, fact.at] for fact in used]
    return [
        "## Where each fact stands",
        "",
        f"Compiled from the facts of {line(reading.base.version)}; the fact base has the sha256 "
        f"{reading.base.digest}, what is used of it {reading.digest()}.",
        "",
        described,
        "",
        *table(["fact", "origin", "where", "when"], rows),
    ]
