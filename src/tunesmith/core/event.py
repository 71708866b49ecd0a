"""What a runner tells those who watch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tunesmith.core.meter import Forecast, Preview, Usage


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """Something for the person who watches: a step is "hit", "started", "finished", "waiting",
    "failed" while others run, will be tried again ("retry"), made "progress", had a "preview", was
    "forecast", was "damaged", has its alias "moved", was "looked" at before it runs, found what is
    beyond its limits and "warned", or, as a gate, is "registered" before it is judged and has its
    report "sealed" after."""

    step: str
    what: str
    note: str = ""
    done: float = 0.0
    total: float = 0.0
    forecast: Forecast | None = None
    """What was forecast, also of a step that is finished."""
    preview: Preview | None = None
    usage: Usage | None = None
    record: Any = None
    """What a step that is finished made."""
