"""What people preferred of pairs of answers that a model judges, too."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tunesmith.core.errors import DataError

SIDES = ("tuned", "base", "tie")
_TEXTS = ("tuned", "base")


@dataclass(frozen=True, kw_only=True, slots=True)
class Preferred:
    """What one person said of one pair."""

    side: str
    """One of `SIDES`."""
    answers: Mapping[str, str]
    """The answers that were compared, by side, where the file says so."""


def read_people(text: str, file: str) -> dict[str, Preferred]:
    """What people preferred, by the id of the row.

    Raises:
        DataError: a line is no such judgement, or a row has two; the message says which.
    """
    found: dict[str, Preferred] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{file}, line {number}"
        try:
            said = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{where} is no JSON: {error}") from error
        if not _is_judgement(said):
            raise DataError(
                f"{where} is no judgement of a pair",
                remedy='write {"id": "answers:3", "preferred": "tuned"}, where preferred is one of '
                f"{', '.join(SIDES)}; the answers may follow as texts: tuned, base",
            )
        if said["id"] in found:
            raise DataError(
                f"{where}: row {said['id']!r} was judged in an earlier line",
                remedy="leave one of them; where people disagree, write what they settled on",
            )
        answers = {side: said[side] for side in _TEXTS if side in said}
        found[said["id"]] = Preferred(side=said["preferred"], answers=answers)
    if not found:
        raise DataError(f"{file} says nothing", remedy="write a judgement a line, or leave it out")
    return found


def _is_judgement(said: Any) -> bool:
    return (
        isinstance(said, dict)
        and set(said) <= {"id", "preferred", *_TEXTS}
        and isinstance(said.get("id"), str)
        and said.get("preferred") in SIDES
        and all(isinstance(said.get(side, ""), str) for side in _TEXTS)
    )
