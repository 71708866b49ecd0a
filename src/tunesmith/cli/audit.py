"""The evidence, for those who do not have the store."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from tunesmith.cli.render import HERE, Folder, Json, out


def add_to(app: typer.Typer) -> None:
    """Add this file's commands."""
    audit = typer.Typer(help="The evidence, for an auditor.", no_args_is_help=True)
    audit.command("export")(audit_export)
    audit.command("verify")(audit_verify)
    app.add_typer(audit, name="audit")


def audit_export(
    to: Annotated[Path, typer.Option("--out", help="New file to write: JSON lines.")],
    since: Annotated[str, typer.Option(help="Show what happened from this moment on.")] = "",
    until: Annotated[str, typer.Option(help="Show what happened before it.")] = "",
    subject: Annotated[
        str, typer.Option(help='Show what names this: "desk", "desk@2", "run:14".')
    ] = "",
    folder: Folder = HERE,
    as_json: Json = False,
) -> None:
    """Write every change of state to a file that can be checked without the store. What is not
    shown is there as a digest."""
    from tunesmith.core import audit
    from tunesmith.core.errors import Conflict
    from tunesmith.project import open_store

    wanted = audit.Filter(
        since=_moment(since, "--since"), until=_moment(until, "--until"), subject=subject
    )
    if to.exists():
        raise Conflict(f"{to} is there already", remedy="name another file with --out")
    part = to.with_name(f".{to.name}.part")
    with closing(open_store(folder)) as project, project.runner.database.read() as connection:
        written = audit.lines(connection, wanted, project.runner.actor)
        try:
            to.parent.mkdir(parents=True, exist_ok=True)
            with part.open("w", encoding="utf-8", newline="\n") as file:
                file.writelines(f"{line}\n" for line in written)
            part.replace(to)
        finally:
            part.unlink(missing_ok=True)
    with to.open(encoding="utf-8") as file:
        checked = audit.check(file)
    lines = [
        f"{to}: {checked.num_shown} entries, {checked.num_withheld} more as digests alone",
        f"the evidence ends with {checked.head}" if checked.head else "there is no evidence yet",
        "keep that line where nobody who has the file can change it: it shows that no end was cut "
        "off, and nothing written anew",
    ]
    out(checked, lines, as_json)


def audit_verify(
    file: Annotated[Path, typer.Argument(help="File that `audit export` wrote.")],
    head: Annotated[
        str, typer.Option(help="A head of the evidence that was kept.", metavar="NUMBER:DIGEST")
    ] = "",
    as_json: Json = False,
) -> None:
    """Check an exported file by itself: no store and no project are needed."""
    from tunesmith.core import audit
    from tunesmith.core.errors import DataError, NotFound

    if not file.is_file():
        raise NotFound(f"there is no file {file}", remedy="name one that `audit export` wrote")
    try:
        with file.open(encoding="utf-8") as lines:
            checked = audit.check(lines, head)
    except UnicodeDecodeError as error:
        raise DataError(
            f"{file} is no text", remedy="name a file that `audit export` wrote"
        ) from error
    said = [
        f"{checked.num_entries} entries, of which {checked.num_shown} are shown, with the facts of "
        f"{checked.num_runs} runs: " + ("PROBLEMS" if checked.problems else "all hold"),
        f"it ends with {checked.head}",
    ]
    if checked.num_withheld:
        said.append(f"{checked.num_withheld} are not shown; nobody can tell here what they say")
    if checked.held:
        said.append("it goes on from the head that was kept")
    elif not checked.problems:
        said.append(
            "no kept head was given: whether the end was cut off, or all of it written anew, "
            "cannot be told from the file alone"
        )
    out(checked, said, as_json)
    if checked.problems:
        raise DataError(
            "\n  ".join([f"{len(checked.problems)} problems", *checked.problems[:20]]),
            remedy="ask for the file anew from who has the store; `tunesmith verify` checks that",
        )


def _moment(text: str, option: str) -> str:
    """A day or a moment as the evidence writes times; empty stays empty."""
    from datetime import UTC, datetime

    from tunesmith.core.db import text_of
    from tunesmith.core.errors import UsageError

    if not text:
        return ""
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(
            f"{option} {text!r} is no day and no moment",
            remedy="write it as 2026-11-26 or 2026-11-26T18:00:00+01:00",
        ) from error
    return text_of(found if found.tzinfo else found.replace(tzinfo=UTC))
