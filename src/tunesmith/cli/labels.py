"""What people say of versions, and whether a version can be made again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tunesmith.cli.promotion import As, Version, said
from tunesmith.cli.render import HERE, Folder, Json, out, wrapped


def add_to(model: typer.Typer) -> None:
    """Add this file's commands to `tunesmith model`."""
    model.command("tag")(model_tag)
    model.command("note")(model_note)
    model.command("reproduce")(model_reproduce)


def model_tag(
    version: Version,
    tags: Annotated[list[str], typer.Argument(help="KEY=VALUE; KEY= takes the tag away.")],
    folder: Folder = HERE,
    actor: As = "",
    as_json: Json = False,
) -> None:
    """Give a version tags; each is evidence."""
    from tunesmith.cli.opening import opened
    from tunesmith.registry.labels import tag
    from tunesmith.registry.roles import acting
    from tunesmith.registry.standing import numbered

    with opened(folder) as (project, _):
        version = numbered(project, version)
        made = tag(project, version, tags, acting(project, actor))
    lines = [f"{version}: {each.why} by {each.actor} (evidence {each.seq})" for each in made]
    out(made, lines, as_json)


def model_note(
    version: Version,
    text: Annotated[str, typer.Argument(help="What is to be remembered of it.")],
    folder: Folder = HERE,
    actor: As = "",
    as_json: Json = False,
) -> None:
    """Say something of a version; it is evidence."""
    from tunesmith.cli.opening import opened
    from tunesmith.registry.labels import note
    from tunesmith.registry.roles import acting
    from tunesmith.registry.standing import numbered

    with opened(folder) as (project, _):
        version = numbered(project, version)
        change = note(project, version, text, acting(project, actor))
    said(change, [], as_json)


def model_reproduce(
    version: Version,
    steps: Annotated[int, typer.Option(min=1, help="Take so many of its first steps again.")] = 8,
    python: Annotated[
        Path | None,
        typer.Option(
            help="Another Python that takes them, or the folder of its virtual environment; it has "
            "to have this version of Tunesmith."
        ),
    ] = None,
    folder: Folder = HERE,
    actor: As = "",
    as_json: Json = False,
) -> None:
    """Make the beginning of a version's tuning run again, somewhere clean, and compare the two."""
    from tunesmith.cli.opening import opened
    from tunesmith.registry.reproduce import reproduce
    from tunesmith.registry.roles import acting
    from tunesmith.registry.standing import numbered

    with opened(folder) as (project, _):
        version = numbered(project, version)
        made = reproduce(project, version, steps, acting(project, actor), python)
    lines = [f"{version}: {made.verdict}", *wrapped(made.said)]
    lines += wrapped(f"by {made.python}: {', '.join(f'{k} {v}' for k, v in made.now.items())}")
    lines += [f"changed since: {each}" for each in made.changed]
    out(made, lines, as_json)
