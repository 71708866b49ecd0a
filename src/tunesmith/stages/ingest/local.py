"""Take files of the project's folder into the store, as they are at this moment.

What a project file says may not lead out of the project's folder: a path has no `..` (see
`SourceConfig.origin`), and a link that leads out is refused, as is the store itself.
"""

from __future__ import annotations

import hashlib
import os
import re
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path

from tunesmith.core.canonical import fingerprint
from tunesmith.core.errors import DataError, InputChanged, NotFound
from tunesmith.core.file_digests import KEPT, FileDigests
from tunesmith.core.hashing import HashedBeside
from tunesmith.core.project_folder import open_plain, require_inside
from tunesmith.core.step import Context
from tunesmith.records.data import Package
from tunesmith.stages.ingest.archive import EPOCH, glob_expression
from tunesmith.stages.ingest.asking import LandConfig
from tunesmith.stages.ingest.config import SourceConfig
from tunesmith.stages.ingest.origin import LOCAL

_NO_PLAIN_NAME = re.compile(r"[\\\x00-\x1f\x7f]")
_RENAME = "rename it without backslashes and control characters, or leave it out of `files`"


Cut = Callable[[str, bytes], bytes | None]
"""cut(name, data): what of a file is to be taken into the store; None, nothing."""


def land(config: LandConfig, ctx: Context) -> Package:
    """The local files that `config` names, packed as they are into one blob.

    Raises:
        NotFound: there is no such file, or none that matches.
        DataError: a link leads out of the project's folder, or it is no plain file.
        InputChanged: they are not what `config.sha256` says.
    """
    return pack(config, ctx, None)


def pack(config: LandConfig, ctx: Context, cut: Cut | None) -> Package:
    """As `land`, but of each file what `cut` leaves of it."""
    assert ctx.project is not None, "local files are relative to a project's folder"
    found = _files(ctx.project, config.origin, config.files)
    target = ctx.workdir / "files"
    digests: dict[str, str] = {}
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for done, (name, path) in enumerate(found):
            ctx.progress(done, len(found), f"reads {config.origin.removeprefix(LOCAL)}")
            with _opened(ctx.project, Path(path)) as source:
                digests[name] = _pack_file(archive, name, source, cut)
    sha256 = _digest_of(digests)
    if sha256 != config.sha256:
        if ctx.cache is not None:  # whatever is kept there: the next look reads every file
            (ctx.cache / KEPT).unlink(missing_ok=True)
        raise InputChanged(
            f"{config.origin} has the SHA-256 {sha256}, not {config.sha256}",
            remedy="if it was edited just now, run again; if its section pins a sha256, find out "
            "why it changed, or pin the new one",
        )
    return Package(
        requirement=config.origin,
        filename=config.origin.removeprefix(LOCAL),
        wheel=ctx.blobs.put(target, "application/zip"),
    )


def _pack_file(archive: zipfile.ZipFile, name: str, source: BufferedReader, cut: Cut | None) -> str:
    """Put a file into the archive; the digest of the file as it is."""
    if cut is not None:
        data = source.read()
        left = cut(name, data)
        if left is not None:
            archive.writestr(zipfile.ZipInfo(name, EPOCH), left)
        return hashlib.sha256(data).hexdigest()
    with (
        HashedBeside() as digest,
        archive.open(zipfile.ZipInfo(name, EPOCH), "w", force_zip64=True) as sink,
    ):
        while chunk := source.read(1 << 20):
            digest.update(chunk)
            sink.write(chunk)
        return digest.hexdigest()


def as_it_is_now(source: SourceConfig, project: Path, known: FileDigests) -> SourceConfig:
    """A source that pins its files, or whose local files have the digest of this moment."""
    if source.sha256 or not source.is_local:
        return source
    sha256 = digest_of_local(project, source.landing(), known)
    return source.model_copy(update={"sha256": sha256})


def digest_of_local(project: Path, config: LandConfig, known: FileDigests | None = None) -> str:
    """The SHA-256 of local files as they are now; empty where they cannot be read.

    Those that lie as they lay when they became `known` are not read. Why one cannot be read is said
    by `land`, when they are needed.
    """
    known = known or FileDigests()
    try:
        return _digest_of(
            {
                name: _digest_now(project, f"{config.origin}/{name}", path, known)
                for name, path in _files(project, config.origin, config.files)
            }
        )
    except (DataError, NotFound):
        return ""


def _digest_now(project: Path, name: str, path: str, known: FileDigests) -> str:
    with _readable(project, path):
        lies = os.lstat(path)  # a link is no file that was read, so it is followed each time
    if found := known.find(name, lies):
        return found
    with _opened(project, Path(path)) as source:
        sha256 = hashlib.file_digest(source, "sha256").hexdigest()
        known.put(name, lies, os.fstat(source.fileno()), sha256)
    return sha256


def local_files(project: Path, config: LandConfig) -> list[tuple[str, Path]]:
    """(name, path) of the files that are meant, by name.

    Raises:
        NotFound, DataError: see `land`.
    """
    found = _files(project, config.origin, config.files)
    return [(name, Path(path)) for name, path in found]


def _digest_of(digests: dict[str, str]) -> str:
    """Of one file its own, as sha256sum prints it; of several that of the list of theirs."""
    if len(digests) == 1:
        return next(iter(digests.values()))
    return fingerprint(digests)


def _files(project: Path, origin: str, patterns: Iterable[str]) -> list[tuple[str, str]]:
    """(name, path) of the files that are meant, by name: of a file its own, of a folder's files
    their path in it. Hidden files of a folder are not meant."""
    where = origin.removeprefix(LOCAL)
    start = project / where
    require_inside(project, start)
    if not start.exists():
        raise NotFound(
            f"there is no {where} in {project}",
            remedy="the path of an origin is relative to the folder of the project file",
        )
    found = [(start.name, str(start))]
    if start.is_dir():
        found = sorted(_walk(project, str(start), ""))
    expressions = [glob_expression(pattern) for pattern in patterns]
    wanted = [each for each in found if any(e.fullmatch(each[0]) for e in expressions)]
    if not wanted:
        near = ", ".join(name for name, _ in found[:5]) or "nothing that is not hidden"
        raise NotFound(
            f"no file of {where} matches {', '.join(patterns)}",
            remedy=f"there is {near}",
        )
    return wanted


def plain_file(project: Path, path: Path) -> Path:
    """Where a file of the project's folder really is.

    Raises:
        NotFound, DataError: see `land`.
    """
    if not path.exists():
        raise NotFound(
            f"there is no {path.relative_to(project)} in {project}",
            remedy="the path of an origin is relative to the folder of the project file",
        )
    with _opened(project, path):
        return Path(os.path.realpath(path))


def _walk(project: Path, folder: str, name: str) -> Iterator[tuple[str, str]]:
    """The files under a folder, which is inside the project; links that stay there are followed to
    files, not to folders. Ten thousand files are a usual number: no path is made of each."""
    with _readable(project, folder), os.scandir(folder) as entries:
        here = [entry for entry in entries if not entry.name.startswith(".")]
    for entry in here:
        if entry.is_symlink():  # of anything else, where it is follows from its folder
            require_inside(project, Path(entry.path))
        if _NO_PLAIN_NAME.search(entry.name):
            place = str(Path(entry.path).relative_to(project))
            raise DataError(f"{place!r} is no plain name", remedy=_RENAME)
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(project, entry.path, f"{name}{entry.name}/")
        elif not entry.is_dir():
            yield f"{name}{entry.name}", entry.path


@contextmanager
def _readable(project: Path, path: Path | str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(
            f"{Path(path).relative_to(project)} cannot be read: {error.strerror}",
            remedy="check its permissions, or leave it out of `files`",
        ) from error


@contextmanager
def _opened(project: Path, path: Path) -> Iterator[BufferedReader]:
    """A plain file, open for reading; a device is no data."""
    require_inside(project, path)
    with _readable(project, path):
        source = open_plain(path)
    if source is None:
        raise DataError(f"{path.relative_to(project)} is no plain file", remedy="leave it out")
    with source:
        yield source
