"""Tasks that models are asked: those of others are carried over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tunesmith.cli.render import HERE, Folder, Json, out, wrapped

if TYPE_CHECKING:
    from tunesmith.stages.evaluate.harness import Carried

MOST = 20
"""Changes of a group's tasks that are listed."""


def add_to(app: typer.Typer) -> None:
    """Add this file's commands."""
    task = typer.Typer(help="Tasks that gates ask models.", no_args_is_help=True)
    task.callback()(lambda: None)  # a group also while it has one command
    task.command("import")(task_import)
    app.add_typer(task, name="task")


def task_import(
    file: Annotated[
        Path, typer.Argument(help="YAML file of a task, or a group, of lm-evaluation-harness.")
    ],
    to: Annotated[
        str, typer.Option(help="New folder in the project; tasks/NAME if not given.")
    ] = "",
    rows: Annotated[
        list[str] | None,
        typer.Option(
            help="Its rows: SPLIT=FILE (Parquet, Arrow, JSON Lines, CSV), SPLIT=FOLDER, or a "
            "FOLDER of splits, as the hub has it or save_to_disk writes it. May be repeated."
        ),
    ] = None,
    processed: Annotated[
        bool,
        typer.Option(
            "--processed",
            help="The rows are as the task's process_docs (custom_dataset) makes them.",
        ),
    ] = False,
    num_fewshot: Annotated[
        int | None,
        typer.Option("--num-fewshot", min=0, help="Examples before each question, if not its own."),
    ] = None,
    partly: Annotated[
        bool, typer.Option("--partly", help="Write it without what cannot be carried over.")
    ] = False,
    folder: Folder = HERE,
    as_json: Json = False,
) -> None:
    """Make a task of lm-evaluation-harness one of this project; say what is not carried over."""
    from tunesmith.project_file import read
    from tunesmith.stages.evaluate.harness import carry_over
    from tunesmith.stages.evaluate.harness_rows import given_rows
    from tunesmith.stages.evaluate.harness_yaml import members, whole

    read(folder)
    given = given_rows(rows or [], is_processed=processed)
    said = whole(file)
    is_group = isinstance(said.get("task"), list)
    asked = members(file, said) if is_group else [(file, {})]
    more = {} if num_fewshot is None else {"num_fewshot": num_fewshot}
    carried = [(path, carry_over(path, given, over | more)) for path, over in asked]
    if not partly:
        _require_whole(file, carried, is_group)
    name = str(said.get("group", file.stem)) if is_group else carried[0][1].settings["name"]
    place = to or f"tasks/{name}"
    texts = [text for path, each in carried for text in _files(path, each, place)]
    _write(folder, place, texts)
    found = [_of(each, place) for _, each in carried]
    named = ", ".join(f'"{each["task"]}"' for each in found)
    lines = [
        line for (_, each), of in zip(carried, found, strict=True) for line in _lines(each, of)
    ]
    lines.append(f"ask {'them' if is_group else 'it'} in a gate: tasks = [{named}]")
    out({"group": name, "tasks": found} if is_group else found[0], lines, as_json)


def _require_whole(file: Path, carried: Sequence[tuple[Path, Carried]], is_group: bool) -> None:
    """Raises DataError where something that a task asks is not carried over."""
    from tunesmith.core.errors import DataError

    left = [
        f"{path.name}: {change}" if is_group else change
        for path, each in carried
        for change in each.changes
    ]
    if left:
        more = [f"and {len(left) - MOST} more"] if len(left) > MOST else []
        raise DataError(
            "\n  ".join(
                [f"what {file.name} asks cannot be carried over whole:", *left[:MOST], *more]
            ),
            remedy="with --partly it is written without, and says so",
        )


def _files(path: Path, carried: Carried, place: str) -> list[tuple[str, str]]:
    """The files of one task, by name.

    Raises:
        UsageError: it cannot be a task of that name in that place.
    """
    import pydantic

    from tunesmith.core.errors import UsageError
    from tunesmith.core.project_folder import check_path
    from tunesmith.stages.evaluate.harness_files import as_files, as_lines, examples_beside

    name = carried.settings["name"]
    try:
        check_path(f"{place}/{name}.toml", ".toml", "tasks/answers.toml")
        text, rows = as_files(carried, f"{place}/{name}.jsonl")
    except ValueError as error:
        found = error.errors() if isinstance(error, pydantic.ValidationError) else []
        raise UsageError(
            f"{path.name} cannot be a task called {name!r} in {place}: "
            f"{found[0]['msg'] if found else error}",
            remedy="correct the file, or say another folder with --to",
        ) from error
    files = [(f"{name}.toml", text), (f"{name}.jsonl", rows)]
    if carried.examples:
        files.append((examples_beside(f"{name}.jsonl"), as_lines(carried.examples)))
    return files


def _write(folder: Path, place: str, texts: Sequence[tuple[str, str]]) -> None:
    """Write files, by name, into a new folder of the project."""
    from tunesmith.core.new_folder import new_folder
    from tunesmith.core.project_folder import require_inside

    require_inside(folder, folder / place)
    with new_folder(folder / place, "--to") as made:
        for file_name, text in texts:
            (made / file_name).write_text(text, encoding="utf-8")


def _of(carried: Carried, place: str) -> dict[str, Any]:
    """What was made of one task."""
    made = {
        "task": f"{place}/{carried.settings['name']}.toml",
        "num_rows": len(carried.rows),
        "not_carried_over": [*carried.changes, *carried.notes],
    }
    return made | ({"rows_of": list(carried.sources)} if carried.sources else {})


def _lines(carried: Carried, made: Mapping[str, Any]) -> list[str]:
    """The same in words."""
    return [
        f"{made['task']}: {made['num_rows']} rows, {carried.settings['ask']}, "
        f"{', '.join(carried.settings['metrics'])}",
        *(part for each in carried.sources for part in wrapped(f"rows of {each}")),
        *(
            part
            for each in made["not_carried_over"]
            for part in wrapped(f"not carried over: {each}")
        ),
    ]
