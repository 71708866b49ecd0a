"""Webhooks: how each stands, a test, what was given up sent again, and where one begins."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from tunesmith.cli.render import HERE, Folder, Json, out, say, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tunesmith.webhooks import Told

Name = Annotated[str, typer.Argument(help="Name of a webhook.")]


def add_to(app: typer.Typer) -> None:
    """Add this file's commands."""
    webhook = typer.Typer(help="Who else is told what happened.", no_args_is_help=True)
    webhook.command("list")(webhook_list)
    webhook.command("test")(webhook_test)
    webhook.command("retry")(webhook_retry)
    webhook.command("start")(webhook_start)
    app.add_typer(webhook, name="webhook")


def webhook_list(folder: Folder = HERE, as_json: Json = False) -> None:
    """List the webhooks: what each was told, what waits, and what was given up."""
    from tunesmith.webhooks import opened, states

    with opened(folder) as post:
        found = states(post)
    rows = [
        [
            each.name,
            each.url,
            ", ".join(each.events),
            each.num_sent,
            each.num_waiting,
            ", ".join(map(str, each.dead)) or "-",
            each.last_failure or ("-" if each.is_set else "told from the next tick on"),
        ]
        for each in found
    ]
    headings = ["webhook", "url", "events", "sent", "waiting", "given up", "last failure"]
    out(found, table(rows, headings) if rows else ["no [webhook.NAME] section"], as_json)


def webhook_test(name: Name, folder: Folder = HERE, as_json: Json = False) -> None:
    """Send a webhook a message of type "webhook.test", now; exit code 1 if it is not taken."""
    from tunesmith.core.errors import TunesmithError
    from tunesmith.webhooks import opened, test

    with opened(folder) as post:
        told = test(post, name)
    out(told, told_lines([told]), as_json)
    if told.failed:
        raise TunesmithError(
            f"webhook {name} did not take the message: {told.failed}",
            remedy="check its url, [project] hosts, and the receiver's log; it answers 2xx when it "
            "has the message, and checks the signature with the same secret",
        )


def webhook_retry(
    name: Name,
    entry: Annotated[int, typer.Argument(help="Which one; all of them without.")] = 0,
    folder: Folder = HERE,
    as_json: Json = False,
) -> None:
    """Let messages that were given up, or wait after a failure, be sent again by the next tick."""
    from tunesmith.webhooks import opened, retry

    with opened(folder) as post:
        again = retry(post, name, entry)
    out(again, [f"{name}: {each} is sent again by the next tick" for each in again], as_json)


def webhook_start(
    name: Name,
    after: Annotated[
        int, typer.Option("--after", help="Number of an entry of the evidence; 0 is before all.")
    ],
    folder: Folder = HERE,
    as_json: Json = False,
) -> None:
    """Let a webhook be told what came after an entry of the evidence, by the next ticks: of a new
    one also what was before it, of another one all of that again.

        tunesmith webhook start oncall --after 0
    """
    from tunesmith.webhooks import opened, start

    with opened(folder) as post:
        start(post, name, after)
    said = f"{name}: is told what came after entry {after} of the evidence, by the next ticks"
    out({"webhook": name, "after": after}, [said], as_json)


def say_told(told: Sequence[Told]) -> None:
    """Say what others were told, beside what a command prints."""
    for line in told_lines(told):
        say(line)


def told_lines(told: Sequence[Told]) -> list[str]:
    """A line for each message."""
    return [
        f"webhook {each.webhook}: {each.event}".rstrip(": ")
        + (f" (evidence {each.entry})" if each.entry else "")
        + (f" not taken: {each.failed}" if each.failed else " taken")
        for each in told
    ]
