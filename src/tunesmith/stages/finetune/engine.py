"""A model made ready to be tuned: fast, if that is exact for it, else by transformers' own code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from tunesmith.lm.attention import attend_by_document, hidden_states, reads_both_ways
from tunesmith.lm.example import Example, MicroBatch
from tunesmith.lm.prefixes import share_prefixes
from tunesmith.lm.shard import row_ids_of
from tunesmith.stages.finetune.batches import lanes_of, steps_of_epoch
from tunesmith.stages.finetune.config import ModelConfig
from tunesmith.stages.finetune.fuse import fuse
from tunesmith.stages.finetune.invariants import Subject
from tunesmith.stages.finetune.lanes import Lanes
from tunesmith.stages.finetune.loop import Training
from tunesmith.stages.finetune.objectives.objective import Hidden, Objective
from tunesmith.stages.finetune.optimiser import make_optimiser
from tunesmith.stages.finetune.states import Shelf
from tunesmith.stages.finetune.stock import Comparison, matches_stock, stock_states, stock_twin
from tunesmith.stages.finetune.trained import Trained, prepare
from tunesmith.stages.finetune.trunk import Trunk


@dataclass(frozen=True, kw_only=True, eq=False)
class Engine:
    """A model, what is trained of it, and how its states and its loss are computed."""

    model: Any
    trained: Trained
    objective: Objective
    hidden: Hidden
    twin: Any
    """The same model with the same parameters, and no code of ours but the adapters'."""
    first: MicroBatch
    """The first micro-batch of the run."""
    comparison: Comparison
    """How far the packed forward pass was from the twin's on it."""

    def loss(self, micro: MicroBatch, hidden: Hidden | None = None) -> torch.Tensor:
        """Sum of the losses of a micro-batch, with a graph; its states are those of `hidden`."""
        return self.objective.loss(self.model, (hidden or self.hidden)(micro), micro)


def make_training(
    engine: Engine, rows: Sequence[Example], config: ModelConfig, seed: int, shelf: Shelf
) -> Training:
    """A run of `engine` that has not begun; `shelf` is for what it need not compute twice."""
    parameters = engine.trained.parameters
    trunk = _trunk(engine, rows, shelf)
    return Training(
        objective=engine.objective,
        loss=partial(engine.loss, hidden=trunk.hidden if trunk else None),
        trunk=trunk,
        parameters=parameters,
        rows=rows,
        config=config,
        seed=seed,
        optimiser=make_optimiser(parameters, config),
        lanes=Lanes(parameters, lanes_of(config)),
    )


def _trunk(engine: Engine, rows: Sequence[Example], shelf: Shelf) -> Trunk | None:
    """What is frozen below the trained layers, where its states are not too many and it is exact.

    This depends on the model and the rows alone, and not on what is on the shelf or the disk.
    """
    lowest = engine.trained.lowest_layer
    if lowest == 0 or engine.model is engine.twin or engine.objective.draws:
        return None
    places = {row_id: place for place, row_id in enumerate(row_ids_of(rows))}
    if any(rows[places[example.row_id]] != example for example in engine.first.examples):
        return None  # what goes through the model with a row is another thing in every epoch
    trunk = Trunk(engine.model, lowest, rows, shelf)
    return trunk if trunk.states.fit and trunk.is_exact(engine.first) else None


def subject_of(engine: Engine, rows: Sequence[Example]) -> Subject:
    """What the run's certificate is about."""
    return Subject(
        model=engine.model,
        parameters=engine.trained.parameters,
        rows=rows,
        objective=engine.objective,
        hidden=engine.hidden,
        loss=engine.loss,
        token_ids=frozenset(engine.trained.token_ids),
    )


def make_engine(
    model: Any,
    objective: Objective,
    config: ModelConfig,
    seed: int,
    rows: Sequence[Example],
    token_ids: Sequence[int] = (),
) -> Engine:
    """Prepare `model`, in place, to be tuned on `rows` as `config` says; `token_ids` are its new
    tokens.

    Its packed forward pass is compared with transformers' own on the first micro-batch; where they
    differ, the engine takes the slow path: each document alone through stock code.

    Raises:
        ConfigError: more layers are to be trained than the model has.
        DataError: the architecture cannot be served here, so that tuning it would be in vain.
    """
    trained = prepare(model, config, seed, token_ids)
    twin = stock_twin(model)
    attend_by_document(model)
    if config.method == "lora":
        fuse(model, trained.lowest_layer)
    first = next(objective.cut(next(steps_of_epoch(rows, seed, 0, config.batch_rows))))
    # What is kept of frozen layers is kept by row, and is computed once anyway.
    shares = trained.lowest_layer == 0 and not reads_both_ways(model.config)
    states = partial(shared_states if shares else packed_states, model)
    comparison = matches_stock(states, twin, first)
    fast = comparison.ok
    return Engine(
        model=model if fast else twin,
        trained=trained,
        objective=objective,
        hidden=states if fast else partial(stock_states, twin),
        twin=twin,
        first=first,
        comparison=comparison,
    )


def packed_states(model: Any, micro: MicroBatch) -> torch.Tensor:
    """The final states of a micro-batch's stream in one pass; `model` attends by document."""
    return hidden_states(model, micro.ids, micro.positions, micro.documents, micro.types)


def shared_states(model: Any, micro: MicroBatch) -> torch.Tensor:
    """The same, with what documents begin with alike computed once; `model` is a decoder."""
    shared = share_prefixes(micro)
    if shared is None:
        return packed_states(model, micro)
    states = hidden_states(model, shared.ids, shared.positions, shared.documents)
    return states.index_select(0, shared.places)
