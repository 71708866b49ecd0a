"""One row of a data asset."""

from __future__ import annotations

from typing import Any, NamedTuple


class Row(NamedTuple):
    """One row of a data asset; the fields are its columns (see `records.data.DataAsset`)."""

    row_id: str
    pointer: str
    text: str
    label: str
    attributes: str


def label_of(value: Any) -> str | None:
    """A label as a string; None where there is none. Only JSON has others than strings."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    return " ".join(value.split()) or None if isinstance(value, str) else None
