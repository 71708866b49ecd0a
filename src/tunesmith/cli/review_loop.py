"""Rows on a terminal: each is shown, its answer is read from standard input, and it is timed."""

from __future__ import annotations

import sys
import time
from typing import Any

from tunesmith.cli.render import out, say
from tunesmith.core.errors import Conflict, UsageError
from tunesmith.records.review import UNUSABLE, Judgement
from tunesmith.registry.roles import Actor
from tunesmith.review.desk import Desk, decide, judge

STOP, SKIP, HELP = "stop", "skip", "guidelines"
SHORT = {"q": STOP, "s": SKIP, "g": HELP, "u": UNUSABLE}


def next_of(desk: Desk, user: Actor, *, decides: bool) -> dict[str, Any]:
    """The row that is next for `user`, without what others said of it where it is to be judged."""
    waiting = desk.waiting(user.name, decides=decides)
    row = waiting[0] if waiting else ""
    given = sorted(desk.log.said(row).values()) if decides and row else []
    return {
        "review": desk.config.name,
        "row": row,
        "text": desk.texts[row] if row else "",
        "labels": [*desk.log.labels, UNUSABLE],
        **({"given": given} if decides else {}),
        "guidelines": desk.digest,
        "num_left": len(waiting),
    }


def line_of(made: Judgement) -> str:
    """What was put on record, for people."""
    return f"row {made.row}: {made.label}, by {made.reviewer}"


def ask(desk: Desk, user: Actor, *, decides: bool) -> None:
    """Show the rows that `user` may judge, or decide about, until they stop, or the input ends.

    Raises:
        UsageError: an answer is none, and nobody is there to give another.
        NotAllowed: `user` may not.
    """
    put = decide if decides else judge
    waiting = desk.waiting(user.name, decides=decides)
    say(f"guidelines: {desk.config.guidelines} (g prints them), sha256 {desk.digest[:12]}")
    num_done = 0
    for number, row in enumerate(waiting, start=1):
        _show(desk, row, f"row {number} of {len(waiting)}", decides=decides)
        started = time.monotonic()
        answer = _answer(desk)
        if answer == STOP:
            break
        if answer == SKIP:
            continue
        try:
            put(desk, user, row, answer, time.monotonic() - started)
        except Conflict as error:  # others were faster
            say(error.message)
            continue
        num_done += 1
    left = len(waiting) - num_done
    verb = "decided" if decides else "judged"
    out(None, [f"{num_done} rows {verb}, {left} left for {user.name}"], as_json=False)


def _show(desk: Desk, row: str, head: str, *, decides: bool) -> None:
    say(f"\n{head}  ({row[:12]})\n")
    say(printable(desk.texts[row]) + "\n")
    if decides:
        say(f"others said: {', '.join(sorted(desk.log.said(row).values()))}")
    numbered = [f"{number} {label}" for number, label in enumerate(desk.log.labels, start=1)]
    say(f"{'   '.join(numbered)}\nu unusable   s skip   g guidelines   q stop")


def _answer(desk: Desk) -> str:
    """A label, `UNUSABLE`, `SKIP` or `STOP`; the end of the input is the latter."""
    while True:
        line = sys.stdin.readline()
        if not line:
            return STOP
        said = line.strip()
        found = said if said in desk.log.labels else _meant(desk, said)
        if found == HELP:
            say(printable(desk.guidelines))
        elif found:
            return found
        elif not sys.stdin.isatty():
            raise UsageError(
                f"{said!r} is no answer", remedy=f"one of: {', '.join(desk.log.labels)}, unusable"
            )
        else:
            say(f"{said!r} is no answer: a label or its number, or one of u, s, g, q")


def _meant(desk: Desk, said: str) -> str:
    labels = desk.log.labels
    if said.isdecimal() and 1 <= int(said) <= len(labels):
        return labels[int(said) - 1]
    return SHORT.get(said, said if said in SHORT.values() else "")


def printable(text: str) -> str:
    """A text that cannot steer the terminal that it is shown on.

    >>> printable("a\\x1b[2Jb")
    'a\\ufffd[2Jb'
    """
    return "".join(each if each.isprintable() or each in "\n\t" else "\ufffd" for each in text)
