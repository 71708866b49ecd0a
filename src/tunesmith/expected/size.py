"""How large a dataset is, or would be at most."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class DatasetPreview:
    """How large a dataset is, or would be at most."""

    dataset: str
    num_sampled: int
    """Rows that it was estimated from; 0 where it was cut, and all of this is known."""
    num_in: int
    """Rows of its sources; of an estimate those with a label that is wanted."""
    num_train: int
    num_test: int
    num_train_tokens: int
    """... of the rows to train, by the base model's tokenizer and template."""
    within: int
    """In 95 of 100 samples the tokens of as many rows would differ by less than this; 0 where they
    are known."""
    dropped_by_reason: Mapping[str, int]
