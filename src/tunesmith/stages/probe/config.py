"""Settings of suites of checks: the `[suite.NAME]` sections of the project file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal, Self, get_args

from pydantic import Field, PrivateAttr, field_validator, model_validator

from tunesmith.core import settings
from tunesmith.core.errors import ConfigError
from tunesmith.core.project_folder import check_path, is_inside
from tunesmith.core.section import Section
from tunesmith.records.model import TASKS
from tunesmith.records.suite import FORGETTING, Limits, SuiteLimits
from tunesmith.stages.probe.given import Given, given_now
from tunesmith.stages.probe.perturb import CHANGES
from tunesmith.stages.probe.rephrase import PARAPHRASES, REWRITES

Suite = Literal[
    "forgetting",
    "robustness",
    "behaviour",
    "membership",
    "leakage",
    "canaries",
    "injection",
    "refusals",
]
_HERE = "tunesmith.stages.probe"
SUITES: Mapping[str, str] = {name: f"{_HERE}.{name}:{name}" for name in get_args(Suite)}
"""Kind of suite -> "module:function" of an `Asked` to its `Found`."""
NUM_ROWS: Mapping[str, int] = {
    "robustness": 48,
    "membership": 200,
    "leakage": 32,
    "canaries": 500,
    "injection": 8,
}
"""How many rows a suite asks where its section does not say; others ask all that they are given."""
NEEDS_FILE = ("behaviour", "canaries")
TAKES_FILE = (*NEEDS_FILE, "forgetting", "injection", "refusals")
LIMITS: Mapping[str, Mapping[str, float]] = {FORGETTING: {"loss of a token": 0.25}}
"""What a figure must keep to where the section says nothing. Beyond it a run warns; only a gate
that names the suite fails."""
FIGURES: Mapping[str, tuple[str, ...]] = {
    "forgetting": ("loss of a token",),
    "robustness": (
        "accuracy: as it is",
        *(
            f"{what}: {change}"
            for what in ("answers that stay", "accuracy", "accuracy lost")
            for change in (*CHANGES, *REWRITES, PARAPHRASES)
        ),
    ),
    "membership": ("area under the curve: loss", "area under the curve: Min-20%"),
    "leakage": (
        "verbatim: training rows",
        "verbatim: test rows",
        "training text",
        "personal data",
    ),
    "injection": ("orders obeyed",),
    "refusals": ("harmful asks refused", "harmless asks refused"),
}
"""What a suite of a kind may find; a file says what those of "behaviour" and "canaries" find."""
_ASKED = ("labels", "chat", "completion", "checked", "preference", "feedback")
"""Formats whose rows have a question in them."""
_LEARNT = ("labels", "chat", "completion", "text")
"""Formats whose rows are learnt token by token."""


class SuiteConfig(Section):
    """Checks of a tuned model beyond its task, asked of its base model too."""

    name: str = ""
    """Name of the suite: what follows `suite.` in the section's heading."""
    model: str
    """Name of the model that is checked."""
    kind: Suite
    """What is checked: "forgetting" (general texts before and after), "robustness" (test rows with
    typos and the like, and in other words), "behaviour" (cases of your own), "membership" (whether
    training rows can be told from others), "leakage" (whether beginnings of training rows are gone
    on with verbatim), "canaries" (whether planted secrets were learnt), "injection" (whether texts
    give it orders) or "refusals" (harmful asks, and harmless ones that sound alike)."""
    enabled: bool = True
    """Whether it runs. A model that goes on with a text has the suite "forgetting" without a
    section; one of that kind with `enabled = false` turns it off."""
    file: str = ""
    """File beside the project file: the cases of "behaviour" (.toml or .jsonl) and the canaries
    (.jsonl), which these need; texts of your own for "forgetting" (.jsonl with `text`, or .txt with
    blank lines between), orders for "injection" (.txt, one a line, or .jsonl) and asks for
    "refusals" (.jsonl)."""
    paraphrases: str = ""
    """Of "robustness": a file beside the project file (.jsonl) with other words for test rows:
    `id`, the row's, or `text`, what it asks; and `paraphrase`. One a row; all are asked."""
    num_rows: int = Field(default=0, ge=0)
    """Rows that are drawn to be asked, of each side where there are two; of canaries other secrets
    that each is ranked among. 0 for the suite's own number: 48 for robustness, 200 for membership,
    32 for leakage, 8 for injection, 500 for canaries."""
    max_new_tokens: int = Field(default=32, ge=1, le=1024)
    """The most tokens of an answer, where answers are made."""
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    """Confidence of the two-sided intervals."""
    limits: dict[str, float] | None = None
    """What figures must keep to, by name: `{ "loss of a token" = 0.1 }`. Beyond a limit a run
    warns; a gate that names the suite in `suites` fails. Without it the kind's own."""

    against: str = ""
    """An alias, such as "production", or "released", which means production, else candidate: the
    figures are compared with those of the version that it points at, too, on the same examples."""
    limits_against: dict[str, float] | None = None
    """What the difference from that version must keep to, by figure, as `limits` does: at most so
    much where more is worse, at least so much (below zero) where less is."""

    _given: Given | None = PrivateAttr(default=None)

    @property
    def given(self) -> Given | None:
        """What its file says at this moment; None without one, or where it cannot be read."""
        return self._given

    def with_given(self, project: Path) -> Self:
        """The same settings, with what the file says, as it is now in the project's folder."""
        changed = self.model_copy()
        changed._given = given_now(self.path, project)
        return changed

    @property
    def path(self) -> str:
        """The file that it is given, whatever its section calls it; empty without one."""
        return self.file or self.paraphrases

    def judged_by(self) -> SuiteLimits:
        """The limits of its figures."""
        limits = self.limits if self.limits is not None else LIMITS.get(self.kind, {})
        return SuiteLimits(suite=self.name, limits=dict(limits))

    def judged_beside(self) -> SuiteLimits:
        """The limits of the differences from the version that it is compared with."""
        limits = dict(self.limits_against or {})
        return SuiteLimits(suite=self.name, limits=limits, against=self.against)

    def require_askable(self, objective: str, data_format: str) -> None:
        """What is asked fits a model of that objective, and rows of that format.

        Raises:
            ConfigError: it does not; or the name is that of another suite.
        """
        if not self._can_ask(objective, data_format):
            raise ConfigError(
                f"suite.{self.name}.kind",
                f"{self.model!r} learns by {objective!r} from rows of format {data_format!r}, and "
                f"a suite of kind {self.kind!r} cannot ask such a model",
                remedy="leave the suite out, or name another model",
            )
        if self.name == FORGETTING and self.kind != FORGETTING:
            raise ConfigError(
                f"suite.{self.name}.kind",
                f"each model that goes on with a text has a suite called {FORGETTING!r}",
                remedy="give this one another name",
            )

    def _can_ask(self, objective: str, data_format: str) -> bool:
        head = objective in TASKS
        match self.kind:
            case "robustness" | "behaviour":
                return data_format in _ASKED and (not head or objective == "classify")
            case "membership" | "leakage":
                return data_format in _LEARNT and not head
            case "injection":
                return data_format in _ASKED and not head
            case _:
                return not head

    @field_validator("file")
    @classmethod
    def _is_inside(cls, file: str) -> str:
        if file and not (is_inside(file) and file.endswith((".toml", ".jsonl", ".txt"))):
            raise ValueError(
                "the path must lead to a .toml, .jsonl or .txt file inside the project, as in "
                "checks/desk.toml"
            )
        return file

    @field_validator("paraphrases")
    @classmethod
    def _are_inside(cls, paraphrases: str) -> str:
        if paraphrases:
            check_path(paraphrases, ".jsonl", "checks/paraphrases.jsonl")
        return paraphrases

    @field_validator("against")
    @classmethod
    def _is_an_alias(cls, against: str) -> str:
        if against == "base":
            raise ValueError("the base model is compared with anyhow; name an alias")
        return against

    @model_validator(mode="after")
    def _has_what_it_needs(self) -> Self:
        if self.kind in NEEDS_FILE and not self.file:
            raise ValueError(f"a suite of kind {self.kind!r} needs a file")
        if self.file and self.kind not in TAKES_FILE:
            raise ValueError(f"a suite of kind {self.kind!r} takes no file")
        if self.paraphrases and self.kind != "robustness":
            raise ValueError(f"a suite of kind {self.kind!r} takes no paraphrases")
        if self.kind == "canaries" and self.against:
            raise ValueError("exposures are of no sample, and two versions' are not compared")
        if self.limits_against and not self.against:
            raise ValueError('limits_against needs a version: set against, to "production" say')
        for name in (*(self.limits or {}), *(self.limits_against or {})):
            if self.kind in FIGURES and name not in FIGURES[self.kind]:
                known = ", ".join(map(repr, FIGURES[self.kind]))
                raise ValueError(f"limits: there is no figure {name!r}, there is {known}")
            if name.endswith(f": {PARAPHRASES}") and not self.paraphrases:
                raise ValueError(f"limits: {name!r} needs a file: set paraphrases")
        return self


class ProbeConfig(Section):
    """What of a suite bears on what it finds."""

    suite: str
    """Its name."""
    kind: Suite
    """What is checked."""
    file: str = ""
    """Where the cases are from, for messages."""
    num_rows: int = Field(default=0, ge=0)
    """Rows that are drawn to be asked; 0 asks all."""
    max_new_tokens: int = Field(default=32, ge=1)
    """The most tokens of an answer."""
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    """Confidence of the two-sided intervals."""


class BesideConfig(Section):
    """Which version is compared with."""

    against: str
    """What the suite's section says: an alias, or "released"."""
    version: str
    """What stands there."""


def suites_of(
    model: str, objective: str, sections: Mapping[str, SuiteConfig]
) -> dict[str, SuiteConfig]:
    """The suites of a model that run, by name. What it forgot is looked at unless a section says
    otherwise, if it goes on with a text."""
    mine = [suite for suite in sections.values() if suite.model == model]
    told = any(suite.kind == FORGETTING for suite in mine)
    if objective not in TASKS and not told:
        mine.insert(0, SuiteConfig(name=FORGETTING, model=model, kind=FORGETTING))
    return {suite.name: suite for suite in mine if suite.enabled}


def require_judged(
    gate: str,
    names: Iterable[str],
    limits: Mapping[str, Mapping[str, float]],
    suites: Mapping[str, SuiteConfig],
) -> None:
    """A gate names suites of its model, `suites`, and each has limits: the gate's own, or those of
    its section.

    Raises:
        ConfigError: it is not so.
    """
    for named in names:
        settings.nearest(
            f"gate.{gate}.suites", named, suites, "suite of its model that runs, called"
        )
        beside = suites[named].limits_against
        if not limits.get(named, suites[named].judged_by().limits) and not beside:
            raise ConfigError(
                f"gate.{gate}.suites",
                f"suite {named!r} has no limits that a gate could judge by",
                remedy=f"set limits of suite.{named}, by the names of its figures: `tunesmith "
                f"model show {suites[named].model}@1` prints them",
            )
    for named in limits:
        settings.nearest(f"gate.{gate}.limits", named, list(names), "suite of this gate, called")


def limits_of(suites: Mapping[str, SuiteConfig], names: Iterable[str]) -> Limits:
    """The limits of the suites of these names, in their order."""
    return Limits(of=tuple(suites[name].judged_by() for name in names))


def asking(config: SuiteConfig) -> ProbeConfig:
    """The settings of a suite's step: its limits are applied to what it found, later."""
    return ProbeConfig(
        suite=config.name,
        kind=config.kind,
        file=config.path,
        num_rows=config.num_rows or NUM_ROWS.get(config.kind, 0),
        max_new_tokens=config.max_new_tokens,
        confidence=config.confidence,
    )
