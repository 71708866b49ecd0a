"""The port behind which a model answers: what serving needs of a model, and no more."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

GREEDY_BELOW = 1e-4
"""Temperatures so low that dividing by them says nothing but which token is the likeliest."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Sampling:
    """How to choose the next token."""

    max_tokens: int = 64
    temperature: float = 0.0
    """Under `GREEDY_BELOW` is greedy."""
    top_p: float = 1.0
    seed: int = 0
    stop: tuple[str, ...] = ()

    @property
    def is_greedy(self) -> bool:
        """Whether the likeliest is taken, and nothing is drawn."""
        return self.temperature < GREEDY_BELOW


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """Some text of an answer, as it comes."""

    text: str
    num_prompt_tokens: int
    num_answer_tokens: int
    """So far, this piece included."""
    finish_reason: Literal["stop", "length"] | None
    """None until the last piece."""


class Engine(Protocol):
    """A loaded model. One request at a time: callers that share it take turns."""

    def generate(self, messages: Sequence[Message], sampling: Sampling) -> Iterator[Piece]:
        """The answer to `messages`, piece by piece; the last piece has a finish_reason.

        Raises:
            UsageError: the prompt does not fit the model's context.
        """
        ...
