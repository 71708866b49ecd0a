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
from tunesmith.lm.attention import hidden_states
from tunesmith.lm.example import Example, MicroBatch

TOLERANCE = 1e-5
"""Of the states' scale: how far the two parts, one after the other, may be from the whole."""


class Trunk:
    """A decoder cut below its lowest trained layer, and the states at the cut, by row."""

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
        decoder = model.get_decoder()
        self._model = model
        self._below = _part(decoder, slice(0, lowest_layer), norm=torch.nn.Identity())
        self._above = _part(decoder, slice(lowest_layer, None), norm=decoder.norm)
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
            whole = hidden_states(self._model, micro.ids, micro.positions, micro.documents)
            gap = (self.hidden(micro) - whole).abs().max()
            return bool(gap <= TOLERANCE * whole.square().mean().sqrt())

    @torch.no_grad()
    def _at_the_cut(self, micro: MicroBatch) -> torch.Tensor:
        places = [self._places[row_id] for row_id in micro.row_ids]
        if not self.is_known(micro.row_ids):
            states = _through(self._below, micro, input_ids=micro.ids[None])
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


def _part(decoder: Any, layers: slice, norm: torch.nn.Module) -> Any:
    """Some layers of `decoder`, with the same parameters; the decoder itself is not changed."""
    part = copy.copy(decoder)
    part._modules = dict(decoder._modules)
    part.layers = decoder.layers[layers]
    part.norm = norm
    part.config = copy.deepcopy(decoder.config)
    kinds = getattr(decoder.config, "layer_types", None)
    part.config.num_hidden_layers = len(part.layers)
    if kinds:
        part.config.layer_types = kinds[layers]
    return part


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
