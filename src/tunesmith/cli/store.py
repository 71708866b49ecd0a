"""The store: runs, evidence, health."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tunesmith.cli.render import HERE, Folder, Json, ProgressLine, out, say, seconds, size, table

if TYPE_CHECKING:
    from tunesmith.core.checkpoint import Claim
    from tunesmith.core.listing import Listed
    from tunesmith.core.verify import Report
    from tunesmith.signing.checkpoint import Checkpoint


def add_to(app: typer.Typer) -> None:
    """Add this file's commands."""
    app.command("runs")(runs)
    app.command("verify")(verify)
    app.command("doctor")(doctor)


def runs(
    folder: Folder = HERE,
    limit: Annotated[int, typer.Option(help="The newest this many.", min=1)] = 30,
    as_json: Json = False,
) -> None:
    """List runs: what ran, how it ended, what it used, how far off its forecast was; as JSON with
    the last value of each metric."""
    from tunesmith.core.listing import listed
    from tunesmith.project import open_store

    with closing(open_store(folder)) as project, project.runner.database.read() as connection:
        newest = listed(connection, limit, with_metrics=as_json)
    out(newest, [] if as_json else _table(newest), as_json)


def _table(newest: Sequence[Listed]) -> list[str]:
    rows = [
        [
            run.id,
            run.step,
            run.status,
            run.started_at,
            seconds(run.usage["wall_s"]) if run.usage else "-",
            _off(run),
            size(run.usage["peak_bytes"]) if run.usage else "-",
            (run.error or "").splitlines()[0] if run.error else "",
        ]
        for run in newest
    ]
    headings = ["run", "step", "status", "started", "took", "forecast", "peak", "error"]
    return table(rows, headings)


def _off(run: Listed) -> str:
    """By how much the forecast of time was too long (+) or too short (-)."""
    if run.status != "succeeded" or not run.usage or not run.forecast or not run.usage["wall_s"]:
        return "-"
    return f"{100 * (run.forecast['wall_s'] / run.usage['wall_s'] - 1):+.0f} %"


def verify(
    folder: Folder = HERE,
    repair: Annotated[
        bool, typer.Option("--repair", help="Clear up what crashes left, and check again.")
    ] = False,
    source: Annotated[
        Path | None,
        typer.Option("--from", help="With --repair: a folder of backups to take blobs from."),
    ] = None,
    since: Annotated[
        str,
        typer.Option(
            help="What was kept elsewhere, and the evidence has to go on from: a head, or the file "
            "of a checkpoint.",
            metavar="NUMBER:DIGEST|FILE",
        ),
    ] = "",
    public_key: Annotated[
        Path | None,
        typer.Option(
            help="File of the public key of checkpoints; the project file's if not given."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Check the store against itself: the evidence chain and what it says of runs, every blob's
    digest, every reference, every checkpoint; and say what crashed processes left."""
    from tunesmith.core.blobs import FolderBlobs
    from tunesmith.core.errors import UsageError
    from tunesmith.core.verify import repair as repair_store
    from tunesmith.core.verify import verify as verify_store
    from tunesmith.lineage.journal import problems
    from tunesmith.project import open_store
    from tunesmith.registry.checkpoint import checked, claim_kept

    if source is not None and not repair:
        raise UsageError("--from goes with --repair")
    if source is not None and not (source / "blobs").is_dir():
        raise UsageError(f"{source} holds no backup", remedy="name the folder that backups go to")
    line = ProgressLine()
    with closing(open_store(folder)) as project:
        key = public_key or project.public_key
        kept = claim_kept(since, key)
        database, blobs = project.runner.database, project.blobs()
        watch = partial(line.show, "verify")
        report = verify_store(database, blobs, lambda done, of, what: watch(what, done, of))
        if repair:
            project.clean_up()
            copies = FolderBlobs(source / "blobs") if source else None
            num_good = repair_store(database, blobs, report.damaged, copies, project.runner.actor)
            line.clear()
            say(f"{len(report.leftovers)} leftovers cleared up, {num_good} blobs made good")
            report = verify_store(database, blobs, lambda done, of, what: watch(what, done, of))
        report = replace(report, problems=(*report.problems, *problems(project.store)))
        report, newest = checked(project, report, [kept] if kept else [], key)
    line.clear()
    out(report, [*_report(report), *_checkpoints(report, newest, key, kept)], as_json)
    _require_sound(report)


def _require_sound(report: Report) -> None:
    from tunesmith.core.errors import StoreError

    if report.problems:
        raise StoreError(
            "\n  ".join([f"{len(report.problems)} problems", *report.problems]),
            remedy="`tunesmith run` makes damaged or missing results again, and so does `tunesmith "
            "verify --repair --from` a folder of backups; an evidence entry that was edited cannot "
            "be made good, nor one that was cut off: `tunesmith store restore`; `tunesmith data "
            "forget` goes on with an erasure",
        )


def _report(report: Report) -> list[str]:
    head = (
        f"{report.num_entries} evidence entries, {report.num_blobs} blobs, "
        f"{size(report.num_bytes)}: "
    )
    lines = [head + ("PROBLEMS" if report.problems else "all hold")]
    if report.num_erased:
        lines.append(f"{report.num_erased} blobs are erased, with evidence")
    if report.num_collected:
        lines.append(f"{report.num_collected} blobs are set aside or removed, with evidence")
    if report.num_orphans:
        lines.append(
            f"{report.num_orphans} blobs, {size(report.orphan_bytes)}, are of no run: "
            "`tunesmith store gc` says which may go"
        )
    if report.head:
        lines.append(f"the evidence ends with {report.head}")
    return [*lines, *(f"left over: {each}" for each in report.leftovers)]


def _checkpoints(
    report: Report, newest: Checkpoint | None, key: Path | None, kept: Claim | None
) -> list[str]:
    if report.problems:
        return []
    lines = ["it goes on from what was kept"] if kept is not None else []
    if newest is not None:
        since = report.num_entries - newest.size
        lines.append(
            f"entries up to {newest.size} were signed {newest.at} by {newest.by}; {since} came "
            "since"
        )
    elif key is not None:
        lines.append(
            f"no checkpoint is signed with the key of {key}: `tunesmith audit checkpoint` makes one"
        )
    return lines


def doctor(folder: Folder = HERE, as_json: Json = False) -> None:
    """Look at this machine and this project, and say what is wrong and what helps."""
    from tunesmith.core import health
    from tunesmith.core.errors import NotFound

    if not folder.is_dir():
        raise NotFound(f"there is no folder {folder}", remedy="name the folder of a project")
    findings = list(health.examine(folder))
    lines = [
        f"{'ok ' if finding.ok else 'NOT'} {finding.what}: {finding.found}"
        + ("" if finding.ok else f"\n      -> {finding.remedy}")
        for finding in findings
    ]
    out(findings, lines, as_json)
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)
