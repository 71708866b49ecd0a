"""Data assets and datasets: what is there, what was kept out, and why."""

from __future__ import annotations

from typing import Annotated

import typer

from tunesmith.cli import (
    contract,
    data_catalogue,
    data_documents,
    data_load_out,
    data_quality,
    data_value,
    lineage,
    repairs,
)
from tunesmith.cli.render import HERE, Folder, Json, left_out, out, table


def add_to(app: typer.Typer) -> None:
    """Add this file's commands."""
    data = typer.Typer(help="Data assets and datasets.", no_args_is_help=True)
    data.command("list")(data_catalogue.data_list)
    data.command("show")(data_quality.data_show)
    data.command("quality")(data_quality.data_quality)
    data.command("doubts")(data_quality.data_doubts)
    data.command("value")(data_value.data_value)
    data.command("contradictions")(data_quality.data_contradictions)
    data.command("dropped")(data_dropped)
    data.command("card")(data_documents.data_card)
    data.command("croissant")(data_documents.data_croissant)
    data.command("sheet")(data_documents.data_sheet)
    contract.add_to(data)
    repairs.add_to(data)
    data.command("load-out")(data_load_out.data_load_out)
    lineage.add_to(data)
    app.add_typer(data, name="data")


def data_dropped(
    name: Annotated[
        str, typer.Argument(help="Name of a data asset or a dataset, or NAME@VERSION of one.")
    ],
    folder: Folder = HERE,
    limit: Annotated[int, typer.Option(help="Print at most this many rows.")] = 20,
    as_json: Json = False,
) -> None:
    """List the rows that were kept out, each with its reason."""
    import pyarrow.parquet as pq

    from tunesmith import graph
    from tunesmith.cli.opening import opened
    from tunesmith.core.errors import NotFound
    from tunesmith.lineage.versions import find, path_of
    from tunesmith.records.data import DataAsset

    with opened(folder) as (project, _):
        steps = graph.build(project.file)
        known = {**steps.assets, **steps.datasets}
        if "@" in name:
            held = find(project, name)
            table_of = "quarantine" if isinstance(held.record, DataAsset) else "dropped"
            path = path_of(project, held, table_of)
        elif name in known:
            record = project.runner.current(known[name])
            blob = record.quarantine if isinstance(record, DataAsset) else record.dropped
            path = project.runner.blobs.path(blob)
        else:
            raise NotFound(
                f"there is no source or dataset {name!r}", remedy=f"there is: {', '.join(known)}"
            )
        rows = pq.read_table(path).to_pylist()
    headings = [key for key in rows[0] if key != "value"] if rows else ["reason"]
    lines = table([[row[key] for key in headings] for row in rows[:limit]], headings)
    out(rows, [*lines, *left_out(len(rows), limit)], as_json)
