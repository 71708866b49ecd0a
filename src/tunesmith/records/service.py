"""Endpoints and traces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tunesmith.core.ref import Blob


@dataclass(frozen=True, kw_only=True, slots=True)
class Trace:
    """One request and what was answered. Time is the store's, given when it is written."""

    service: str
    model: str
    """Model version that answered, e.g. "desk@3"; empty for a replay that asked no model."""
    source: Literal["served", "replayed"]
    traffic: str
    """Which stream it belongs to: "served", or the name of the replay."""
    text: str
    """What was asked: the last user message, as the model saw it."""
    answer: str
    num_prompt_tokens: int
    num_answer_tokens: int
    finish_reason: Literal["stop", "length", "left", "failed"]
    """Why the answer ended: "stop", it was whole; "length", it met a limit of tokens; "left",
    nobody waited for the rest; "failed", there was a fault. With the last two it is but a part."""
    wall_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Traffic:
    """A stretch of requests to be compared with a reference.

    `rows` is Parquet with the columns `text` and `answer` (empty where no model was asked).
    """

    name: str
    rows: Blob
    num_rows: int
    source: Literal["served", "replayed"]
