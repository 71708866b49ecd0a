"""What a gate can ask of documents: the fields that can be known before it judges.

A document also says what exists only once a gate has judged: its verdict, the release, what people
decided and what was watched since. A gate that asked for these would ask for its own verdict. So a
gate is given what could be said without them; and what it is given is an input of its step, so that
it judges anew, and nothing is tuned again, once people state something else.
"""

from __future__ import annotations

from collections.abc import Iterable

from tunesmith.documents.compile import FORMS, facts_of
from tunesmith.documents.facts import section_of
from tunesmith.documents.sheet import Need, Reading
from tunesmith.project import Project
from tunesmith.records.document import (
    NUM_DIGITS,
    BeforeGate,
    Completeness,
    Documented,
    DocumentKind,
    Fact,
    FactBase,
)

BY_THE_GATE = ("gate.", "release.releases")
"""How the keys of facts begin that come of the gate itself."""
AFTER = (*BY_THE_GATE, "release.changes", "exports", "monitor.", "retrain.")
"""... and of those that come after it, if at all."""
_STATED = "declared."
_OWN = "declared.nist"
"""By this anything can be stated of a subcategory, also what a record will say."""


def can_be_known(need: Need) -> bool:
    """Whether a field can be filled before a gate judges, and will not be filled by the gate."""
    keys = [key for key in need.keys if key != _OWN]
    if any(key.startswith(BY_THE_GATE) for key in keys):
        return False
    return not keys or not all(key.startswith(AFTER) for key in keys)


def before_gate(project: Project, version: str, kinds: Iterable[DocumentKind]) -> Documented:
    """What documents of a version that no gate has judged could say, as of now; the same after.

    Raises:
        NotFound: there is no such version.
        ConfigError: people answer something that nobody asks.
    """
    base = facts_of(project, version)
    return Documented(documents=tuple(said_before(base, kind) for kind in dict.fromkeys(kinds)))


def said_before(base: FactBase, kind: DocumentKind) -> BeforeGate:
    """What a document could say before the gate: a pure function of the facts, without those that
    came after it."""
    facts = {key: fact for key, fact in base.facts.items() if not key.startswith(AFTER)}
    reading = Reading(FactBase(version=base.version, section=base.section, facts=facts))
    found = FORMS[kind].completeness(reading, can_be_known)
    stated = sorted(key for key in reading.used if key.startswith(_STATED) and key in base.facts)
    return BeforeGate(
        kind=kind,
        num_asked=found.num_required,
        lacks=found.lacks,
        stated={key: base.facts[key].digest[:NUM_DIGITS] for key in stated},
    )


def unstated(
    project: Project, model: str, kinds: Iterable[DocumentKind]
) -> dict[DocumentKind, Completeness]:
    """What of these documents only people can say and nobody does: to be said before hours of
    tuning. Of the summary of training content that is known once there is a dataset."""
    section = section_of(project, model)
    facts = {
        f"{_STATED}{key}": Fact(
            key=f"{_STATED}{key}", value=value, where="", at="", origin="declared"
        )
        for key, value in (section.statements() if section else {}).items()
    }
    base = FactBase(version="", section=section.name if section else model, facts=facts)
    return {
        kind: FORMS[kind].completeness(Reading(base), _only_stated)
        for kind in dict.fromkeys(kinds)
        if kind != "training-content"
    }


def _only_stated(need: Need) -> bool:
    return can_be_known(need) and all(key.startswith(_STATED) for key in need.keys)
