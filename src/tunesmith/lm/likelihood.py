"""How probable given answers are, each after its own prompt."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch.nn.functional import linear

from tunesmith.lm.attention import attend_by_document, hidden_states
from tunesmith.lm.example import Example, MicroBatch, streams
from tunesmith.lm.load import LoadedModel
from tunesmith.lm.score import MAX_TOKENS

CHUNK_TOKENS = 128
"""Tokens of answers for which logits are held at once."""


@torch.inference_mode()
def answer_log_probs(
    loaded: LoadedModel,
    examples: Sequence[Example],
    done: Callable[[int], None] = lambda _examples: None,
) -> list[list[float]]:
    """log p(answer | prompt) of each answer of each example, in nats, over the full vocabulary.

    It is the sum over the tokens that `tokens_of_answers` counts. `done(examples)` is called as
    they are finished.

    Raises:
        DataError: the model's architecture cannot be packed.
    """
    attend_by_document(loaded.model)
    head = loaded.model.get_output_embeddings().weight
    found: list[list[float]] = []
    for micro in streams(examples, MAX_TOKENS):
        states = hidden_states(loaded.model, micro.ids, micro.positions, micro.documents)
        log_probs = _log_probs(states[micro.predicting], head, micro.labels)
        sums = iter(sums_by_unit(micro, log_probs).tolist())
        for example in micro.examples:
            units = [next(sums) for _ in example.documents()]
            found.append(units[: len(example.answers)])
        done(len(found))
    return found


def tokens_of_answers(example: Example) -> list[int]:
    """Of each answer, the tokens that have something before them and a weight above zero."""
    first = 0 if example.prompt else 1
    return [
        sum(weight > 0 for weight in (answer.weights or (1.0,) * len(answer.ids))[first:])
        for answer in example.answers
    ]


def sums_by_unit(micro: MicroBatch, of_labels: torch.Tensor) -> torch.Tensor:
    """What each label of a stream has, (num_labels,), added up for each unit: (num_units,).

    In float64, so that a long answer loses nothing by being long.
    """
    sums = torch.zeros(micro.num_units, dtype=torch.float64)
    return sums.index_add(0, micro.unit_of_label, of_labels.double())


def _log_probs(states: torch.Tensor, head: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """log softmax(head @ state)[label] of each of `states`: (num_labels,)."""
    parts = []
    for start in range(0, len(labels), CHUNK_TOKENS):
        chunk = slice(start, start + CHUNK_TOKENS)
        log_p = torch.log_softmax(linear(states[chunk], head), dim=-1)
        parts.append(log_p.gather(1, labels[chunk, None])[:, 0])
    return torch.cat(parts)
