"""Rows that belong together by what their records say: of one person, one case, one contract.

What is tuned on one row of a person does better on the others, and nobody new has such rows; so
they are never on both sides of a split.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from tunesmith.core.canonical import canonical_json
from tunesmith.core.errors import DataError
from tunesmith.stages.curate.config import DatasetConfig
from tunesmith.stages.curate.rows import Row

Key = tuple[str, str]
"""A field, empty for the person whom a row is about; and its value, as text."""


def joined(
    config: DatasetConfig, rows: Sequence[Row], subjects: Mapping[str, str]
) -> list[tuple[int, int]]:
    """Pairs of `rows`, by position, that join those with a value in common.

    Of a field in `together`; or of the field that names the person, which `subjects` has by data
    asset: one person is one, whatever two sources call the field. Numbers and their digits are
    equal; a row without a value is joined to none by it.

    Raises:
        DataError: a field of `together` is in no row.
    """
    if not (config.together or any(subjects.values())):
        return []
    edges = []
    latest: dict[Key, int] = {}
    known: set[str] = set()
    for place, row in enumerate(rows):
        fields: dict[str, Any] = json.loads(row.attributes)
        known |= fields.keys()
        names = [(name, name) for name in config.together]
        names += [("", subject) for subject in [subjects.get(row.asset, "")] if subject]
        for key, name in names:
            if value := text_of(fields.get(name)):
                if (key, value) in latest:
                    edges.append((latest[key, value], place))
                latest[key, value] = place
    _require_known(config, known)
    return edges


def text_of(value: Any) -> str:
    """What a field says, as one text; empty if it says nothing."""
    if value is None:
        return ""
    return value.strip() if isinstance(value, str) else canonical_json(value).decode()


def _require_known(config: DatasetConfig, known: set[str]) -> None:
    for name in config.together:
        if name not in known:
            near = difflib.get_close_matches(name, sorted(known), n=3) or sorted(known)
            raise DataError(
                f"dataset {config.name!r}: no row has the field {name!r} that `together` names",
                remedy=f"the rows have {', '.join(near) or 'no fields'}",
            )
