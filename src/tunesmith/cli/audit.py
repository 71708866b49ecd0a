"""The evidence, for those who do not have the store."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tunesmith.cli.moments import moment
from tunesmith.cli.render import HERE, Folder, Json, out, table

if TYPE_CHECKING:
    from tunesmith.core.audit import Checked
    from tunesmith.signing.checkpoint import Checkpoint


def add_to(app: typer.Typer) -> None:
    """Add this file's commands."""
    audit = typer.Typer(help="The evidence, for an auditor.", no_args_is_help=True)
    audit.command("log")(audit_log)
    audit.command("export")(audit_export)
    audit.command("verify")(audit_verify)
    audit.command("checkpoint")(audit_checkpoint)
    app.add_typer(audit, name="audit")


def audit_log(
    limit: Annotated[int, typer.Option(min=1, help="At most this many, the newest.")] = 30,
    since: Annotated[str, typer.Option(help="What happened from this day or moment on.")] = "",
    kind: Annotated[
        str,
        typer.Option(help='What happened: "alias.moved", "promotion.*"; * stands for any letters.'),
    ] = "",
    model: Annotated[
        str, typer.Option(help='What names this model or version: "desk", "desk@2".')
    ] = "",
    folder: Folder = HERE,
    as_json: Json = False,
) -> None:
    """List the evidence: the number of each entry, when, who, what happened to what, and why."""
    from tunesmith.core.audit import Filter, selected
    from tunesmith.project import open_store

    wanted = Filter(since=moment(since, "--since"), subject=model)
    with closing(open_store(folder)) as project, project.runner.database.read() as connection:
        found = selected(connection, wanted, kind)
    shown = found[-limit:]
    rows = [[e.seq, e.at, e.actor, e.what, _subject(e.body), _why(e.body)] for e in shown]
    lines = table(rows, ["evidence", "when", "who", "what", "of", "why"])
    if not found:
        lines = ["no entry is meant by that"]
    elif len(found) > limit:
        lines.append(f"{len(found) - limit} earlier ones: --limit")
    said = ("seq", "at", "actor", "what", "body", "digest")
    out([{name: getattr(entry, name) for name in said} for entry in shown], lines, as_json)


def _subject(body: Mapping[str, Any]) -> str:
    """What an entry is of, where that has a name."""
    for name in ("version", "step", "name", "model", "snapshot", "schedule", "webhook"):
        if isinstance(body.get(name), str):
            return " ".join([body[name], *([body["alias"]] if body.get("alias") else [])])
    return "-"


def _why(body: Mapping[str, Any]) -> str:
    said = body.get("why") or body.get("reason") or "-"
    return " ".join(str(said).split())


def audit_export(
    to: Annotated[Path, typer.Option("--out", help="New file to write: JSON lines.")],
    since: Annotated[str, typer.Option(help="Show what happened from this moment on.")] = "",
    until: Annotated[str, typer.Option(help="Show what happened before it.")] = "",
    subject: Annotated[
        str, typer.Option(help='Show what names this: "desk", "desk@2", "run:14".')
    ] = "",
    unsigned: Annotated[
        bool,
        typer.Option("--unsigned", help="Sign nothing, where the project's key is not at hand."),
    ] = False,
    folder: Folder = HERE,
    as_json: Json = False,
) -> None:
    """Write every change of state to a file that can be checked without the store. What is not
    shown is there as a digest. With `signing_key` its head is signed."""
    from tunesmith.core.audit import Filter
    from tunesmith.project import open_store
    from tunesmith.registry.leaving import export_audit
    from tunesmith.registry.signing import signing_key

    wanted = Filter(since=moment(since, "--since"), until=moment(until, "--until"), subject=subject)
    with closing(open_store(folder)) as project:
        key = None if unsigned else signing_key(project)
        checked = export_audit(project, wanted, to, key)
    lines = [
        f"{to}: {checked.num_shown} entries, {checked.num_withheld} more as digests alone",
        f"the evidence ends with {checked.head}" if checked.head else "there is no evidence yet",
    ]
    if checked.sealed is not None and key is not None:
        lines.append(f"its head is signed with key {key.id[:12]}: `audit verify` with --public-key")
    lines.append(
        "keep the line with the head where nobody who has the file can change it: it shows that no "
        "end was cut off, and nothing written anew"
    )
    out(checked, lines, as_json)


def audit_verify(
    file: Annotated[Path, typer.Argument(help="File that `audit export` wrote.")],
    kept: Annotated[
        str,
        typer.Option(
            "--head",
            "--since",
            help="What was kept elsewhere, and it has to go on from: a head, or the file of a "
            "checkpoint.",
            metavar="NUMBER:DIGEST|FILE",
        ),
    ] = "",
    public_key: Annotated[
        Path | None,
        typer.Option(help="File of the public key that its head has to be signed with."),
    ] = None,
    report: Annotated[
        list[Path] | None,
        typer.Option(
            help="Folder of a gate's report, which has to be one that was sealed; may be repeated.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Check an exported file by itself: no store and no project are needed."""
    from tunesmith.core import audit
    from tunesmith.core.errors import DataError, NotFound
    from tunesmith.registry.checkpoint import claim_kept
    from tunesmith.signing.audit_file import signed

    if not file.is_file():
        raise NotFound(f"there is no file {file}", remedy="name one that `audit export` wrote")
    try:
        with file.open(encoding="utf-8", newline="\n") as lines:
            checked = audit.check(lines, claim_kept(kept, public_key))
    except UnicodeDecodeError as error:
        raise DataError(
            f"{file} is no text", remedy="name a file that `audit export` wrote"
        ) from error
    seal = None
    if public_key is not None:
        checked, seal = signed(checked, public_key)
    sealed = [_sealed(folder, checked) for folder in report or []]
    wrong = tuple(said for said, holds in sealed if not holds)
    checked = replace(checked, problems=(*checked.problems, *wrong))
    out(checked, [*_verified(checked, seal), *(said for said, holds in sealed if holds)], as_json)
    if checked.problems:
        raise DataError(
            "\n  ".join([f"{len(checked.problems)} problems", *checked.problems[:20]]),
            remedy="ask for the file anew from who has the store; `tunesmith verify` checks that",
        )


def _sealed(folder: Path, checked: Checked) -> tuple[str, bool]:
    """Whether the report in a folder is one that was sealed, in a sentence, too."""
    from hashlib import sha256

    from tunesmith.core.errors import NotFound
    from tunesmith.signing.envelope import STATEMENT

    path = folder / STATEMENT
    if not path.is_file():
        raise NotFound(
            f"there is no {path}", remedy="name a folder that `tunesmith model report` wrote"
        )
    where = checked.reports.get(sha256(path.read_bytes()).hexdigest())
    if where is None:
        return f"no entry that is shown says that {path} was sealed as it is", False
    return f"{path} is as it was sealed ({where})", True


def _verified(checked: Checked, seal: Checkpoint | None) -> list[str]:
    said = [
        f"{checked.num_entries} entries, of which {checked.num_shown} are shown, with the facts of "
        f"{checked.num_runs} runs: " + ("PROBLEMS" if checked.problems else "all hold"),
        f"it ends with {checked.head}",
    ]
    if checked.num_withheld:
        said.append(f"{checked.num_withheld} are not shown; nobody can tell here what they say")
    if seal is not None:
        said.append(f"that was signed with key {seal.key[:12]}, {seal.at} by {seal.by}")
    if checked.held:
        said.append("it goes on from what was kept")
    elif not checked.problems and seal is None:
        more = " (it says that it is signed: --public-key FILE)" if checked.sealed else ""
        said.append(
            "neither a key nor a kept head was given: whether the end was cut off, or all of it "
            f"written anew, cannot be told from the file alone{more}"
        )
    return said


def audit_checkpoint(
    to: Annotated[
        Path | None,
        typer.Option("--out", help="New file for a copy, to keep where nobody here can write."),
    ] = None,
    key: Annotated[
        Path | None,
        typer.Option(help="File of the private key; the project file's if not given."),
    ] = None,
    password_env: Annotated[
        str, typer.Option(help="The environment variable that holds the private key's password.")
    ] = "",
    folder: Folder = HERE,
    as_json: Json = False,
) -> None:
    """Sign the head of the evidence: how many entries there are, and the digest of the last.

    Kept elsewhere, `tunesmith verify --since FILE` shows later that the store goes on from it."""
    from tunesmith.cli.signing import the_key
    from tunesmith.core.errors import Conflict
    from tunesmith.project import open_store
    from tunesmith.registry.checkpoint import checkpoint
    from tunesmith.signing.checkpoint import FILE, write_copy

    if to is not None and to.exists():
        raise Conflict(f"{to} is there already", remedy="name another file with --out")
    with closing(open_store(folder)) as project:
        used = the_key(project, key, password_env)
        made = checkpoint(project, project.runner.actor, used)
        if to is not None:
            write_copy(to, made)
    lines = [
        str(made),
        f"{made.size} entries, signed with key {made.key[:12]}; in the evidence, and in "
        f".tunesmith/{FILE}",
        f"a copy for elsewhere: {to}"
        if to is not None
        else "keep a copy (--out FILE), or the first line, where nobody here can write",
    ]
    out(made, lines, as_json)
