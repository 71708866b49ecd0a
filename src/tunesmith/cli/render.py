"""What people see: stdout is data, stderr is progress."""

from __future__ import annotations

import json
import sys
import textwrap
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tunesmith.core.ref import to_plain

if TYPE_CHECKING:
    from tunesmith.records.evaluation import Comparison, Evaluation

Folder = Annotated[
    Path, typer.Option("--project", "-p", help="Folder of the project.", show_default="here")
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Set = Annotated[
    list[str],
    typer.Option(
        "--set", help="Set section.key=value, over the project file.", metavar="KEY=VALUE"
    ),
]
HERE = Path()
PLAIN_EVERY_S = 10.0
WIDTH = 100


def out(value: Any, lines: Sequence[str], as_json: bool) -> None:
    """Print a result: `value` as JSON, or `lines` for people."""
    if as_json:
        typer.echo(json.dumps(to_plain(value), ensure_ascii=False, indent=2))
    elif lines:  # at once: each call flushes
        typer.echo("\n".join(lines))


def say(line: str) -> None:
    """Print a line of progress."""
    typer.echo(line, err=True)


def table(rows: Sequence[Sequence[object]], headings: Sequence[str]) -> list[str]:
    """Left-aligned columns, as wide as they need to be; numbers are right-aligned.

    >>> table([["a", 1], ["bb", 20]], ["name", "n"])
    ['name   n', 'a      1', 'bb    20']
    """
    cells = [[str(cell) for cell in row] for row in [headings, *rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(headings))]
    numeric = [
        all(isinstance(row[i], int | float) for row in rows) and bool(rows)
        for i in range(len(headings))
    ]
    return [
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, numeric, strict=True)
        ).rstrip()
        for row in cells
    ]


def left_out(num_rows: int, limit: int) -> list[str]:
    """The line below a listing that ends at `limit`; none where all rows are in it.

    >>> left_out(20, 20), left_out(21, 20)
    ([], ['and 1 more: --limit 21, or --json for all'])
    """
    more = num_rows - limit
    return [f"and {more} more: --limit {num_rows}, or --json for all"] if more > 0 else []


def wrapped(text: str, indent: str = "") -> list[str]:
    """A long sentence as lines; those after the first are indented further."""
    return textwrap.wrap(text, WIDTH, initial_indent=indent, subsequent_indent=indent + "    ")


def seconds(value: float) -> str:
    """A duration for people.

    >>> seconds(0.25), seconds(59.94), seconds(200), seconds(7300)
    ('0.2 s', '59.9 s', '3 min 20 s', '2 h 01 min')
    """
    if value < 60:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def size(num_bytes: float) -> str:
    """An amount of bytes for people.

    >>> size(812), size(3_900_000_000)
    ('812 B', '3.9 GB')
    """
    for unit in ("B", "kB", "MB"):
        if num_bytes < 1000:
            return f"{num_bytes:.0f} {unit}" if unit == "B" else f"{num_bytes:.1f} {unit}"
        num_bytes /= 1000
    return f"{num_bytes:.1f} GB"


def percent(value: float) -> str:
    """A share for people.

    >>> percent(0.7395)
    '74.0 %'
    """
    return f"{100 * value:.1f} %"


def shortened(text: str, length: int = 40) -> str:
    """The beginning of a text, on one line.

    >>> shortened("one two three", 9)
    'one two …'
    """
    return textwrap.shorten(text, length, placeholder=" …")


def metric(name: str, value: float) -> str:
    """A metric's value for people: shares as percentages.

    >>> metric("accuracy", 0.95), metric("log-likelihood", -1.25)
    ('95.0 %', '-1.250')
    """
    from tunesmith.records.evaluation import is_share

    return percent(value) if is_share(name) else f"{value:.3f}"


def difference(found: Comparison) -> str:
    """A difference and its interval for people: of shares in points; and which way is better, where
    it is not upwards."""
    from tunesmith.records.evaluation import is_share

    factor, unit, form = (100, " points", "+.1f") if is_share(found.metric) else (1, "", "+.3f")
    middle, low, high = (
        format(factor * value, form) for value in (found.difference, found.low, found.high)
    )
    way = ", lower is better" if found.lower_is_better else ""
    return f"{middle}{unit} ({low} to {high}{way})"


def metrics_table(evaluations: Mapping[str, Evaluation], corner: str = "") -> list[str]:
    """Each metric of each evaluation; all have the same."""
    first = next(iter(evaluations.values()))
    rows = [
        [name, *(metric(key, value) for key, value in each.metrics().items())]
        for name, each in evaluations.items()
    ]
    return table(rows, [corner, *first.metrics()])


class ProgressLine:
    """One line that is written over on a terminal, and now and then a line of its own elsewhere.

    Of several steps at work it has each; of one alone, all that there is to say.
    """

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()
        self._width = 0
        self._steps: dict[str, _Pace] = {}

    def show(self, step: str, note: str, done: float, total: float) -> None:
        """Say how far a step is; the time that is left follows from the speed so far."""
        now = time.monotonic()
        pace = self._steps.get(step)
        # A step that says a new total has begun another part of its work, at another speed.
        if pace is None or pace.total != total or done < pace.first:
            pace = _Pace(total=total, since=now, first=done, next_plain=now + PLAIN_EVERY_S)
            self._steps[step] = pace
        pace.said = f"{step}: {note}{pace.left(now, done)}"
        if self._live:
            length = max(20, 160 // len(self._steps))
            text = "  " + " | ".join(each.said[:length] for each in self._steps.values())
            sys.stderr.write("\r" + text[:160].ljust(self._width))
            sys.stderr.flush()
            self._width = min(len(text), 160)
        elif now >= pace.next_plain:
            pace.next_plain = now + PLAIN_EVERY_S
            say(f"  {pace.said}")

    def clear(self, step: str = "") -> None:
        """Take the line away; a `step` that has ended is not in it again."""
        if self._live and self._width:
            sys.stderr.write("\r" + " " * self._width + "\r")
            sys.stderr.flush()
        self._width = 0
        self._steps.pop(step, None)


@dataclass(kw_only=True)
class _Pace:
    """How fast one part of a step's work goes."""

    total: float
    since: float
    first: float
    next_plain: float
    said: str = ""

    def left(self, now: float, done: float) -> str:
        if not self.total:
            return ""
        share = f", {100 * done / self.total:.0f} %"
        if done <= self.first or now - self.since < 1:
            return share
        left = (self.total - done) * (now - self.since) / (done - self.first)
        return f"{share}, {seconds(left)} left"
