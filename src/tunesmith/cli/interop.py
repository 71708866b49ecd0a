"""Other systems: what ran here, for them; what ran there, here."""

from __future__ import annotations

from typing import Annotated

import typer

from tunesmith.cli.render import HERE, Folder, Json, ProgressLine, out


def add_to(app: typer.Typer) -> None:
    """Add this file's commands."""
    exports = typer.Typer(no_args_is_help=True, help="Bring what ran here to other systems.")
    exports.command("mlflow")(export_to_mlflow)
    app.add_typer(exports, name="export")


def export_to_mlflow(
    to: Annotated[
        str, typer.Option(help="sqlite:///PATH of MLflow's database, or https://HOST of a server.")
    ],
    folder: Folder = HERE,
    with_base: Annotated[
        bool,
        typer.Option(
            "--with-base", help="Copy the base model, too, so that MLflow can load and ask a model."
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Bring runs, model versions and aliases to MLflow, each once: repeated, it adds what is new.

    No rows leave, but what a model learnt from them does: see `tunesmith data forget`.
    """
    from tunesmith.cli.opening import opened
    from tunesmith.interop.mlflow_out import export_mlflow

    line = ProgressLine()
    with opened(folder) as (project, _):
        made = export_mlflow(
            project,
            to,
            with_base=with_base,
            progress=lambda done, total, note: line.show("export", note, done, total),
        )
    line.clear()
    lines = [
        f"experiment {made.experiment} at {made.to}: {made.num_new} runs brought, "
        f"{made.num_known} were there",
        *(f"model version {each} is registered" for each in made.new_versions),
        *(f"{alias} points at {version}" for alias, version in made.aliases.items()),
    ]
    out(made, lines, as_json)
