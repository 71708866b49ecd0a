"""What lies below the lowest trained layer, computed once for each row and then read from a file.

Nothing there is trained, and no dropout or augmentation is ever drawn, so the states that enter the
lowest trained layer are the same in every epoch. From the second one on only the layers above are
computed (as in Skip2-LoRA, arXiv 2410.21073).
"""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from tunesmith.core.errors import DataError
from tunesmith.lm.attention import hidden_states, typed
from tunesmith.lm.example import Example, MicroBatch

NORMS = ("norm", "final_norm")
"""What transformers calls the norm after the last layer, in models that have one."""
TOLERANCE = 1e-5
"""Of the states' scale: how far the two parts, one after the other, may be from the whole."""


class Trunk:
    """A model cut below its lowest trained layer, and the states at the cut, by row."""

    def __init__(
        self, model: Any, lowest_layer: int, rows: Sequence[Example], folder: Path
    ) -> None:
        """`folder` gets a file with a number for each token and hidden unit.

        Raises:
            OSError: there is no space for it.
            DataError: the model is in training mode, in which dropout makes each pass another one.
        """
        if model.training:
            raise DataError(
                "what dropout changes in every pass cannot be computed once",
                remedy="put the model into evaluation mode",
            )
        self._model = model
        self._below = _below(model.base_model, lowest_layer)
        self._above = _above(model.base_model, lowest_layer)
        self._places: dict[str, slice] = {}
        start = 0
        for row in rows:
            self._places[row.row_id] = slice(start, start + row.num_tokens)
            start += row.num_tokens
        shape = (start, model.config.hidden_size)
        self._states = _mapped(folder / "trunk", shape, model.dtype)
        self._known: set[str] = set()

    def hidden(self, micro: MicroBatch) -> torch.Tensor:
        """What the output head sees: (num_tokens, hidden_size)."""
        return _through(self._above, micro, inputs_embeds=self._at_the_cut(micro)[None])

    def is_known(self, row_ids: Sequence[str]) -> bool:
        """Whether the states of all these rows have been computed."""
        return self._known.issuperset(row_ids)

    def is_exact(self, micro: MicroBatch) -> bool:
        """Whether the parts one after the other are the whole, on `micro`."""
        with torch.no_grad():
            whole = hidden_states(
                self._model, micro.ids, micro.positions, micro.documents, micro.types
            )
            gap = (self.hidden(micro) - whole).abs().max()
            return bool(gap <= TOLERANCE * whole.square().mean().sqrt())

    @torch.no_grad()
    def _at_the_cut(self, micro: MicroBatch) -> torch.Tensor:
        places = [self._places[row_id] for row_id in micro.row_ids]
        if not self.is_known(micro.row_ids):
            states = _through(self._below, micro, input_ids=micro.ids[None], **typed(micro.types))
            parts = torch.split_with_sizes(states, micro.sizes)
            for place, part in zip(places, parts, strict=True):
                self._states[place] = part
            self._known.update(micro.row_ids)
            return states
        return torch.cat([self._states[place] for place in places])


def _mapped(path: Path, shape: tuple[int, int], dtype: torch.dtype) -> torch.Tensor:
    """A tensor of `shape` whose memory is the file `path`."""
    size = shape[0] * shape[1]
    with path.open("wb") as file:
        # The space is taken now: a full disk is an error here, and would be a crash later.
        os.posix_fallocate(file.fileno(), 0, size * dtype.itemsize)
    return torch.from_file(str(path), shared=True, size=size, dtype=dtype).view(shape)


class _GivenStates(torch.nn.Module):
    """Stands where an encoder's embeddings stood, above the cut."""

    def forward(self, *, inputs_embeds: torch.Tensor, **_kwargs: Any) -> torch.Tensor:
        """States, as they are."""
        return inputs_embeds


def _below(base: Any, cut: int) -> Any:
    """The model up to the layer `cut`, that one not included; no norm follows."""
    part = _part(base, slice(0, cut))
    for name in NORMS:
        if hasattr(base, name):
            setattr(part, name, torch.nn.Identity())
    return part


def _above(base: Any, cut: int) -> Any:
    """The model from the layer `cut` on."""
    part = _part(base, slice(cut, None))
    if hasattr(base, "embeddings"):  # an encoder's do more than to look up
        part.embeddings = _GivenStates()
    return part


def _part(base: Any, layers: slice) -> Any:
    """Some layers of `base`, with the same parameters; `base` itself is not changed."""
    part = _twin(base)
    if hasattr(base, "encoder"):  # as in BERT
        part.encoder = _twin(base.encoder)
        part.encoder.layer = base.encoder.layer[layers]
        part.pooler = None
    else:
        part.layers = base.layers[layers]
    part.config = copy.deepcopy(base.config)
    kinds = getattr(base.config, "layer_types", None)
    part.config.num_hidden_layers = len(range(*layers.indices(base.config.num_hidden_layers)))
    if kinds:
        part.config.layer_types = kinds[layers]
    return part


def _twin(module: Any) -> Any:
    """`module` with the same parts, of which some can be replaced."""
    twin = copy.copy(module)
    twin._modules = dict(module._modules)
    return twin


def _through(part: Any, micro: MicroBatch, **inputs: torch.Tensor) -> torch.Tensor:
    output = part(
        **inputs,
        position_ids=micro.positions[None],
        attention_mask=torch.ones(1, 1, 1, 1, dtype=torch.bool),  # as in lm/attention.py
        documents=micro.documents,
        use_cache=False,
    )
    states: torch.Tensor = output.last_hidden_state[0]
    return states
