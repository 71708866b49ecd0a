"""Where model versions stand: ask, approve, reject, go back, close, compare, show."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tunesmith.cli.render import HERE, Folder, Json, difference, metric, out, table, wrapped
from tunesmith.records.release import PRODUCTION

if TYPE_CHECKING:
    from tunesmith.core.lifecycle import Change
    from tunesmith.project import Project
    from tunesmith.registry.change import Moved
    from tunesmith.registry.report import Report
    from tunesmith.registry.roles import Actor
    from tunesmith.registry.standing import Entry

Version = Annotated[
    str, typer.Argument(help="A model version, such as desk@2; or an alias of it, desk@production.")
]
Why = Annotated[str, typer.Option(help="Why; it goes into the evidence.")]
To = Annotated[str, typer.Option("--to", help="Which alias.")]
As = Annotated[
    str, typer.Option("--as", help="Act for this user, where [registry] allow_as lets one.")
]


def add_to(model: typer.Typer) -> None:
    """Add this file's commands to `tunesmith model`."""
    model.command("show")(model_show)
    model.command("history")(model_history)
    model.command("compare")(model_compare)
    model.command("promote")(model_promote)
    model.command("approve")(model_approve)
    model.command("reject")(model_reject)
    model.command("rollback")(model_rollback)
    model.command("deprecate")(model_deprecate)
    model.command("retire")(model_retire)


@contextlib.contextmanager
def _acting(folder: Path, actor: str) -> Iterator[tuple[Project, Actor]]:
    """The project, and who acts in it: the user, or `actor` where that is allowed."""
    from tunesmith.cli.opening import opened
    from tunesmith.registry.roles import acting

    with opened(folder) as (project, _):
        yield project, acting(project, actor)


def model_promote(
    version: Version,
    why: Why,
    to: To = PRODUCTION,
    folder: Folder = HERE,
    actor: As = "",
    as_json: Json = False,
) -> None:
    """Ask that an alias be pointed at a version that passed its gate; another approves it."""
    from tunesmith.registry.change import promote
    from tunesmith.registry.standing import numbered

    with _acting(folder, actor) as (project, user):
        version = numbered(project, version)
        change = promote(project, version, to, user, why)
        approvers = ", ".join(project.file.registry.approvers) or "nobody: see [registry] approvers"
    said(change, [f"to approve it: tunesmith model approve {version} (by {approvers})"], as_json)


def model_approve(
    version: Version,
    why: Why,
    to: To = PRODUCTION,
    without_way_back: Annotated[
        str,
        typer.Option(
            help="Why it is to stand there although the version before cannot be gone back to; it "
            "goes into the evidence."
        ),
    ] = "",
    folder: Folder = HERE,
    actor: As = "",
    as_json: Json = False,
) -> None:
    """Point the alias at a version that somebody else asked for, once the way back has been tried:
    the version before is read, loaded and asked."""
    from tunesmith.registry.change import approve
    from tunesmith.registry.standing import numbered

    with _acting(folder, actor) as (project, user):
        version = numbered(project, version)
        moved = approve(project, version, to, user, why, without_way_back=without_way_back)
    _moved(moved, as_json)


def model_reject(
    version: Version,
    why: Why,
    to: To = PRODUCTION,
    folder: Folder = HERE,
    actor: As = "",
    as_json: Json = False,
) -> None:
    """Answer a request for promotion with no."""
    from tunesmith.registry.change import reject
    from tunesmith.registry.standing import numbered

    with _acting(folder, actor) as (project, user):
        version = numbered(project, version)
        change = reject(project, version, to, user, why)
    said(change, [], as_json)


def model_rollback(
    name: Annotated[str, typer.Argument(help="Name of a model.")],
    why: Why,
    alias: Annotated[str, typer.Option(help="Which alias goes back.")] = PRODUCTION,
    folder: Folder = HERE,
    actor: As = "",
    as_json: Json = False,
) -> None:
    """Point an alias back at the version before."""
    from tunesmith.registry.change import roll_back

    with _acting(folder, actor) as (project, user):
        moved = roll_back(project, name, alias, user, why)
    _moved(moved, as_json)


def model_deprecate(
    version: Version, why: Why, folder: Folder = HERE, actor: As = "", as_json: Json = False
) -> None:
    """Say that a version should not be used any more; it serves on, with a warning."""
    _close(version, "deprecated", why, folder, actor, as_json)


def model_retire(
    version: Version, why: Why, folder: Folder = HERE, actor: As = "", as_json: Json = False
) -> None:
    """Take a version out of use for good: it is served no more."""
    _close(version, "retired", why, folder, actor, as_json)


def _close(version: str, what: str, why: str, folder: Folder, actor: str, as_json: bool) -> None:
    from tunesmith.registry.change import close
    from tunesmith.registry.standing import numbered

    with _acting(folder, actor) as (project, user):
        version = numbered(project, version)
        change = close(project, version, what, user, why)
    said(change, [], as_json)


def model_compare(
    first: Annotated[
        str, typer.Argument(help="A model version, such as desk@1, or desk@production.")
    ],
    second: Annotated[str, typer.Argument(help="Another, such as desk@2.")],
    by: Annotated[
        str,
        typer.Option(
            "--metric", help="Compare this metric; the one that gates compare if not given."
        ),
    ] = "",
    folder: Folder = HERE,
    as_json: Json = False,
) -> None:
    """Metrics of two versions side by side, with an interval over the rows that both were asked."""
    from tunesmith.cli.opening import opened
    from tunesmith.registry.report import compared
    from tunesmith.registry.standing import numbered

    with opened(folder) as (project, _):
        first, second = numbered(project, first), numbered(project, second)
        both = compared(project, first, second, by)
    names = list(dict.fromkeys([*both.first.metrics(), *both.second.metrics()]))
    rows = [
        [
            f"{name} (lower is better)" if both.second.falls(name) else name,
            *(_value(name, each.metrics()) for each in (both.first, both.second)),
        ]
        for name in names
    ]
    lines = table(rows, ["", first, second])
    found = both.comparison
    if found is None:
        lines += wrapped(
            f"nothing can be compared: {both.why}"
            if both.why
            else "there is no row that both were asked and neither was tuned on"
        )
    else:
        lines += wrapped(
            f"{second} - {first}, {found.metric}: {difference(found)}, "
            f"{100 * found.confidence:g} % interval over {found.num_rows} rows; {second} better on "
            f"{found.num_won}, worse on {found.num_lost}; {found.test}: p = {found.p_value:.3g}"
        )
    out(both, lines, as_json)


def model_show(version: Version, folder: Folder = HERE, as_json: Json = False) -> None:
    """Print where a version stands: state, aliases, its gate's report, and who did what, why."""
    from tunesmith.cli.opening import opened
    from tunesmith.registry.report import report
    from tunesmith.registry.standing import numbered

    with opened(folder) as (project, _):
        found = report(project, numbered(project, version))
    out(found, _report(found), as_json)


def _report(found: Report) -> list[str]:
    from tunesmith.cli.screen import describe, rule_lines
    from tunesmith.registry.labels import tags_of

    entry = found.entry
    lines = [
        f"{entry.name}: {entry.state}; aliases: {', '.join(entry.aliases) or 'none'}",
        *aliases_of_retired(entry),
        f"made {entry.version.created_at} by {found.made_by} (run {entry.version.run_id}), "
        f"sha256 {entry.version.digest[:12]}",
    ]
    if tags := tags_of(entry):
        lines.append(f"tags: {', '.join(f'{key}={value}' for key, value in tags.items())}")
    if found.gate is not None:
        lines += ["", f"gate {found.gate.gate}, run {found.gate_run}"]
        lines += [part for line in describe(found.gate) for part in wrapped(line, indent="  ")]
        lines += [
            f"  judged: {who}, answers sha256 {digest[:12]}"
            for who, digest in found.gate.inputs.items()
        ]
        for each in found.gate.comparisons:
            which = "rows" if each.is_of_all else each.rows_said
            lines += wrapped(
                f"beside {each.versus}, {each.metric}: {each.num_rows} {which}, better on "
                f"{each.num_won}, worse on {each.num_lost}; {each.test}: p = {each.p_value:.3g}; "
                f"{each.num_left_out} rows left out",
                indent="  ",
            )
        lines += wrapped(found.registered, indent="  ")
    if found.audit is not None:
        lines += [part for line in describe(found.audit) for part in wrapped(line)]
    if found.words:
        words = (f"{number} {word}" for number, word in enumerate(found.words, 1))
        lines += wrapped(f"words of the training rows: {', '.join(words)}", indent="  ")
    if found.suites:
        lines += ["", "beyond its task"]
    for suite in found.suites:
        lines += wrapped(f"suite {suite.suite}", indent="  ")
        lines += [part for line in describe(suite) for part in wrapped(line, indent="    ")]
    for beside in found.besides:
        lines += [part for line in describe(beside) for part in wrapped(line, indent="    ")]
    lines += [part for line in rule_lines(found.outcomes) for part in wrapped(line, indent="  ")]
    if found.waivers:
        lines += ["", "kept although the code changed since:"]
        lines += [part for each in found.waivers for part in wrapped(each.said(), indent="  ")]
    if entry.changes:
        rows = [[c.seq, c.at, c.actor, _what(c), c.why] for c in entry.changes]
        lines += ["", *table(rows, ["evidence", "when", "who", "what", "why"])]
    return lines


def aliases_of_retired(entry: Entry) -> list[str]:
    """That an alias which a retired version kept leads nowhere."""
    from tunesmith.core.lifecycle import RETIRED

    if entry.state != RETIRED or not entry.aliases:
        return []
    held = " and ".join(map(repr, entry.aliases))
    return wrapped(
        f"{entry.name} is retired, and {held} still points at it: that alias serves nobody until "
        "it points at another version"
    )


def _what(change: Change) -> str:
    if "before" not in change.body or change.what != "rolled back":
        return change.what
    return f"{change.what}, {change.body['before']} -> {change.version}"


def model_history(
    name: Annotated[str, typer.Argument(help="Name of a model.")],
    alias: Annotated[str, typer.Option(help="This alias; all if not given.")] = "",
    at: Annotated[
        str, typer.Option(help="What stood where on that day, or at that moment.", metavar="DATE")
    ] = "",
    folder: Folder = HERE,
    as_json: Json = False,
) -> None:
    """Print which version each alias pointed at, from when until when, who moved it and why."""
    from tunesmith.cli.moments import day_or_moment
    from tunesmith.cli.opening import opened
    from tunesmith.registry.history import history

    start, end = day_or_moment(at, "--at") if at else ("", "")
    with opened(folder) as (project, _):
        found = history(project, name, alias)
    if at:
        found = [each for each in found if each.overlaps(start, end)]
    rows = [
        [each.alias, each.version, each.since, each.until or "now", each.by, each.why]
        for each in found
    ]
    none = f"no alias of {name} pointed anywhere" + (f" on {at}" if at else " yet")
    headings = ["alias", "version", "since", "until", "moved by", "why"]
    out(found, table(rows, headings) if rows else [none], as_json)


def _value(name: str, metrics: Any) -> str:
    return metric(name, metrics[name]) if name in metrics else "-"


def said(change: Change, more: list[str], as_json: bool) -> None:
    """Print what was done with a version."""
    head = f"{change.version}: {change.what} by {change.actor} (evidence {change.seq})"
    out(change, [head, *more], as_json)


def _moved(moved: Moved, as_json: bool) -> None:
    before = f", before it {moved.before}" if moved.before else ""
    line = f"{moved.alias} is {moved.version} now{before}; {1000 * moved.wall_s:.0f} ms"
    signed = [f"signed, with the evidence up to {moved.checkpoint}"] if moved.checkpoint else []
    back = wrapped(f"way back: {moved.way_back}") if moved.way_back else []
    warned = wrapped(f"warning: {moved.warning}") if moved.warning else []
    serving = "a service that runs already goes on with what it loaded"
    out(moved, [line, *signed, *back, *warned, serving], as_json)
