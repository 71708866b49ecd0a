"""How probable each class of a text is, and each tag of a word."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch

from tunesmith.lm.encode import text_ids, word_ids
from tunesmith.lm.example import Example, MicroBatch
from tunesmith.lm.heads import logits, outputs
from tunesmith.lm.load import LoadedHead
from tunesmith.lm.read import Done, read, unheard


def class_log_probabilities(
    loaded: LoadedHead, texts: Sequence[str], done: Done = unheard
) -> torch.Tensor:
    """log p(class | text), in nats, in the order of `loaded.labels`: (num_texts, num_labels),
    float64.

    Raises:
        UsageError: a text does not fit the model's context.
        DataError: the model's architecture cannot be packed.
    """
    examples = [
        Example(row_id=f"text {number}", prompt=text_ids(loaded, text))
        for number, text in enumerate(texts)
    ]
    found = read(loaded, examples, partial(outputs, loaded.model), done)
    whole = torch.cat([torch.empty(0, len(loaded.labels)), *found])
    return torch.log_softmax(whole.double(), dim=-1)


def tag_log_probabilities(
    loaded: LoadedHead, rows: Sequence[Sequence[str]], done: Done = unheard
) -> list[torch.Tensor]:
    """log p(tag | words) of each word of each row, in nats, in the order of `loaded.labels`: for
    each row (num_words, num_labels), float64. Words of which the tokenizer makes nothing have -inf
    for every tag.

    Raises:
        UsageError: a row does not fit the model's context.
        DataError: the model's architecture cannot be packed.
    """
    encoded = [word_ids(loaded, words) for words in rows]
    examples = [
        Example(row_id=f"row {number}", prompt=ids) for number, (ids, _) in enumerate(encoded)
    ]

    def says(states: torch.Tensor, _micro: MicroBatch) -> torch.Tensor:
        return logits(loaded.model, states)

    parts = torch.cat([torch.empty(0, len(loaded.labels)), *read(loaded, examples, says, done)])
    log_p = torch.log_softmax(parts.double(), dim=-1)
    found = []
    for part, (_, places) in zip(
        torch.split_with_sizes(log_p, [len(ids) for ids, _ in encoded]), encoded, strict=True
    ):
        nothing = torch.full((len(loaded.labels),), -torch.inf, dtype=torch.float64)
        rows_of_words = [nothing if place is None else part[place] for place in places]
        found.append(torch.stack(rows_of_words) if places else part[:0])
    return found
