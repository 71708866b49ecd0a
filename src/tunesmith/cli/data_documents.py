"""What is said of a frozen dataset to others: its card, Croissant, the training-content sheet."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from tunesmith.cli.render import HERE, Folder, Json, out

Version = Annotated[
    str, typer.Argument(help="NAME@VERSION of a dataset, e.g. letters@2; NAME is the newest.")
]


def data_card(
    name: Version,
    folder: Folder = HERE,
    as_json: Json = False,
) -> None:
    """Print a dataset's card (Markdown)."""
    from tunesmith import graph
    from tunesmith.cli.opening import opened
    from tunesmith.cli.service import only
    from tunesmith.lineage.versions import dataset_version

    with opened(folder) as (project, _):
        if "@" in name:
            record: Any = dataset_version(project, name).record
        else:
            only(project.file.dataset, name, "dataset")
            record = project.runner.current(graph.build(project.file).datasets[name])
        card = project.runner.blobs.get(record.card).decode()
    out({"dataset": record, "card": card}, [card], as_json)


def data_croissant(name: Version, folder: Folder = HERE, as_json: Json = False) -> None:
    """Print a dataset's description in Croissant (JSON-LD), for the files that checkout writes."""
    from tunesmith.cli.opening import opened
    from tunesmith.lineage.versions import described

    with opened(folder) as (project, _):
        found = described(project, name)
    out(found, [json.dumps(found, ensure_ascii=False, indent=2)], as_json)


def data_sheet(name: Version, folder: Folder = HERE, as_json: Json = False) -> None:
    """Print a draft of the EU's public summary of training content (Markdown), for counsel."""
    from tunesmith.cli.opening import opened
    from tunesmith.documents.training_content import training_content, write_sheet
    from tunesmith.lineage.versions import dataset_facts

    with opened(folder) as (project, _):
        sheet = training_content(dataset_facts(project, name))
    out(sheet, [write_sheet(sheet)], as_json)
