"""Tasks that models are asked: those of others are carried over."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tunesmith.cli.render import HERE, Folder, Json, out, wrapped


def add_to(app: typer.Typer) -> None:
    """Add this file's commands."""
    task = typer.Typer(help="Tasks that gates ask models.", no_args_is_help=True)
    task.callback()(lambda: None)  # a group also while it has one command
    task.command("import")(task_import)
    app.add_typer(task, name="task")


def task_import(
    file: Annotated[Path, typer.Argument(help="YAML file of a task of lm-evaluation-harness.")],
    to: Annotated[
        str, typer.Option(help="New folder in the project; tasks/NAME if not given.")
    ] = "",
    partly: Annotated[
        bool, typer.Option("--partly", help="Write it without what cannot be carried over.")
    ] = False,
    folder: Folder = HERE,
    as_json: Json = False,
) -> None:
    """Make a task of lm-evaluation-harness one of this project; say what is not carried over."""
    import pydantic

    from tunesmith.core.errors import DataError, UsageError
    from tunesmith.core.new_folder import new_folder
    from tunesmith.core.project_folder import check_path, require_inside
    from tunesmith.project_file import read
    from tunesmith.stages.evaluate.harness import carry_over
    from tunesmith.stages.evaluate.harness_files import as_files, as_lines, examples_beside

    read(folder)
    carried = carry_over(file)
    if carried.changes and not partly:
        raise DataError(
            "\n  ".join([f"what {file.name} asks cannot be carried over whole:", *carried.changes]),
            remedy="with --partly it is written without, and says so",
        )
    name = carried.settings["name"]
    place = to or f"tasks/{name}"
    try:
        check_path(f"{place}/{name}.toml", ".toml", "tasks/answers.toml")
        text, rows = as_files(carried, f"{place}/{name}.jsonl")
    except ValueError as error:
        found = error.errors() if isinstance(error, pydantic.ValidationError) else []
        raise UsageError(
            f"{file.name} cannot be a task called {name!r} in {place}: "
            f"{found[0]['msg'] if found else error}",
            remedy="correct the file, or say another folder with --to",
        ) from error
    require_inside(folder, folder / place)
    with new_folder(folder / place, "--to") as made:
        (made / f"{name}.toml").write_text(text, encoding="utf-8")
        (made / f"{name}.jsonl").write_text(rows, encoding="utf-8")
        if carried.examples:
            beside = examples_beside(f"{name}.jsonl")
            (made / beside).write_text(as_lines(carried.examples), encoding="utf-8")
    path = f"{place}/{name}.toml"
    left = [*carried.changes, *carried.notes]
    lines = [
        f"{path}: {len(carried.rows)} rows, {carried.settings['ask']}, "
        f"{', '.join(carried.settings['metrics'])}",
        *(part for each in left for part in wrapped(f"not carried over: {each}")),
        f'ask it in a gate: tasks = ["{path}"]',
    ]
    made_of = {"task": path, "num_rows": len(carried.rows), "not_carried_over": left}
    out(made_of, lines, as_json)
