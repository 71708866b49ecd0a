"""What bears on a result beside settings and inputs: a step's code, and installed libraries."""

from __future__ import annotations

import functools
import importlib.metadata
import platform

from tunesmith.core.canonical import sha256
from tunesmith.core.code_digest import code_digest
from tunesmith.core.errors import MissingExtra
from tunesmith.core.kinds import Kind


def environment(of: Kind) -> dict[str, str]:
    """The versions of what bears on the result, beside the code: Python and the libraries."""
    versions = {"python": ".".join(platform.python_version_tuple()[:2])}
    for library in of.libraries:
        if (version := _installed(library)) is None:
            raise MissingExtra(library, "tune")
        versions[library] = version
    for library in of.optional:
        if (version := _installed(library)) is not None:
            versions[library] = version
    return versions


@functools.cache  # a look takes a millisecond, and a plan asks thousands of times
def _installed(library: str) -> str | None:
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return None


def code_version(of: Kind) -> str:
    """A digest of the code in `of.sources` and of the record's fields; comments, docstrings and
    layout are left out."""
    names = [*of.sources, of.record.partition(":")[0]]
    return sha256("".join(map(code_digest, names)).encode())[:16]
