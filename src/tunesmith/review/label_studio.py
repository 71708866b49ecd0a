"""Label Studio's JSON: an array of tasks, each with its `data` and its `annotations`.

As `label_studio/data_export/serializers.py` and its guide (task_format.md) have it: whoever
annotated is `completed_by`, an object with `id` and `email` in exports, a number in older ones;
`lead_time` is in seconds; a task that was skipped has an annotation that `was_cancelled`. On import
it knows people by `email` alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from xml.sax.saxutils import quoteattr

from tunesmith.records.review import UNUSABLE, Judgement
from tunesmith.review.item import Item, Told, field, only

QUESTION, SHOWN = "label", "text"


def interface(labels: Sequence[str]) -> str:
    """The labelling interface that a project there is to be given, for tasks of `to_tasks`."""
    choices = "".join(f"<Choice value={quoteattr(each)}/>" for each in (*labels, UNUSABLE))
    return (
        f'<View><Text name="{SHOWN}" value="${SHOWN}"/>'
        f'<Choices name="{QUESTION}" toName="{SHOWN}" choice="single" required="true">{choices}'
        "</Choices></View>"
    )


def to_tasks(items: Sequence[Item]) -> list[Any]:
    """The rows as tasks."""
    return [
        {
            "id": number,
            "data": {SHOWN: item.text, "row": item.row, "guidelines": item.guidelines},
            "annotations": [_annotation(each) for each in item.judgements],
        }
        for number, item in enumerate(items, start=1)
    ]


def _annotation(judgement: Judgement) -> dict[str, Any]:
    return {
        "completed_by": {"email": judgement.reviewer},
        "lead_time": judgement.seconds,
        "was_cancelled": False,
        "result": [
            {
                "from_name": QUESTION,
                "to_name": SHOWN,
                "type": "choices",
                "value": {"choices": [judgement.label]},
            }
        ],
    }


def told(document: Any) -> Iterator[Told]:
    """The judgements of an export.

    Raises:
        DataError: it is no such export.
    """
    for number, task in enumerate(document, start=1):
        where = f"task {number}"
        data = field(task, "data", dict, where)
        for place, annotation in enumerate(field(task, "annotations", list, where), start=1):
            here = f"{where}, annotation {place}"
            chosen: list[Any] = []
            if not field(annotation, "was_cancelled", bool, here, default=False):
                for result in field(annotation, "result", list, here):
                    if field(result, "type", str, here) == "choices":
                        value = field(result, "value", dict, here)
                        chosen += field(value, "choices", list, here)
            yield Told(
                where=here,
                row=field(data, "row", str, f"the data of {where}"),
                guidelines=field(data, "guidelines", str, f"the data of {where}"),
                who=_who(annotation.get("completed_by")),
                label=only(chosen, here),
                seconds=annotation.get("lead_time"),
            )


def _who(completed_by: Any) -> tuple[str, ...]:
    if isinstance(completed_by, Mapping):
        found = [completed_by.get(name) for name in ("email", "id")]
    else:
        found = [completed_by]
    return tuple(str(each) for each in found if isinstance(each, str | int))
