"""The one-third meter: how much compute tuning took beside the base model's, and what follows.

Who modifies another's general-purpose AI model becomes, by the European Commission's guidelines of
18 July 2025 on the obligations of providers of such models, the provider of the modified model if
the modification took more than a third of the compute that the original was trained with. Where
that is not known, it is a third of the compute from which a model counts as general-purpose
(10^23 floating-point operations). Both are indications, not law; this is no legal advice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tunesmith.documents.sheet import Reading

GENERAL_PURPOSE = 1e23
SHARE = 1 / 3
PER_PARAMETER_AND_TOKEN = 6
"""Operations of a forward pass (2) and a backward pass (4) for each parameter and token."""
NOT_COUNTED = ("grpo", "distil", "dpo", "ipo", "kto")
"""Objectives for which other forward passes run beside: of a teacher, of the base model as it was,
of answers that are drawn."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Meter:
    """Compute of the run beside that of the base model."""

    run_flops: float
    """As if every parameter was tuned: with an adapter it is less."""
    limit_flops: float
    basis: Literal["declared", "not known"]
    """Whether the limit is a third of what is declared of the base model."""
    ratio: float
    """Of the run's to the base model's compute; 0 where that is not known."""
    exceeds: bool
    sentences: tuple[str, ...]


def one_third_meter(reading: Reading) -> Meter | None:
    """The meter of a model version; None where the run says too little."""
    tokens = reading.value("model.num_trained_tokens")
    parameters = reading.value("model.num_parameters")
    if not tokens or not parameters:
        return None
    run = float(PER_PARAMETER_AND_TOKEN * tokens * parameters)
    base = float(reading.value("declared.base_training_flops", 0))
    limit = SHARE * (base or GENERAL_PURPOSE)
    return Meter(
        run_flops=run,
        limit_flops=limit,
        basis="declared" if base else "not known",
        ratio=run / base if base else 0.0,
        exceeds=run > limit,
        sentences=tuple(_sentences(reading, run, base, limit)),
    )


def _sentences(reading: Reading, run: float, base: float, limit: float) -> list[str]:
    of_run = (
        f"Tuning took at most {run:.2e} floating-point operations: {PER_PARAMETER_AND_TOKEN} for "
        f"each of {reading.value('model.num_parameters'):,} parameters and "
        f"{reading.value('model.num_trained_tokens'):,} tokens, as if every parameter was tuned."
    )
    if reading.value("model.objective") in NOT_COUNTED:
        of_run += " Forward passes of other models, and of answers that were drawn, are not in it."
    if base:
        source = reading.value("declared.base_flops_source", "")
        beside = (
            f"The base model's training took {base:.2e}, as is declared"
            f"{f' ({source})' if source else ''}: the ratio is {run / base:.2e}."
        )
    else:
        beside = (
            "What the base model's training took is not stated (`base_training_flops` in "
            f"[document.{reading.base.section}]): the limit is a third of {GENERAL_PURPOSE:.0e}, "
            "from which a model counts as general-purpose."
        )
    what = (
        f"That is more than the limit of {limit:.2e}: whoever places it on the Union market may be "
        "the provider of a general-purpose AI model, and then owes, for the modification, technical"
        " documentation (Article 53(1)(a) and (b)), a copyright policy (c) and a public summary of "
        "training content (d)."
        if run > limit
        else f"That is not more than the limit of {limit:.2e}: by that measure tuning alone makes "
        "nobody the provider of a general-purpose AI model. Duties of a high-risk system's provider"
        " (Annex IV) do not depend on it."
    )
    advice = "The limit is an indication of the Commission's guidelines; this is no legal advice."
    return [of_run, beside, what, advice]
