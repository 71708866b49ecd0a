"""Schedules: what comes next, what is due, what became of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from tunesmith.cli.render import HERE, Folder, Json, left_out, out, say, table
from tunesmith.core.errors import TunesmithError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tunesmith.core.slots import Slot
    from tunesmith.schedule import Fired, Outlook

Name = Annotated[str, typer.Argument(help="Name of a schedule.")]


def add_to(app: typer.Typer) -> None:
    """Add this file's commands."""
    schedule = typer.Typer(help="What runs by itself, and when.", no_args_is_help=True)
    schedule.command("list")(schedule_list)
    schedule.command("tick")(schedule_tick)
    schedule.command("history")(schedule_history)
    schedule.command("retry")(schedule_retry)
    app.add_typer(schedule, name="schedule")


def schedule_list(folder: Folder = HERE, as_json: Json = False) -> None:
    """List the schedules: when each comes due next, and what became of the last slot."""
    from tunesmith.schedule import opened, outlook

    with opened(folder) as book:
        found = outlook(book)
    out(found, [line for each in found for line in _outlook(each)], as_json)


def schedule_tick(folder: Folder = HERE, as_json: Json = False) -> None:
    """Run what is due, tell the webhooks what happened, then leave. Each slot is run once, whoever
    ticks; exit codes are those of `tunesmith run`.

    Every minute, by cron (`crontab -e`):

        * * * * * tunesmith schedule tick --project /srv/project

    by systemd, a timer with `OnCalendar=minutely` and a service of `Type=exec` with:

        ExecStart=tunesmith schedule tick --project /srv/project

    or by the service itself: `tunesmith serve --tick`.
    """
    from tunesmith.cli.screen import Screen
    from tunesmith.cli.webhook import say_told
    from tunesmith.schedule import opened, tick
    from tunesmith.webhooks import deliver
    from tunesmith.webhooks import opened as webhooks_opened

    with opened(folder) as book, webhooks_opened(folder) as post:
        say_told(deliver(post))  # what is run now may take hours
        fired = tick(book, Screen())
        if fired:
            say_told(deliver(post))
    _report(fired, as_json)


def schedule_history(
    name: Annotated[str, typer.Argument(help="Name of a schedule; all without.")] = "",
    folder: Folder = HERE,
    limit: Annotated[int, typer.Option(help="Print at most this many slots.")] = 20,
    as_json: Json = False,
) -> None:
    """List what became of every slot, the newest first."""
    from tunesmith.schedule import history, opened

    with opened(folder) as book:
        found = history(book, name)
    rows = [
        [slot.schedule, slot.slot, slot.state, slot.attempt, slot.finished_at or "-", _why(slot)]
        for slot in found[:limit]
    ]
    lines = table(rows, ["schedule", "slot", "state", "attempt", "finished", "note"])
    out(found, [*lines, *left_out(len(found), limit)], as_json)


def schedule_retry(
    name: Name,
    slot: Annotated[str, typer.Argument(help="The slot, as the history has it.")],
    folder: Folder = HERE,
    as_json: Json = False,
) -> None:
    """Run a slot again that failed, was interrupted or missed."""
    from tunesmith.cli.screen import Screen
    from tunesmith.schedule import opened, retry

    with opened(folder) as book:
        fired = retry(book, name, slot, Screen())
    _report([fired], as_json)


def _report(fired: Sequence[Fired], as_json: bool) -> None:
    """Print what was run, and end with the code of the first error."""
    slots = [each.slot for each in fired]
    lines = [f"{slot.schedule} {slot.slot}: {slot.state}" for slot in slots]
    out(slots, lines or ["nothing is due"], as_json)
    errors: list[TunesmithError] = [each.error for each in fired if each.error]
    for error in errors[1:]:  # the first one is said by whoever prints errors
        say(f"error: {error}")
    if errors:
        raise errors[0]


def _outlook(each: Outlook) -> list[str]:
    what = ", ".join(each.run) or "the whole project"
    last = each.last
    lines = [f"{each.name}  {each.cron}  {each.timezone}  runs {what}"]
    if last is not None:
        note = _why(last)
        lines.append(f"  last: {last.slot} {last.state}{f' ({note})' if note else ''}")
    if each.overdue:
        lines.append(f"  due since {each.overdue}: does anything tick?")
    for utc, there in zip(each.next, each.next_local, strict=True):
        lines.append(f"  next: {there}  ({utc})")
    return lines


def _why(slot: Slot) -> str:
    said = [slot.reason] if slot.reason else []
    if slot.exit_code:
        said.append(f"exit code {slot.exit_code}")
    if slot.runs:
        said.append(f"runs {', '.join(map(str, slot.runs))}")
    return ", ".join(said)
