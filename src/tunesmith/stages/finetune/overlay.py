"""Training weights of the model itself: all of them, those of the top layers, or the head's.

What is saved is an overlay: the weights that were trained, whole, by their names in the model.
"""

from __future__ import annotations

import json
from typing import Any

import safetensors.torch
import torch

from tunesmith.lm.adapter import OVERLAY, untie_head
from tunesmith.lm.heads import head_parameters
from tunesmith.lm.size import layer_of


def unfreeze_all(model: Any) -> dict[str, torch.nn.Parameter]:
    """Train every parameter; the trained parameters by name.

    A matrix that the embeddings and the head share stays one, and gets the gradient of both uses.
    """
    return _train_only(model, dict(model.named_parameters()))


def unfreeze_top(model: Any, lowest_layer: int) -> dict[str, torch.nn.Parameter]:
    """Train the model's layers from `lowest_layer` up, the norm that follows them and a head that
    reads states, neither the embeddings nor the vocabulary's head; the trained parameters by name.
    """
    edges = {id(model.get_input_embeddings().weight)}
    if model.get_output_embeddings() is not None:
        edges.add(id(model.get_output_embeddings().weight))
    if hasattr(model.base_model, "embeddings"):  # an encoder's: positions, types and a norm too
        edges |= {id(parameter) for parameter in model.base_model.embeddings.parameters()}
    trained = {}
    for name, parameter in model.named_parameters():
        layer = layer_of(name)
        if layer >= lowest_layer or (layer < 0 and id(parameter) not in edges):
            trained[name] = parameter
    return _train_only(model, trained)


def unfreeze_head(model: Any) -> dict[str, torch.nn.Parameter]:
    """Train the output head alone; the trained parameters by name.

    A head that is tied to the embeddings is untied first: it gets its own copy of the matrix, and
    the embeddings stay as they are. The model, and what it is merged into, grows by that copy.
    """
    reading = head_parameters(model)
    if reading:
        return _train_only(model, reading)
    untie_head(model)
    head = model.get_output_embeddings().weight
    return _train_only(model, {name: p for name, p in model.named_parameters() if p is head})


def overlay_bytes(trained: dict[str, torch.nn.Parameter]) -> bytes:
    """The trained weights as safetensors."""
    tensors = {name: parameter.detach().contiguous() for name, parameter in trained.items()}
    return safetensors.torch.save(tensors, metadata={"format": "pt"})


def overlay_config(method: str, layers: int, base: str) -> bytes:
    """What there is in place of PEFT's adapter_config.json: the kind, how it was made, of what."""
    config = {
        "tunesmith_type": OVERLAY,
        "base_model_name_or_path": base,
        "method": method,
        "layers": layers,
    }
    return json.dumps(config, indent=2, sort_keys=True).encode()


def _train_only(
    model: Any, trained: dict[str, torch.nn.Parameter]
) -> dict[str, torch.nn.Parameter]:
    model.requires_grad_(False)
    for parameter in trained.values():
        parameter.requires_grad_(True)
    return trained
