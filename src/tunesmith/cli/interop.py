"""Other systems: what ran here, for them; what ran there, here."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tunesmith.cli.render import HERE, Folder, Json, ProgressLine, out, table

SHOWN = ("id", "name", "status", "user", "started_ms", "ended_ms", "at", "params", "tags")
"""Of a tracked run, as JSON."""


def add_to(app: typer.Typer) -> None:
    """Add this file's commands."""
    exports = typer.Typer(no_args_is_help=True, help="Bring what ran here to other systems.")
    exports.command("mlflow")(export_to_mlflow)
    exports.command("openlineage")(export_to_openlineage)
    exports.command("modelkit")(export_modelkit)
    app.add_typer(exports, name="export")
    imports = typer.Typer(no_args_is_help=True, help="Take over what ran in other systems.")
    imports.command("mlflow")(import_from_mlflow)
    app.add_typer(imports, name="import")
    app.command("tracked")(tracked)


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


def export_to_openlineage(
    to: Annotated[str, typer.Option(help="File to append to, or https://HOST/PATH of a server.")],
    folder: Folder = HERE,
    again: Annotated[
        bool, typer.Option("--again", help="From the first run on, whatever was told before.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Tell a file or a server of each run that ended since the last time, as OpenLineage events.

    An event may be told twice after a crash, and is never left out.
    """
    from tunesmith.cli.opening import opened
    from tunesmith.interop.openlineage import export_openlineage

    with opened(folder) as (project, _):
        told = export_openlineage(project, to, again=again)
    lines = [
        f"{told.num_events} events to {told.to}"
        + (f", of evidence {told.first} to {told.last}" if told.num_events else ": nothing new")
    ]
    out(told, lines, as_json)


def export_modelkit(
    version: Annotated[str, typer.Argument(help="MODEL@NUMBER or MODEL@ALIAS, e.g. desk@2.")],
    to: Annotated[Path, typer.Option("--out", help="Folder to write to; a new or an empty one.")],
    folder: Folder = HERE,
    as_json: Json = False,
) -> None:
    """Write a model version's files and the Kitfile that `kit pack` makes a ModelKit of.

    The base model's weights are among them; of the dataset the record is, and no rows.
    """
    from tunesmith.cli.opening import opened
    from tunesmith.interop.kitfile import write_kit
    from tunesmith.registry.standing import numbered

    with opened(folder) as (project, _):
        kit = write_kit(project, numbered(project, version), to)
    out(kit, [f"{kit.version} in {kit.folder}:", *(f"  {name}" for name in kit.files)], as_json)


def import_from_mlflow(
    uri: Annotated[
        str, typer.Argument(help="sqlite:///PATH of MLflow's database, or https://HOST.")
    ],
    folder: Folder = HERE,
    as_json: Json = False,
) -> None:
    """Take the runs and model versions of MLflow over, as tracked runs, each once.

    Of artefacts the digests are taken, and not the bytes.
    """
    from tunesmith.cli.opening import opened
    from tunesmith.interop.mlflow_in import import_mlflow

    line = ProgressLine()
    with opened(folder) as (project, _):
        made = import_mlflow(
            project, uri, progress=lambda done, total, note: line.show("import", note, done, total)
        )
    line.clear()
    lines = [
        f"{made.num_new} runs of {made.num_experiments} experiments, {made.num_known} were here; "
        f"digests of {made.num_artifacts} artefacts",
        *(
            f"the artefacts of {number} runs were not read: they are said to lie at {place}"
            for place, number in made.left_out.items()
        ),
        *(f"model version {each}" for each in made.new_versions),
        "see them with `tunesmith tracked`",
    ]
    out(made, lines, as_json)


def tracked(
    folder: Folder = HERE,
    experiment: Annotated[str, typer.Option(help="Of this one alone.")] = "",
    limit: Annotated[int, typer.Option(help="The newest this many.", min=1)] = 30,
    as_json: Json = False,
) -> None:
    """List the runs of other programs: those that logged here, and those that were imported."""
    from tunesmith.cli.opening import opened
    from tunesmith.core.errors import NotFound
    from tunesmith.core.tracked import find, runs

    with opened(folder) as (project, _), project.runner.database.read() as connection:
        known = {each.id: each.name for each in runs.experiments(connection)}
        wanted = [id for id, name in known.items() if experiment in ("", name)]
        if experiment and not wanted:
            raise NotFound(
                f"there is no experiment {experiment!r}",
                remedy=f"there is: {', '.join(known.values()) or 'none'}",
            )
        found = find.find_runs(connection, wanted, limit=limit)
    rows = [
        [
            run.id[:8],
            known[run.experiment],
            run.name,
            run.status,
            ", ".join(f"{each.key} {each.value:.4g}" for each in run.latest[:4]),
        ]
        for run in found
    ]
    shown = [
        {
            **{name: getattr(run, name) for name in SHOWN},
            "experiment": known[run.experiment],
            "metrics": {each.key: each.said for each in run.latest},
        }
        for run in found
    ]
    out(shown, table(rows, ["run", "experiment", "name", "status", "metrics"]), as_json)
