"""Settings that say something about a source and change no row of it."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, field_validator

from tunesmith.core.section import Section


class Described(Section):
    """What a source is to people. No step's key has it: to change it reads nothing in again."""

    steward: str = "not stated"
    """Who looks after the data from day to day. This, `legal_basis`, `sensitivity`, `subjects` and
    `refresh_within` describe; to change one reads nothing in again."""
    legal_basis: Literal[
        "consent", "contract", "legal-obligation", "vital-interests", "public-task",
        "legitimate-interests", "not-personal", "not stated",
    ] = "not stated"  # fmt: skip
    """On what ground personal data in it is processed, by Article 6(1) of the GDPR; or that none
    is."""
    sensitivity: Literal["public", "internal", "confidential", "restricted", "not stated"] = (
        "not stated"
    )
    """Who may see it."""
    subjects: str = "not stated"
    """Whom the rows are about, in words, such as "customers of the bank"."""
    refresh_within: int | None = Field(default=None, ge=1)
    """The most days that its newest date may lie back; without a field of dates, the reading in."""

    @field_validator(
        *("steward", "subjects", "licence", "owner", "purpose"), mode="before", check_fields=False
    )
    @classmethod
    def _blank_says_nothing(cls, said: Any) -> Any:
        return "not stated" if isinstance(said, str) and not said.strip() else said

    def to_read(self) -> Self:
        """The same source without what describes it."""
        fields = Described.model_fields
        return self.model_copy(update={name: each.default for name, each in fields.items()})

    def is_unsaid(self, key: str) -> bool:
        """Whether `key` describes, and nothing was said: then it is left out of what is written."""
        each = Described.model_fields.get(key)
        return each is not None and getattr(self, key) == each.default


class LicenceConfig(Section):
    """Whose licence is looked at."""

    name: str
    """Name of the source."""
    licence: str
    """What its section says of it."""
