"""Rows out to other programs that show them to people, and what was said there back in.

A file that is written has the text of rows: nothing here finds it when somebody is forgotten.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tunesmith.core import evidence
from tunesmith.core.canonical import sha256
from tunesmith.core.copies import REVIEWED, require_none_forgotten
from tunesmith.core.erasure import write_private
from tunesmith.core.errors import Conflict, DataError, NotAllowed, NotFound, UsageError
from tunesmith.core.project_folder import STORE
from tunesmith.project import Project
from tunesmith.records.review import Judgement
from tunesmith.records.rows import Content, Tagged
from tunesmith.registry.roles import Actor, acting
from tunesmith.review import argilla, corrections, label_studio, marks
from tunesmith.review import log as logs
from tunesmith.review.desk import Desk, at_work, correct
from tunesmith.review.item import FIELDS, Asked, Given, Item, Told, shown
from tunesmith.review.log import Log, Saying
from tunesmith.stages.curate.verdicts import CORRECTED, correctable, read_correction

FORMATS = ("label-studio", "argilla")
_WRITE: Mapping[str, Callable[[Sequence[Item], Asked], list[Any]]] = {
    "label-studio": label_studio.to_tasks,
    "argilla": argilla.to_records,
}
_READ: Mapping[str, Callable[[Any, Asked], Iterator[Told]]] = {
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
    project: Project,
    review: str,
    path: Path,
    actor: Actor,
    *,
    form: str,
    only_open: bool = False,
    to_interface: Path | None = None,
) -> Exported:
    """Write the rows of a review into a new file that its owner alone can read; and into another
    what the other program is to be set up with, see `interface`.

    A row has its judgements where all of them are given; where one is missing, none, as whoever
    gives it may not see the others. With `only_open` rows that wait for none are left out.

    Raises:
        NotFound, Conflict: see `at_work`; or the file is there; or somebody is being forgotten.
        UsageError: there is no such format, or a file would be in the store, or be both.
    """
    _require_form(form)
    found = at_work(project, review)
    asked = _asked(found)
    whole, beside = path.resolve(), to_interface.resolve() if to_interface else None
    for each in (whole, beside):
        _require_new(project, each)
    if whole == beside:
        raise UsageError(f"{path} would be both files", remedy="name another file")
    items = list(_items(found, asked, only_open=only_open))
    data = json.dumps(_WRITE[form](items, asked), ensure_ascii=False, indent=1).encode()
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
    if beside:
        write_private(beside, _interface(asked, form).encode())
    write_private(whole, data)
    return made


def interface(project: Project, review: str, *, form: str) -> str:
    """What the other program is to be set up with, so that it asks what a review asks: a labelling
    configuration of Label Studio, the settings of a dataset of Argilla.

    Raises:
        NotFound, Conflict: see `at_work`.
        UsageError: there is no such format.
    """
    _require_form(form)
    return _interface(_asked(at_work(project, review)), form)


def _interface(asked: Asked, form: str) -> str:
    if form == "label-studio":
        return label_studio.interface(asked)
    return json.dumps(argilla.settings(asked), ensure_ascii=False)


def import_(
    project: Project, review: str, path: Path, *, form: str, names: Mapping[str, str]
) -> Imported:
    """Record the judgements of a file, all of them or none; `names` says who is who there.

    Raises:
        NotFound, Conflict: see `at_work`; or what is in the file cannot be recorded: see
            `log.judge`; or somebody judged a row twice, or otherwise than is on record.
        DataError: it cannot be read, or is not of that format.
        NotAllowed: this user may not speak for whoever judged.
        UsageError: there is no such format, or label, or a correction is none.
    """
    _require_form(form)
    found = at_work(project, review)
    data, document = _document(path, form)
    told = list(_READ[form](document, _asked(found)))
    texts = [_text(found, each) for each in told]
    sayings = [_saying(found, each, names, sha256(data)) for each in told if each.label]
    # Else one person could say what two are to say on their own.
    actors = {saying.who: acting(project, saying.who) for saying in sayings}
    num_known = 0
    _require_once(sayings)
    with (
        corrections.keeping(project.runner.blobs) as keep,
        project.runner.database.write() as connection,
    ):
        log = logs.read(connection, review)
        written = (text for text, each in zip(texts, told, strict=True) if each.label)
        for saying, text in zip(sayings, written, strict=True):
            if _is_known(found, log, saying, text):
                num_known += 1
                continue
            _require_not_erased(log, saying)
            extra = {**actors[saying.who].body(), **saying.extra}
            full = correct(found, log, replace(saying, extra=extra), text, keep)
            logs.judge(connection, found.config, log, full)
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


def _require_new(project: Project, path: Path | None) -> None:
    if path and path.is_relative_to((project.folder / STORE).resolve()):
        raise UsageError(f"{path} is in the store", remedy="name a file elsewhere")
    if path and path.exists():
        raise Conflict(f"{path} is there already", remedy="name a new file")
    if path and not path.parent.is_dir():  # before it is on record that rows left
        raise NotFound(f"there is no folder {path.parent}", remedy="make it, or name another")


def _asked(desk: Desk) -> Asked:
    return Asked(
        question=desk.log.word,
        answers=desk.log.answers,
        fields=FIELDS[desk.log.format],
        corrects=corrections.can_correct(desk.log.format) and desk.log.format != "tags",
        marks=marks.labels(desk.tags, _tagged(desk)),
        guidelines=desk.guidelines,
        per_row=desk.config.per_row,
    )


def _tagged(desk: Desk) -> Iterator[Tagged]:
    """The rows whose words have tags, as they are and as people corrected them."""
    given = (each for row in desk.rows for each in desk.log.all_of(row))
    for content in (*desk.contents.values(), *(_correction(desk, each) for each in given)):
        if isinstance(content, Tagged):
            yield content


def _correction(desk: Desk, said: Judgement) -> Content | None:
    if said.correction is None:
        return None
    like = type(desk.contents[said.row])
    return read_correction(desk.project.runner.blobs, said.correction, like)


def _items(desk: Desk, asked: Asked, *, only_open: bool) -> Iterator[Item]:
    for row in desk.rows:
        is_open = logs.missing(desk.log, row, desk.config.per_row)
        if is_open or not only_open:
            content = desk.contents[row]
            given = () if is_open else desk.log.judged.get(row, {}).values()
            yield Item(
                review=desk.config.name,
                row=row,
                guidelines=desk.digest,
                shown=shown(desk.log.format, content),
                text=correctable(content) if asked.corrects else "",
                marks=_marks(content, asked) or (),
                judgements=tuple(_given(desk, each, asked) for each in given),
            )


def _given(desk: Desk, said: Judgement, asked: Asked) -> Given:
    content = _correction(desk, said)
    return Given(
        reviewer=said.reviewer,
        label=said.label,
        seconds=said.seconds,
        text=correctable(content) if content and asked.corrects else "",
        marks=_marks(content, asked),
    )


def _marks(content: Content | None, asked: Asked) -> tuple[marks.Mark, ...] | None:
    return marks.of_row(content, asked.marks) if isinstance(content, Tagged) else None


def _document(path: Path, form: str) -> tuple[bytes, list[Any]]:
    try:
        data = path.read_bytes()
        document = _parsed(data, form)
    except OSError as error:
        raise DataError(
            f"{path} cannot be read: {error.strerror}", remedy="name a file that is there"
        ) from error
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{path} is no JSON: {error}",
            remedy="is it whole? export it as JSON, not as CSV; of Argilla as JSON or JSON lines",
        ) from error
    if not isinstance(document, list):
        raise DataError(
            f"{path} is no array of tasks or records", remedy="export all of them into one file"
        )
    return data, document


def _parsed(data: bytes, form: str) -> Any:
    """An array; of Argilla's also a record on each line."""
    if form == "argilla" and data.lstrip().startswith(b"{"):
        found: Any = [json.loads(line) for line in data.splitlines() if line.strip()]
    else:
        found = json.loads(data)
    if rb"\ud" in data.lower():  # half of a character is no text
        json.dumps(found, ensure_ascii=False).encode()
    return found


def _text(desk: Desk, told: Told) -> str:
    """What a row should be; empty where the file has nothing but what stands there, as a program
    may have filled it in."""
    texts, where = list(told.texts), f"{told.where}: "
    content = desk.contents.get(told.row)
    corrects = told.label == CORRECTED
    if isinstance(content, Tagged) and (told.marks or corrects):
        known = {*desk.tags, *content.tags}
        tags = marks.tags_of(told.marks, content, known, told.where)
        texts.append(correctable(replace(content, tags=tags)))
    if content is None or not corrections.can_correct(desk.log.format):
        return "\n".join(texts) if corrects or content is not None else ""
    stands = correctable(content)
    others = [text for text in texts if text.split() != stands.split()]
    if len(others) > 1:
        raise DataError(
            f"{told.where} has {len(others)} corrections", remedy="leave the one that holds"
        )
    if others and not told.label:
        raise DataError(
            f"{told.where} has a correction, and no {desk.log.word}",
            remedy=f"choose {CORRECTED!r} there, or take the correction away",
        )
    if others and not corrects:
        raise DataError(
            f"{where}the row is {told.label!r}, and has a correction too",
            remedy=f"choose {CORRECTED!r} there, or take the correction away",
        )
    return others[0] if others else stands if corrects and texts else ""


def _saying(desk: Desk, told: Told, names: Mapping[str, str], digest: str) -> Saying:
    if told.review not in ("", desk.config.name):
        raise DataError(
            f"{told.where} is of review {told.review!r}", remedy="name that review, or another file"
        )
    if told.seconds is not None and not (
        isinstance(told.seconds, int | float) and 0 <= told.seconds < math.inf
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


def _require_once(sayings: Iterable[Saying]) -> None:
    seen: dict[tuple[str, str], str] = {}
    for saying in sayings:
        earlier = seen.setdefault((saying.row, saying.who), saying.where)
        if earlier != saying.where:
            raise Conflict(
                f"{saying.where}{saying.who} judged row {saying.row} twice in this file, first "
                f"in {earlier.rstrip(': ')}",
                remedy="leave one of them out",
            )


def _require_not_erased(log: Log, saying: Saying) -> None:
    """An old file would bring back what was erased."""
    lost = {(each.row, each.reviewer) for each in log.lost}
    if saying.label == CORRECTED and (saying.row, saying.who) in lost:
        raise Conflict(
            f"{saying.where}a correction of row {saying.row} by {saying.who} was erased for "
            "somebody's sake",
            remedy="erase it there too and leave it out of the file; correct the row here: "
            f"`tunesmith review next {log.review}`",
        )


def _is_known(desk: Desk, log: Log, saying: Saying, text: str) -> bool:
    """Whether it is on record; if otherwise, it is no other judgement but a contradiction. Of a row
    that is gone there is no telling what a correction says."""
    before = log.judged.get(saying.row, {}).get(saying.who)
    if before is None or before.label != saying.label:
        return False
    if saying.row not in desk.contents:
        return True
    content = _correction(desk, before)
    return content is None or corrections.text_of(content) == " ".join(text.split())
