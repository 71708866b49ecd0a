"""The optimiser and how its learning rate runs."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from tunesmith.stages.finetune.config import ModelConfig


def make_optimiser(
    parameters: Sequence[torch.nn.Parameter], config: ModelConfig
) -> torch.optim.AdamW:
    """AdamW (arXiv 1711.05101) over the adapters; its state is the only one that there is."""
    return torch.optim.AdamW(
        parameters, lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
    )


def learning_rate(config: ModelConfig, step: int, num_steps: int) -> float:
    """The rate of step 1 to `num_steps`; no step has rate zero.

    >>> config = ModelConfig(base="b", dataset="d", learning_rate=0.5, warmup=0.5)
    >>> [learning_rate(config, step, 4) for step in (1, 2, 3, 4)]
    [0.25, 0.5, 0.5, 0.25]
    """
    num_warmup = round(config.warmup * num_steps)
    if step <= num_warmup:
        return config.learning_rate * step / num_warmup
    if config.schedule == "constant":
        return config.learning_rate
    done = (step - num_warmup - 1) / max(1, num_steps - num_warmup)
    if config.schedule == "cosine":
        return config.learning_rate * 0.5 * (1 + math.cos(math.pi * done))
    return config.learning_rate * (1 - done)
