"""What lies below the lowest trained layer, computed once for each row and then read from files.

Nothing there is trained, and no dropout or augmentation is ever drawn, so the states that enter the
lowest trained layer are the same in every epoch, and in every run that trains from that layer on.
Only the layers above are computed in a step (as in Skip2-LoRA, arXiv 2410.21073).
"""

from __future__ import annotations

import copy
import platform
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch

from tunesmith.core.errors import DataError
from tunesmith.lm.attention import hidden_states, typed
from tunesmith.lm.example import Example, MicroBatch
from tunesmith.stages.finetune.states import Shelf, States

NORMS = ("norm", "final_norm")
"""What transformers calls the norm after the last layer, in models that have one."""
TOLERANCE = 1e-5
"""Of the states' scale: how far the two parts, one after the other, may be from the whole."""


class Trunk:
    """A model cut below its lowest trained layer, and the states at the cut, by row."""

    def __init__(
        self, model: Any, lowest_layer: int, rows: Sequence[Example], shelf: Shelf
    ) -> None:
        """The states lie on `shelf`, a number for each token and hidden unit.

        Raises:
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
        self.lowest_layer = lowest_layer
        made_of = {
            "model": type(model.base_model).__name__,
            "cut": lowest_layer,
            # Of what sums are added up in another order by, that which can be told.
            "processor": f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}",
            "threads": torch.get_num_threads(),
        }
        self.states = States(shelf, made_of, rows, model.config.hidden_size, model.dtype)
        self._at_hand: list[tuple[MicroBatch, torch.Tensor]] = []
        self._num_tokens, self._wall_s, self._cpu_s = 0, 0.0, 0.0

    def hidden(self, micro: MicroBatch) -> torch.Tensor:
        """What the output head sees: (num_tokens, hidden_size).

        Raises:
            KeyError: states of its rows are missing, and are not at hand.
        """
        for each, states in self._at_hand:
            if each is micro:
                return self.above(micro, states)
        return self.above(micro, self.states.read(micro.row_ids, micro.sizes))

    def take(self, micros: Sequence[MicroBatch]) -> None:
        """Have the states of `micros` at hand, so that `hidden` of one is what is above alone: for
        a forecast, which is made before they are kept. The bits are not those that are kept."""
        self._at_hand = [(micro, self.below(micro)) for micro in micros]

    def let_go(self) -> None:
        """Have no states at hand."""
        self._at_hand = []

    def fill(self, done: Callable[[int], None]) -> None:
        """Compute what is missing; see `States.fill`."""
        self.states.fill(self.below, done)

    @torch.no_grad()
    def below(self, micro: MicroBatch) -> torch.Tensor:
        """The states at the cut: (num_tokens, hidden_size)."""
        wall, cpu = time.monotonic(), time.process_time()
        states = _through(self._below, micro, input_ids=micro.ids[None], **typed(micro.types))
        self._num_tokens += micro.num_tokens
        self._wall_s += time.monotonic() - wall
        self._cpu_s += time.process_time() - cpu
        return states

    @property
    def speeds(self) -> tuple[float, float]:
        """Tokens that went through what is below, by their seconds on the wall and of all threads;
        also where all is kept already some have, to see that the cut is exact."""
        return self._num_tokens / self._wall_s, self._num_tokens / max(1e-9, self._cpu_s)

    def above(self, micro: MicroBatch, states: torch.Tensor) -> torch.Tensor:
        """The states at the cut to what the output head sees."""
        return _through(self._above, micro, inputs_embeds=states[None])

    def is_exact(self, micro: MicroBatch) -> bool:
        """Whether the parts one after the other are the whole, on `micro`."""
        with torch.no_grad():
            whole = hidden_states(
                self._model, micro.ids, micro.positions, micro.documents, micro.types
            )
            gap = (self.above(micro, self.below(micro)) - whole).abs().max()
            return bool(gap <= TOLERANCE * whole.square().mean().sqrt())


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
