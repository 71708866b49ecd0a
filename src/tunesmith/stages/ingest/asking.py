"""What is asked for, of each kind of origin: what of a source's settings bears on what comes."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

from tunesmith.core.section import Section
from tunesmith.stages.ingest.origin import DLT, OBJECTS, SINGER, Origin, Sha256, SourceOrigin
from tunesmith.stages.ingest.pages import NextPage
from tunesmith.stages.ingest.reach import Place, place_of

DEFAULT_REGION = "us-east-1"
_AMAZON = re.compile(r"s3\.([a-z0-9-]{1,40})\.amazonaws\.com")
_Asked = TypeVar("_Asked", bound=Section)


class FetchConfig(Section):
    """A package to fetch, and what it must be."""

    origin: Origin
    """Where it comes from: `pypi:NAME==VERSION`, a wheel on the package index that pip uses, or
    `npm:NAME@VERSION`, of npm's."""
    sha256: Sha256 = ""
    """SHA-256 of the wheel, or of the tarball. Without it nothing is fetched for use; the error
    says what it is."""


class LandConfig(Section):
    """Local files to take into the store, and what they must be."""

    origin: SourceOrigin
    """A file or a folder inside the project's folder: `file:PATH`."""
    files: tuple[str, ...] = ("**",)
    """Which files of the folder: `*` stays in a folder, `**` does not."""
    sha256: Sha256 = ""
    """SHA-256 of the file, or of the list of the files and their SHA-256."""


class QueryConfig(Section):
    """Rows to ask a database for, and what they must be."""

    origin: SourceOrigin
    """The database: `sqlite:PATH`, or `postgresql://HOST:PORT/DATABASE`."""
    query: str
    """What is asked: one SELECT."""
    key: str
    """The column that tells its rows apart."""
    sha256: Sha256 = ""
    """SHA-256 of the rows as lines of JSON, in the order of their keys."""


class CallConfig(Section):
    """Records to ask an API for, and what they must be."""

    origin: SourceOrigin
    """Where they are: `https://HOST/PATH`."""
    records: str
    """Where in an answer the list of them is; empty: the answer is the list."""
    key: str
    """The field that tells them apart."""
    next: NextPage | None
    """How the page after one is found; without it there is one."""
    token_env: str
    """The environment variable that holds the token; empty: none is needed."""
    sha256: Sha256 = ""
    """SHA-256 of the records as lines of JSON, in the order of their keys."""


class ObjectsConfig(Section):
    """Objects of a bucket to take into the store, and what they must be."""

    origin: SourceOrigin
    """Where they are: `s3://BUCKET/PREFIX`."""
    endpoint: str
    """The server; empty: Amazon's, of the region that the environment names."""
    files: tuple[str, ...]
    """Which of them: `*` stays in a folder, `**` does not; empty: all that are not hidden."""
    sha256: Sha256 = ""
    """SHA-256 of the object, or of the list of the objects and their SHA-256."""


class StreamConfig(Section):
    """Rows to have another program tell, and what they must be."""

    origin: SourceOrigin
    """Which program: `singer:`, or `dlt:PATH.py:RESOURCE`."""
    tap: tuple[str, ...]
    """The tap and its arguments; empty: it is dlt."""
    stream: str
    """Which of its streams."""
    environment: tuple[str, ...]
    """The variables that it is given."""
    key: str
    """The field that tells its rows apart; empty: as the program says."""
    sha256: Sha256 = ""
    """SHA-256 of the rows as lines of JSON, in the order of their keys."""


Asking = LandConfig | QueryConfig | CallConfig | ObjectsConfig | StreamConfig
"""What is to be taken into the store, of a source that is no package."""


def part_of(kind: type[_Asked], source: Section) -> _Asked:
    """What of the settings of a source is asked."""
    return kind(**{name: getattr(source, name) for name in kind.model_fields})


FILES_OF_TAP = ("--config", "--catalog", "--properties")
"""Arguments of a tap that name a file of the project's folder."""
_AWAY = re.compile(r"^/|\\|(^|/)\.\.?(/|$)")
OURS = ("--state", "--discover", "-s", "-d", "--about", "--test")
"""Arguments of a tap that are not the project file's to say."""


def arguments_of(tap: Sequence[str]) -> Iterator[tuple[str, str]]:
    """(argument, what is said with it or after it) of a tap."""
    for number, each in enumerate(tap[1:], start=1):
        name, _, value = each.partition("=")
        yield name, value or "".join(tap[number + 1 : number + 2])


def problem_of(origin: str, endpoint: str, tap: tuple[str, ...], stream: str) -> str:
    """What is wrong with the settings that go with a kind of origin; empty for nothing."""
    if endpoint and not origin.startswith(OBJECTS):
        return "endpoint is that of s3:// origins, and theirs alone"
    try:
        server_of(endpoint, {})
    except ValueError as error:
        return f"endpoint: {error}"
    if origin == SINGER:
        needs = "" if stream else 'singer: needs stream, as in stream = "users"'
        return problem_of_tap(tap) or needs
    if origin.startswith(DLT) and (tap or stream):
        return "tap and stream are those of singer:, and dlt: names its resource"
    return ""


def problem_of_tap(tap: tuple[str, ...]) -> str:
    """Why this is no tap to run; empty if it is one."""
    if not tap:
        return 'singer: needs tap, as in tap = ["tap-crm", "--config", "tap.json"]'
    if not re.fullmatch(r"[A-Za-z0-9_.][A-Za-z0-9_./-]*", tap[0]) or ".." in tap[0].split("/"):
        return f"tap[0] is {tap[0]!r}: name a program on PATH, or its path inside the project"
    for name, value in arguments_of(tap):
        if name in OURS:
            return f"leave {name} out: it is given what it said last"
        if name in FILES_OF_TAP and (not value or re.search(_AWAY, value)):
            return f"{name} of tap must name a file inside the project's folder"
    return ""


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
