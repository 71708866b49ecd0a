"""Exports: a tuned model as files that other software loads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from tunesmith.core.ref import Blob

Format = Literal["adapter", "merged", "gguf", "gguf-adapter", "onnx"]
Quantisation = Literal["f32", "f16", "q8_0", "q4_0"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Parity:
    """How far an export, loaded again from its bytes, is from the model that was tuned.

    Of a model that reads states the "answers" are its classes or tags, or the order of its numbers;
    it is asked by itself and padded in a batch, and has nothing to stop.
    """

    num_prompts: int
    """Held-out prompts that both were asked."""
    num_positions: int
    """Tokens of their answers, at each of which the two distributions were compared; of a model
    that reads states the classes, tags, numbers or vectors."""
    mean_kl: float
    max_kl: float
    """Kullback-Leibler divergence of the export from the tuned model at one position, in nats; 0
    where there is no distribution, of numbers and vectors."""
    required_kl: float
    """The most that the mean may be."""
    same_prompts: float
    """Share of prompts that the export's own tokenizer and template turn into the same ids."""
    same_answers: float
    """Share of prompts that both answer greedily with the same ids."""
    required_answers: float
    """The least that this share may be."""
    same_stops: float
    """Share of prompts after which the export stops if the tuned model does."""
    stops_at_turn: bool
    """Whether the export itself declares the token that ends a turn as one to stop at."""
    verdict: Literal["pass", "fail"]
    max_difference: float = 0.0
    """Largest difference of one number that the head gives (logit, reward, part of a vector), as a
    part of the largest such number; 0 of models that answer in text, which have none."""
    required_difference: float = 0.0
    """The most that it may be."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Export:
    """A tuned model in a format of other software, and the proof that it is still that model."""

    name: str
    """Name of the model."""
    format: str
    """"adapter", "merged", "gguf", "gguf-adapter" or "onnx"."""
    quantisation: str
    """"f32", "f16", "q8_0" or "q4_0"."""
    files: Mapping[str, Blob]
    """By file name, as they lie side by side in one folder."""
    parity: Parity
