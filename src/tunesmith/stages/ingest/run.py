"""From a package, or local files, to a data asset."""

from __future__ import annotations

import time
import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import astuple, fields
from pathlib import Path
from typing import Any

from tunesmith.asset.accounted import require_accounted
from tunesmith.asset.checks import evaluate, require
from tunesmith.asset.contract import Contract
from tunesmith.asset.row import Row
from tunesmith.asset.table import Table
from tunesmith.core.errors import DataError, NotFound
from tunesmith.core.ref import PARQUET
from tunesmith.core.step import Context
from tunesmith.records.data import DataAsset, Package
from tunesmith.records.repair import Repairs
from tunesmith.stages.ingest.archive import glob_expression, open_archive
from tunesmith.stages.ingest.batch import Batch
from tunesmith.stages.ingest.config import STRINGS_ONLY, SourceConfig
from tunesmith.stages.ingest.container import File, files_of
from tunesmith.stages.ingest.entry import Entry, Quarantined
from tunesmith.stages.ingest.formats import read_batches
from tunesmith.stages.ingest.recorded import Recorded
from tunesmith.stages.ingest.repairs import Mending
from tunesmith.stages.ingest.rows import Ids, Rows, to_row, to_rows


def ingest(
    config: SourceConfig,
    ctx: Context,
    *,
    package: Package,
    repairs: Repairs | None = None,
    seeds: tuple[DataAsset, ...] = (),
) -> DataAsset:
    """The rows of the files, repaired, and those that cannot be used; `seeds` have their seeds.

    Raises:
        PackageError: the package is no whole zip, or hostile; nothing of it is then used.
        NotFound: no file of it matches `files`.
        DataError: no row can be used, more are quarantined than may be, or a check does not hold.
    """
    first_refused: Quarantined | None = None
    num_in, num_filtered, num_repaired = package.num_erased, 0, 0
    by_rule: Counter[str] = Counter()
    contract, mending = contract_of(config), Mending(repairs)
    only = Recorded(config.synthetic, seeds, ctx.blobs).only if config.synthetic else iter
    with (
        open_archive(ctx.blobs.path(package.wheel), package.filename) as archive,
        Table(ctx.workdir / "rows", Row._fields) as rows,
        Table(ctx.workdir / "quarantine", [one.name for one in fields(Quarantined)]) as refused,
    ):
        members = members_of(archive, config, package)
        reported = time.monotonic()
        for done, member in enumerate(members):
            for found in only(_read(config, contract, archive, member, ctx.workdir, mending)):
                num_in += len(found.row_ids) if isinstance(found, Rows) else 1
                if time.monotonic() - reported > 0.3:
                    reported = time.monotonic()
                    ctx.progress(done, len(members), f"reads {package.filename}: {num_in} rows")
                match found:
                    case Rows():
                        rows.extend(found)
                    case Row():
                        rows.add(found)
                        num_repaired += found.row_id in mending
                    case Quarantined():
                        refused.add(astuple(found))
                        by_rule[found.rule] += 1
                        first_refused = first_refused or found
                    case None:
                        num_filtered += 1
    require_accounted(num_in, rows.num_rows, refused.num_rows, num_filtered, package.num_erased)
    _require_rows(config, rows.num_rows, by_rule, first_refused, num_filtered)
    return DataAsset(
        rows=ctx.blobs.put(rows.path, PARQUET),
        quarantine=ctx.blobs.put(refused.path, PARQUET),
        num_in=num_in,
        num_rows=rows.num_rows,
        num_quarantined=refused.num_rows,
        num_filtered=num_filtered,
        quarantined_by_rule=dict(sorted(by_rule.items())),
        num_erased=package.num_erased,
        num_repaired=num_repaired,
        warnings=checked(config, rows.path),
        **_stated(config),
    )


def _stated(config: SourceConfig) -> dict[str, Any]:
    """What the section says of the rows as a whole."""
    names = ("name", "licence", "owner", "purpose", "origin", "subject")
    made = config.synthetic.record() if config.synthetic else None
    return {name: getattr(config, name) for name in names} | {"synthetic": made}


def contract_of(config: SourceConfig) -> Contract:
    """The rules of a source, which have seen nothing of it yet."""
    assert not config.contract_file, "it is read when the project is opened"
    return Contract(
        config.contract,
        allows_others=config.other_fields == "keep",
        has_strings_only=config.format in STRINGS_ONLY,
    )


def checked(config: SourceConfig, rows: Path) -> tuple[str, ...]:
    """What of the checks that are warnings does not hold of the rows, a sentence each.

    Raises:
        DataError: one that is an error does not hold.
    """
    only_strings = config.format in STRINGS_ONLY
    found = evaluate(config.checks, config.contract, rows, has_strings_only=only_strings)
    return require(found, f"source {config.name!r}")


def members_of(
    archive: zipfile.ZipFile, config: SourceConfig, package: Package
) -> list[zipfile.ZipInfo]:
    """The files that `config.files` names, all without it, sorted by name."""
    patterns = [glob_expression(pattern) for pattern in config.files or ("**",)]
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
    config: SourceConfig,
    contract: Contract,
    archive: zipfile.ZipFile,
    member: zipfile.ZipInfo,
    folder: Path,
    mending: Mending,
) -> Iterator[Rows | Row | Quarantined | None]:
    """What the records of a file are: rows, a bad one, or one that is not asked for."""
    for file in files_of(archive, member, config.members, folder):
        if isinstance(file, Quarantined):
            yield file
            continue
        yield from rows_of(config, contract, file, mending)


def rows_of(
    config: SourceConfig, contract: Contract, file: File, mending: Mending
) -> Iterator[Rows | Row | Quarantined | None]:
    """The same of one file."""
    ids = Ids(config, file.name)
    for found in read_batches(config, file):
        match found:
            case Quarantined():
                yield found
            case Entry():
                row_id = ids.next(found.data)
                yield to_row(config, contract, mending.mend(found, row_id), row_id)
            case Batch():
                row_ids = ids.of_all(found.data)
                if not mending.is_of_any(row_ids) and (
                    rows := to_rows(config, contract, found, row_ids)
                ):
                    yield rows
                    continue
                for entry, row_id in zip(found.entries(), row_ids, strict=True):
                    yield to_row(config, contract, mending.mend(entry, row_id), row_id)


def _require_rows(
    config: SourceConfig,
    num_rows: int,
    by_rule: Counter[str],
    first_refused: Quarantined | None,
    num_filtered: int,
) -> None:
    num_refused = by_rule.total()
    num_read = num_rows + num_refused
    if num_rows and num_refused <= config.max_quarantined * num_read:
        return
    example = f"; e.g. {first_refused.pointer}: {first_refused.reason}" if first_refused else ""
    if num_rows:
        said = ", ".join(f"{rule} {count}" for rule, count in by_rule.most_common(3))
        raise DataError(
            f"source {config.name!r}: {num_refused} of {num_read} records would be quarantined "
            f"({said}){example}",
            remedy="see what changed in the system that they come from; or change `contract`, or "
            "raise `max_quarantined`",
        )
    raise DataError(
        f"source {config.name!r} has no usable row: {num_filtered} left out by `where`, "
        f"{num_refused} quarantined{example}",
        remedy="check `format`, `where`, `text`, `label`, `contract` and `files` in its section",
    )
