"""Data that leave: to files, or to a table of a database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tunesmith.cli.render import HERE, Folder, Json, out, table

if TYPE_CHECKING:
    from tunesmith.records.lineage import LoadedOut

Form = Literal["parquet", "jsonl", "csv", "huggingface", "sql"]


def data_load_out(
    ref: Annotated[str, typer.Argument(help="NAME@VERSION, e.g. visits@2; NAME is the newest.")],
    to: Annotated[
        str,
        typer.Option(
            help="Folder to make, or an empty one; for sql sqlite:PATH or "
            "postgresql://HOST:PORT/DATABASE."
        ),
    ],
    format: Annotated[Form, typer.Option("--as", help="As what.")] = "parquet",
    table: Annotated[str, typer.Option(help="Table of the database; the name if not given.")] = "",
    folder: Folder = HERE,
    as_json: Json = False,
) -> None:
    """Write a version's rows, fields in columns, where other software reads them.

    Of a table in a database the same version again changes nothing, and another one replaces it in
    one transaction; a table that was not loaded by this command is left alone. What left is in the
    evidence, and `tunesmith data forget` lists it.
    """
    from tunesmith.cli.opening import opened
    from tunesmith.lineage.load_out import load_out

    with opened(folder) as (project, _):
        made = load_out(project, ref, to, format, table)
    out(made, _lines(made), as_json)


def _lines(made: LoadedOut) -> list[str]:
    where = f"{made.where}, table {made.table}" if made.table else made.where
    licences = ", ".join(made.licences) or "not stated"
    if not made.is_new:
        return [f"{made.version} is in {where} already; nothing was written"]
    rows = [[side, count] for side, count in made.num_rows.items()]
    said = f"{made.version} as {made.format} in {where} (licence: {licences})"
    return [said, *table(rows, ["part", "rows"])]
