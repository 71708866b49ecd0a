"""What a task of the harness takes out of an answer, and ours in its place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tunesmith.stages.evaluate.extract import check_pattern

DEFAULT = r"#### (\-?[0-9\.\,]+)"
"""The expression of a filter that names none."""
WHICH = {0: "first", -1: "last"}
LEAVES_OUT = {
    "ignore_punctuation": "[!-/:-@\\[-`{-~]",
    "ignore_numbers": "[0-9]",
}
"""What settings of the exact match leave out; punctuation is that of ASCII."""
WHOLE = "(?s)(.*)"
"""What `remove_whitespace` leaves: all, as what is taken out has no white space around it."""


def filters_of(task: Mapping[str, Any], ask: str) -> tuple[dict[str, Any], list[str], list[str]]:
    """Our settings; what is not carried over; and which further filters are left out: each is a
    measure of its own of the same answers, and the first one is carried over."""
    if ask != "answer":
        given = task.get("filter_list") or []
        return {}, [f"filter_list: {_named(each)}" for each in given], []
    patterns = ignored(task)
    settings: dict[str, Any] = {} if unread(patterns) else {"ignore": patterns}
    first, *more = task.get("filter_list") or [{"filter": []}]
    found = _extract(first.get("filter"))
    changes = [f"filter_list: {_named(first)}"] if found is None else []
    notes = [f"filter_list: {_named(each)}; only the first filter is carried over" for each in more]
    return settings | (found or {}), changes, notes


def _extract(steps: Any) -> dict[str, Any] | None:
    """What the steps of a filter take out of an answer; None where one of them does more."""
    found: dict[str, Any] = {}
    for step in steps if isinstance(steps, list) else [None]:
        if not isinstance(step, dict) or not _is_read(step, found):
            return None
        if step["function"] == "remove_whitespace":
            found.setdefault("extract", WHOLE)
        if step["function"] == "regex":
            found["extract"] = step.get("regex_pattern", DEFAULT)
            found["extract_match"] = WHICH[step.get("group_select", 0)]
    return found


def ignored(task: Mapping[str, Any]) -> list[str]:
    """What the exact match leaves out, where it is the only metric: of several each may leave out
    something else."""
    metrics = task.get("metric_list") or []
    if len(metrics) != 1:
        return []
    found = metrics[0].get("regexes_to_ignore") or []
    if not isinstance(found, list):
        return []
    return [str(each) for each in found] + [
        what for key, what in LEAVES_OUT.items() if metrics[0].get(key)
    ]


def unread(patterns: Sequence[str]) -> bool:
    """Whether there is none, or one that cannot be read here."""
    try:
        return not [check_pattern(each) for each in patterns]
    except ValueError:
        return True


def _is_read(step: Mapping[str, Any], so_far: Mapping[str, Any]) -> bool:
    """Whether one step of a filter is carried over."""
    if step.get("function") in ("take_first", "remove_whitespace"):
        return not step.keys() - {"function"}
    pattern = step.get("regex_pattern", DEFAULT)
    return (
        step.get("function") == "regex"
        and "extract" not in so_far
        and not step.keys() - {"function", "regex_pattern", "group_select"}
        and step.get("group_select", 0) in list(WHICH)
        and isinstance(pattern, str)
        and not unread([pattern])
    )


def _named(each: Mapping[str, Any]) -> str:
    return str(each.get("name", each))[:60]
