"""Releases: a model version under an alias."""

from __future__ import annotations

from dataclasses import dataclass

from tunesmith.core.ref import AliasMove, Blob
from tunesmith.records.evaluation import GateResult
from tunesmith.records.model import ModelVersion


@dataclass(frozen=True, kw_only=True, slots=True)
class Release:
    """A model version that passed its gate, with its card."""

    model: ModelVersion
    gate: GateResult
    card: Blob
    """Markdown with the metadata block that model hubs read."""
    move: AliasMove
    """Points the alias ("candidate") at this release when it commits."""
