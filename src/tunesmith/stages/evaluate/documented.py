"""The rules of a gate on documents: no required field may be missing that can be known by then."""

from __future__ import annotations

from collections.abc import Iterator

from tunesmith.core.errors import UsageError
from tunesmith.records.document import BeforeGate, Documented
from tunesmith.records.evaluation import RuleResult
from tunesmith.stages.evaluate.config import GateConfig

NUM_NAMED = 8
"""Fields that a rule's outcome names; the record has them all, each with its remedy."""


def document_rules(config: GateConfig, found: Documented | None) -> Iterator[RuleResult]:
    """The outcome of each rule on a document.

    Raises:
        UsageError: of a kind that the gate asks for it is not known what it could say.
    """
    known: dict[str, BeforeGate] = {each.kind: each for each in found.documents} if found else {}
    for kind in dict.fromkeys(config.documents):
        if kind not in known:
            raise UsageError(
                f"gate {config.name} asks for {kind!r}, and was given no such document"
            )
        yield _outcome(known[kind])


def _outcome(found: BeforeGate) -> RuleResult:
    num, names = found.num_asked, [lack.what for lack in found.lacks]
    more = f", and {len(names) - NUM_NAMED} more" if len(names) > NUM_NAMED else ""
    missing = f"{len(names)} of {num} fields missing: {', '.join(names[:NUM_NAMED])}{more}"
    return RuleResult(
        rule=f"document {found.kind}",
        observed=missing if names else f"all {num} fields filled",
        required="every field that can be known before the gate",
        passed=not names,
        verdict="fail" if names else "pass",
    )
