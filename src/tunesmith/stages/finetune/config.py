"""Settings of fine-tuning: the `[model.NAME]` sections of the project file."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tunesmith.core.section import Section


class ModelConfig(Section):
    """A base model tuned on a dataset with low-rank adapters on every linear layer."""

    name: str = ""
    """Name of the model: what follows `model.` in the section's heading."""
    base: str
    """Name of the base model that is tuned."""
    dataset: str
    """Name of the dataset that it is tuned on."""
    rank: int = Field(default=16, ge=1, le=1024)
    """Rank of the adapters: more can be learnt, and forgotten, with more."""
    alpha: float = Field(default=8.0, gt=0)
    """Strength of the adapters; they are scaled by alpha / sqrt(rank), so that another rank needs
    no other learning rate."""
    learning_rate: float = Field(default=1e-3, gt=0, lt=1)
    """Highest learning rate, reached after the warm-up."""
    epochs: int = Field(default=2, ge=1)
    """How often every row is seen."""
    batch_rows: int = Field(default=8, ge=1)
    """Rows of one global step. How they are spread over micro-batches changes only the memory."""
    warmup: float = Field(default=0.1, ge=0, lt=1)
    """Share of the steps over which the learning rate rises from zero."""
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    """How the learning rate falls to zero after the warm-up; "constant" does not."""
    weight_decay: float = Field(default=0.0, ge=0)
    """AdamW's weight decay, of the adapters only."""
    max_grad_norm: float = Field(default=1.0, gt=0)
    """Gradients longer than this are shortened to it."""
