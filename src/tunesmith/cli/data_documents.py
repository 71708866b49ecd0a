"""What is said of a frozen dataset to others: its card, Croissant, the training-content sheet."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from tunesmith.cli.render import HERE, Folder, Json, out, say, wrapped

if TYPE_CHECKING:
    from tunesmith.documents.frozen import Sealed
    from tunesmith.lineage.versions import Held, Said
    from tunesmith.project import Project

Version = Annotated[
    str, typer.Argument(help="NAME@VERSION of a dataset, e.g. letters@2; NAME is the newest.")
]
Then = Annotated[
    bool,
    typer.Option("--sealed", help="As it was sealed when the dataset was frozen, not as of now."),
]


def data_card(
    name: Version,
    folder: Folder = HERE,
    as_json: Json = False,
) -> None:
    """Print a dataset's card (Markdown), with the Merkle root of its files."""
    from tunesmith.cli.opening import opened
    from tunesmith.documents.frozen import CARD
    from tunesmith.lineage.versions import said_then

    with opened(folder) as (project, _):
        held = dataset_of(project, name)
        card = said_then(project, held, CARD).text
    out({"dataset": held.record, "card": card}, [card], as_json)


def data_croissant(
    name: Version, then: Then = False, folder: Folder = HERE, as_json: Json = False
) -> None:
    """Print a dataset's description in Croissant (JSON-LD), for the files that checkout writes."""
    from tunesmith.cli.opening import opened
    from tunesmith.documents.croissant import FILE

    with opened(folder) as (project, _):
        said = _said(project, name, FILE, then)
    out(json.loads(said.text), [said.text.rstrip()], as_json)


def data_sheet(
    name: Version, then: Then = False, folder: Folder = HERE, as_json: Json = False
) -> None:
    """Print a draft of the EU's public summary of training content (Markdown), for counsel."""
    from tunesmith.cli.opening import opened
    from tunesmith.documents.frozen import SHEET
    from tunesmith.documents.training_content import training_content
    from tunesmith.lineage.versions import dataset_facts

    with opened(folder) as (project, _):
        said = _said(project, name, SHEET, then)
        sheet = training_content(dataset_facts(project, name))
    out(said if then else sheet, [said.text.rstrip()], as_json)


def _said(project: Project, name: str, document: str, then: bool) -> Said:
    """A document as of now, or as it was sealed `then`; it is told if the one is not the other."""
    from tunesmith.core.errors import NotFound
    from tunesmith.lineage.versions import dataset_version, said_now, said_then

    if not then:
        said = said_now(project, name, document)
        if said.differs and said.sealed is not None:
            note = (
                f"what is on record has changed since {document} was sealed ({said.sealed.at}, "
                f"sha256 {said.sealed.documents[document].sha256[:12]}): this is as of now; "
                "--sealed prints that one"
            )
            for part in wrapped(f"! {note}"):
                say(part)
        return said
    said = said_then(project, dataset_version(project, name), document)
    if said.sealed is None:
        raise NotFound(
            f"nothing was sealed of {name}, or it is gone for the sake of somebody forgotten",
            remedy="`tunesmith run` seals the version that the project file asks for; without "
            "--sealed it is said as of now",
        )
    return said


def dataset_of(project: Project, name: str) -> Held:
    """The version of a dataset that NAME@VERSION names, or that NAME is as it is set now.

    Raises:
        UsageError, NotFound: there is none.
    """
    from tunesmith import graph
    from tunesmith.cli.service import only
    from tunesmith.lineage.versions import all_held, dataset_version

    if "@" in name:
        return dataset_version(project, name)
    name = only(project.file.dataset, name, "dataset")
    step = graph.build(project.file).datasets[name]
    digest = project.runner.planner.current(step).sha256
    return next(held for held in all_held(project) if held.version.digest == digest)


def sealed_line(sealed: Sealed | None) -> str:
    """What is sealed of a dataset."""
    if sealed is None:
        return "sealed: nothing; `tunesmith run` seals the version that the project file asks for"
    kept = ", ".join(f"{name} {blob.sha256[:12]}" for name, blob in sealed.documents.items())
    return f"sealed: {kept} ({sealed.at})"
