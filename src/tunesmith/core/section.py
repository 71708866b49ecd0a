"""What every section of the project file is: frozen, closed, keyword-only."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Self

import pydantic

from tunesmith.core.canonical import EXACT

HIDDEN = "hidden"
"""Type of the error of a value that is not to be repeated."""


class Section(pydantic.BaseModel):
    """Base of the configuration models; each lives beside the code that it drives. All that one
    holds has a canonical form: no number is nan or inf, and no whole one too large."""

    model_config = pydantic.ConfigDict(
        extra="forbid",
        frozen=True,
        defer_build=True,
        protected_namespaces=(),
        allow_inf_nan=False,
    )

    @pydantic.model_validator(mode="after")
    def _whole_numbers_are_exact(self) -> Self:
        for name, value in self:
            for number in _whole(value):
                if abs(number) >= EXACT:
                    raise ValueError(
                        f"{name} has {number}, which is too large: write at most {EXACT - 1:,}"
                    )
        return self


def _whole(value: Any) -> Iterator[int]:
    """The whole numbers of a value; those of a section in it are that section's."""
    if isinstance(value, int):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _whole(each)
    elif isinstance(value, tuple):
        for each in value:
            yield from _whole(each)


def _compiled(pattern: str) -> str:
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"it is no regular expression: {error}") from error
    return pattern


Expression = Annotated[str, pydantic.AfterValidator(_compiled)]
"""A regular expression of Python's `re`."""
