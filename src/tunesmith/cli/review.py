"""Rows that people look at: begin, take the next, decide, see, accept, out and in."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from tunesmith.cli.render import HERE, Folder, Json, out, seconds, table, wrapped
from tunesmith.ledger.cost import display

if TYPE_CHECKING:
    from tunesmith.project import Project
    from tunesmith.records.review import Agreement, ReviewStatus
    from tunesmith.registry.roles import Actor

Name = Annotated[str, typer.Argument(help="Name of a review.")]
Row = Annotated[str, typer.Option(help="Id of the row that --label is said of.")]
Label = Annotated[
    str, typer.Option(help="Say this of the row, and leave: a label, unusable, or a verdict.")
]
Text = Annotated[
    str,
    typer.Option(help="With --label corrected: the answer as it should be; of tags a JSON list."),
]
Took = Annotated[float | None, typer.Option("--seconds", min=0, help="How long that took.")]
Form = Annotated[str, typer.Option("--format", help="label-studio or argilla.")]
As = Annotated[
    str, typer.Option("--as", help="Act for this user, where [registry] allow_as lets one.")
]


def add_to(app: typer.Typer) -> None:
    """Add this file's commands."""
    review = typer.Typer(help="Rows that people judge, two by two.", no_args_is_help=True)
    review.command("start")(review_start)
    review.command("next")(review_next)
    review.command("adjudicate")(review_adjudicate)
    review.command("status")(review_status)
    review.command("accept")(review_accept)
    review.command("export")(review_export)
    review.command("import")(review_import)
    app.add_typer(review, name="review")


@contextlib.contextmanager
def _acting(folder: Path, name: str, actor: str) -> Iterator[tuple[Project, str, Actor]]:
    """The project, the review, and who acts in it."""
    from tunesmith.cli.opening import opened
    from tunesmith.cli.service import only
    from tunesmith.registry.roles import acting

    with opened(folder) as (project, _):
        yield project, only(project.file.review, name, "review"), acting(project, actor)


def review_start(
    name: Name = "",
    limit: Annotated[int, typer.Option(min=0, help="Add at most this many rows; 0: all.")] = 0,
    folder: Folder = HERE,
    actor: As = "",
    as_json: Json = False,
) -> None:
    """Put a dataset's rows into the queue, and the guidelines as they are now on record."""
    from tunesmith.review.desk import start

    with _acting(folder, name, actor) as (project, review, user):
        begun = start(project, review, user, limit)
    lines = [
        f"{begun.review}: {begun.num_added} rows of {begun.dataset} added, {begun.num_rows} in all",
        f"labels: {', '.join(begun.labels)}",
        f"guidelines: sha256 {begun.guidelines[:12]}",
        f"next: tunesmith review next {begun.review}",
    ]
    out(begun, lines, as_json)


def review_next(
    name: Name = "",
    row: Row = "",
    label: Label = "",
    text: Text = "",
    took_s: Took = None,
    folder: Folder = HERE,
    actor: As = "",
    as_json: Json = False,
) -> None:
    """Judge rows, one after the other; --json prints the next row and leaves."""
    _work(folder, name, actor, Said(row, label, text, took_s), as_json, decides=False)


def review_adjudicate(
    name: Name = "",
    row: Row = "",
    label: Label = "",
    text: Text = "",
    took_s: Took = None,
    folder: Folder = HERE,
    actor: As = "",
    as_json: Json = False,
) -> None:
    """Decide about rows on which others differed; --json prints the next one and leaves."""
    _work(folder, name, actor, Said(row, label, text, took_s), as_json, decides=True)


def review_status(name: Name = "", folder: Folder = HERE, as_json: Json = False) -> None:
    """Say how far a review is, how far people agree, and what it took."""
    from tunesmith.review.desk import status

    with _acting(folder, name, "") as (project, review, _):
        found = status(project, review)
    out(found, _status(found), as_json)


def review_accept(
    name: Name = "", folder: Folder = HERE, actor: As = "", as_json: Json = False
) -> None:
    """Freeze what is settled; datasets that name the review use it."""
    from tunesmith.review.desk import accept

    with _acting(folder, name, actor) as (project, review, user):
        frozen = accept(project, review, user)
    lines = [
        f"{frozen.review}: {len(frozen.labels)} rows accepted, of which "
        f"{frozen.num_adjudicated} were decided by a third person",
        _agreed(frozen.alpha),
        f'a dataset with reviewed = "{frozen.review}" uses them: tunesmith run',
    ]
    out(frozen, lines, as_json)


def review_export(
    name: Name,
    path: Annotated[Path, typer.Argument(help="File to write; it will have the rows' text.")],
    form: Form,
    only_open: Annotated[
        bool, typer.Option("--open", help="Leave out rows that wait for no judgement.")
    ] = False,
    to_interface: Annotated[
        Path | None,
        typer.Option(
            "--interface",
            help="File to write what the other program is to be set up with: Label Studio's "
            "labelling configuration (XML), Argilla's settings of a dataset (JSON).",
        ),
    ] = None,
    folder: Folder = HERE,
    actor: As = "",
    as_json: Json = False,
) -> None:
    """Write rows for Label Studio or Argilla; a row has judgements where all are given."""
    from tunesmith.core.ref import to_plain
    from tunesmith.review.exchange import export, interface

    with _acting(folder, name, actor) as (project, review, user):
        told = interface(project, review, form=form)
        made = export(
            project, review, path, user, form=form, only_open=only_open, to_interface=to_interface
        )
    lines = [
        f"wrote {made.path}: {made.num_rows} rows, {made.num_judgements} judgements",
        "it has the text of rows: delete it when it is of no more use, as `tunesmith data forget` "
        "does not know it",
    ]
    if to_interface:
        lines.append(f"wrote {to_interface}: set the other program up with it")
    elif form == "label-studio":
        lines.append(f"labelling interface: {told}")
    else:
        lines.append("set Argilla up with the settings that --interface FILE writes")
    out({**to_plain(made), "interface": told}, lines, as_json)


def review_import(
    name: Name,
    path: Annotated[Path, typer.Argument(help="File that the other program exported.")],
    form: Form,
    who: Annotated[
        list[str] | None,
        typer.Option(
            help="Who is who: what the file calls a person = a reviewer.", metavar="ID=NAME"
        ),
    ] = None,
    folder: Folder = HERE,
    as_json: Json = False,
) -> None:
    """Record the judgements of a file, all or none."""
    from tunesmith.core.errors import UsageError
    from tunesmith.review.exchange import import_

    names = {}
    for each in who or ():
        called, equals, reviewer = each.rpartition("=")
        if not (called and equals and reviewer):
            raise UsageError(f"--who {each!r} is not of the form ID=NAME", remedy="as in 7=ann")
        names[called] = reviewer
    with _acting(folder, name, "") as (project, review, _):
        made = import_(project, review, path, form=form, names=names)
    line = (
        f"{made.path}: {made.num_added} judgements added, {made.num_known} on record already, "
        f"{made.num_skipped} without a label"
    )
    out(made, [line], as_json)


class Said(NamedTuple):
    """What a script says of a row; all of it empty where a person is asked."""

    row: str
    label: str
    text: str
    took_s: float | None


def _work(folder: Path, name: str, actor: str, said: Said, as_json: bool, *, decides: bool) -> None:
    """One judgement, or one decision, or as many as are answered on standard input."""
    from tunesmith.cli.review_loop import ask, line_of, next_of
    from tunesmith.core.errors import UsageError
    from tunesmith.review.desk import at_work, decide, judge

    row, label, text, took_s = said
    if bool(row) != bool(label) or ((took_s is not None or text) and not label):
        raise UsageError(
            "--row, --label, --text and --seconds go together", remedy="give --row and --label"
        )
    with _acting(folder, name, actor) as (project, review, user):
        found = at_work(project, review)
        if label:
            put = decide if decides else judge
            made = put(found, user, row, label, took_s, text)
            out(made, [line_of(made)], as_json)
        elif as_json:
            out(next_of(found, user, decides=decides), [], as_json)
        else:
            ask(found, user, decides=decides)


def _status(found: ReviewStatus) -> list[str]:
    other = found.num_by_other_guidelines
    untimed = f", {found.num_untimed} not timed" if found.num_untimed else ""
    rows = [
        [p.name, p.num_judged, p.num_left, p.num_decided, seconds(p.seconds)] for p in found.people
    ]
    return [
        f"{found.review}, rows of {found.dataset}: {found.num_settled} of {found.num_rows} settled",
        f"  {found.num_open} wait for a judgement, {found.num_disputed} for a decision, "
        f"{found.num_gone} are gone",
        f"  of the settled {found.num_adjudicated} were decided by a third person, "
        f"{found.num_unusable} are left out; {found.num_accepted} are accepted",
        *([f"  {other} judgements are by earlier guidelines"] if other else []),
        "",
        *table(rows, ["who", "judged", "left", "decided", "time"]),
        "",
        *(part for each in found.agreement for part in wrapped(_agreed(each))),
        f"time {seconds(found.seconds)}{untimed}; cost {display(found.cost)}, "
        f"{display(found.cost_per_settled)} a settled row",
    ]


def _agreed(found: Agreement) -> str:
    """
    >>> from tunesmith.records.review import Agreement
    >>> _agreed(Agreement(what="alpha", num_rows=9, value=0.5, low=0.25, high=0.75))
    'alpha: 0.500 (0.250 to 0.750), 9 rows'
    """
    if found.value is None:
        return f"{found.what}: not defined on {found.num_rows} rows"
    known = found.low is not None and found.high is not None
    between = f" ({found.low:.3f} to {found.high:.3f})" if known else ""
    return f"{found.what}: {found.value:.3f}{between}, {found.num_rows} rows"
