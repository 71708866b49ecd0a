"""Records in quarantine: see them, take them out to work on, and repair them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tunesmith.cli.render import HERE, Folder, Json, left_out, out, shortened, table, wrapped

if TYPE_CHECKING:
    from tunesmith.records.repair import Quarantine, Repair, Repairing

Source = Annotated[str, typer.Argument(help="Name of a source or transform.")]


def add_to(data: typer.Typer) -> None:
    """Add this file's commands to those of data."""
    data.command("quarantine")(data_quarantine)
    data.command("repair")(data_repair)


def data_quarantine(
    source: Source = "",
    target: Annotated[
        Path | None,
        typer.Option("--out", help="Write the records to this file, .csv or .jsonl, to edit."),
    ] = None,
    folder: Folder = HERE,
    as_json: Json = False,
) -> None:
    """List the records that break a rule, by rule; and what became of those that were repaired."""
    from tunesmith.cli.opening import opened
    from tunesmith.cli.service import only
    from tunesmith.lineage.repair import quarantine, write_out

    with opened(folder) as (project, _):
        name = only(project.file.assets, source, "source or transform")
        if target is not None:
            number = write_out(project, name, target)
            lines = [
                f"wrote {number} records to {target}; edit their fields, leave out what you leave",
                f'next: tunesmith data repair {name} {target} --why "..."',
            ]
            out({"file": str(target), "num_records": number}, lines, as_json)
            return
        found = quarantine(project, name)
    out(found, _quarantine(found), as_json)


def data_repair(
    source: Source,
    file: Annotated[
        Path | None,
        typer.Argument(help="File that data quarantine --out wrote, with its fields edited."),
    ] = None,
    statement: Annotated[
        str, typer.Option("--sql", help="Instead of a file: one UPDATE of the table `bad`.")
    ] = "",
    why: Annotated[str, typer.Option(help="Why this is what the records should say.")] = "",
    folder: Folder = HERE,
    limit: Annotated[int, typer.Option(help="Print at most this many refused records.")] = 20,
    as_json: Json = False,
) -> None:
    """Keep the repairs of records in quarantine that make them pass; the next run takes them in."""
    from tunesmith.cli.opening import opened
    from tunesmith.cli.service import only
    from tunesmith.core.errors import UsageError
    from tunesmith.lineage.repair import repair_from_file, repair_with_sql

    if (file is None) == (not statement):
        raise UsageError(
            "name the file that was edited, or --sql, and not both",
            remedy=f"write one: tunesmith data quarantine {source} --out bad.csv",
        )
    with opened(folder) as (project, _):
        name = only(project.file.assets, source, "source or transform")
        if file is not None:
            done = repair_from_file(project, name, file, why)
        else:
            done = repair_with_sql(project, name, statement, why)
    out(done, _repairing(done, limit), as_json)


def repair_lines(repair: Repair) -> list[str]:
    """What was repaired of a row, by whom, and why."""
    lines = []
    for change in repair.changes:
        was, is_now = (
            "nothing" if side is None else shortened(side) for side in (change.before, change.after)
        )
        said = f"repaired: {change.field} was {was}, is {is_now} (by {repair.by}, {repair.at[:10]}"
        lines += wrapped(f"{said}: {repair.why})", "  ")
    return lines


def _quarantine(found: Quarantine) -> list[str]:
    lines = [f"{found.source}: {found.num_bad} records in quarantine"]
    rows = [
        [each.rule, each.count, each.count - each.num_unreadable, example.pointer, example.reason]
        for each in found.rules
        for example in each.examples[:1]
    ]
    if rows:
        lines += table(rows, ["rule", "records", "repairable", "for example", "what"])
        lines.append(f"to work on them: tunesmith data quarantine {found.source} --out bad.csv")
    states: dict[str, int] = {}
    for made in found.repairs:
        states[made.state] = states.get(made.state, 0) + 1
    if states:
        lines.append("repairs: " + ", ".join(f"{count} {state}" for state, count in states.items()))
    for made in found.repairs:
        if made.state == "stale":
            what = f"{made.repair.pointer}: the record changed since it was repaired, or is gone"
            lines += wrapped(f"  stale: {what}")
        elif made.state == "quarantined":
            lines += wrapped(f"  still bad: {made.repair.pointer}: {made.reason}")
    return lines


def _repairing(done: Repairing, limit: int) -> list[str]:
    lines = [
        f"{len(done.made)} records repaired, {len(done.refused)} still break a rule, "
        f"{len(done.stale)} are not in quarantine any more, {done.num_unchanged} were not changed"
    ]
    if done.refused:
        rows = [[each.pointer, each.rule, each.reason] for each in done.refused[:limit]]
        lines += table(rows, ["where", "rule", "what"])
        lines += left_out(len(done.refused), limit)
    if done.stale:
        lines.append("not in quarantine: " + ", ".join(done.stale[:5]))
    if done.made:
        lines += [f"kept in {done.file}", "to take them in: tunesmith run"]
    return lines
