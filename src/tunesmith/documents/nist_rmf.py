"""A map of NIST's AI Risk Management Framework 1.0 (NIST AI 100-1): for each of its 72
subcategories, what the store has as evidence of it.

The table is data, `nist_ai_rmf.json`: which facts are evidence of which subcategory. What comes out
is "evidenced" if a record says it, "declared" if only the project file does, else "missing".
Evidence of a part is not compliance with the whole, and nothing here says that it is.
"""

from __future__ import annotations

import functools
import json
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import replace
from importlib import resources
from typing import Any

from tunesmith.documents.checks import CHECKS
from tunesmith.documents.markdown import table
from tunesmith.documents.outline import as_json, provenance, summary
from tunesmith.documents.sheet import MISSING, Need, Part, Reading, completeness, needs_of, remedy
from tunesmith.records.document import Fact

TITLE = "Map to NIST AI RMF 1.0"
SCOPE = (
    "For each subcategory: whether the store holds evidence that bears on it (evidenced), only the "
    "project file says something (declared), or neither (missing). Evidence that bears on a "
    "subcategory does not show that it is met: whoever answers for the system reads it and decides."
)
FUNCTIONS = {"GOVERN": 19, "MAP": 18, "MEASURE": 22, "MANAGE": 13}
"""Functions of the framework, and how many subcategories each has."""


@functools.cache
def parts() -> tuple[Part, ...]:
    """The table: a part for each function, a need for each subcategory."""
    text = (resources.files("tunesmith.documents") / "nist_ai_rmf.json").read_text("utf-8")
    rows = json.loads(text)
    return tuple(
        Part(
            number=function,
            title=function.capitalize(),
            needs=tuple(
                Need(what=f"{row['id']}: {row['about']}", keys=(*row["evidence"], *row["declared"]))
                for row in rows
                if row["id"].startswith(f"{function} ")
            ),
        )
        for function in FUNCTIONS
    )


def subcategories() -> list[str]:
    """Their names, e.g. "GOVERN 1.1"."""
    return [_split(need)[0] for need in needs_of(parts())]


def _resolved(reading: Reading) -> tuple[Part, ...]:
    """The table, in which what is declared of a subcategory itself answers it, too."""
    stated = reading.value("declared.nist", {})
    return tuple(
        replace(part, needs=tuple(_need(reading, need, stated) for need in part.needs))
        for part in parts()
    )


def _need(reading: Reading, need: Need, stated: Collection[str]) -> Need:
    name = _split(need)[0]
    own = f'`nist = {{ "{name}" = "..." }}` in [document.{reading.base.section}]'
    keys = (*need.keys, "declared.nist") if name in stated else need.keys
    return replace(need, keys=keys, remedy=f"the provider states it: {own}")


def needs(reading: Reading) -> Iterator[Need]:
    """What it is to say."""
    yield from needs_of(_resolved(reading))


def markdown(reading: Reading) -> str:
    """The map, for people."""
    resolved = _resolved(reading)
    found = completeness(reading, needs_of(resolved))
    lines = [f"# {TITLE}: {reading.base.version}", "", SCOPE, "", *summary(found)]
    for part in resolved:
        counts = Counter(reading.state(need) for need in part.needs)
        lines += ["", f"## {part.number}", ""]
        lines += [
            ", ".join(f"{counts[each]} {each}" for each in ("evidenced", "declared", MISSING))
        ]
        rows = [[*_split(need), *_result(reading, need)] for need in part.needs]
        lines += ["", *table(["subcategory", "about", "result", "evidence, or remedy"], rows)]
    return "\n".join([*lines, "", *provenance(reading)]) + "\n"


def data(reading: Reading) -> dict[str, Any]:
    """The map, for programs."""
    return as_json(reading, "nist-rmf", TITLE, SCOPE, _resolved(reading))


def _split(need: Need) -> list[str]:
    subcategory, _, about = need.what.partition(": ")
    return [subcategory, about]


def _result(reading: Reading, need: Need) -> list[str]:
    state = reading.state(need)
    if state == MISSING:
        return [state, remedy(reading.base, need)]
    stated = reading.value("declared.nist", {}).get(_split(need)[0])
    own = [f"stated: {stated}"] if stated else []
    facts = [each for each in reading.facts(need) if each.key != "declared.nist"]
    return [state, "; ".join([*own, *(_evidence(each) for each in facts)])]


def _evidence(fact: Fact) -> str:
    """A fact, where it stands, and whether it says that something failed: evidence that it was
    measured is not evidence that it is well."""
    bad = (
        [each["name"] for each in fact.value if each["verdict"] == "fail"]
        if (fact.key in CHECKS)
        else []
    )
    failed = f", FAILED: {', '.join(bad)}" if bad else ""
    return f"{fact.key} ({fact.where}{failed})"
