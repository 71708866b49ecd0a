"""The command table, and what becomes of an error: a message, a remedy, an exit code."""

from __future__ import annotations

import signal
import sys
from types import FrameType
from typing import NoReturn

import typer

import tunesmith
from tunesmith.cli import (
    audit,
    ci,
    data,
    interop,
    ledger,
    models,
    path,
    review,
    schedule,
    service,
    store,
    suites,
    summary,
    tasks,
    tune,
    upkeep,
    watch,
    webhook,
)
from tunesmith.core.errors import TunesmithError

app = typer.Typer(
    name="tunesmith",
    help="Turn a pre-trained model and your own data into a specialised model that you own.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for group in (
    *(path, data, review, tune, models, tasks, suites, service, watch, schedule),
    *(webhook, ci, summary, ledger, store, upkeep, audit, interop),
):
    group.add_to(app)


@app.callback(invoke_without_command=True)
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
    try:
        app()
    except TunesmithError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
    sys.exit(0)


def _terminated(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(143)
