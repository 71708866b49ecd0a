"""What was taken in when a source was asked for the last time: nothing is reached."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunesmith.core import catalog
from tunesmith.core.blobs import Blobs
from tunesmith.core.canonical import parse, plain
from tunesmith.core.catalog import Run
from tunesmith.core.errors import StoreError
from tunesmith.core.ref import Blob, from_plain
from tunesmith.core.runner import Runner
from tunesmith.records.data import Package
from tunesmith.records.landed import Landed
from tunesmith.stages.ingest.config import SourceConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class LastLoad:
    """What the last load took in: it is there, and whole."""

    sha256: str
    """The digest that its rows or objects had, with those that were forgotten since."""
    wheel: Blob
    path: Path
    """The zip that `wheel` is."""
    memory: Any
    """What the next load of objects, or of a program's rows, goes on from; see `Landed`."""


def last_load(source: SourceConfig, runner: Runner) -> LastLoad | None:
    """What the last load of the source took in; None if that is another query, or gone."""
    last = last_run(source, runner)
    if last is None or last.output is None:
        return None
    try:
        record = parse(runner.blobs.get(last.output))
    except StoreError:
        return None
    package = from_plain(Landed if "memory" in record else Package, record)
    # Objects may be large: of them those alone are read that go into the next load.
    deep = not source.is_objects
    return load_of(package, last.identity["config"]["sha256"], runner.blobs, deep=deep)


def load_of(package: Package, sha256: str, blobs: Blobs, *, deep: bool = True) -> LastLoad | None:
    """What a load took in, of what had the digest `sha256`; None if it is not whole any more."""
    try:
        blobs.check(package.wheel, deep=deep)
        memory = parse(blobs.get(package.memory)) if isinstance(package, Landed) else None
    except StoreError:
        return None
    path = blobs.path(package.wheel)
    return LastLoad(sha256=sha256, wheel=package.wheel, path=path, memory=memory)


def last_run(source: SourceConfig, runner: Runner) -> Run | None:
    """The last successful run that took in what the source asks for, if it asked the same."""
    with runner.database.read() as connection:
        last = catalog.last_success(connection, step=f"{source.verb}:{source.name}")
    now = plain(source.taking().model_dump(exclude={"sha256"}))
    then = last.identity["config"] if last else {}
    return last if all(then.get(key) == value for key, value in now.items()) else None
