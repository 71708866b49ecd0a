"""What every section of the project file is: frozen, closed, keyword-only."""

from __future__ import annotations

import re
from typing import Annotated

import pydantic

HIDDEN = "hidden"
"""Type of the error of a value that is not to be repeated."""


class Section(pydantic.BaseModel):
    """Base of the configuration models; each lives beside the code that it drives."""

    model_config = pydantic.ConfigDict(
        extra="forbid", frozen=True, defer_build=True, protected_namespaces=()
    )


def _compiled(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"it is no regular expression: {error}") from error
    return pattern


Expression = Annotated[str, pydantic.AfterValidator(_compiled)]
"""A regular expression of Python's `re`."""
