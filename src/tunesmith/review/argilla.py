"""Argilla's records, as `rg.Dataset.records.to_json` of its version 2 writes them.

An array of objects with `id`, `fields`, `metadata`, `suggestions`, `responses` and `vectors`.
Responses are by question, each with its `value` and the `user_id` (a UUID) of whoever gave it.
There is no time in them, and whether one is a draft is not said.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from typing import Any

from tunesmith.review.item import Item, Told, field, only

QUESTION, SHOWN = "label", "text"


def user_id(name: str) -> str:
    """The UUID that stands for a person in a file of ours; Argilla gives others to its users."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"tunesmith:{name}"))


def to_records(items: Sequence[Item]) -> list[Any]:
    """The rows as records. Nothing is suggested: who is shown a label is led to agree with it."""
    return [
        {
            "id": item.row,
            "fields": {SHOWN: item.text},
            "metadata": {"guidelines": item.guidelines},
            "suggestions": {},
            "responses": {
                QUESTION: [
                    {"value": each.label, "user_id": user_id(each.reviewer)}
                    for each in item.judgements
                ]
            }
            if item.judgements
            else {},
            "vectors": {},
            "_server_id": None,
        }
        for item in items
    ]


def told(document: Any) -> Iterator[Told]:
    """The judgements of such a file.

    Raises:
        DataError: it is no such file.
    """
    for number, record in enumerate(document, start=1):
        where = f"record {number}"
        row = field(record, "id", str, where)
        metadata = field(record, "metadata", dict, where)
        responses = field(record, "responses", dict, where)
        for place, response in enumerate(field(responses, QUESTION, list, where, default=[]), 1):
            here = f"{where}, response {place}"
            user = field(response, "user_id", str, here)
            value = response.get("value")
            yield Told(
                where=here,
                row=row,
                guidelines=field(metadata, "guidelines", str, f"the metadata of {where}"),
                who=(user,),
                label=only([] if value is None else [value], here),
                seconds=None,
            )
