"""What is in a dataset, and what is doubtful about it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from tunesmith.cli.data_catalogue import asset_page
from tunesmith.cli.render import HERE, Folder, Json, left_out, out, shortened, table, wrapped
from tunesmith.core.errors import UsageError
from tunesmith.core.ref import to_plain

if TYPE_CHECKING:
    from tunesmith.lineage.quality import Cell
    from tunesmith.project import Project

_NUM_CELLS = 5


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
    from tunesmith.cli.closing import by_kind, contradicting, sizes, true_size
    from tunesmith.cli.data_documents import dataset_of, sealed_line
    from tunesmith.cli.opening import opened
    from tunesmith.documents.frozen import root_of, sealed_of
    from tunesmith.lineage.quality import coverage
    from tunesmith.records.data import Dataset, SemanticSize

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
        held = dataset_of(project, name.removeprefix("dataset:"))
        record = held.record
        assert isinstance(record, Dataset)
        sealed = sealed_of(project, held.version.digest)
        cells = coverage(project, held)
    name = held.ref if "@" in name else held.version.name
    pii = f"{by_kind(record.pii) or 'none found'} ({record.pii_treatment})"
    if record.pii_treatment == "off":
        pii = "not looked for"
    size = record.size
    lines = [
        sizes(record),
        *([true_size(size)] if size else []),
        *([contradicting(name, size)] if isinstance(size, SemanticSize) else []),
        f"rows: {record.num_in} in, {record.train.num_rows + record.test.num_rows} kept, "
        f"{record.num_dropped} dropped",
        *(f"  dropped: {count} {reason}" for reason, count in record.dropped_by_reason.items()),
        f"personal data: {pii}",
        *([f"synthetic: {record.num_synthetic} rows of them"] if record.num_synthetic else []),
        f"licences: {', '.join(record.licences)}",
        f"Merkle root of its files: {root_of(record)}",
        sealed_line(sealed),
        *covered(cells),
        f"more: tunesmith data card {name}, tunesmith data dropped {name}, "
        f"tunesmith data quality {name}",
    ]
    found = {**to_plain(record), "root": root_of(record), "sealed": to_plain(sealed)}
    found["coverage"] = to_plain(cells)
    out(found, lines, as_json)


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


def covered(cells: Sequence[Cell]) -> list[str]:
    """How many cells of a dataset have few rows, and which."""
    from tunesmith.lineage.quality import FEW

    if not cells:
        return []
    what = "label and source" if any(cell.label for cell in cells) else "source"
    thin = [cell for cell in cells if cell.is_thin]
    named = ", ".join(
        f"{' of '.join(filter(None, (cell.label, cell.asset)))} ({cell.num_train} + "
        f"{cell.num_test})"
        for cell in thin[:_NUM_CELLS]
    )
    more = f" and {len(thin) - _NUM_CELLS} more" if len(thin) > _NUM_CELLS else ""
    few = f"; {len(thin)} have fewer, or none (train + test): {named}{more}" if thin else ""
    return wrapped(
        f"coverage: {len(cells) - len(thin)} of {len(cells)} cells by {what} have {FEW} rows to "
        f"train and one to test{few}"
    )


def data_quality(
    name: Annotated[str, typer.Argument(help="Dataset, or NAME@VERSION of one.")] = "",
    folder: Folder = HERE,
    limit: Annotated[int, typer.Option(help="Print at most this many rows.")] = 20,
    as_json: Json = False,
) -> None:
    """Score each row of a dataset from 0 to 1, with the reason, the worst first; nothing is
    dropped."""
    from tunesmith.cli.data_documents import dataset_of
    from tunesmith.cli.opening import opened
    from tunesmith.lineage.quality import LOW, quality

    with opened(folder) as (project, _):
        found = quality(project, dataset_of(project, name))
    low = ", ".join(f"{count} for {part}" for part, count in found.low_by_part.items())
    headings = ["row", "side", "label", "score", "why", "text"]
    shown = [
        [row.pointer, row.side, row.label, f"{row.score:.2f}", row.why, shortened(row.text)]
        for row in found.rows[:limit]
    ]
    lines = [
        f"{found.dataset}: {len(found.rows)} rows, median score {found.median:.2f}; "
        f"{found.num_low} below {LOW}" + (f" ({low})" if low else ""),
        *covered(found.cells),
        "",
        *table(shown, headings),
        *left_out(len(found.rows), limit),
    ]
    out(found, lines, as_json)


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
