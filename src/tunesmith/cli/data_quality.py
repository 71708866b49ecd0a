"""What is in a dataset, and what is doubtful about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from tunesmith.cli.data_catalogue import asset_page
from tunesmith.cli.render import HERE, Folder, Json, left_out, out, shortened, table
from tunesmith.core.errors import UsageError

if TYPE_CHECKING:
    from tunesmith.project import Project


def data_show(
    name: Annotated[
        str,
        typer.Argument(help="Dataset (or NAME@VERSION of one), source or transform."),
    ] = "",
    folder: Folder = HERE,
    as_json: Json = False,
) -> None:
    """Say how large a dataset truly is, what was kept out, and what personal data is in it; of a
    data asset all that the catalogue knows: licence, freshness, cost, quality, what uses it."""
    from tunesmith import graph
    from tunesmith.cli.closing import by_kind, contradicting, sizes, true_size
    from tunesmith.cli.opening import opened
    from tunesmith.cli.service import only
    from tunesmith.lineage.versions import dataset_version
    from tunesmith.records.data import SemanticSize

    with opened(folder) as (project, _):
        if asset := _asset(project, name.partition("@")[0]):
            if "@" in name:
                raise UsageError(
                    f"of a data asset the catalogue knows how it is now, and not {name}",
                    remedy=f"tunesmith data show {asset}, or, of that version, `data log {name}`, "
                    f"`data dropped {name}`",
                )
            asset_page(project, asset, as_json)
            return
        name = name.removeprefix("dataset:")
        if "@" in name:
            record: Any = dataset_version(project, name).record
        else:
            name = only(project.file.dataset, name, "dataset")
            record = project.runner.current(graph.build(project.file).datasets[name])
    found = f"{by_kind(record.pii) or 'none found'} ({record.pii_treatment})"
    if record.pii_treatment == "off":
        found = "not looked for"
    size = record.size
    lines = [
        sizes(record),
        *([true_size(size)] if size else []),
        *([contradicting(name, size)] if isinstance(size, SemanticSize) else []),
        f"rows: {record.num_in} in, {record.train.num_rows + record.test.num_rows} kept, "
        f"{record.num_dropped} dropped",
        *(f"  dropped: {count} {reason}" for reason, count in record.dropped_by_reason.items()),
        f"personal data: {found}",
        *([f"synthetic: {record.num_synthetic} rows of them"] if record.num_synthetic else []),
        f"licences: {', '.join(record.licences)}",
        f"more: tunesmith data card {name}, tunesmith data dropped {name}",
    ]
    out(record, lines, as_json)


def _asset(project: Project, name: str) -> str:
    """The source or transform that is meant; empty if it is a dataset."""
    kind, _, plain = name.rpartition(":")
    its = "transform" if plain in project.file.transform else "source"
    is_asset = plain in project.file.assets
    if is_asset and plain in project.file.dataset and not kind:
        raise UsageError(
            f"a {its} and a dataset are called {plain!r}",
            remedy=f"write {its}:{plain} or dataset:{plain}",
        )
    return plain if kind == its or (not kind and is_asset) else ""


def data_doubts(
    name: Annotated[str, typer.Argument(help="Name of a dataset of labels.")] = "",
    folder: Folder = HERE,
    limit: Annotated[int, typer.Option(help="Print at most this many rows.")] = 20,
    as_json: Json = False,
) -> None:
    """List the rows whose labels are doubtful, the worst first; nothing is dropped."""
    from tunesmith import pipeline
    from tunesmith.cli.opening import opened
    from tunesmith.cli.service import only

    with opened(folder) as (project, _):
        rows = pipeline.doubtful(project, only(project.file.dataset, name, "dataset"))
    headings = ["row", "side", "label", "probability", "suggested", "probability", "text"]
    shown = [
        [
            row.pointer,
            row.side,
            row.label,
            f"{row.probability:.3f}",
            row.suggested,
            f"{row.probability_of_suggested:.3f}",
            shortened(row.text),
        ]
        for row in rows[:limit]
    ]
    lines = table(shown, headings) if rows else ["no label is doubtful"]
    out(rows, [*lines, *left_out(len(rows), limit)], as_json)


def data_contradictions(
    name: Annotated[str, typer.Argument(help="Name of a dataset of labels.")] = "",
    folder: Folder = HERE,
    limit: Annotated[int, typer.Option(help="Print at most this many rows.")] = 20,
    as_json: Json = False,
) -> None:
    """List the rows that mean the same as a row with another label, the most similar first."""
    import pyarrow.parquet as pq

    from tunesmith import graph
    from tunesmith.cli.opening import opened
    from tunesmith.cli.service import only
    from tunesmith.records.data import SemanticSize

    with opened(folder) as (project, _):
        name = only(project.file.dataset, name, "dataset")
        size = project.runner.current(graph.build(project.file).datasets[name]).size
        if not isinstance(size, SemanticSize):
            raise UsageError(
                f"nobody has looked at what the rows of dataset {name!r} mean",
                remedy=f"name an encoder: `semantic` of dataset.{name}; then `tunesmith run`",
            )
        rows = pq.read_table(project.runner.blobs.path(size.contradictions)).to_pylist()
    headings = ["row", "label", "other row", "label", "cosine"]
    keys = ["pointer", "label", "other_pointer", "other_label"]
    shown = [[*(row[key] for key in keys), f"{row['cosine']:.3f}"] for row in rows[:limit]]
    lines = table(shown, headings) if rows else ["no two rows contradict each other"]
    out(rows, [*lines, *left_out(len(rows), limit)], as_json)
