"""Rows out to other programs that show them to people, and what was said there back in.

A file that is written has the text of rows: nothing here finds it when somebody is forgotten.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tunesmith.core import evidence
from tunesmith.core.canonical import sha256
from tunesmith.core.copies import REVIEWED, require_none_forgotten
from tunesmith.core.erasure import write_private
from tunesmith.core.errors import Conflict, DataError, NotAllowed, UsageError
from tunesmith.core.project_folder import STORE
from tunesmith.project import Project
from tunesmith.records.review import Judgement
from tunesmith.registry.roles import Actor, acting
from tunesmith.review import argilla, label_studio
from tunesmith.review import log as logs
from tunesmith.review.desk import Desk, at_work
from tunesmith.review.item import Item, Told
from tunesmith.review.log import Log, Saying

FORMATS = ("label-studio", "argilla")
_WRITE: Mapping[str, Callable[[Sequence[Item]], list[Any]]] = {
    "label-studio": label_studio.to_tasks,
    "argilla": argilla.to_records,
}
_READ: Mapping[str, Callable[[Any], Iterator[Told]]] = {
    "label-studio": label_studio.told,
    "argilla": argilla.told,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Exported:
    """A file that was written."""

    path: str
    format: str
    num_rows: int
    num_judgements: int
    sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Imported:
    """What was taken from a file. Judgements in it == num_added + num_known + num_skipped."""

    path: str
    format: str
    num_added: int
    num_known: int
    """Judgements that are on record already, and say the same."""
    num_skipped: int
    """What nobody was said to have chosen a label in, such as a task that was cancelled."""
    sha256: str


def export(
    project: Project, review: str, path: Path, actor: Actor, *, form: str, only_open: bool = False
) -> Exported:
    """Write the rows of a review into a new file that its owner alone can read.

    A row has its judgements where all of them are given; where one is missing, none, as whoever
    gives it may not see the others. With `only_open` rows that wait for none are left out.

    Raises:
        NotFound, Conflict: see `at_work`; or the file is there; or somebody is being forgotten.
        UsageError: there is no such format, the rows have no labels, or the file would be in the
            store.
    """
    _require_form(form)
    found = _of_labels(at_work(project, review))
    whole = path.resolve()
    if whole.is_relative_to((project.folder / STORE).resolve()):
        raise UsageError(f"{path} is in the store", remedy="name a file elsewhere")
    if whole.exists():
        raise Conflict(f"{path} is there already", remedy="name a new file")
    items = list(_items(found, only_open=only_open))
    data = json.dumps(_WRITE[form](items), ensure_ascii=False, indent=1).encode()
    made = Exported(
        path=str(path),
        format=form,
        num_rows=len(items),
        num_judgements=sum(len(item.judgements) for item in items),
        sha256=sha256(data),
    )
    with project.runner.database.write() as connection:
        require_none_forgotten(connection, f"the rows of review {review}")
        evidence.append(
            connection, REVIEWED, actor.name, {"review": review, "made": made, **actor.body()}
        )
    write_private(whole, data)
    return made


def import_(
    project: Project, review: str, path: Path, *, form: str, names: Mapping[str, str]
) -> Imported:
    """Record the judgements of a file, all of them or none; `names` says who is who there.

    Raises:
        NotFound, Conflict: see `at_work`; or what is in the file cannot be recorded: see
            `log.judge`; or somebody judged a row twice, or otherwise than is on record.
        DataError: it cannot be read, or is not of that format.
        NotAllowed: this user may not speak for whoever judged.
        UsageError: there is no such format, or no such label, or the rows have no labels.
    """
    _require_form(form)
    found = _of_labels(at_work(project, review))
    data, document = _document(path)
    told = list(_READ[form](document))
    sayings = [_saying(found, each, names, sha256(data)) for each in told if each.label]
    # Else one person could say what two are to say on their own.
    actors = {saying.who: acting(project, saying.who) for saying in sayings}
    num_known = 0
    seen: dict[tuple[str, str], str] = {}
    with project.runner.database.write() as connection:
        log = logs.read(connection, review)
        for saying in sayings:
            earlier = seen.setdefault((saying.row, saying.who), saying.where)
            if earlier != saying.where:
                raise Conflict(
                    f"{saying.where}{saying.who} judged row {saying.row} twice in this file, first "
                    f"in {earlier.rstrip(': ')}",
                    remedy="leave one of them out",
                )
            if _is_known(log, saying):
                num_known += 1
            else:
                extra = {**actors[saying.who].body(), **saying.extra}
                logs.judge(connection, found.config, log, replace(saying, extra=extra))
    return Imported(
        path=str(path),
        format=form,
        num_added=len(sayings) - num_known,
        num_known=num_known,
        num_skipped=len(told) - len(sayings),
        sha256=sha256(data),
    )


def _require_form(form: str) -> None:
    if form not in FORMATS:
        raise UsageError(f"there is no format {form!r}", remedy=f"one of: {', '.join(FORMATS)}")


def _of_labels(desk: Desk) -> Desk:
    if desk.log.format != "labels":
        raise UsageError(
            f"rows of format {desk.log.format!r} go to no other program, nor come from one",
            remedy=f"judge them here: `tunesmith review next {desk.config.name}`",
        )
    return desk


def _items(desk: Desk, *, only_open: bool) -> Iterator[Item]:
    for row in desk.rows:
        is_open = logs.missing(desk.log, row, desk.config.per_row)
        if is_open or not only_open:
            given: tuple[Judgement, ...] = tuple(desk.log.judged.get(row, {}).values())
            yield Item(
                row=row,
                text=desk.texts[row],
                guidelines=desk.digest,
                judgements=() if is_open else given,
            )


def _document(path: Path) -> tuple[bytes, list[Any]]:
    try:
        data = path.read_bytes()
        document = json.loads(data)
    except OSError as error:
        raise DataError(
            f"{path} cannot be read: {error.strerror}", remedy="name a file that is there"
        ) from error
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{path} is no JSON: {error}", remedy="export it as JSON, not as CSV or JSON lines"
        ) from error
    if not isinstance(document, list):
        raise DataError(
            f"{path} is no array of tasks or records", remedy="export all of them into one file"
        )
    return data, document


def _saying(desk: Desk, told: Told, names: Mapping[str, str], digest: str) -> Saying:
    if told.seconds is not None and not (
        isinstance(told.seconds, int | float) and math.isfinite(told.seconds) and told.seconds >= 0
    ):
        raise DataError(
            f"{told.where} took {told.seconds!r} seconds", remedy="a time is a number from 0 up"
        )
    return Saying(
        row=told.row,
        who=_who(desk, told, names),
        label=told.label,
        seconds=told.seconds,
        guidelines=told.guidelines,
        where=f"{told.where}: ",
        extra={"file": digest},
    )


def _who(desk: Desk, told: Told, names: Mapping[str, str]) -> str:
    people = desk.config.reviewers
    known = {argilla.user_id(name): name for name in people} | {name: name for name in people}
    for each in told.who:
        if each in names or each in known:
            return names.get(each) or known[each]
    called = told.who[0] if told.who else ""
    raise NotAllowed(
        f"{told.where} is by {called or 'nobody'!r}, who is no reviewer of {desk.config.name!r}",
        remedy=f"say who that is: --who {called or 'ID'}={people[0]}",
    )


def _is_known(log: Log, saying: Saying) -> bool:
    """Whether it is on record; if otherwise, it is no other judgement but a contradiction."""
    before = log.judged.get(saying.row, {}).get(saying.who)
    return before is not None and before.label == saying.label
