"""Names that people give to versions of data."""

from __future__ import annotations

from typing import Annotated

import typer

from tunesmith.cli.promotion import As
from tunesmith.cli.render import HERE, Folder, Json, out

Why = Annotated[str, typer.Option(help="Why; it goes into the evidence.")]


def add_to(data: typer.Typer) -> None:
    """Add this file's commands to those of data."""
    data.command("tag")(data_tag)
    data.command("untag")(data_untag)


def data_tag(
    ref: Annotated[
        str, typer.Argument(help="The version: NAME@VERSION, e.g. visits@2; NAME is the newest.")
    ],
    tag: Annotated[str, typer.Argument(help="Its new name, e.g. as-filed: visits@as-filed.")],
    folder: Folder = HERE,
    why: Why = "",
    move: Annotated[bool, typer.Option("--move", help="Take it from another version.")] = False,
    actor: As = "",
    as_json: Json = False,
) -> None:
    """Name a version of data; it is evidence, and the version is kept as long as it has the tag."""
    from tunesmith.cli.opening import opened
    from tunesmith.lineage import tags
    from tunesmith.registry.roles import acting

    with opened(folder) as (project, _):
        made = tags.tag(project, ref, tag, acting(project, actor), why=why, move=move)
    out(
        made, [f"{made.name}@{made.tag} is {made.name}@{made.number} ({made.digest[:12]})"], as_json
    )


def data_untag(
    ref: Annotated[str, typer.Argument(help="NAME@TAG, e.g. visits@as-filed.")],
    folder: Folder = HERE,
    why: Why = "",
    actor: As = "",
    as_json: Json = False,
) -> None:
    """Take a tag away; the evidence goes on saying that it was there."""
    from tunesmith.cli.opening import opened
    from tunesmith.lineage import tags
    from tunesmith.registry.roles import acting

    with opened(folder) as (project, _):
        taken = tags.untag(project, ref, acting(project, actor), why=why)
    out(taken, [f"{taken.name}@{taken.number} is {taken.name}@{taken.tag} no more"], as_json)
