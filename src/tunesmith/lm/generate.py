"""The reference engine: the label that an evaluation predicts, or, where anything may be said,
transformers' model, one token at a time, with a key-value cache."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import torch
from transformers import DynamicCache

from tunesmith.core.blobs import Blobs
from tunesmith.core.errors import UsageError
from tunesmith.lm.attach import load_version
from tunesmith.lm.attention import attend_by_document
from tunesmith.lm.chat_template import is_tuned_task, prompt_ids, stop_ids, with_instruction
from tunesmith.lm.detokenise import Detokeniser
from tunesmith.lm.engine import Message, Piece, Sampling
from tunesmith.lm.load import LoadedModel
from tunesmith.lm.score import ScoreRow, likeliest, score_row
from tunesmith.records.model import ModelVersion

FinishReason = Literal["stop", "length"]


def torch_engines(models: Sequence[ModelVersion], blobs: Blobs) -> list[TorchEngine]:
    """An engine for each of `models`, in their order.

    Those that are adapters of one base model share its weights, which are in memory once; each
    answers as it does alone, to the bit. Others, of which the weights themselves were tuned, are
    loaded apart.

    What a model was tuned for is answered with one of its labels (see `TorchEngine`).
    """
    bases: dict[str, LoadedModel] = {}
    return [
        TorchEngine(load_version(model, blobs, bases), model.instruction, model.labels)
        for model in models
    ]


class TorchEngine:
    """Answers with a model in this process. Callers in other threads wait for their turn.

    A conversation under the instruction, answered greedily, is answered with the label that an
    evaluation predicts: whole labels are scored, which is not the same as taking the likeliest
    token each time. A system message of the client's own, or a temperature, makes the answer free.
    """

    def __init__(self, loaded: LoadedModel, instruction: str, labels: Sequence[str] = ()) -> None:
        """`instruction` is the system message of conversations that bring none; without `labels`
        every answer is free.

        Raises:
            DataError: there are labels, and the model cannot be scored.
        """
        self._loaded = loaded
        self._instruction = instruction
        self._labels = tuple(labels)
        self._stop = stop_ids(loaded.tokenizer)
        self._lock = threading.Lock()
        if self._labels:
            attend_by_document(loaded.model)  # picked as in the evaluation, to the last bit

    def generate(self, messages: Sequence[Message], sampling: Sampling) -> Iterator[Piece]:
        """The answer to `messages`, piece by piece; the last piece has a finish_reason.

        Raises:
            UsageError: the prompt does not leave room for an answer in the model's context.
        """
        asked = with_instruction(messages, self._instruction)
        if self._labels and sampling.is_greedy and is_tuned_task(asked, self._instruction):
            row = score_row(self._loaded, asked, self._labels)
            return self._pieces(row.prompt, sampling, self._label_tokens(row))
        prompt = tuple(prompt_ids(self._loaded.tokenizer, asked))
        if len(prompt) >= self._loaded.context_length:
            raise UsageError(
                f"the conversation has {len(prompt)} tokens; the model's context is "
                f"{self._loaded.context_length}",
                remedy="shorten it; an answer needs room too",
            )
        return self._pieces(prompt, sampling, self._free_tokens(prompt, sampling))

    def _pieces(
        self, prompt: Sequence[int], sampling: Sampling, tokens: Iterator[int]
    ) -> Iterator[Piece]:
        """What `tokens`, one of the iterators below, say, within the limits of `sampling`."""
        room = self._loaded.context_length - len(prompt)
        text = Detokeniser(self._loaded.tokenizer, sampling.stop)
        count = 0
        reason: FinishReason = "length"
        with self._lock:
            for token in itertools.islice(tokens, min(sampling.max_tokens, room)):
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

    def _label_tokens(self, row: ScoreRow) -> Iterator[int]:
        """The tokens of the label, and the one that ends a turn."""
        yield from row.trie.answer(likeliest(self._loaded, row))

    def _free_tokens(self, prompt: Sequence[int], sampling: Sampling) -> Iterator[int]:
        """Token by token, without an end; the caller decides when to leave off."""
        generator = torch.Generator().manual_seed(sampling.seed)
        return continuation(
            self._loaded.model, prompt, lambda logits: _choose(logits, sampling, generator)
        )


def continuation(
    model: Any, prompt: Sequence[int], choose: Callable[[torch.Tensor], int]
) -> Iterator[int]:
    """Ids after `prompt`, without an end: each is what `choose` takes from the logits
    (vocabulary,) of transformers' `model`. What was read is kept, so each token is read once."""
    cache = DynamicCache(config=model.config)
    ids = torch.tensor([prompt])
    while True:
        with torch.inference_mode():
            output = model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
            token = choose(output.logits[0, -1])
        yield token
        ids = torch.tensor([[token]])


def _piece(text: str, prompt: Sequence[int], count: int, reason: FinishReason | None) -> Piece:
    return Piece(
        text=text, num_prompt_tokens=len(prompt), num_answer_tokens=count, finish_reason=reason
    )


def _choose(logits: Any, sampling: Sampling, generator: torch.Generator) -> int:
    """The next token: the likeliest, or one drawn from the nucleus (top-p, arXiv 1904.09751)."""
    if sampling.is_greedy:
        return int(logits.argmax())
    p, order = torch.softmax(logits.double() / sampling.temperature, dim=-1).sort(descending=True)
    before = p.cumsum(0) - p
    p = torch.where(before < sampling.top_p, p, 0.0)
    p[0] = max(float(p[0]), torch.finfo(p.dtype).tiny)
    return int(order[torch.multinomial(p, 1, generator=generator)])
