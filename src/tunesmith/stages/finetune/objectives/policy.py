"""The loss of answers that the model drew itself and that rules rewarded (GRPO).

Group relative policy optimisation (arXiv 2402.03300, eq. 3 with the estimator of the divergence of
eq. 4), with the two corrections of Dr. GRPO (arXiv 2503.20783): what an answer is worth is measured
from its group's mean and not divided by the group's spread, which makes questions that are nearly
always or nearly never answered count for more; and tokens are divided by a constant and not by the
answer's length, which makes long wrong answers cost less by the token. So the loss is a sum over
tokens by a constant, and does not depend on how a global step is cut.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch


def advantages(rewards: Sequence[float]) -> tuple[float, ...]:
    """What each answer of a group is worth, from the mean of the group.

    >>> advantages([1.0, 0.0, 0.0, 1.0])
    (0.5, -0.5, -0.5, 0.5)
    """
    mean = sum(rewards) / len(rewards)
    return tuple(reward - mean for reward in rewards)


def policy_losses(
    log_p: torch.Tensor,
    old: torch.Tensor,
    reference: torch.Tensor,
    gains: torch.Tensor,
    *,
    clip: float,
    kl_weight: float,
) -> torch.Tensor:
    """Of each token: (num_labels,), to be added up and divided by (answers * most tokens).

    All are (num_labels,): nats of the token by the model as it is, by the model that drew it and by
    the base model, each at the temperature of the draw, and the advantage of its answer.
    """
    ratio = torch.exp(log_p - old)
    clipped = ratio.clamp(1 - clip, 1 + clip)
    gap = reference - log_p
    divergence = torch.exp(gap) - gap - 1
    return kl_weight * divergence - torch.minimum(ratio * gains, clipped * gains)
