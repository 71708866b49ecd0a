"""Documents of a model version for others: written, and how complete and how recent each is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tunesmith.cli.promotion import Version
from tunesmith.cli.render import HERE, Folder, Json, percent, table, wrapped
from tunesmith.cli.render import out as print_result
from tunesmith.core.ref import to_plain
from tunesmith.records.document import KINDS

if TYPE_CHECKING:
    from tunesmith.records.document import Document, Lack, Standing

Kind = Annotated[str, typer.Argument(help=f"Which document: {', '.join(KINDS)}.")]
NUM_LACKS = 5
"""Things that are missing, as printed of one document where several are listed."""


def add_to(model: typer.Typer) -> None:
    """Add this file's commands to `tunesmith model`."""
    model.command("document")(model_document)
    model.command("documents")(model_documents)


def model_document(
    kind: Kind,
    version: Version,
    folder: Folder = HERE,
    out: Annotated[
        Path | None,
        typer.Option(help="File to write, .md or .json; without it the document is printed."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Compile a document of a model version from what is on record and what its people state."""
    from tunesmith.cli.opening import opened
    from tunesmith.documents.compile import document, kind_of, write
    from tunesmith.registry.standing import numbered

    sought = kind_of(kind)
    with opened(folder) as (project, _):
        version = numbered(project, version)
        if out is None:
            made = document(project, version, sought)
        else:
            made = write(project, version, sought, out)
    lines = [made.text.rstrip("\n")] if out is None else _written(made, out)
    print_result({**to_plain(made), "file": str(out or "")}, lines, as_json)


def model_documents(version: Version, folder: Folder = HERE, as_json: Json = False) -> None:
    """List the documents of a model version: how complete each is, what is missing, what is old."""
    from tunesmith.cli.opening import opened
    from tunesmith.documents.compile import standings
    from tunesmith.registry.standing import numbered

    with opened(folder) as (project, _):
        found = standings(project, numbered(project, version))
    rows = [
        [each.kind, percent(each.score), each.file or "-", each.written_at or "-", _state(each)]
        for each in found
    ]
    lines = table(rows, ["document", "complete", "file", "written", "state"])
    for each in found:
        if each.changed:
            lines += ["", f"changed since {each.kind} was written: {', '.join(each.changed)}"]
    for each in found:
        if each.lacks:
            lines += ["", f"missing in {each.kind}:", *_lacks(each.lacks, NUM_LACKS)]
    print_result(found, lines, as_json)


def _state(standing: Standing) -> str:
    if not standing.written_at:
        return "not written"
    return "stale" if standing.changed else "up to date"


def _written(made: Document, out: Path) -> list[str]:
    found = made.completeness
    have = found.num_required - len(found.lacks)
    lines = [
        f"{out}: {made.kind} of {made.version}, {percent(found.score)} complete "
        f"({have} of {found.num_required} required fields)",
        f"compiled from facts sha256 {made.base}",
    ]
    if found.lacks:
        lines += ["", "missing:", *_lacks(found.lacks, len(found.lacks))]
    return lines


def _lacks(lacks: tuple[Lack, ...], limit: int) -> list[str]:
    lines = [
        line
        for lack in lacks[:limit]
        for line in wrapped(f"{lack.what}: {lack.remedy}", indent="  ")
    ]
    more = len(lacks) - limit
    return lines + ([f"  and {more} more: --json for all"] if more > 0 else [])
