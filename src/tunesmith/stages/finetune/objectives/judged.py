"""Answers that somebody judged: what the objectives that learn from them share.

A reference is the model as it is before the first step. Its log-probabilities are computed once, in
`prepare`, and nothing of it is ever differentiated.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch

from tunesmith.core.step import Context
from tunesmith.lm.chat_template import prompt_ids
from tunesmith.lm.example import Answer, Example, MicroBatch, streams
from tunesmith.lm.likelihood import sums_by_unit
from tunesmith.lm.load import LoadedModel
from tunesmith.lm.questions import asked
from tunesmith.stages.finetune.batches import MICRO_TOKENS
from tunesmith.stages.finetune.loss import token_log_probs
from tunesmith.stages.finetune.objectives.objective import Hidden
from tunesmith.stages.finetune.preflight import Preflight, inspect
from tunesmith.stages.finetune.stock import stock_logits


def inspect_judged(
    examples: Sequence[Example],
    prompts: Sequence[str],
    answers: Sequence[Sequence[str]],
    instruction: str,
    loaded: LoadedModel,
) -> Preflight:
    """The rules of conversations, and those of answers that were written by somebody.

    `prompts` and `answers` are the texts of each row.
    """
    served = [prompt_ids(loaded.tokenizer, asked(instruction, prompt)) for prompt in prompts]
    return inspect(examples, served, loaded.tokenizer, loaded.context_length, answers)


def log_probs_of_answers(model: Any, states: torch.Tensor, micro: MicroBatch) -> torch.Tensor:
    """log p of each answer of a stream, in nats: (num_units,), float64, with a graph.

    `states` are the stream's, (num_tokens, hidden_size).
    """
    head = model.get_output_embeddings().weight
    return sums_by_unit(micro, token_log_probs(states[micro.predicting], head, micro.labels))


def plain_log_probs(stock: Any, example: Example) -> list[torch.Tensor]:
    """log p of each answer of an example, by stock code on each document alone: scalars, float64,
    with a graph."""
    found = []
    for document, answer in zip(example.documents(), example.answers, strict=True):
        ids = torch.tensor(document)
        log_p = torch.log_softmax(stock_logits(stock, ids)[:-1].double(), dim=-1)
        of_tokens = log_p.gather(1, ids[1:, None])[:, 0]
        found.append(of_tokens[-len(answer.ids) :].sum())
    return found


class Reference:
    """log p of answers by the model as it is before the first step."""

    def __init__(self) -> None:
        self._log_probs: dict[tuple[str, int], float] = {}

    @torch.no_grad()
    def prepare(
        self,
        ctx: Context,
        model: Any,
        hidden: Hidden,
        steps: Iterable[Sequence[Example]],
        num_rows: int,
    ) -> None:
        """Compute what `steps`, `num_rows` in all, will ask for: of whole answers, whatever the
        weights of their tokens."""
        before = 0
        for step in steps:
            done = before
            for micro in streams(self._unknown(step), MICRO_TOKENS):
                sums = iter(log_probs_of_answers(model, hidden(micro), micro).tolist())
                for example in micro.examples:
                    for answer in example.answers:
                        self._log_probs[_key(example, answer)] = next(sums)
                done = min(num_rows, done + len(micro.examples))
                ctx.progress(done, num_rows, "what the model says before it is tuned")
            before += len(step)

    def of(self, micro: MicroBatch) -> torch.Tensor:
        """Of each answer of a stream: (num_units,), float64."""
        found = [
            self._log_probs[_key(example, answer)]
            for example in micro.examples
            for answer in example.answers
        ]
        return torch.tensor(found, dtype=torch.float64)

    def _unknown(self, step: Sequence[Example]) -> list[Example]:
        """The rows with those of their answers that are not known yet, without such an answer not
        at all."""
        found = []
        for example in step:
            answers = {_key(example, answer): Answer(ids=answer.ids) for answer in example.answers}
            new = tuple(answer for key, answer in answers.items() if key not in self._log_probs)
            if new:
                found.append(Example(row_id=example.row_id, prompt=example.prompt, answers=new))
        return found


def _key(example: Example, answer: Answer) -> tuple[str, int]:
    """A row has a few answers only, so that their hashes tell them apart."""
    return example.row_id, hash(answer.ids)
