"""Argilla's records, as version 2 of its Python client writes them; and its settings of a dataset.

An array of objects with `id`, `fields`, `metadata`, `suggestions`, `responses` and `vectors`
(`rg.Dataset.records.to_json`): responses are by question, each with its `value` and the `user_id`
(a UUID) of whoever gave it; whether one is a draft is not said. It is in the two other forms that
are read: responses by user with `values` and `status`, as the server has them, and records without
nesting (`to_list(flatten=True)`, `to_datasets`), such as {"verdict.responses": [...]}. There is no
time in any of them.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from tunesmith.core.errors import DataError
from tunesmith.review.item import (
    CORRECTION,
    MARKS,
    TURNS,
    WORDS,
    Asked,
    Given,
    Item,
    Told,
    field,
    mark,
    only,
    require_asked,
    texts,
)
from tunesmith.review.marks import Mark

SUBMITTED = "submitted"
OPTIONAL = ("tools", "answer", "negative")
"""Texts that rows may be without."""


def user_id(name: str) -> str:
    """The UUID that stands for a person in a file of ours; Argilla gives others to its users."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"tunesmith:{name}"))


def settings(asked: Asked) -> dict[str, Any]:
    """The settings of a dataset there, for records of `to_records`: what `rg.Settings.from_json`
    reads."""
    return {
        "guidelines": asked.guidelines,
        "fields": [_field(name) for name in asked.fields],
        "questions": list(_questions(asked)),
        "metadata": [
            {"name": name, "settings": {"type": "terms"}, "visible_for_annotators": False}
            for name in ("review", "guidelines")
        ],
        "vectors": [],
        "allow_extra_metadata": False,
        "distribution": {"strategy": "overlap", "min_submitted": asked.per_row},
    }


def _field(name: str) -> dict[str, Any]:
    kind = {"type": "chat" if name == TURNS else "text", "use_markdown": False}
    return {"name": name, "title": name, "required": name not in OPTIONAL, "settings": kind}


def _questions(asked: Asked) -> Iterator[dict[str, Any]]:
    yield {
        "name": asked.question,
        "required": True,
        "settings": {"type": "label_selection", "options": _options(asked.answers)},
    }
    if asked.corrects:
        yield {
            "name": CORRECTION,
            "required": False,
            "settings": {"type": "text", "use_markdown": False},
        }
    if asked.marks:
        yield {
            "name": MARKS,
            "required": False,
            "settings": {
                "type": "span",
                "field": WORDS,
                "allow_overlapping": False,
                "options": _options(asked.marks),
            },
        }


def _options(values: Sequence[str]) -> list[dict[str, str]]:
    return [{"value": each, "text": each} for each in values]


def to_records(items: Sequence[Item], asked: Asked) -> list[Any]:
    """The rows as records. What stands in a row is suggested where it can be corrected, and nothing
    else: who is shown a label is led to agree with it."""
    return [
        {
            "id": item.row,
            "fields": {
                name: value for name, value in item.shown.items() if value or name not in OPTIONAL
            },
            "metadata": {"review": item.review, "guidelines": item.guidelines},
            "suggestions": {
                name: {"value": value, "score": None, "agent": "dataset"}
                for name, value in (
                    (CORRECTION, item.text if asked.corrects else ""),
                    (MARKS, _spans(item.marks)),
                )
                if value
            },
            "responses": _responses(item.judgements, asked),
            "vectors": {},
            "_server_id": None,
        }
        for item in items
    ]


def _responses(judgements: Sequence[Given], asked: Asked) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for given in judgements:
        values = {
            asked.question: given.label,
            CORRECTION: given.text or None,
            MARKS: None if given.marks is None else _spans(given.marks),
        }
        for question, value in values.items():
            if value is not None:
                found.setdefault(question, []).append(
                    {"value": value, "user_id": user_id(given.reviewer), "status": SUBMITTED}
                )
    return found


def _spans(marks: Sequence[Mark]) -> list[Any]:
    return [{"label": each.label, "start": each.start, "end": each.end} for each in marks]


def told(document: Any, asked: Asked) -> Iterator[Told]:
    """The judgements of such a file.

    Raises:
        DataError: it is no such file.
    """
    for number, record in enumerate(document, start=1):
        where = f"record {number}"
        is_flat = isinstance(record, Mapping) and not record.keys() & {"responses", "fields"}
        row = _row(record, where)
        metadata = record if is_flat else field(record, "metadata", dict, where)
        guidelines = field(metadata, "guidelines", str, f"the metadata of {where}")
        answers = list((_by_column if is_flat else _by_user)(record, where))
        require_asked({name for each in answers for name in each.values}, asked, where)
        for place, answer in enumerate(answers, start=1):
            here = f"{where}, response {place}"
            chosen, written = answer.values.get(asked.question), answer.values.get(CORRECTION)
            spans = answer.values.get(MARKS)
            if answer.status != SUBMITTED:
                chosen = written = spans = None
            yield Told(
                where=here,
                review=field(metadata, "review", str, f"the metadata of {where}", default=""),
                row=row,
                guidelines=guidelines,
                who=(answer.user,),
                label=only([] if chosen is None else [chosen], here),
                seconds=None,
                texts=texts([written] if written else [], here),
                marks=tuple(_marks(spans, here)),
            )


class _Answer(NamedTuple):
    """What one person said of a record."""

    user: str
    status: str
    values: dict[str, Any]
    """By question."""


def _row(record: Any, where: str) -> str:
    """The id that a record was given; the server has it beside its own."""
    name = "external_id" if isinstance(record, Mapping) and record.get("external_id") else "id"
    return str(field(record, name, str, where))


def _by_user(record: Mapping[str, Any], where: str) -> Iterator[_Answer]:
    """The answers of each person, from responses by question or by person."""
    responses = record.get("responses")
    if isinstance(responses, list):
        for place, response in enumerate(responses, start=1):
            here = f"{where}, response {place}"
            values = field(response, "values", dict, here, default={})
            yield _Answer(
                user=field(response, "user_id", str, here),
                status=field(response, "status", str, here),
                values={
                    name: field(value, "value", object, here) for name, value in values.items()
                },
            )
        return
    found: list[tuple[str, Any, str, str]] = []
    for question in field(record, "responses", dict, where):
        given = field(record["responses"], question, list, where, default=[])
        for place, response in enumerate(given, start=1):
            here = f"{where}, response {place}"
            status = field(response, "status", str, here, default=SUBMITTED)
            user = field(response, "user_id", str, here)
            found.append((question, response.get("value"), user, status))
    yield from _collected(found, where)


def _by_column(record: Mapping[str, Any], where: str) -> Iterator[_Answer]:
    """The same of a record without nesting, that has a column for each of them."""
    end = ".responses"
    found: list[tuple[str, Any, str, str]] = []
    for column in (each for each in record if each.endswith(end)):
        values = field(record, column, list, where, default=[])
        users = field(record, f"{column}.users", list, where, default=[])
        statuses = field(record, f"{column}.status", list, where, default=[])
        if not len(values) == len(users) == len(statuses):
            raise DataError(
                f"{where} has {len(values)} {column}, {len(users)} users and {len(statuses)} "
                "statuses",
                remedy="export the records anew",
            )
        for value, user, status in zip(values, users, statuses, strict=True):
            found.append((column.removesuffix(end), value, str(user), status or SUBMITTED))
    yield from _collected(found, where)


def _collected(given: Sequence[tuple[str, Any, str, str]], where: str) -> Iterator[_Answer]:
    """Answers by person, of (question, value, user, status)."""
    found: dict[str, _Answer] = {}
    for question, value, user, status in given:
        answer = found.setdefault(user, _Answer(user, status, {}))
        if question in answer.values:
            raise DataError(
                f"{where} has two answers of {user} to {question!r}", remedy="leave one of them out"
            )
        answer.values[question] = value
        if status != SUBMITTED:
            found[user] = answer._replace(status=status)
    yield from found.values()


def _marks(spans: Any, here: str) -> Iterator[Mark]:
    for each in field({MARKS: spans}, MARKS, list, here, default=[]):
        yield mark(each, field(each, "label", str, here), here)
