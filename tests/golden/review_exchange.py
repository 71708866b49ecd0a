"""Makes the answers of review_exchange.json: `python review_exchange.py IN OUT`, in an environment
with the packages `label-studio-sdk` and `argilla`, which no test needs.

IN has, by program and format, what was `exported`, its `interface` and what is to be said of each
row (`said`: row, who, verdict, correction). OUT has what these packages wrote when they were told
that, `answered`. It ends with an AssertionError where they do not take what was exported.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
from pathlib import Path
from unittest.mock import MagicMock
from uuid import NAMESPACE_OID, uuid5

PEOPLE = ("ann", "bob")


def exported(given: dict) -> dict:
    """What was written here."""
    return {name: given[name] for name in ("exported", "interface")}


def spans(text: str, tags: list[str]) -> list[tuple[int, int, str]]:
    """What is marked so that the words of a text have these tags, as IOB2 has them."""
    found: list[tuple[int, int, str]] = []
    for match, tag in zip(re.finditer(r"\S+", text), tags, strict=True):
        if tag.startswith("I-"):
            found[-1] = (found[-1][0], match.end(), tag[2:])
        elif tag != "O":
            found.append((*match.span(), tag[2:]))
    return found


def label_studio(given: dict) -> dict:
    """Tasks as an export has them, with a result that the package made for each answer; beside
    them a task that was skipped, and a draft."""
    from label_studio_sdk.label_interface import LabelInterface

    interface = LabelInterface(given["interface"])
    interface.validate()
    answered = []
    for task in given["exported"]:
        assert interface.validate_task({"data": task["data"]})
        for each in (*task["annotations"], *task.get("predictions", [])):
            assert interface.validate_annotation(each), each
        row, annotations = task["data"]["row"], []
        for _, who, verdict, text in (said for said in given["said"] if said[0] == row):
            regions = [interface.get_control("verdict").label([verdict])]
            if text and "words" in task["data"]:
                marks = interface.get_control("marks")
                for start, end, label in spans(task["data"]["words"], json.loads(text)):
                    regions.append(marks.label([label], start=start, end=end))
            elif text:
                regions.append(interface.get_control("correction").label(text=[text]))
            result = [region._dict() for region in regions]
            for region in result:
                value = region["value"]
                if "start" in value:  # as the program itself writes it
                    value["text"] = task["data"]["words"][value["start"] : value["end"]]
            annotation = {
                "id": len(annotations) + 1,
                "completed_by": PEOPLE.index(who) + 1,
                "was_cancelled": False,
                "lead_time": 4.25,
                "result": result,
            }
            assert interface.validate_annotation(annotation), annotation
            annotations.append(annotation)
        skipped = {**annotations[0], "was_cancelled": True}
        answered.append(
            {**task, "annotations": [*annotations, skipped], "drafts": [skipped], "project": 1}
        )
    return {**exported(given), "answered": answered, "skipped": len(answered)}


def argilla(given: dict) -> dict:
    """Records as `to_list` writes them, with a response for each answer, and a draft beside."""
    import argilla as rg
    from argilla.records._io import GenericIO

    rg.Argilla._default_client = MagicMock()  # else it looks for a server
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "settings.json"
        path.write_text(given["interface"])
        settings = rg.Settings.from_json(path)
    settings.validate()
    records = []
    for each in given["exported"]:
        record = rg.Record.from_dict(each)
        assert {field.name for field in settings.fields if field.required} <= set(each["fields"])
        assert set(each["fields"]) <= {field.name for field in settings.fields}
        for _, who, verdict, text in (said for said in given["said"] if said[0] == each["id"]):
            values: dict = {"verdict": verdict}
            if text and "words" in each["fields"]:
                values["marks"] = [
                    {"start": start, "end": end, "label": label}
                    for start, end, label in spans(each["fields"]["words"], json.loads(text))
                ]
            elif text:
                values["correction"] = text
            for question, value in values.items():
                assert settings.questions[question] is not None
                user = uuid5(NAMESPACE_OID, f"tunesmith:{who}")
                record.responses.add(rg.Response(question, value, user, status="submitted"))
        other = uuid5(NAMESPACE_OID, "tunesmith:cat")
        record.responses.add(rg.Response("verdict", values["verdict"], other, status="draft"))
        records.append(record)
    answered = GenericIO.to_list(records, flatten=True)
    return {**exported(given), "answered": answered, "skipped": len(answered)}


if __name__ == "__main__":
    read = json.loads(Path(sys.argv[1]).read_text())
    made = {
        "label-studio": {form: label_studio(each) for form, each in read["label-studio"].items()},
        "argilla": {form: argilla(each) for form, each in read["argilla"].items()},
    }
    written = json.dumps(made, ensure_ascii=False, indent=1, sort_keys=True)
    Path(sys.argv[2]).write_text(written + "\n")
