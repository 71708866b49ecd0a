"""Putting what was tuned into the weights of the base model.

Three kinds: low-rank adapters (LoRA, arXiv 2106.09685, scaled by alpha / rank or, rank-stabilised,
by alpha / sqrt(rank), arXiv 2312.03732), the same with a length for each row (DoRA, arXiv
2402.09353), both in PEFT's format, with rows of tokens if there are new ones, and overlays: weights
that replace the model's.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import safetensors.torch
import torch

from tunesmith.core.errors import DataError

PREFIX = "base_model.model."
"""What PEFT puts before the name of a module."""
TOKEN_ROWS = ".token_adapter.trainable_tokens_delta"  # noqa: S105  (no password)
"""What PEFT puts after the name of a module of which some rows were trained, those of tokens; they
are saved as they are, not as what is to be added to the model's."""
OVERLAY = "OVERLAY"
"""The `tunesmith_type` of the configuration of an overlay."""

Merge = tuple[torch.Tensor, Callable[[], torch.Tensor]]
"""A weight, and what computes its new value from its present one."""


@dataclass(frozen=True, eq=False)
class Adapted:
    """What an adapter does to one linear layer of weight W: `V = W + scaling * B @ A` or, with a
    magnitude m, `m * V / |V|`."""

    low: torch.Tensor
    """A, (rank, in_features)."""
    high: torch.Tensor
    """B, (out_features, rank)."""
    scaling: float
    magnitude: torch.Tensor | None = None
    """m, (out_features,)."""

    def direction(self, weight: torch.Tensor) -> torch.Tensor:
        """V, in the type of `weight`, whatever that of the adapter is."""
        return weight + self.scaling * (self.high.to(weight.dtype) @ self.low.to(weight.dtype))

    def stretch(self, direction: torch.Tensor) -> torch.Tensor | None:
        """By how much each row of V is longer in the end, (out_features,); None if as long."""
        if self.magnitude is None:
            return None
        return self.magnitude.to(direction.dtype) / row_norms(direction)

    def merged(self, weight: torch.Tensor) -> torch.Tensor:
        """What W becomes."""
        direction = self.direction(weight)
        stretch = self.stretch(direction)
        return direction if stretch is None else direction * stretch[:, None]


def merge_adapter(model: Any, tensors: bytes, config: bytes) -> None:
    """Put `tensors` (safetensors) into the weights of `model`, in place and in its own precision.

    `config` is PEFT's adapter_config.json or an overlay's. An overlay with a head of its own unties
    the model's. Nothing is changed if anything does not fit: every new weight is computed and
    looked at before the first is written, and once more then, so that only one is held at a time.

    Raises:
        DataError: of a kind that is not read here, of another model, incomplete, or not finite.
    """
    settings = json.loads(config)
    state = safetensors.torch.load(tensors)
    is_overlay = settings.get("tunesmith_type") == OVERLAY
    with torch.no_grad():
        merges = _replaced(model, state) if is_overlay else _adapted(model, state, settings)
        if not merges:
            raise DataError("the adapter is empty", remedy="tune again on this base model")
        for name, (_, merged) in merges.items():
            if not torch.isfinite(merged()).all():
                raise DataError(
                    f"merging makes {name!r} infinite or not a number",
                    remedy="tune again with a lower learning_rate",
                )
        if is_overlay and model.get_output_embeddings() and _head_name(model) in merges:
            untie_head(model)
            merges = _replaced(model, state)
        for weight, merged in merges.values():
            weight.copy_(merged())


def untie_head(model: Any) -> None:
    """Give the output head of `model` its own copy of the matrix that it shares with the
    embeddings, if it does."""
    head = model.get_output_embeddings()
    if head.weight is model.get_input_embeddings().weight:
        head.weight = torch.nn.Parameter(head.weight.detach().clone(), head.weight.requires_grad)
        model.config.tie_word_embeddings = False


def row_norms(weight: torch.Tensor) -> torch.Tensor:
    """Lengths of the rows of (out, in), at least the smallest number that can be divided by: a row
    of zeros, as pruning leaves them, must not become 0 / 0."""
    return torch.linalg.vector_norm(weight, dim=1).clamp_min(torch.finfo(weight.dtype).tiny)


def scaling_of(config: Mapping[str, Any]) -> float:
    """The factor of `B @ A`: alpha / rank, or alpha / sqrt(rank) if rank-stabilised.

    Raises:
        DataError: the adapter is of a kind whose arithmetic is another.
    """
    if config.get("peft_type") != "LORA" or config.get("alpha_pattern"):
        raise DataError(
            f"adapters of kind {config.get('peft_type')!r}, or with an alpha for each layer, are "
            "not read here",
            remedy="tune with method lora, dora, full or head",
        )
    rank, alpha = float(config["r"]), float(config["lora_alpha"])
    return alpha / math.sqrt(rank) if config.get("use_rslora") else alpha / rank


def adapted_layers(
    model: Any, state: Mapping[str, torch.Tensor], config: Mapping[str, Any]
) -> tuple[dict[str, Adapted], dict[str, Merge]]:
    """What a LoRA or DoRA adapter adds, by the name of the layer; and, by the name of the
    parameter, the merges of what was trained beside it: whole modules, and rows of tokens.

    Raises:
        DataError: it is of another kind or model, or incomplete.
    """
    scaling = scaling_of(config)
    parts = ["lora_A.weight", "lora_B.weight"]
    if config.get("use_dora"):
        parts.append("lora_magnitude_vector")
    modules = sorted(name.removesuffix(".lora_A.weight") for name in state if ".lora_A." in name)
    saved = set(config.get("modules_to_save") or ())
    whole = {name for name in state if saved.intersection(name.split("."))}
    rows = {name for name in state if name.endswith(TOKEN_ROWS)}
    if state.keys() - whole - rows != {f"{module}.{part}" for module in modules for part in parts}:
        raise DataError(
            f"the adapter holds something other than {', '.join(parts)} for each of its layers",
            remedy="tune again on this base model",
        )
    linears = dict(model.named_modules())
    layers: dict[str, Adapted] = {}
    merges = _replaced(model, {name.removeprefix(PREFIX): state[name] for name in whole})
    merges |= _with_rows(model, {name: state[name] for name in rows}, config)
    for module in modules:
        name = module.removeprefix(PREFIX)
        linear = linears.get(name)
        low, high, *magnitude = (state[f"{module}.{part}"] for part in parts)
        if not isinstance(linear, torch.nn.Linear):
            raise _other_model(f"no linear layer {name!r}")
        out_features, in_features = linear.weight.shape
        shapes = [(config["r"], in_features), (out_features, config["r"]), (out_features,)]
        if [tuple(part.shape) for part in (low, high, *magnitude)] != shapes[: len(parts)]:
            raise _other_model(f"tensors of other shapes for {name!r}")
        layers[name] = Adapted(low, high, scaling, *magnitude)
    return layers, merges


def _adapted(
    model: Any, state: Mapping[str, torch.Tensor], config: Mapping[str, Any]
) -> dict[str, Merge]:
    layers, merges = adapted_layers(model, state, config)
    for name, adapted in layers.items():
        weight = model.get_submodule(name).weight
        merges[name] = weight, functools.partial(adapted.merged, weight)
    return merges


def _with_rows(
    model: Any, state: Mapping[str, torch.Tensor], config: Mapping[str, Any]
) -> dict[str, Merge]:
    """The merges of rows of tokens, by the name of the parameter. A head that is tied to the
    embeddings gets theirs: they are the same."""
    places = config.get("trainable_token_indices") or {}
    modules = dict(model.named_modules())
    merges: dict[str, Merge] = {}
    for key, rows in state.items():
        name = key.removeprefix(PREFIX).removesuffix(TOKEN_ROWS)
        named = places.get(name.rpartition(".")[2], ()) if isinstance(places, Mapping) else places
        ids = torch.tensor(named, dtype=torch.long)
        weight = getattr(modules.get(name), "weight", torch.empty(0, 0))
        fits = tuple(rows.shape) == (len(ids), weight.shape[1]) and len(ids) > 0
        if not fits or not 0 <= int(ids.min()) <= int(ids.max()) < len(weight):
            raise _other_model(f"no rows {list(named)} of {name!r}")
        if any(weight is other for other, _ in merges.values()):
            raise _other_model(f"{name!r} is the matrix of another module, and has rows of its own")
        merges[f"{name}.weight"] = weight, _with_these(weight, ids, rows)
    if len(state) != (len(places) if isinstance(places, Mapping) else bool(places)):
        raise DataError(
            "the adapter has no rows for the tokens that it names",
            remedy="tune again on this base model",
        )
    return merges


def _with_these(
    weight: torch.Tensor, ids: torch.Tensor, rows: torch.Tensor
) -> Callable[[], torch.Tensor]:
    """What computes `weight` with `rows` in the places of `ids`."""
    return lambda: weight.index_copy(0, ids, rows.to(weight.dtype))


def _replaced(model: Any, state: Mapping[str, torch.Tensor]) -> dict[str, Merge]:
    """The merges of an overlay, by the name of the parameter."""
    parameters = dict(model.named_parameters(remove_duplicate=False))
    merges: dict[str, Merge] = {}
    for name, tensor in state.items():
        parameter = parameters.get(name)
        if parameter is None or parameter.shape != tensor.shape:
            raise _other_model(f"no parameter {name!r} of shape {tuple(tensor.shape)}")
        merges[name] = parameter, functools.partial(tensor.to, parameter.dtype)
    return merges


def _head_name(model: Any) -> str:
    """The name of the parameter that is the output head's weight, shared or not."""
    head = model.get_output_embeddings()
    return next(f"{name}.weight" for name, module in model.named_modules() if module is head)


def _other_model(what: str) -> DataError:
    return DataError(
        f"the adapter was tuned on another model: {what}", remedy="tune again on this base model"
    )
