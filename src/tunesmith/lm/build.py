"""A transformers model from a configuration and tensors, or with random weights."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
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
    model = empty(config, transformers.AutoModelForCausalLM, "causal model")
    is_tied = model.config.tie_word_embeddings
    head = {"lm_head.weight"} if is_tied else set()
    return filled(model, {n: t for n, t in tensors.items() if n not in head}, optional=head)


def build_random(config: Mapping[str, Any], seed: int) -> Any:
    """As `build`, with weights drawn from `seed` as transformers initialises them for training.

    Raises:
        DataError: the architecture is not known.
    """
    with drawn_from(seed):
        model = empty(config, transformers.AutoModelForCausalLM, "causal model", drawn=True)
    return model.eval().requires_grad_(False)


def build_encoder(config: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> Any:
    """A model without a head, such as BERT, that gives a state for each token; else as `build`.

    Heads and poolers that `tensors` hold, for whatever the model was trained on, are left out.

    Raises:
        DataError: the architecture is not known, or a tensor is missing or misshapen.
    """
    model = empty(config, transformers.AutoModel, "encoder")
    if hasattr(model, "pooler"):
        model.pooler = None
    wanted = model.state_dict().keys()
    prefix = f"{model.base_model_prefix}."
    bare = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    return filled(model, {name: tensor for name, tensor in bare.items() if name in wanted})


@contextlib.contextmanager
def drawn_from(seed: int) -> Iterator[None]:
    """All that torch draws inside follows from `seed`; what is drawn after it is as if nothing had
    been."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def empty(config: Mapping[str, Any], kind: Any, what: str, *, drawn: bool = False) -> Any:
    """A model whose weights are not set yet, or are `drawn` from torch's generator."""
    plain = {key: value for key, value in config.items() if key not in ("auto_map", "dtype")}
    try:
        settings = transformers.AutoConfig.for_model(**plain)
        with contextlib.nullcontext() if drawn else no_init_weights():
            return kind.from_config(settings, dtype=torch.float32, attn_implementation="sdpa")
    except (KeyError, ValueError) as error:
        raise DataError(
            f"transformers cannot build a {what} from this configuration: {error}",
            remedy="use a base model of an architecture that transformers knows and can run with "
            "PyTorch's scaled_dot_product_attention, which leaves out Gemma 2",
        ) from error


def filled(
    model: Any, tensors: Mapping[str, torch.Tensor], *, optional: set[str] | None = None
) -> Any:
    """`model` with `tensors` as its weights, ready for use.

    Raises:
        DataError: a tensor is misshapen, one that is not `optional` is missing, or one too many.
    """
    state = {name: tensor.to(torch.float32) for name, tensor in tensors.items()}
    try:
        missing, unexpected = model.load_state_dict(state, strict=False, assign=True)
    except RuntimeError as error:
        raise DataError(
            f"the base model's tensors do not fit its configuration: {error}",
            remedy="fetch the base model again",
        ) from error
    model.tie_weights()
    lacking = set(missing) - (optional or set())
    if unexpected or lacking:
        raise DataError(
            f"the base model lacks {sorted(lacking)[:3]} "
            f"and has no use for {sorted(unexpected)[:3]}",
            remedy="fetch the base model again",
        )
    return model.eval().requires_grad_(False)
