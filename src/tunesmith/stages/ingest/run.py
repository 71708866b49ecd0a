"""From a package to a data asset."""

from __future__ import annotations

import time
import zipfile
from collections import Counter

from tunesmith.core.errors import DataError, NotFound
from tunesmith.core.ref import PARQUET
from tunesmith.core.step import Context
from tunesmith.records.data import DataAsset, Package
from tunesmith.stages.ingest.archive import glob_expression, open_archive
from tunesmith.stages.ingest.config import SourceConfig
from tunesmith.stages.ingest.rows import Quarantined, Row, read_row, write

MAX_ROW_BYTES = 16 << 20


def ingest(config: SourceConfig, ctx: Context, *, package: Package) -> DataAsset:
    """The rows of the package's files that `config` names, and those that cannot be used.

    Raises:
        PackageError: the package is no whole zip, or hostile; nothing of it is then used.
        NotFound: no file of it matches `files`.
        DataError: not one row can be used.
    """
    rows: list[Row] = []
    quarantined: list[Quarantined] = []
    num_filtered = 0
    with open_archive(ctx.blobs.path(package.wheel), package.filename) as archive:
        members = _members(archive, config, package)
        reported = time.monotonic()
        for done, member in enumerate(members):
            if time.monotonic() - reported > 0.3:
                reported = time.monotonic()
                ctx.progress(done, len(members), f"reads {package.filename}")
            match _read(config, archive, member):
                case Row() as row:
                    rows.append(row)
                case Quarantined() as row:
                    quarantined.append(row)
                case None:
                    num_filtered += 1
    assert len(members) == len(rows) + len(quarantined) + num_filtered
    _require_rows(config, rows, quarantined, num_filtered)
    return DataAsset(
        name=config.name,
        rows=ctx.blobs.put(write(rows, Row, ctx.workdir / "rows"), PARQUET),
        quarantine=ctx.blobs.put(
            write(quarantined, Quarantined, ctx.workdir / "quarantine"), PARQUET
        ),
        num_in=len(members),
        num_rows=len(rows),
        num_quarantined=len(quarantined),
        num_filtered=num_filtered,
        quarantined_by_rule=dict(sorted(Counter(row.rule for row in quarantined).items())),
        licence=config.licence,
        owner=config.owner,
        purpose=config.purpose,
        origin=config.origin,
    )


def _members(
    archive: zipfile.ZipFile, config: SourceConfig, package: Package
) -> list[zipfile.ZipInfo]:
    """The files that `config.files` names, sorted by name."""
    patterns = [glob_expression(pattern) for pattern in config.files]
    found = [
        member
        for member in archive.infolist()
        if not member.is_dir() and any(p.fullmatch(member.filename) for p in patterns)
    ]
    if not found:
        folders = Counter(name.rpartition("/")[0] + "/" for name in archive.namelist())
        listing = ", ".join(f"{name} ({n})" for name, n in folders.most_common(5))
        raise NotFound(
            f"no file of {package.filename} matches {', '.join(config.files)}",
            remedy=f"its folders with most files are: {listing}",
        )
    return sorted(found, key=lambda member: member.filename)


def _read(
    config: SourceConfig, archive: zipfile.ZipFile, member: zipfile.ZipInfo
) -> Row | Quarantined | None:
    if member.file_size > MAX_ROW_BYTES:
        return Quarantined(
            pointer=member.filename,
            rule="too-large",
            reason=f"a row may have {MAX_ROW_BYTES} bytes",
            value=f"{member.file_size} bytes",
        )
    return read_row(config, member.filename, archive.read(member))


def _require_rows(
    config: SourceConfig, rows: list[Row], quarantined: list[Quarantined], num_filtered: int
) -> None:
    if rows:
        return
    example = f"; e.g. {quarantined[0].pointer}: {quarantined[0].reason}" if quarantined else ""
    raise DataError(
        f"source {config.name!r} has no usable row: {num_filtered} left out by `where`, "
        f"{len(quarantined)} quarantined{example}",
        remedy="check `where`, `label` and `files` in its section",
    )
