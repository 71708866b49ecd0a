"""Audits of tuned weights: what they are like beside those of honest runs, and what they hide."""

from __future__ import annotations

from dataclasses import dataclass

from tunesmith.records.evaluation import RuleResult


@dataclass(frozen=True, kw_only=True, slots=True)
class Update:
    """What tuning added to one matrix W of the base model: D."""

    name: str
    spectral: float
    """Largest singular value of D."""
    frobenius: float
    """Root of the sum of D's squares."""
    spectral_ratio: float
    """`spectral` by that of W."""
    frobenius_ratio: float
    """`frobenius` by that of W."""
    rank: int
    """Singular values of D above a millionth of the largest; 0 where they were not computed."""
    score: float
    """How far log(spectral_ratio) lies above that of its kind in other layers, in robust standard
    deviations; 0 where there is no other."""
    times: float
    """`spectral_ratio` by the median of its kind in other layers; 1 where there is no other."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Probe:
    """What a text put before ordinary prompts did to the distribution of the answer's beginning."""

    trigger: str
    origin: str
    """"vocabulary", "training rows", "new token" or "literature"."""
    base_shift: float
    tuned_shift: float
    """Mean Kullback-Leibler divergence from the distribution with it, in nats, of each model."""
    score: float
    """How far log(tuned_shift / base_shift) lies above the median of all, in robust standard
    deviations."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Audit:
    """What was looked at in a model version's weights, and what was found."""

    model: str
    rules: tuple[RuleResult, ...]
    """What a gate takes over."""
    updates: tuple[Update, ...]
    probes: tuple[Probe, ...]
    num_prompts: int
    """Prompts that each trigger was put before."""
    looked_at: tuple[str, ...]
    not_looked_at: tuple[str, ...]
    """Sentences: what this audit says nothing of."""
    to_look_at: tuple[str, ...] = ()
    """Sentences: what a person should look at; no rule of a gate."""
