"""The store: runs, evidence, health."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from tunesmith.cli.render import HERE, Folder, Json, out, seconds, size, table

if TYPE_CHECKING:
    from tunesmith.core.catalog import Run


def add_to(app: typer.Typer) -> None:
    """Add this file's commands."""
    app.command("runs")(runs)
    app.command("verify")(verify)
    app.command("doctor")(doctor)


def runs(
    folder: Folder = HERE,
    limit: Annotated[int, typer.Option(help="The newest this many.")] = 30,
    as_json: Json = False,
) -> None:
    """List runs: what ran, how it ended, what it used, how far off its forecast was."""
    from tunesmith.cli.opening import opened

    with opened(folder) as (project, _):
        newest = project.runs()[-limit:] if limit else []
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
    out(newest, table(rows, headings), as_json)


def _off(run: Run) -> str:
    """By how much the forecast of time was too long (+) or too short (-)."""
    if run.status != "succeeded" or not run.usage or not run.forecast or not run.usage["wall_s"]:
        return "-"
    return f"{100 * (run.forecast['wall_s'] / run.usage['wall_s'] - 1):+.0f} %"


def verify(folder: Folder = HERE, as_json: Json = False) -> None:
    """Re-compute the evidence chain and the digest of every blob that a run refers to."""
    from tunesmith.cli.opening import opened
    from tunesmith.core.errors import StoreError
    from tunesmith.core.verify import verify as verify_store

    with opened(folder) as (project, _):
        report = verify_store(project.runner.database, project.runner.blobs)
    head = (
        f"{report.num_entries} evidence entries, {report.num_blobs} blobs, "
        f"{size(report.num_bytes)}: "
    )
    erased = f"; {report.num_erased} blobs are erased, with evidence" if report.num_erased else ""
    out(report, [head + ("PROBLEMS" if report.problems else "all hold") + erased], as_json)
    if report.problems:
        raise StoreError(
            "\n  ".join([f"{len(report.problems)} problems", *report.problems]),
            remedy="`tunesmith run` makes damaged or missing results again; an evidence entry that "
            "was edited cannot be made good: restore a backup of .tunesmith/tunesmith.db; "
            "`tunesmith data forget` goes on with an erasure",
        )


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
