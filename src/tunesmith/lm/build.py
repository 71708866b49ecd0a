"""A transformers model from a configuration and tensors, without random weights first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import transformers
from transformers.initialization import no_init_weights

from tunesmith.core.errors import DataError


def build(config: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> Any:
    """A causal language model of transformers with `tensors` as its weights, in float32.

    It is in evaluation mode and no parameter needs a gradient. No code that comes with a model
    is ever run: the architecture must be one that transformers has.

    Raises:
        DataError: the architecture is not known, or a tensor is missing, too many or misshapen.
    """
    plain = {key: value for key, value in config.items() if key not in ("auto_map", "dtype")}
    try:
        settings = transformers.AutoConfig.for_model(**plain)
        with no_init_weights():
            model = transformers.AutoModelForCausalLM.from_config(
                settings, dtype=torch.float32, attn_implementation="sdpa"
            )
    except (KeyError, ValueError) as error:
        raise DataError(
            f"transformers cannot build a causal model from this configuration: {error}",
            remedy="use a base model of an architecture that transformers knows",
        ) from error
    state = {name: tensor.to(torch.float32) for name, tensor in tensors.items()}
    if settings.tie_word_embeddings:
        state.pop("lm_head.weight", None)
    try:
        missing, unexpected = model.load_state_dict(state, strict=False, assign=True)
    except RuntimeError as error:
        raise DataError(
            f"the base model's tensors do not fit its configuration: {error}",
            remedy="fetch the base model again",
        ) from error
    model.tie_weights()
    tied = {"lm_head.weight"} if settings.tie_word_embeddings else set()
    if unexpected or set(missing) - tied:
        raise DataError(
            f"the base model lacks {sorted(set(missing) - tied)[:3]} "
            f"and has no use for {sorted(unexpected)[:3]}",
            remedy="fetch the base model again",
        )
    return model.eval().requires_grad_(False)
