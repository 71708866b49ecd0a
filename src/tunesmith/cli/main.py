"""The command table, and what becomes of an error: a message, a remedy, an exit code."""

from __future__ import annotations

import atexit
import gc
import importlib
import signal
import sys
from collections.abc import Mapping
from functools import cache
from types import FrameType
from typing import NoReturn

import typer

import tunesmith
from tunesmith.core.errors import TunesmithError

COMMANDS: Mapping[str, tuple[str, ...]] = {
    "path": ("init", "plan", "run", "demo", "config"),
    "data": ("data",),
    "review": ("review",),
    "tune": ("tune",),
    "models": ("key", "model"),
    "tasks": ("task",),
    "suites": ("suite",),
    "service": ("ask", "show", "serve"),
    "watch": ("monitor", "retrain"),
    "schedule": ("schedule",),
    "webhook": ("webhook",),
    "ci": ("ci",),
    "summary": ("summary",),
    "ledger": ("ledger",),
    "store": ("runs", "verify", "doctor"),
    "upkeep": ("store",),
    "audit": ("audit",),
    "interop": ("tracked", "export", "import"),
}
"""Which file of this folder makes which commands, in the order of the help."""


@cache
def application(command: str = "") -> typer.Typer:
    """The command line with what the file of `command` makes; with all of it where there is no such
    command. To make all ninety takes a tenth of a second."""
    app = typer.Typer(
        name="tunesmith",
        help="Turn a pre-trained model and your own data into a specialised model that you own.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback(invoke_without_command=True)(root)
    files = [file for file, commands in COMMANDS.items() if command in commands]
    for file in files or COMMANDS:
        importlib.import_module(f"tunesmith.cli.{file}").add_to(app)
    return app


def __getattr__(name: str) -> typer.Typer:
    if name == "app":  # all of it; `main` does with less
        return application()
    raise AttributeError(f"module 'tunesmith.cli.main' has no attribute {name!r}")


def root(
    context: typer.Context,
    version: bool = typer.Option(False, "--version", help="Print the version and leave."),
) -> None:
    """Exit codes: 0 ok, 1 error, 2 usage, 3 gate failed, 4 not found, 5 conflict."""
    if version:
        typer.echo(tunesmith.__version__)
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def main() -> NoReturn:
    """Run the command line and exit. Typer itself says what is wrong with a command's words."""
    signal.signal(signal.SIGTERM, _terminated)
    atexit.register(_leave)
    try:
        application(*sys.argv[1:2])()
    except TunesmithError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
    sys.exit(0)


def _terminated(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(143)


def _leave() -> None:
    """Keep Python from looking through all objects for cycles before it ends: a tenth of a second,
    for memory that the system takes back anyway. DuckDB counts its objects at the end and complains
    of each that is left: where it, or anything with arrays, is loaded, Python looks as ever."""
    if not {"_duckdb", "numpy"} & sys.modules.keys():
        gc.freeze()
