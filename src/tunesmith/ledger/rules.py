"""The rules that decide, as data with a version: old periods are re-derived under old rules.

An id keeps its meaning for ever; a rule that changes gets a new `RULES_VERSION`. A paragraph that
is not `confirmed` has been quoted from memory or by analogy and is for an accountant to check.
"""

from __future__ import annotations

from dataclasses import dataclass

RULES_VERSION = "ias38-2"


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """One rule and where the standard says so."""

    id: str
    paragraph: str
    text: str
    confirmed: bool

    @property
    def citation(self) -> str:
        """The paragraph, marked where it is still to be confirmed."""
        return self.paragraph if self.confirmed else f"{self.paragraph} (to be confirmed)"


_RULES = (
    Rule(
        id="R04",
        paragraph="IAS 38.53-.54",
        text="Research, and what cannot be told apart from research, is expensed.",
        confirmed=True,
    ),
    Rule(
        id="R05",
        paragraph="IAS 38.57, .66",
        text="A cost that is directly attributable to developing the model is capitalised while "
        "all six criteria are met.",
        confirmed=True,
    ),
    Rule(
        id="R06",
        paragraph="IAS 38.65, .71",
        text="A cost from before all six criteria were met is expensed and never reinstated.",
        confirmed=True,
    ),
    Rule(
        id="R08",
        paragraph="IAS 38.67(b)",
        text="A clearly identified inefficiency is expensed.",
        confirmed=True,
    ),
    Rule(
        id="R11",
        paragraph="IAS 38.97; SIC-32, operating stage",
        text="Using the model and watching it in use is expensed.",
        confirmed=False,
    ),
    Rule(
        id="R12",
        paragraph="IAS 38.18, .20",
        text="Later expenditure maintains the model and is expensed, unless an enhancement "
        "passes a fresh assessment of the criteria.",
        confirmed=True,
    ),
)
RULES = {rule.id: rule for rule in _RULES}
