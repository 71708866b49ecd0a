"""The metrics of a task of the harness, and ours in their place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tunesmith.stages.evaluate.harness_filters import LEAVES_OUT, ignored, unread
from tunesmith.stages.evaluate.task import READ

METRICS = {
    "acc": "accuracy",
    "acc_norm": "normalised accuracy",
    "exact_match": "exact match",
    "chrf": "chrF",
    "bleu": "BLEU",
}
OF_ALL = ("chrf", "bleu")
"""What is of all answers together there too, by sacrebleu's defaults as ours is."""
REGEXES = "regexes_to_ignore"
OF_TOTAL = ("perplexity", "word_perplexity", "byte_perplexity", "bits_per_byte")
"""What is counted there of the nats of all rows, by row, word or byte: here it is by token."""


def metrics_of(
    task: Mapping[str, Any], ask: str, rows: Sequence[Mapping[str, Any]]
) -> tuple[list[str], list[str], list[str]]:
    """Our metrics; of those that are asked for, what is not carried over; and what is another way
    here and says the same of the same answers."""
    if ask == "score":
        return list(READ), *_of_texts(task)
    return *_of_answers(task, ask == "choose", rows), []


def _of_answers(
    task: Mapping[str, Any], chooses: bool, rows: Sequence[Mapping[str, Any]]
) -> tuple[list[str], list[str]]:
    """Our metrics, and what is not carried over of those that are asked for."""
    found: list[str] = []
    changes: list[str] = []
    for each in task.get("metric_list") or []:
        name = str(each.get("metric"))
        ours = METRICS.get(name, "")
        if not ours or chooses != (name in ("acc", "acc_norm")):
            changes.append(f"metric {name}")
            continue
        if name == "exact_match" and each.get("ignore_case"):
            ours = "caseless match"
        out = [key for key in (REGEXES, *LEAVES_OUT) if each.get(key)]
        if out and unread(ignored(task)):
            changes.append(f"metric {name}: {', '.join(out)}")
        of_all = name in OF_ALL
        if each.get("aggregation", own := name if of_all else "mean") != own:
            here = "of all answers together" if of_all else "the mean over the rows"
            changes.append(f"metric {name}: here {here}")
        if of_all and any(isinstance(row.get("answer"), list) for row in rows):
            changes.append(f"metric {name}: here of several right answers, which it is not there")
        found.append(ours)
    default = ["accuracy", "normalised accuracy"] if chooses else ["exact match"]
    return list(dict.fromkeys(found)) or default, changes


def _of_texts(task: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """What is not carried over of the metrics of texts, and what is another way here."""
    names = [str(each.get("metric")) for each in task.get("metric_list") or []]
    return (
        [f"metric {name}" for name in names if name not in OF_TOTAL],
        [f"metric {name}: the same nats, here by token" for name in names if name in OF_TOTAL],
    )
