"""Label Studio's JSON: an array of tasks, each with its `data` and its `annotations`.

As `label_studio/data_export/serializers.py` and its guide (task_format.md) have it: whoever
annotated is `completed_by`, an object with `id` and `email` in exports, a number in older ones;
`lead_time` is in seconds; a task that was skipped has an annotation that `was_cancelled`. Drafts
and predictions are beside the annotations. On import it knows people by `email` alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from xml.sax.saxutils import quoteattr

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
from tunesmith.stages.curate.verdicts import CORRECTED, FIRST, SECOND

SIDES = {"left": FIRST, "right": SECOND}
"""What a `Pairwise` calls both texts."""


def interface(asked: Asked) -> str:
    """The labelling configuration that a project there is to be given, for tasks of `to_tasks`."""
    to = _on(asked)
    choices = "".join(f"<Choice value={quoteattr(each)}/>" for each in asked.answers)
    labels = "".join(f"<Label value={quoteattr(each)}/>" for each in asked.marks)
    return "".join(
        [
            "<View>",
            f'<Labels name="{MARKS}" toName="{WORDS}">{labels}</Labels>' if labels else "",
            *(_field(name, headed=len(asked.fields) > 1) for name in asked.fields),
            f'<Choices name="{asked.question}" toName="{to}" choice="single" required="true">'
            f"{choices}</Choices>",
            _text_area(asked) if asked.corrects else "",
            "</View>",
        ]
    )


def _on(asked: Asked) -> str:
    return TURNS if TURNS in asked.fields else asked.fields[0]


def _field(name: str, *, headed: bool) -> str:
    header = f'<Header value="{name}"/>' if headed else ""
    if name == TURNS:
        return (
            f'{header}<Paragraphs name="{name}" value="${name}" layout="dialogue" nameKey="role" '
            'textKey="content"/>'
        )
    by_word = ' granularity="word"' if name == WORDS else ""
    return f'{header}<Text name="{name}" value="${name}"{by_word}/>'


def _text_area(asked: Asked) -> str:
    """Shown once a correction is what was chosen; it begins with what stands there."""
    return (
        f'<TextArea name="{CORRECTION}" toName="{_on(asked)}" value="${CORRECTION}" rows="6" '
        'editable="true" maxSubmissions="1" visibleWhen="choice-selected" '
        f'whenTagName="{asked.question}" whenChoiceValue="{CORRECTED}"/>'
    )


def to_tasks(items: Sequence[Item], asked: Asked) -> list[Any]:
    """The rows as tasks. The tags of words are predictions, which can be made the beginning of an
    annotation; nothing else is predicted: who is shown a label is led to agree with it."""
    return [
        {
            "id": number,
            "data": {
                **item.shown,
                **({CORRECTION: item.text} if asked.corrects else {}),
                "row": item.row,
                "review": item.review,
                "guidelines": item.guidelines,
            },
            "annotations": [_annotation(each, asked) for each in item.judgements],
            **(
                {"predictions": [{"model_version": "dataset", "result": _labels(item.marks)}]}
                if item.marks
                else {}
            ),
        }
        for number, item in enumerate(items, start=1)
    ]


def _annotation(given: Given, asked: Asked) -> dict[str, Any]:
    result = [_result(asked.question, _on(asked), "choices", {"choices": [given.label]})]
    if given.text:
        result.append(_result(CORRECTION, _on(asked), "textarea", {"text": [given.text]}))
    return {
        "completed_by": {"email": given.reviewer},
        "lead_time": given.seconds,
        "was_cancelled": False,
        "result": [*result, *_labels(given.marks or ())],
    }


def _labels(marks: Sequence[Mark]) -> list[dict[str, Any]]:
    return [
        {
            "id": f"{MARKS}-{number}",
            **_result(
                MARKS,
                WORDS,
                "labels",
                {"start": at.start, "end": at.end, "text": at.text, "labels": [at.label]},
            ),
        }
        for number, at in enumerate(marks, start=1)
    ]


def _result(name: str, to: str, kind: str, value: Mapping[str, Any]) -> dict[str, Any]:
    return {"from_name": name, "to_name": to, "type": kind, "value": value}


def told(document: Any, asked: Asked) -> Iterator[Told]:
    """The judgements of an export.

    Raises:
        DataError: it is no such export.
    """
    for number, task in enumerate(document, start=1):
        where = f"task {number}"
        data = field(task, "data", dict, where)
        for place, annotation in enumerate(field(task, "annotations", list, where), start=1):
            here = f"{where}, annotation {place}"
            results: list[Any] = []
            if not field(annotation, "was_cancelled", bool, here, default=False):
                results = field(annotation, "result", list, here)
            chosen, written, marks = _answers(results, asked, here)
            yield Told(
                where=here,
                review=field(data, "review", str, f"the data of {where}", default=""),
                row=field(data, "row", str, f"the data of {where}"),
                guidelines=field(data, "guidelines", str, f"the data of {where}"),
                who=_who(annotation.get("completed_by")),
                label=only(chosen, here),
                seconds=annotation.get("lead_time"),
                texts=texts(written, here),
                marks=tuple(marks),
            )


def _answers(
    results: list[Any], asked: Asked, here: str
) -> tuple[list[Any], list[Any], list[Mark]]:
    """What was chosen, written and marked. A `relation` has no name."""
    chosen: list[Any] = []
    written: list[Any] = []
    marks: list[Mark] = []
    names: set[str] = set()
    for result in results:
        kind = field(result, "type", str, here)
        name = field(result, "from_name", str, here, default="")
        names |= {name} - {""}
        if name not in (asked.question, CORRECTION, MARKS):
            continue
        value = field(result, "value", dict, here)
        if name == CORRECTION:
            written += field(value, "text", list, here)
        elif name == MARKS:
            label = only(field(value, "labels", list, here), here)
            marks.append(mark(value, label, here))
        elif kind == "pairwise":
            side = field(value, "selected", str, here)
            chosen.append(SIDES.get(side, side))
        else:
            chosen += field(value, "choices", list, here)
    require_asked(names, asked, here)
    return chosen, written, marks


def _who(completed_by: Any) -> tuple[str, ...]:
    if isinstance(completed_by, Mapping):
        found = [completed_by.get(name) for name in ("email", "id")]
    else:
        found = [completed_by]
    return tuple(str(each) for each in found if isinstance(each, str | int))
