"""Our loop, and a plain one on transformers' own classes with padded batches: the oracle."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"  # it is an oracle here, of the version in the lock

Batch = list[dict[str, list[int]]]
"""Documents as transformers' tokenizers give them, to be padded."""


@dataclass(frozen=True, kw_only=True)
class Course:
    """What a run came to: the loss of each step, and the weights by their stock names."""

    losses: list[float]
    weights: dict[str, Any]
    model: Any
    loaded: Any


@dataclass(frozen=True)
class Loops:
    """Two ways to tune."""

    readers: Any

    def ours(self, config: Any, base: Any, dataset: Any, seed: int = 3) -> Course:
        """The engine, in float64."""
        from tunesmith.stages.finetune.engine import make_engine, make_training
        from tunesmith.stages.finetune.keeper import keeper_of
        from tunesmith.stages.finetune.loop import train
        from tunesmith.stages.finetune.objectives.objective import make_objective

        tiny = self.readers.tiny
        objective = make_objective(config, dataset)
        loaded = objective.load(base, tiny.blobs, seed=seed)
        loaded.model.double()
        rows = list(objective.read(tiny.blobs.path(dataset.train.rows), loaded))
        engine = make_engine(loaded.model, objective, config, seed, rows)
        assert engine.comparison.ok
        assert engine.model is loaded.model
        training = make_training(engine, rows, config, seed, tiny.workdir)
        keeper = keeper_of(tiny.context(seed), config.name)
        losses = [record.loss for record in train(training, lambda *_: None, keeper)]
        weights = {name: p.detach().clone() for name, p in engine.twin.named_parameters()}
        return Course(losses=losses, weights=weights, model=engine.twin, loaded=loaded)

    def theirs(
        self,
        config: Any,
        base: Any,
        dataset: Any,
        loss_of: Callable[[Any, Sequence[int]], Any],
        seed: int = 3,
    ) -> Course:
        """A plain loop: `loss_of(model, places)` is the mean loss of the rows at those places."""
        import torch

        from tunesmith.lm.example import Example
        from tunesmith.stages.finetune.batches import count_steps, steps_of_epoch
        from tunesmith.stages.finetune.objectives.objective import make_objective
        from tunesmith.stages.finetune.optimiser import learning_rate

        loaded = make_objective(config, dataset).load(base, self.readers.tiny.blobs, seed=seed)
        model = type(loaded.model)(loaded.model.config)
        if getattr(model, "pooler", None) is not None:  # of a BERT without a head
            model.pooler = None
        model.load_state_dict(loaded.model.state_dict())
        model.double().eval()
        optimiser = torch.optim.AdamW(
            model.parameters(), lr=1.0, weight_decay=config.weight_decay, fused=False
        )
        rows = [Example(row_id=f"row{number:03}") for number in range(dataset.num_in)]
        losses: list[float] = []
        for epoch in range(config.epochs):
            for step in steps_of_epoch(rows, seed, epoch, config.batch_rows):
                loss = loss_of(model, [int(row.row_id[3:]) for row in step])
                loss.backward()
                trained = [p for p in model.parameters() if p.grad is not None]
                torch.nn.utils.clip_grad_norm_(trained, config.max_grad_norm)
                steps = count_steps(len(rows), config)
                for group in optimiser.param_groups:
                    group["lr"] = learning_rate(config, len(losses) + 1, steps)
                optimiser.step()
                optimiser.zero_grad()
                losses.append(loss.item())
        weights = {name: p.detach() for name, p in model.named_parameters()}
        return Course(losses=losses, weights=weights, model=model, loaded=loaded)

    def padded(self, documents: Sequence[Any], pad: int = 0) -> dict[str, Any]:
        """`tokenizers`' encodings as one padded batch with its mask."""
        import torch

        width = max(len(each.ids) for each in documents)

        def filled(values: Sequence[int], filler: int) -> list[int]:
            return [*values, *[filler] * (width - len(values))]

        return {
            "input_ids": torch.tensor([filled(each.ids, pad) for each in documents]),
            "attention_mask": torch.tensor([filled([1] * len(each.ids), 0) for each in documents]),
        }

    def same(self, ours: Course, theirs: Course, close: float = 1e-9) -> None:
        """Losses and weights are equal to the digits of float64 that rounding leaves."""
        import torch

        assert len(ours.losses) > 3
        assert ours.losses == pytest.approx(theirs.losses, rel=close)
        assert ours.losses[0] != pytest.approx(ours.losses[-1], rel=1e-3), "nothing was learnt"
        assert ours.weights.keys() == theirs.weights.keys()
        for name, weight in theirs.weights.items():
            torch.testing.assert_close(ours.weights[name], weight, rtol=0, atol=close, msg=name)


@pytest.fixture
def loops(readers: Any) -> Loops:
    """Ours, and a plain one."""
    return Loops(readers)


@pytest.fixture
def certified(readers: Any) -> Callable[..., Any]:
    """certified(config, base, dataset) -> the version that the whole step makes; every check of its
    certificate held, or it would have raised."""
    from tunesmith.stages.finetune.run import finetune

    def run(config: Any, base: Any, dataset: Any, seed: int = 3, **hooks: Any) -> Any:
        ctx = readers.tiny.context(seed, **hooks)
        return finetune(config, ctx, base=base, dataset=dataset)

    return run
