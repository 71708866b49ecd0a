"""Rows for new tokens in the embeddings and the output head of a model.

A row is found by the token's id, never by the size of the matrix, which may have more rows than
there are tokens. It begins as the mean of the rows of the pieces that the token's text had been cut
into, so that the model starts from what it knew of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from tunesmith.core.errors import DataError


def add_rows(model: Any, pieces: Mapping[int, Sequence[int]]) -> None:
    """Set the rows of new tokens of transformers' `model`, in place; no other row changes.

    `pieces` are, for the id of each, the ids that stood for its text before. The matrices grow
    where they have no such row yet. A head that is tied to the embeddings stays tied.

    Raises:
        DataError: the output head has a bias, whose row no adapter holds.
    """
    embeddings, head = model.get_input_embeddings(), model.get_output_embeddings()
    if head.bias is not None:
        raise DataError(
            "the output head has a bias, which new tokens would need a part of",
            remedy="leave new_tokens out, or use another base model",
        )
    tied = head.weight is embeddings.weight
    embeddings.weight = _with_rows(embeddings.weight, pieces)
    head.weight = embeddings.weight if tied else _with_rows(head.weight, pieces)
    num_rows = len(embeddings.weight)
    embeddings.num_embeddings = head.out_features = num_rows
    for part in (model, model.base_model, model.config):
        part.vocab_size = num_rows


def _with_rows(
    weight: torch.nn.Parameter, pieces: Mapping[int, Sequence[int]]
) -> torch.nn.Parameter:
    """(rows, hidden_size), with as many more rows as it takes."""
    old = weight.detach()
    missing = max(0, max(pieces) + 1 - len(old))
    grown = torch.cat([old, old.new_zeros(missing, old.shape[1])]) if missing else old.clone()
    for index, parts in pieces.items():
        grown[index] = old[list(parts)].mean(dim=0)
    return torch.nn.Parameter(grown, weight.requires_grad)
