"""Vectors of texts whose products say how alike the texts are."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch.nn.functional import normalize

from tunesmith.lm.encode import text_ids
from tunesmith.lm.example import Example
from tunesmith.lm.heads import outputs
from tunesmith.lm.load import LoadedHead
from tunesmith.lm.read import Done, read, unheard


def vectors(
    loaded: LoadedHead, texts: Sequence[str], *, dims: int = 0, done: Done = unheard
) -> torch.Tensor:
    """Vectors of length 1, (num_texts, dims), float32: products of two of them are cosines.

    `dims` keeps only the first so many numbers, for models that were tuned to be cut there; 0 keeps
    all.

    Raises:
        UsageError: a text does not fit the model's context.
        DataError: the model's architecture cannot be packed.
    """
    examples = [
        Example(row_id=f"text {number}", prompt=text_ids(loaded, text))
        for number, text in enumerate(texts)
    ]
    found = read(loaded, examples, partial(outputs, loaded.model), done)
    whole = torch.cat([torch.empty(0, int(loaded.model.config.hidden_size)), *found])
    return normalize(whole[:, :dims], dim=-1) if dims else whole
