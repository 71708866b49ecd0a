"""Typed values, as tables and databases have them, as JSON: dates and times ISO 8601, bytes base64,
NaN null, since JSON has none of them and the tools that write NaN mean "missing".
"""

from __future__ import annotations

import base64
import datetime
import math
from collections.abc import Callable, Mapping
from typing import Any

Texts = Mapping[type, Callable[[Any], str]]
"""How values of further types are written, such as exact decimals."""


def to_json(value: Any, texts: Texts) -> Any:
    """A typed value as JSON has it.

    Raises:
        ValueError: JSON has no such value, e.g. an infinite number, and `texts` has none either.

    >>> to_json([datetime.date(2026, 1, 2), 1.5, b"a", float("nan")], {})
    ['2026-01-02', 1.5, 'YQ==', None]
    """
    if (write := texts.get(type(value))) is not None:
        return write(value)
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            if math.isinf(value):
                raise ValueError("JSON has no infinite number")
            return None if math.isnan(value) else value
        case datetime.date() | datetime.time():
            return value.isoformat()
        case datetime.timedelta():
            return value.total_seconds()
        case bytes():
            return base64.b64encode(value).decode()
        case dict():
            return {str(name): to_json(inner, texts) for name, inner in value.items()}
        case list() | tuple():
            return [to_json(inner, texts) for inner in value]
    raise ValueError(f"JSON has no {type(value).__name__}")
