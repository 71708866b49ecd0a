"""What came becomes rows, or is quarantined; every one of them is tied to what it was made from."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from tunesmith.asset.contract import Contract
from tunesmith.asset.repaired import repaired
from tunesmith.asset.row import Row, label_of
from tunesmith.records.repair import Repairs
from tunesmith.stages.transform.came import Came, Given, to_json
from tunesmith.stages.transform.config import TransformConfig

MAX_VALUE_CHARS = 200
UNUSED, REFUSED, USED = range(3)
_MORE = re.compile(r" and [0-9]+ more$")


class Refused(NamedTuple):
    """One row that cannot be used; the fields are its columns."""

    row_id: str
    pointer: str
    rule: str
    reason: str
    value: str


class Draft(NamedTuple):
    """What came, with its id, before it is a row."""

    row_id: str
    pointer: str
    as_made: Mapping[str, Any] | None
    """Its fields as they came; None where there are none."""
    fields: Mapping[str, Any] | None
    """... and after its repair, if there is one."""
    problem: tuple[str, str] | None
    """The rule that it breaks already, and how."""


class Edge(NamedTuple):
    """That a row, kept or refused, was made from another."""

    row_id: str
    parent: str


class Tally:
    """How many of what came are rows, and what became of each row that was given."""

    def __init__(self, given: Given) -> None:
        self.num_in = self.num_filtered = self.num_erased = self.num_repaired = 0
        self.by_rule: Counter[str] = Counter()
        self.first_refused: Refused | None = None
        self._fates = bytearray(len(given.row_ids))

    def mark(self, places: Iterable[int], fate: int) -> None:
        """What was made of the rows at `places`; the best of it counts."""
        for place in places:
            self._fates[place] = max(self._fates[place], fate)

    def num_of(self, fate: int) -> int:
        """How many rows had this fate."""
        return self._fates.count(fate)


class Maker:
    """Makes rows of what came.

    The id of a row depends on the transform's name, on what the row was made from, and on what it
    says, or said before it was repaired. Of equal ones each has its number.
    """

    def __init__(
        self,
        config: TransformConfig,
        given: Given,
        is_erased: Callable[[Mapping[str, Any]], bool],
        repairs: Repairs | None,
    ) -> None:
        self._config, self._given, self._is_erased = config, given, is_erased
        self._repairs = {each.record: each for each in repairs.repairs} if repairs else {}
        self._name = hashlib.sha256(f"transform:{config.name}\0".encode())
        self._copies: dict[bytes, int] = {}
        self._contract = Contract(
            config.contract,
            allows_others=config.other_fields == "keep",
            has_strings_only=False,
        )

    def draft(self, came: Came) -> Draft:
        """What came, with its id and its repair."""
        pointer = self._pointer(came.parents)
        if came.fields is None:
            row_id = self._row_id(came.parents, f"transform-error\0{came.problem}")
            return Draft(row_id, pointer, None, None, ("transform-error", came.problem))
        fields, bad = _plain(came.fields)
        row_id = self._row_id(came.parents, _written(self._titled(fields)))
        repair = self._repairs.get(row_id)
        made = repaired(fields, repair) if repair else fields
        changed = {change.field for change in repair.changes} if repair else set()
        problem = next((("bad-value", bad[name]) for name in bad if name not in changed), None)
        return Draft(row_id, pointer, fields, made, problem)

    def make(self, draft: Draft) -> Row | Refused | None:
        """The row; what is wrong with it; or None where it is somebody's who is to be forgotten."""
        row_id, pointer, as_made, made, problem = draft
        if made is None or as_made is None:
            assert problem is not None
            return _refused(row_id, pointer, *problem, "")
        config, fields = self._config, self._titled(made)
        attributes = _written(fields)
        if self._is_erased(as_made) or self._is_erased(made):
            return None
        text = fields.get(config.text or "text")
        label = label_of(fields.get(config.label or "label"))
        if problem is None:
            problem = _problem(config, text, label, fields)
        if problem is None:
            problem = self._contract.problem(made, pointer)
        if problem is not None:
            return _refused(row_id, pointer, *problem, attributes)
        if text is None:
            text = attributes
        return Row(row_id, pointer, text.strip("\n"), label or "", attributes)

    def is_repaired(self, row_id: str) -> bool:
        """Whether there is a repair of the row."""
        return row_id in self._repairs

    def _titled(self, fields: Mapping[str, Any]) -> Mapping[str, Any]:
        title = self._config.title
        if title and isinstance(fields.get(title), str):
            return {**fields, "title": fields[title]}
        return fields

    def _pointer(self, parents: Sequence[int]) -> str:
        """Where the first of the rows is from that a row was made from."""
        first = self._given.pointers[parents[0]]
        if len(parents) == 1:
            return first
        return f"{_MORE.sub('', first)} and {len(parents) - 1} more"

    def _row_id(self, parents: Sequence[int], says: str) -> str:
        digest = self._name.copy()
        for place in parents:
            digest.update(f"{self._given.row_ids[place]}\0".encode())
        digest.update(says.encode())
        content = digest.digest()
        copy = self._copies.get(content, 0)
        self._copies[content] = copy + 1
        if copy:
            digest.update(f"\0{copy}".encode())
        return digest.hexdigest()[:32]


def _problem(
    config: TransformConfig, text: Any, label: str | None, fields: Mapping[str, Any]
) -> tuple[str, str] | None:
    """The rule that a row breaks, and how."""
    if label is None and config.label:
        return "no-label", f"the field {config.label!r} is missing, empty or no plain value"
    if not fields:
        return "empty-text", "it has no field"
    if text is None and not config.text:
        return None
    if not isinstance(text, str):
        return "no-text", f"the field {config.text or 'text'!r} is missing or no text"
    if not text or text.isspace():
        return "empty-text", f"there is no text in the field {config.text or 'text'!r}"
    return None


def _plain(fields: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """The fields as JSON has them, and what is wrong with those that it has not."""
    plain: dict[str, Any] = {}
    bad: dict[str, str] = {}
    for name, value in fields.items():
        try:
            plain[name] = to_json(value)
        except ValueError as error:
            plain[name] = None
            bad[name] = f"the field {name!r}: {error}"
    return plain, bad


def _written(fields: Mapping[str, Any]) -> str:
    return json.dumps(fields, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def _refused(row_id: str, pointer: str, rule: str, reason: str, value: str) -> Refused:
    return Refused(row_id, pointer, rule, reason[:300], value[:MAX_VALUE_CHARS])
