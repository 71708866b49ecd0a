"""Model version that passed its gate -> release under an alias, with its card."""

from __future__ import annotations

from typing import TypedDict, Unpack

from tunesmith.core.errors import GateFailed
from tunesmith.core.ref import AliasMove
from tunesmith.core.step import Context
from tunesmith.records.data import Dataset
from tunesmith.records.evaluation import GateResult
from tunesmith.records.model import ModelVersion
from tunesmith.records.release import Release
from tunesmith.records.suite import Limits, SuiteBeside, SuiteResult
from tunesmith.stages.release.beyond import beyond_task
from tunesmith.stages.release.card import model_card
from tunesmith.stages.release.config import ReleaseConfig


class Beyond(TypedDict, total=False):
    """What was found of the model beyond its task."""

    suites: tuple[SuiteResult, ...]
    limits: Limits | None
    besides: tuple[SuiteBeside, ...]
    """The differences of suites from the version under an alias."""
    limits_against: Limits | None
    """Limits of those differences."""


def release(
    config: ReleaseConfig,
    ctx: Context,
    *,
    model: ModelVersion,
    dataset: Dataset,
    gate: GateResult,
    **found: Unpack[Beyond],
) -> Release:
    """Release `model` under the alias, with a card made of what was recorded.

    Raises:
        GateFailed: the gate does not admit it; the message names the rules that did not hold.
    """
    if not gate.admits:
        raise GateFailed(
            f"gate {gate.gate} says {gate.verdict} of {config.name}: {gate.failed()}",
            remedy="nothing was released; change the dataset or the model section and run it again",
        )
    ctx.progress(0, 1, f"writing the card of {config.name}")
    limits, against = found.get("limits"), found.get("limits_against")
    beyond = beyond_task(
        found.get("suites", ()),
        limits.of if limits else (),
        found.get("besides", ()),
        against.of if against else (),
    )
    card = model_card(config.name, model, dataset, gate, beyond)
    return Release(
        model=model,
        gate=gate,
        card=ctx.blobs.put(card.encode(), "text/markdown"),
        move=AliasMove(
            kind="model",
            name=config.name,
            alias=config.alias,
            reason=f"gate {gate.gate} "
            + ("passed" if gate.verdict == "pass" else "was inconclusive, which it lets pass"),
        ),
    )
