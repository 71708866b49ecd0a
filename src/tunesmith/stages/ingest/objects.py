"""Take objects of a bucket into the store, as files are: listed each time, read where they changed.

They are listed when a project is opened by somebody who wants to know. `look` reads those that are
not as they were when they were taken in last, and keeps them in a file beside the blobs, without
the records of people who are to be forgotten; the step takes these from there, and the others from
what was taken in last. The file is gone when the project is closed.
"""

from __future__ import annotations

import dataclasses
import json
import re
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from tunesmith.core.blobs import Blobs
from tunesmith.core.canonical import canonical_json, fingerprint
from tunesmith.core.errors import DataError, InputChanged, NotFound
from tunesmith.core.ref import Blob
from tunesmith.core.step import Context, Progress
from tunesmith.records.landed import Landed
from tunesmith.stages.ingest.archive import EPOCH, glob_expression, hostile_name
from tunesmith.stages.ingest.asking import ObjectsConfig
from tunesmith.stages.ingest.bucket import Bucket, Listed
from tunesmith.stages.ingest.bucket import opened as reached
from tunesmith.stages.ingest.config import SourceConfig
from tunesmith.stages.ingest.kept import keep_error, kept, opened, place_of
from tunesmith.stages.ingest.last_load import LastLoad
from tunesmith.stages.ingest.origin import OBJECTS

HEAD = "head.json"
_FETCHED = "objects/"
_IN_MEMORY = 16 << 20
"""A larger object waits on the disk until all of it is there."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Known:
    """What is known of an object that was read."""

    tag: list[str | int]
    """What the server said of it."""
    sha256: str
    num_erased: int
    """Records that were left out of it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Base:
    """Objects as they were taken in last."""

    known: Mapping[str, Known]
    wheel: Blob


CountedCut = Callable[[str, bytes], tuple[bytes | None, int]]
"""cut(name, data): what of an object is to be taken into the store, and how many of its records are
not."""


def collect(config: ObjectsConfig, ctx: Context) -> Landed:
    """The objects that `config` names, packed as they are into one blob.

    Raises:
        NotFound: there is none that matches.
        DataError: the server may not be reached or does not answer, or an object has a name that
            no file should have.
        InputChanged: they are not what `config.sha256` says.
    """
    return take(config, ctx, None)


def take(config: ObjectsConfig, ctx: Context, cut: CountedCut | None) -> Landed:
    """As `collect`, but of each object what `cut` leaves of it."""
    with _looked(ctx, config) as (looked, base, known):
        if looked is None:
            known = {}
        target = ctx.workdir / "objects"
        with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as sink:
            if looked is None:
                _read_all(config, ctx, sink, known, cut)
            else:
                _assemble(ctx.blobs, looked, base, known, sink, cut)
    sha256 = digest_of({name: each.sha256 for name, each in known.items()})
    if sha256 != config.sha256:
        raise InputChanged(
            f"{config.origin} has the SHA-256 {sha256}, not {config.sha256}",
            remedy="if objects were written just now, run again; if its section pins a sha256, "
            "find out why they changed, or pin the new one",
        )
    memory = {name: dataclasses.asdict(each) for name, each in known.items()}
    return Landed(
        requirement=config.origin,
        filename=config.origin.removeprefix(OBJECTS),
        wheel=ctx.blobs.put(target, "application/zip"),
        num_erased=sum(each.num_erased for each in known.values()),
        memory=ctx.blobs.put(canonical_json(memory), "application/json"),
    )


def look(
    source: SourceConfig,
    hosts: tuple[str, ...],
    cache: Path,
    last: LastLoad | None,
    cut: CountedCut | None,
    progress: Progress,
) -> tuple[SourceConfig, Path | None]:
    """The source with the digest of its objects as they are now, and where those that changed since
    `last` are kept for the step.

    Where the server does not answer, the digest is empty, and what is kept says why not. A source
    that pins its objects is left as it is.
    """
    if source.sha256:
        return source, None
    config = source.collecting()
    path = place_of(cache, config)
    base = _base(last) if last else None
    known: dict[str, Known] = {}
    try:
        with opened(path) as file, zipfile.ZipFile(file, "w") as sink:
            with reached(config, hosts) as bucket:
                _read_changed(config, bucket, base, known, sink, cut, progress)
            sha256 = digest_of({name: each.sha256 for name, each in known.items()})
            head = {
                "sha256": sha256,
                "known": {name: dataclasses.asdict(each) for name, each in known.items()},
                "base": base.wheel.sha256 if base else "",
                "base_bytes": base.wheel.num_bytes if base else 0,
            }
            sink.writestr(HEAD, json.dumps(head))
    except (DataError, NotFound) as error:
        keep_error(path, error)
        return source, path
    return source.model_copy(update={"sha256": sha256}), path


def digest_of(digests: Mapping[str, str]) -> str:
    """Of one object its own, as of a file; of several that of the list of theirs."""
    return next(iter(digests.values())) if len(digests) == 1 else fingerprint(dict(digests))


def wanted_of(config: ObjectsConfig, bucket: Bucket) -> dict[str, Listed]:
    """The objects that are meant, by the name that each has behind the prefix.

    Raises:
        NotFound: there is none.
        DataError: one has a name that no file should have.
    """
    prefix = config.origin.removeprefix(OBJECTS).partition("/")[2].rstrip("/")
    found: dict[str, Listed] = {}
    for each in bucket.listed(prefix):
        if each.key == prefix:
            name = prefix.rpartition("/")[2]
        elif prefix and not each.key.startswith(f"{prefix}/"):
            continue  # "mail" is not "mailing"
        else:
            name = each.key[len(prefix) + 1 :] if prefix else each.key
        is_folder = not each.size and (not name or name.endswith("/"))
        hidden = [part for part in name.split("/") if re.match(r"\.(?!\.?$)", part)]
        if not is_folder and not hidden:
            found[name] = each
    expressions = [glob_expression(pattern) for pattern in config.files or ("**",)]
    wanted = {n: each for n, each in found.items() if any(e.fullmatch(n) for e in expressions)}
    for name in wanted:
        if reason := hostile_name(name) or ("ends like a folder" if name.endswith("/") else None):
            raise DataError(
                f"the object {name[:200]!r} of {config.origin} {reason}",
                remedy="give it another key, or leave it out of `files`",
            )
    if not wanted:
        near = ", ".join(sorted(found)[:5]) or "nothing that is not hidden"
        raise NotFound(
            f"no object of {config.origin} matches {', '.join(config.files)}",
            remedy=f"there is {near}",
        )
    return wanted


def _read_changed(
    config: ObjectsConfig,
    bucket: Bucket,
    base: Base | None,
    known: dict[str, Known],
    sink: zipfile.ZipFile,
    cut: CountedCut | None,
    progress: Progress,
) -> None:
    """Read the objects that are not as they were, and say of all of them what is known."""
    wanted = wanted_of(config, bucket)
    done = 0
    total = sum(each.size for each in wanted.values())
    for name, each in sorted(wanted.items()):
        before = base.known.get(name) if base else None
        if before is not None and before.tag == each.tag:
            known[name] = before
        else:
            note = f"reads {bucket.server.shown.rstrip('/')}/{bucket.name}"

            def beat(num_bytes: int, done: int = done, note: str = note) -> None:
                progress(done + num_bytes, total, note)

            known[name] = _fetched(bucket, each, (name, f"{_FETCHED}{name}"), sink, cut, beat)
        done += each.size


def _fetched(
    bucket: Bucket,
    each: Listed,
    names: tuple[str, str],
    sink: zipfile.ZipFile,
    cut: CountedCut | None,
    beat: Callable[[int], None],
) -> Known:
    """Put an object, by its (name, name in `sink`), into `sink`: what `cut` leaves of it."""
    name, member = names
    num_erased = 0
    # What is to be forgotten is not to lie on a disk, not even for a moment.
    in_memory = _IN_MEMORY if cut is None else each.size + 1
    with tempfile.SpooledTemporaryFile(max_size=in_memory) as spool:
        sha256 = bucket.fetch(each, cast("IO[bytes]", spool), beat)
        spool.seek(0)
        if cut is None:
            _copy(cast("IO[bytes]", spool), sink, member)
        else:
            left, num_erased = cut(name, spool.read())
            if left is not None:
                sink.writestr(zipfile.ZipInfo(member, EPOCH), left)
    return Known(tag=each.tag, sha256=sha256, num_erased=num_erased)


def _copy(source: IO[bytes], sink: zipfile.ZipFile, member: str) -> None:
    with sink.open(zipfile.ZipInfo(member, EPOCH), "w", force_zip64=True) as into:
        while chunk := source.read(1 << 20):
            into.write(chunk)


def _read_all(
    config: ObjectsConfig,
    ctx: Context,
    sink: zipfile.ZipFile,
    known: dict[str, Known],
    cut: CountedCut | None,
) -> None:
    """Read every object; a pinned source has nothing that was looked at."""
    with reached(config, ctx.hosts) as bucket:
        for name, each in sorted(wanted_of(config, bucket).items()):
            note = f"reads {config.origin}"

            def beat(num_bytes: int, each: Listed = each, note: str = note) -> None:
                ctx.progress(num_bytes, each.size, note)

            known[name] = _fetched(bucket, each, (name, name), sink, cut, beat)


def _assemble(
    blobs: Blobs,
    looked: zipfile.ZipFile,
    base: Blob | None,
    known: dict[str, Known],
    sink: zipfile.ZipFile,
    cut: CountedCut | None,
) -> None:
    """All objects, by name: those that were read from `looked`, the others from what was taken in
    last; of each what `cut` leaves, which may have been told of more people since."""
    before = zipfile.ZipFile(blobs.path(base)) if base else None
    try:
        fetched = set(looked.namelist())
        there = set(before.namelist()) if before else set()
        for name, each in sorted(known.items()):
            archive, member = (looked, f"{_FETCHED}{name}"), f"{_FETCHED}{name}"
            if member not in fetched:
                if before is None or name not in there:
                    continue  # the whole of it was left out
                archive, member = (before, name), name
            source = archive[0].open(member)
            with source:
                if cut is None:
                    _copy(source, sink, name)
                    continue
                left, num_erased = cut(name, source.read())
            known[name] = dataclasses.replace(each, num_erased=each.num_erased + num_erased)
            if left is not None:
                sink.writestr(zipfile.ZipInfo(name, EPOCH), left)
    finally:
        if before is not None:
            before.close()


def _base(last: LastLoad) -> Base:
    """What was taken in last."""
    known = {name: Known(**each) for name, each in last.memory.items()}
    return Base(known=known, wheel=last.wheel)


@contextmanager
def _looked(
    ctx: Context, config: ObjectsConfig
) -> Iterator[tuple[zipfile.ZipFile | None, Blob | None, dict[str, Known]]]:
    """What `look` kept, if it is whole and what the step wants; what the rest of it is read from;
    and what is known of each object.

    Raises:
        DataError, NotFound: the server did not answer, or has no such objects; says why.
    """
    path = place_of(ctx.cache, config) if ctx.cache else None
    if path is not None:
        kept(path, config.sha256, ())
    if path is None or not path.is_file() or not zipfile.is_zipfile(path):
        yield None, None, {}
        return
    with zipfile.ZipFile(path) as looked:
        there = HEAD in looked.namelist()
        head: dict[str, Any] = json.loads(looked.read(HEAD)) if there else {"sha256": None}
        if head["sha256"] != config.sha256:
            yield None, None, {}
            return
        base = None
        if head["base"]:
            base = Blob(sha256=head["base"], num_bytes=head["base_bytes"])
        yield looked, base, {name: Known(**each) for name, each in head["known"].items()}
