"""Rows on a terminal: each is shown, its answer is read from standard input, and it is timed."""

from __future__ import annotations

import re
import sys
import textwrap
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tunesmith.cli.render import WIDTH, out, say
from tunesmith.core.errors import Conflict, UsageError
from tunesmith.records.review import UNUSABLE, Judgement
from tunesmith.registry.roles import Actor
from tunesmith.review import corrections
from tunesmith.review.desk import Desk, decide, judge
from tunesmith.review.parts import parts
from tunesmith.stages.curate.verdicts import CORRECTED

STOP, SKIP, HELP, MORE = "stop", "skip", "guidelines", "more"
SHORT = {"q": STOP, "s": SKIP, "g": HELP, "m": MORE, "u": UNUSABLE}
END = "."
"""A line that is this alone ends a correction."""
MOST_LINES, FIRST_LINES, LAST_LINES = 40, 28, 8
"""A part of a row with more lines than the most is folded; these of it are shown."""


class Answer(NamedTuple):
    """What somebody says of a row."""

    label: str
    """Or `SKIP` or `STOP`."""
    text: str = ""
    """The row as it should be."""


def next_of(desk: Desk, user: Actor, *, decides: bool) -> dict[str, Any]:
    """The row that is next for `user`, without what others said of it where it is to be judged."""
    waiting = desk.waiting(user.name, decides=decides)
    row = waiting[0] if waiting else ""
    given = desk.given(row) if decides and row else []
    texts = [text for _, text in given if text]
    return {
        "review": desk.config.name,
        "row": row,
        "text": desk.texts[row] if row else "",
        "parts": parts(desk.contents[row]) if row else [],
        "labels": desk.log.answers,
        **({"given": [label for label, _ in given]} if decides else {}),
        **({"corrections": texts} if texts else {}),
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
        given = _show(desk, row, f"row {number} of {len(waiting)}", decides=decides)
        started = time.monotonic()
        answer = _answer(desk, row, given)
        if answer.label == STOP:
            break
        if answer.label == SKIP:
            continue
        try:
            put(desk, user, row, answer.label, time.monotonic() - started, answer.text)
        except Conflict as error:  # others were faster
            say(error.message)
            continue
        num_done += 1
    left = len(waiting) - num_done
    verb = "decided" if decides else "judged"
    out(None, [f"{num_done} rows {verb}, {left} left for {user.name}"], as_json=False)


def _show(desk: Desk, row: str, head: str, *, decides: bool) -> Mapping[str, str]:
    """Show a row; the corrections of others that may be taken, by what is typed to take them."""
    say(f"\n{head}  ({row[:12]})\n")
    _say_parts(desk, row, whole=False)
    taken: dict[str, str] = {}
    if decides:
        given = desk.given(row)
        say(f"others said: {', '.join(label for label, _ in given)}")
        texts = dict.fromkeys(text for _, text in given if text)
        taken = {f"c{place}": text for place, text in enumerate(texts, start=1)}
        for key, text in taken.items():
            say(f"{key} takes this correction:")
            say(folded(text, indent="    "))
    numbered = [f"{number} {label}" for number, label in enumerate(desk.log.labels, start=1)]
    unusable = "u unusable   " if UNUSABLE in desk.log.answers else ""
    say(f"{'   '.join(numbered)}\n{unusable}s skip   m more   g guidelines   q stop")
    return taken


def _say_parts(desk: Desk, row: str, *, whole: bool) -> None:
    """A text alone as it is; several parts each under its name."""
    shown = parts(desk.contents[row])
    for part in shown:
        if len(shown) > 1:
            say(f"[{part.name}]")
        say(folded(part.text, whole=whole) + "\n")


def _answer(desk: Desk, row: str, taken: Mapping[str, str]) -> Answer:
    """A label, or `SKIP` or `STOP`; the end of the input is the latter."""
    while True:
        line = sys.stdin.readline()
        if not line:
            return Answer(STOP)
        said = line.strip()
        found = said if said in desk.log.answers else _meant(desk, said)
        if said in taken:
            return Answer(CORRECTED, taken[said])
        if found == HELP:
            say(printable(desk.guidelines))
        elif found == MORE:
            _say_parts(desk, row, whole=True)
        elif found == CORRECTED and corrections.can_correct(desk.log.format):
            if text := _correction(desk, row):
                return Answer(CORRECTED, text)
        elif found:
            return Answer(found)
        else:
            _refuse(
                f"{said!r} is no answer",
                f"one of: {', '.join(desk.log.answers)}",
                f"{said!r} is no answer: a {desk.log.word} or its number, or one of the letters",
            )


def _correction(desk: Desk, row: str) -> str:
    """What the row should be, as it is typed; empty where it is no correction."""
    say(f"write all of what it should be; a line with {END!r} alone ends it")
    lines: list[str] = []
    for line in iter(sys.stdin.readline, ""):
        if line.rstrip("\r\n") == END:
            break
        lines.append(line)
    text = "".join(lines).rstrip("\n")
    try:
        corrections.made(desk.contents[row], text, desk.tags)
    except UsageError as error:
        _refuse(error.message, error.remedy, f"{error.message}: {error.remedy}; answer again")
        return ""
    return text


def _refuse(message: str, remedy: str, said: str) -> None:
    """Say that an answer is none, where somebody is there to give another.

    Raises:
        UsageError: nobody is.
    """
    if not sys.stdin.isatty():
        raise UsageError(message, remedy=remedy)
    say(said)


def _meant(desk: Desk, said: str) -> str:
    labels = desk.log.labels
    if said.isdecimal() and 1 <= int(said) <= len(labels):
        return labels[int(said) - 1]
    found = SHORT.get(said, said if said in SHORT.values() else "")
    return "" if found == UNUSABLE and UNUSABLE not in desk.log.answers else found


def folded(text: str, *, whole: bool = False, indent: str = "") -> str:
    """A text that fits on a terminal and cannot steer it: long lines are wrapped at words, and of
    many lines those in the middle are left out, unless all are wanted.

    >>> print(folded("a b " * 40).count("\\n"))
    1
    """
    lines: list[str] = []
    for line in printable(text).split("\n"):
        lines += _wrapped(line, WIDTH - len(indent))
    if not whole and len(lines) > MOST_LINES:
        num_left_out = len(lines) - FIRST_LINES - LAST_LINES
        middle = [f"[... {num_left_out} lines more: m shows all ...]"]
        lines = [*lines[:FIRST_LINES], *middle, *lines[-LAST_LINES:]]
    return "\n".join(f"{indent}{line}" for line in lines)


def _wrapped(line: str, width: int) -> Sequence[str]:
    """A line as it is, if it fits: white space says something in code and tables."""
    if len(line) <= width:
        return [line]
    begins = re.match(r"[ \t]*", line)
    return textwrap.wrap(
        line,
        width,
        subsequent_indent=begins.group() if begins and len(begins.group()) < width // 2 else "",
        replace_whitespace=False,
        break_on_hyphens=False,
    ) or [line]


def printable(text: str) -> str:
    """A text that cannot steer the terminal that it is shown on.

    >>> printable("a\\x1b[2Jb")
    'a\\ufffd[2Jb'
    """
    return "".join(each if each.isprintable() or each in "\n\t" else "\ufffd" for each in text)
