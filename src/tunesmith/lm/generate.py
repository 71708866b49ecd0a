"""The reference engine: transformers' model, one token at a time, with a key-value cache."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import torch
from transformers import DynamicCache

from tunesmith.core.blobs import Blobs
from tunesmith.core.errors import UsageError
from tunesmith.lm.chat_template import prompt_ids, stop_ids, with_instruction
from tunesmith.lm.detokenise import Detokeniser
from tunesmith.lm.engine import Message, Piece, Sampling
from tunesmith.lm.load import LoadedModel, load_model
from tunesmith.records.model import ModelVersion

FinishReason = Literal["stop", "length"]


def torch_engine(model: ModelVersion, blobs: Blobs) -> TorchEngine:
    """The engine that answers with `model`, its adapter merged into the weights."""
    return TorchEngine(load_model(model.base, blobs, adapter=model), model.instruction)


class TorchEngine:
    """Answers with a model in this process. Callers in other threads wait for their turn."""

    def __init__(self, loaded: LoadedModel, instruction: str) -> None:
        """`instruction` is the system message of conversations that bring none."""
        self._loaded = loaded
        self._instruction = instruction
        self._stop = stop_ids(loaded.tokenizer)
        self._lock = threading.Lock()

    def generate(self, messages: Sequence[Message], sampling: Sampling) -> Iterator[Piece]:
        """The answer to `messages`, piece by piece; the last piece has a finish_reason.

        Raises:
            UsageError: the prompt does not leave room for an answer in the model's context.
        """
        asked = with_instruction(messages, self._instruction)
        prompt = prompt_ids(self._loaded.tokenizer, asked)
        if len(prompt) >= self._loaded.context_length:
            raise UsageError(
                f"the conversation has {len(prompt)} tokens; the model's context is "
                f"{self._loaded.context_length}",
                remedy="shorten it; an answer needs room too",
            )
        return self._pieces(prompt, sampling)

    def _pieces(self, prompt: list[int], sampling: Sampling) -> Iterator[Piece]:
        room = self._loaded.context_length - len(prompt)
        text = Detokeniser(self._loaded.tokenizer, sampling.stop)
        count = 0
        reason: FinishReason = "length"
        with self._lock:
            for token in self._tokens(prompt, sampling, min(sampling.max_tokens, room)):
                if token in self._stop:
                    reason = "stop"
                    break
                count += 1
                piece = text.add(token)
                if text.stopped:
                    yield _piece(piece, prompt, count, "stop")
                    return
                if piece:
                    yield _piece(piece, prompt, count, None)
        yield _piece(text.finish(), prompt, count, "stop" if text.stopped else reason)

    def _tokens(self, prompt: list[int], sampling: Sampling, limit: int) -> Iterator[int]:
        """At most `limit` tokens, stop tokens included; the caller decides when to leave off."""
        cache = DynamicCache(config=self._loaded.model.config)
        generator = torch.Generator().manual_seed(sampling.seed)
        ids = torch.tensor([prompt])
        for _ in range(limit):
            with torch.inference_mode():
                output = self._loaded.model(
                    input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1
                )
                token = _choose(output.logits[0, -1], sampling, generator)
            yield token
            ids = torch.tensor([[token]])


def _piece(text: str, prompt: list[int], count: int, reason: FinishReason | None) -> Piece:
    return Piece(
        text=text, num_prompt_tokens=len(prompt), num_answer_tokens=count, finish_reason=reason
    )


def _choose(logits: Any, sampling: Sampling, generator: torch.Generator) -> int:
    """The next token: the likeliest, or one drawn from the nucleus (top-p, arXiv 1904.09751)."""
    if sampling.temperature <= 0:
        return int(logits.argmax())
    p, order = torch.softmax(logits.double() / sampling.temperature, dim=-1).sort(descending=True)
    before = p.cumsum(0) - p
    p = torch.where(before < sampling.top_p, p, 0.0)
    p[0] = max(float(p[0]), torch.finfo(p.dtype).tiny)
    return int(order[torch.multinomial(p, 1, generator=generator)])
