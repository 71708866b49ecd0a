"""Releases: a model version under an alias; and which one a gate compares another with."""

from __future__ import annotations

from dataclasses import dataclass

from tunesmith.core.ref import AliasMove, Blob
from tunesmith.records.evaluation import GateResult
from tunesmith.records.model import ModelVersion

PRODUCTION = "production"
"""The alias of the version that is in use."""
RELEASED = "released"
"""What a gate's rule says for production, else candidate."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Release:
    """A model version that passed its gate, with its card."""

    model: ModelVersion
    gate: GateResult
    card: Blob
    """Markdown with the metadata block that model hubs read."""
    move: AliasMove
    """Points the alias ("candidate") at this release when it commits."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """The model version that stands where another would like to."""

    against: str
    """What the gate's rule says: an alias, or "released"."""
    version: str
    """e.g. "desk@1"."""
    model: ModelVersion


@dataclass(frozen=True, kw_only=True, slots=True)
class Standings:
    """What a gate compares a model with, beside its base."""

    standings: tuple[Standing, ...]
