"""Versions of data, what differs between them, where a row came from and went."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tunesmith.cli import data_tags
from tunesmith.cli.render import (
    HERE,
    Folder,
    Json,
    out,
    percent,
    seconds,
    shortened,
    size,
    table,
    wrapped,
)
from tunesmith.cli.repairs import repair_lines
from tunesmith.ledger.cost import display
from tunesmith.text.licences import MEANINGS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tunesmith.records.lineage import (
        Ancestor,
        Difference,
        ErasureCertificate,
        ErasurePlan,
        FieldChange,
        Holder,
        Place,
        Remedy,
        RowTrace,
        Shift,
        Spread,
        VersionLine,
    )

MAX_LABELS = 8
MAX_ROWS = 20
Ref = Annotated[
    str, typer.Argument(help="NAME@VERSION or NAME@TAG, e.g. visits@2; NAME is the newest.")
]


def add_to(data: typer.Typer) -> None:
    """Add this file's commands to those of data."""
    data.command("log")(data_log)
    data.command("diff")(data_diff)
    data.command("checkout")(data_checkout)
    data_tags.add_to(data)
    data.command("trace")(data_trace)
    data.command("forget")(data_forget)


def data_log(
    name: Annotated[str, typer.Argument(help="Source or dataset, or NAME@VERSION of one.")] = "",
    folder: Folder = HERE,
    as_json: Json = False,
) -> None:
    """List versions: when, rows in and out, and what changed since the version before, fields that
    came, went or have another type among it."""
    from tunesmith.cli.opening import opened
    from tunesmith.lineage.versions import log

    with opened(folder) as (project, _):
        versions = log(project, name)
    out(versions, [line for version in reversed(versions) for line in _version(version)], as_json)


def data_diff(
    before: Ref,
    after: Ref,
    folder: Folder = HERE,
    limit: Annotated[int, typer.Option(help="Show this many rows of each kind.")] = 5,
    as_json: Json = False,
) -> None:
    """Compare two versions: rows added, removed, edited; fields that came, went or have another
    type; the shift in labels, lengths, licences and personal data."""
    from tunesmith.cli.opening import opened
    from tunesmith.lineage.compare import compare

    with opened(folder) as (project, _):
        found = compare(project, before, after, num_examples=limit)
    out(found, _difference(found), as_json)


def data_checkout(
    ref: Ref,
    target: Annotated[Path, typer.Argument(help="Folder to make, or an empty one.")],
    folder: Folder = HERE,
    as_json: Json = False,
) -> None:
    """Write a version's tables (Parquet) and its card into a folder."""
    from tunesmith.cli.opening import opened
    from tunesmith.lineage.versions import checkout

    with opened(folder) as (project, _):
        written = checkout(project, ref, target)
    out([str(path) for path in written], [f"wrote {path}" for path in written], as_json)


def data_trace(
    row: Annotated[
        str, typer.Argument(help="Id of a row, or its beginning; or words of its text.")
    ],
    folder: Folder = HERE,
    as_json: Json = False,
) -> None:
    """Trace a row: up to file, line or page, place in the text, and package; down to all that was
    made from it."""
    from tunesmith.cli.opening import opened
    from tunesmith.lineage.trace import trace

    with opened(folder) as (project, _):
        found = trace(project, row)
    out(found, _trace(found), as_json)


def data_forget(
    subject: Annotated[
        list[str], typer.Argument(help="Value of a source's `subject` field; or ids of rows.")
    ],
    folder: Folder = HERE,
    only_plan: Annotated[
        bool, typer.Option("--plan", help="Say what holds them and what it takes; change nothing.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Erase a person from the store, keep them out of it, and certify it."""
    from tunesmith.cli.opening import opened
    from tunesmith.lineage.forget import forget
    from tunesmith.lineage.plan import plan

    with opened(folder, runs=not only_plan) as (project, _):
        if only_plan:
            _, planned = plan(project, subject)
            out(planned, _plan(planned), as_json)
            return
        certificate = forget(project, subject)
    out(certificate, _certificate(certificate), as_json)


def _version(line: VersionLine) -> list[str]:
    left_out = "dropped" if line.kind == "dataset" else "not asked for"
    counts = [
        f"{line.num_in} rows {f'of {line.num_read} of its sources' if line.num_read else 'in'}",
        f"{line.num_rows} out{f' ({line.num_repaired} repaired)' if line.num_repaired else ''}",
        f"{line.num_left_out} {left_out}",
        *([f"{line.num_quarantined} quarantined"] if line.kind != "dataset" else []),
        *([f"{line.num_erased} erased"] if line.num_erased else []),
    ]
    gone = f"  (erased: its {line.gone} are gone)" if line.gone else ""
    return [
        f"{line.kind} {line.name}@{line.number}  {line.made_at}  {line.digest[:12]}{gone}",
        *([f"  tagged {', '.join(line.tags)}"] if line.tags else []),
        f"  {', '.join(counts)}",
        *_fields(line.fields, "  "),
        *(part for what in line.changed for part in wrapped(what, "  ")),
    ]


def _fields(changed: Sequence[FieldChange], indent: str = "") -> list[str]:
    return wrapped("; ".join(each.said() for each in changed), indent) if changed else []


def _difference(found: Difference) -> list[str]:
    before, after = found.before, found.after
    labels = [shift for shift in found.labels if shift.of]
    moved = f", {found.num_moved} moved to the other side" if found.num_moved else ""
    lines = [
        f"{before.name}@{before.number} ({before.num_rows} rows) -> "
        f"{after.name}@{after.number} ({after.num_rows} rows)",
        f"{found.num_added} added, {found.num_removed} removed, {found.num_edited} edited{moved}, "
        f"{found.num_same} the same",
        *_fields(found.fields),
        "",
        f"lengths in bytes, before: {_spread(found.lengths_before)}",
        f"lengths in bytes, after:  {_spread(found.lengths_after)}",
    ]
    if labels:
        lines += ["", f"labels shifted by {percent(found.label_shift)} of the rows"]
        lines += _shifts(labels, "label")
    lines += ["", *_licences(found), *_personal(found)]
    if found.examples:
        shown = [[e.change, e.pointer, e.before[:12], e.after[:12], e.what] for e in found.examples]
        lines += ["", *table(shown, ["row", "where", "before", "after", "what"])]
    return lines


def _shifts(shifts: Sequence[Shift], of: str) -> list[str]:
    rows = [[s.of, s.before, s.after, f"{s.after - s.before:+d}"] for s in shifts[:MAX_LABELS]]
    more = len(shifts) - len(rows)
    lines = table(rows, [of, "before", "after", "change"])
    return [*lines, *([f"and {more} more: --json for all"] if more else [])]


def _licences(found: Difference) -> list[str]:
    """One line where all rows are of one licence, as before."""
    names = {each.of for each in found.licences}
    if len(names) < 2:
        return [f"licence, before and after: {', '.join(names) or 'there is no row'}"]
    return [
        *_shifts(found.licences, "rows under licence"),
        *(f"asked for now: {MEANINGS[each]}" for each in found.obligations_new),
        *(f"asked for no more: {MEANINGS[each]}" for each in found.obligations_gone),
    ]


def _personal(found: Difference) -> list[str]:
    if not found.num_changed:
        return []
    looked = (
        f"{found.num_looked_at} of the {found.num_changed} changed rows, picked by chance"
        if found.num_looked_at < found.num_changed
        else f"the {found.num_changed} changed rows"
    )
    if not found.pii:
        return [f"no personal data with a form that can be checked in {looked}"]
    return [
        "",
        *wrapped(
            f"personal data in {looked}: in those removed or edited, as they were, and in those "
            "added or edited, as they are"
        ),
        *_shifts(found.pii, "rows with"),
    ]


def _spread(lengths: Spread) -> str:
    return (
        f"mean {lengths.mean:.0f}, a tenth under {lengths.low:.0f}, median {lengths.median:.0f}, "
        f"a tenth over {lengths.high:.0f}"
    )


def _trace(row: RowTrace) -> list[str]:
    at = f", {row.numbered} {row.number}" if row.numbered else ""
    at += _placed(row.place)
    lines = [
        f"{row.row_id}  {shortened(row.text, 60)}",
        *([f"label {row.label}"] if row.label else []),
        "",
        "from",
        *(_ancestors(row.ancestors) if row.ancestors else [f"  {row.member}{at}"]),
        f"  of {row.origin}"
        + (f", taken in as {row.package_sha256[:12]}" if row.package_sha256 else ""),
        f"  licence {row.licence}; owner {row.owner}",
        *(repair_lines(row.repair) if row.repair else []),
        *(f"  merged into it: {parent}" for parent in row.parents),
        *(f"  generated from: {seed}" for seed in row.seeds),
        *([f"  merged into: {row.child}"] if row.child else []),
        "",
        "to",
    ]
    shown = _held_by(row.holders)
    return [*lines, *(f"  {each}" for each in shown), f"  {row.num_traces} served requests"]


def _placed(place: Place | None) -> str:
    return f", {place.said()}" if place else ""


def _held_by(holders: Sequence[Holder]) -> list[str]:
    held = [[h.kind, " = ".join((h.name, *h.tags)), f"run {h.run}", h.how] for h in holders]
    return table(held, ["what", "which", "made by", "how"])


def _ancestors(rows: Sequence[Ancestor]) -> list[str]:
    shown = [
        [
            each.name,
            each.row_id[:12],
            f"{each.pointer}{_placed(each.place)}",
            "made" if each.parents else "read",
        ]
        for each in rows[:MAX_ROWS]
    ]
    lines = table(shown, ["rows", "id", "where", "how"])
    more = [f"and {len(rows) - MAX_ROWS} more: --json for all"] if len(rows) > MAX_ROWS else []
    return [f"  {line}" for line in (*lines, *more)]


def _plan(plan: ErasurePlan) -> list[str]:
    counted = _counted(plan.row_ids, plan.num_quarantined)
    shown = _held_by(plan.holders)
    return [
        *wrapped(f"{plan.subject}: {counted}, found by {plan.named_by}"),
        "",
        "held by",
        *(f"  {each}" for each in shown),
        f"  {plan.num_traces} served requests",
        "",
        *_remedies(plan.remedies),
        *(f"stays, though it says the same: {each}" for each in plan.shared),
        *_not_searched_for(plan),
        *_left_in_files(plan.files),
        *_left_the_store(plan.copies),
        *(part for each in plan.obstacles for part in wrapped(f"in the way: {each}")),
        f"to do it: tunesmith data forget {plan.typed()}",
    ]


def _counted(row_ids: Sequence[str], num_quarantined: int) -> str:
    return f"{len(row_ids)} rows{f' ({num_quarantined} in quarantine)' if num_quarantined else ''}"


def _remedies(remedies: Sequence[Remedy]) -> list[str]:
    if not remedies:
        return ["no model has learnt from these rows"]
    rows = [
        [each.model, each.verdict, _price(each), ", ".join(each.versions) or "-", each.why]
        for each in remedies
    ]
    return ["models", *table(rows, ["model", "remedy", "expected", "versions", "why"])]


def _price(remedy: Remedy) -> str:
    if not remedy.steps:
        return "-"
    more = f", {remedy.num_unknown} steps not known" if remedy.num_unknown else ""
    return f"{seconds(remedy.wall_s)}, {display(remedy.cost)}{more}"


def _left_in_files(files: Sequence[str]) -> list[str]:
    said = "this file of yours still holds them, and is not the store's to change"
    return [f"{said}: {each}" for each in files]


def _left_the_store(copies: Sequence[str]) -> list[str]:
    said = "left the store, and cannot be erased from here; ask who has it"
    return [part for each in copies for part in wrapped(f"{said}: {each}")]


def _not_searched_for(of: ErasurePlan | ErasureCertificate) -> list[str]:
    shared = f"not searched for, as records of others have them, too, which stay: {of.num_shared}"
    short = f"not searched for, as they are too short to be told from others: {of.num_too_short}"
    return [
        *([f"{shared} texts or values"] if of.num_shared else []),
        *([f"{short} texts, values or names"] if of.num_too_short else []),
    ]


def _verdict(made: ErasureCertificate) -> str:
    if not made.num_needles:
        return "there was nothing to search for"
    if made.unread is None:
        return "nothing was found; what could not be read was not counted then"
    if not made.unread:
        return "nothing was found, and nothing seen that could not be read"
    return f"nothing was found in what could be read, and {len(made.unread)} could not be read"


def _not_read(unread: Sequence[str]) -> list[str]:
    shown = [
        part
        for each in unread[:MAX_ROWS]
        for part in wrapped(f"could not be read, look into it yourself: {each}")
    ]
    num_more = len(unread) - MAX_ROWS
    return [*shown, f"and {num_more} more: --json for all"] if num_more > 0 else shown


def _certificate(made: ErasureCertificate) -> list[str]:
    lost = [part for each in made.not_rewritten for part in wrapped(f"not made again: {each}")]
    return [
        f"erased {_counted(made.rows, made.num_quarantined)}: {len(made.purged)} blobs and "
        f"{made.num_traces} served requests are gone, and they are kept out of what is read from "
        "now on",
        *(f"made again without them: {each}" for each in made.rewritten),
        *lost,
        f"searched {made.num_blobs} blobs and the database, {size(made.num_bytes)}, for "
        f"{made.num_needles} texts and names: {_verdict(made)}",
        *_not_read(made.unread or ()),
        *_not_searched_for(made),
        *_left_in_files(made.files),
        *_left_the_store(made.copies),
        *_remedies(made.remedies),
        *(["to carry out what the models need: tunesmith run"] if made.remedies else []),
    ]
