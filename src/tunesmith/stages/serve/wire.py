"""OpenAI's wire format for chat: what a request says, and how pieces become a response."""

from __future__ import annotations

import json
import secrets
import time
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from tunesmith.lm.engine import Message, Piece, Sampling
from tunesmith.stages.serve.problem import Problem

NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "audio": (),
    "frequency_penalty": (0,),
    "function_call": ("none", "auto"),
    "functions": ([],),
    "logit_bias": ({},),
    "logprobs": (False,),
    "modalities": (["text"],),
    "n": (1,),
    "prediction": (),
    "presence_penalty": (0,),
    "response_format": ({"type": "text"},),
    "tool_choice": ("none", "auto"),
    "tools": ([],),
    "top_logprobs": (0,),
    "web_search_options": (),
}
"""Parameters that this service does not have, and the values (beside null) that ask for nothing.
Any other value would change what the answer means, so it is refused rather than ignored."""

IGNORED = frozenset(
    {
        "metadata",
        "parallel_tool_calls",
        "prompt_cache_key",
        "safety_identifier",
        "service_tier",
        "store",
        "user",
    }
)
"""Parameters that say nothing about the answer."""


class TextPart(BaseModel):
    """One part of a message's content."""

    type: Literal["text"]
    text: str


class ChatMessage(BaseModel):
    """A message as clients send it."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextPart]

    def to_message(self) -> Message:
        """The message as the engine takes it."""
        content = self.content
        if not isinstance(content, str):
            content = "".join(part.text for part in content)
        return Message(role="system" if self.role == "developer" else self.role, content=content)


class StreamOptions(BaseModel):
    """How to stream."""

    include_usage: bool = False


class ChatRequest(BaseModel):
    """The body of POST /v1/chat/completions."""

    model_config = ConfigDict(extra="allow")

    model: str
    messages: list[ChatMessage] = Field(min_length=1)
    max_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    seed: int | None = Field(default=None, ge=-(2**63), lt=2**63)
    stop: str | Annotated[list[str], Field(max_length=4)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None

    def check(self, *, max_tokens_limit: int) -> None:
        """Refuse what this service cannot do.

        Raises:
            Problem: 400; `param` names the parameter.
        """
        for name, value in (self.model_extra or {}).items():
            if name in IGNORED or value is None or value in NEUTRAL.get(name, ()):
                continue
            known = name in NEUTRAL
            raise Problem(
                400,
                f"{name} is not supported here" if known else f"there is no parameter {name!r}",
                code="unsupported_parameter" if known else "unknown_parameter",
                param=name,
            )
        if all(message.role != "user" for message in self.messages):
            raise Problem(400, "there is no user message", param="messages")
        if self.stream_options is not None and not self.stream:
            raise Problem(400, "stream_options needs stream", param="stream_options")
        for name in ("max_tokens", "max_completion_tokens"):
            if (getattr(self, name) or 0) > max_tokens_limit:
                raise Problem(
                    400, f"{name} is at most {max_tokens_limit} on this service", param=name
                )

    def to_messages(self) -> list[Message]:
        """The conversation as the engine takes it."""
        return [message.to_message() for message in self.messages]

    def to_sampling(self, *, max_tokens_limit: int) -> Sampling:
        """How to choose tokens. Greedy unless asked otherwise; then random unless given a seed."""
        stop = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return Sampling(
            max_tokens=self.max_completion_tokens or self.max_tokens or max_tokens_limit,
            temperature=self.temperature or 0.0,
            top_p=1.0 if self.top_p is None else self.top_p,
            seed=secrets.randbits(31) if self.seed is None else self.seed,
            stop=tuple(stop),
        )


class Completion:
    """One answer in the making: its id, and its pieces as OpenAI's JSON."""

    def __init__(self, model: str) -> None:
        self._frame = {
            "id": f"chatcmpl-{uuid.uuid4().hex}",
            "created": int(time.time()),
            "model": model,
        }

    def whole(self, pieces: Sequence[Piece]) -> dict[str, Any]:
        """The response to a request that does not stream."""
        message = {"role": "assistant", "content": text(pieces), "refusal": None}
        choice = {
            "index": 0,
            "message": message,
            "logprobs": None,
            "finish_reason": _finish_reason(pieces),
        }
        frame = {**self._frame, "object": "chat.completion"}
        return {**frame, "choices": [choice], "usage": usage(pieces)}

    async def events(
        self, pieces: AsyncIterator[Piece], *, include_usage: bool
    ) -> AsyncIterator[str]:
        """The response to a request that streams: server-sent events, the last one [DONE]."""
        extra = {"usage": None} if include_usage else {}
        seen: list[Piece] = []
        yield self._event([_delta({"role": "assistant", "content": ""})], extra)
        async for piece in pieces:
            seen.append(piece)
            yield self._event([_delta({"content": piece.text})], extra)
        yield self._event([_delta({}, _finish_reason(seen))], extra)
        if include_usage:
            yield self._event([], {"usage": usage(seen)})
        yield "data: [DONE]\n\n"

    def _event(self, choices: list[dict[str, Any]], extra: Mapping[str, Any]) -> str:
        chunk = {**self._frame, "object": "chat.completion.chunk", "choices": choices, **extra}
        return event(chunk)


def event(value: Mapping[str, Any]) -> str:
    """One server-sent event."""
    return f"data: {json.dumps(value, ensure_ascii=False)}\n\n"


def text(pieces: Sequence[Piece]) -> str:
    """The text of an answer."""
    return "".join(piece.text for piece in pieces)


def usage(pieces: Sequence[Piece]) -> dict[str, int]:
    """Token counts, as OpenAI names them."""
    num_prompt, num_answer = (
        (pieces[-1].num_prompt_tokens, pieces[-1].num_answer_tokens) if pieces else (0, 0)
    )
    return {
        "prompt_tokens": num_prompt,
        "completion_tokens": num_answer,
        "total_tokens": num_prompt + num_answer,
    }


def _delta(delta: dict[str, str], finish_reason: str | None = None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}


def _finish_reason(pieces: Sequence[Piece]) -> str:
    return (pieces[-1].finish_reason if pieces else None) or "stop"
