"""What is asked of object storage."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from tunesmith.core.section import Section
from tunesmith.stages.ingest.origin import Sha256, SourceOrigin
from tunesmith.stages.ingest.reach import Place, place_of

DEFAULT_REGION = "us-east-1"
_AMAZON = re.compile(r"s3\.([a-z0-9-]{1,40})\.amazonaws\.com")


class ObjectsConfig(Section):
    """Objects of a bucket to take into the store, and what they must be."""

    origin: SourceOrigin
    """Where they are: `s3://BUCKET/PREFIX`."""
    endpoint: str
    """The server; empty: Amazon's, of the region that the environment names."""
    files: tuple[str, ...]
    """Which of them: `*` stays in a folder, `**` does not."""
    sha256: Sha256 = ""
    """SHA-256 of the object, or of the list of the objects and their SHA-256."""


def server_of(endpoint: str, environment: Mapping[str, str] = os.environ) -> Place:
    """Where a bucket is asked for.

    Raises:
        ValueError: `endpoint` is none.
    """
    place = place_of(endpoint or f"https://s3.{region_of('', environment)}.amazonaws.com")
    if place.target != "/":
        raise ValueError("it has a path: write the server alone, and the bucket in the origin")
    return place


def region_of(host: str, environment: Mapping[str, str] = os.environ) -> str:
    """The region that requests are signed for: of Amazon's own server its own."""
    if found := _AMAZON.fullmatch(host):
        return found[1]
    named = environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION") or DEFAULT_REGION
    if not re.fullmatch(r"[a-z0-9-]{1,40}", named):
        raise ValueError(f"AWS_REGION is {named!r}, which is no region")
    return named
