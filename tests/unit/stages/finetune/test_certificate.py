from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import torch

from tunesmith.core.canonical import canonical_json, parse
from tunesmith.core.errors import DataError
from tunesmith.core.ref import from_plain
from tunesmith.lm.attention import Documents, attend_by_document, hidden_states
from tunesmith.lm.chat_template import conversation
from tunesmith.lm.load import load_model
from tunesmith.records.certificate import Certificate, Check
from tunesmith.stages.finetune import invariants
from tunesmith.stages.finetune.batches import MicroBatch, TrainRow, steps_of_epoch
from tunesmith.stages.finetune.certificate import (
    Fingerprints,
    after,
    before,
    fingerprints,
    require_held,
)
from tunesmith.stages.finetune.config import ModelConfig
from tunesmith.stages.finetune.invariants import Subject
from tunesmith.stages.finetune.loop import accumulate, micro_loss
from tunesmith.stages.finetune.lora import add_lora, trainable
from tunesmith.stages.finetune.loss import cross_entropy_sum
from tunesmith.stages.finetune.preflight import inspect
from tunesmith.stages.finetune.stock import Comparison, stock_logits, stock_micro_loss, stock_twin
from tunesmith.stages.finetune.trained import prepare

TEXTS = [("Permission is granted.", "mit"), ("x", "gpl-2.0-plus"), ("Apache", "mit")]
EQUAL = Comparison(difference=0.0)


@dataclass(frozen=True)
class Run:
    """A run that is about to start, of which parts can be broken."""

    subject: Subject
    twin: Any
    tokenizer: Any

    def before(self, **changes: Any) -> dict[str, Check]:
        subject = dataclasses.replace(self.subject, **changes)
        served = [row.ids[: row.num_prompt] for row in subject.rows]
        preflight = inspect(subject.rows, served, self.tokenizer, 256)
        checks = before(subject, self.twin, EQUAL, preflight, seed=3)
        assert all(parameter.grad is None for parameter in subject.parameters)
        return {check.name: check for check in checks}

    def failed(self, **changes: Any) -> set[str]:
        return {name for name, check in self.before(**changes).items() if not check.passed}

    def train(self) -> Fingerprints:
        """As if: every parameter moves, the frozen ones do not."""
        was = fingerprints(self.subject.model, self.subject.parameters)
        with torch.no_grad():
            for parameter in self.subject.parameters:
                parameter += 0.01
        return was

    def log(self) -> list[tuple[str, ...]]:
        return [
            tuple(row.row_id for row in step)
            for epoch in (0, 1)
            for step in steps_of_epoch(self.subject.rows, 3, epoch, 2)
        ]

    def after(self, was: Fingerprints, **changes: Any) -> set[str]:
        given: dict[str, Any] = {
            "reloaded": functools.partial(stock_logits, self.subject.model),
            "logged": self.log(),
            **changes,
        }
        checks = after(self.subject, was, seed=3, batch_rows=2, **given)
        assert len(checks) == 4
        return {check.name for check in checks if not check.passed}


@pytest.fixture
def run(tiny: Any) -> Run:
    loaded = load_model(tiny.base, tiny.blobs)
    model = loaded.model
    parameters = trainable(add_lora(model, 4, 6.0, seed=1))
    twin = stock_twin(model)
    attend_by_document(model)
    rows = []
    for number, (text, answer) in enumerate(TEXTS):
        rendered = conversation(loaded.tokenizer, "Name it.", text, answer)
        rows.append(TrainRow(row_id=f"r{number}", ids=rendered.ids, num_prompt=rendered.num_prompt))
    subject = Subject(
        model=model,
        parameters=parameters,
        rows=rows,
        loss=functools.partial(micro_loss, model),
        accumulate=lambda rows, cut: accumulate(
            functools.partial(micro_loss, model), rows, lambda _tokens, _loss: None, cut
        ),
    )
    return Run(subject, twin, loaded.tokenizer)


LEAK = "one document's loss does not depend on another's tokens"
LOSS = "the loss of a step is torch's cross-entropy on transformers' logits"
GRADIENT = "the gradient of a step is autograd's, however the step is cut"
ORDER = "the order of the rows follows from the seed, the epoch and their ids alone"
FROZEN = "the frozen parameters are unchanged"
MOVED = "every trained parameter moved and is finite"
RELOADED = "what was saved gives the trained model's logits on a fresh base model"
LOG = "the rows of each step are those of the order"


def test_a_sound_run_is_certified(run: Run) -> None:
    checks = run.before()

    assert {name for name, check in checks.items() if not check.passed} == set()
    assert {LEAK, LOSS, GRADIENT, ORDER} < set(checks)
    assert {7, 1, 3, 4, 11, 13, 14, 17, 18, 19, 33} <= {
        d for c in checks.values() for d in c.defects
    }
    assert run.after(run.train()) == set()
    certificate = Certificate(checks=tuple(checks.values()))
    assert from_plain(Certificate, parse(canonical_json(certificate))) == certificate
    require_held(certificate.checks)


@pytest.mark.parametrize("settings", [{"method": "dora"}, {"method": "full"}, {"method": "head"}])
def test_every_method_is_certified(tiny: Any, run: Run, settings: dict[str, Any]) -> None:
    model = load_model(tiny.base, tiny.blobs).model
    config = ModelConfig(base="b", dataset="d", **settings)
    parameters = prepare(model, config, seed=1).parameters
    twin = stock_twin(model)
    attend_by_document(model)
    subject = Subject(
        model=model,
        parameters=parameters,
        rows=run.subject.rows,
        loss=functools.partial(micro_loss, model),
        accumulate=lambda rows, cut: accumulate(
            functools.partial(micro_loss, model), rows, lambda _tokens, _loss: None, cut
        ),
    )
    method = Run(subject, twin, run.tokenizer)

    assert method.failed() == set()
    assert method.after(method.train()) == set()


def test_the_stock_path_is_certified_too(run: Run) -> None:
    """On a mismatch a run falls back to documents alone; that it did shows."""
    loss = functools.partial(stock_micro_loss, run.twin)

    def accumulate_stock(rows: Sequence[TrainRow], cut: Any) -> float:
        num_labels = sum(row.num_labels for row in rows)
        losses = [loss(micro) / num_labels for micro in cut(rows)]
        for part in losses:
            torch.autograd.backward(part)
        return sum(part.item() for part in losses)

    subject = dataclasses.replace(
        run.subject, model=run.twin, loss=loss, accumulate=accumulate_stock
    )
    preflight = inspect(
        run.subject.rows, [r.ids[: r.num_prompt] for r in run.subject.rows], run.tokenizer, 256
    )
    checks = before(subject, run.twin, Comparison(difference=0.5), preflight, seed=3)

    require_held(checks)
    assert "would differ by 5.0e-01" in checks[0].observed


def leaky_loss(model: Any, micro: MicroBatch) -> torch.Tensor:
    whole = Documents(lengths=(len(micro.ids),))
    hidden = hidden_states(model, micro.ids, micro.positions, whole)
    return cross_entropy_sum(
        hidden[micro.predicting], model.get_output_embeddings().weight, micro.labels
    )


def test_a_leak_is_caught(run: Run) -> None:
    """Defect 7."""
    assert run.failed(loss=functools.partial(leaky_loss, run.subject.model)) == {LEAK}


def test_a_leak_is_caught_where_the_trunk_has_no_gradient(run: Run) -> None:
    model = run.subject.model

    def trunkless(loss: Callable[[Any, MicroBatch], torch.Tensor], micro: MicroBatch) -> Any:
        with torch.no_grad():
            found = loss(model, micro)
        return found + 0 * run.subject.parameters[0].sum()

    assert run.failed(loss=functools.partial(trunkless, micro_loss)) == set()
    assert run.failed(loss=functools.partial(trunkless, leaky_loss)) == {LEAK}


def test_a_loss_that_depends_on_nothing_is_no_proof(run: Run) -> None:
    parameter = run.subject.parameters[0]
    assert run.failed(loss=lambda _micro: 0 * parameter.sum()) == {LEAK}


def test_a_mean_of_means_is_caught(run: Run) -> None:
    """Defect 1: each micro-batch by its own labels."""
    model = run.subject.model

    def wrong(rows: Sequence[TrainRow], cut: Callable[..., Iterator[MicroBatch]]) -> float:
        means = [micro_loss(model, micro) / len(micro.labels) for micro in cut(rows)]
        loss = torch.stack(means).mean()
        torch.autograd.backward(loss)
        return loss.item()

    assert run.failed(accumulate=wrong) == {LOSS, GRADIENT}


def test_a_gradient_by_another_denominator_than_the_loss_is_caught(run: Run) -> None:
    """Defect 3: the loss that is logged is right, the step is not."""
    model = run.subject.model

    def wrong(rows: Sequence[TrainRow], cut: Callable[..., Iterator[MicroBatch]]) -> float:
        losses = [micro_loss(model, micro) for micro in cut(rows)]
        torch.autograd.backward(torch.stack(losses).sum() / sum(len(row.ids) for row in rows))
        return sum(loss.item() for loss in losses) / sum(row.num_labels for row in rows)

    assert run.failed(accumulate=wrong) == {GRADIENT}


def test_labels_that_are_shifted_twice_are_caught(run: Run) -> None:
    """Defect 4."""
    model = run.subject.model

    def wrong(rows: Sequence[TrainRow], cut: Callable[..., Iterator[MicroBatch]]) -> float:
        def shifted(rows: Sequence[TrainRow]) -> Iterator[MicroBatch]:
            for micro in cut(rows):
                yield dataclasses.replace(micro, predicting=micro.predicting - 1)

        return accumulate(
            functools.partial(micro_loss, model), rows, lambda _tokens, _loss: None, shifted
        )

    assert run.failed(accumulate=wrong) == {LOSS, GRADIENT}


def test_an_order_that_follows_the_file_is_caught(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Defect 33."""
    monkeypatch.setattr(invariants, "steps_of_epoch", lambda rows, *_: iter([list(rows)]))
    assert run.failed() == {ORDER}


def test_a_row_that_does_not_end_is_caught(run: Run) -> None:
    """Defect 14."""
    first, *others = run.subject.rows
    endless = dataclasses.replace(first, ids=first.ids[:-1])
    failed = run.failed(rows=[endless, *others])

    assert failed == {"no rows do not end with a token that ends a turn"}
    with pytest.raises(DataError, match=r"certificate fails: no rows do not end .*: 1 of 3 rows"):
        require_held(list(run.before(rows=[endless, *others]).values()))


def test_one_row_is_enough(run: Run) -> None:
    assert run.failed(rows=run.subject.rows[:1]) == set()


def test_a_frozen_weight_that_was_touched_is_caught(run: Run) -> None:
    """Defect 32."""
    was = run.train()
    with torch.no_grad():
        run.subject.model.get_decoder().norm.weight[0] += 1e-6
    assert run.after(was) == {FROZEN}


def test_a_parameter_that_stood_still_is_caught(run: Run) -> None:
    """Defect 31."""
    kept = run.subject.parameters[1].detach().clone()
    was = run.train()
    run.subject.parameters[1].data.copy_(kept)

    assert run.after(was) == {MOVED}
    assert run.after(was, logged=run.log()[:1]) == set()


def test_a_parameter_that_is_not_finite_is_caught(run: Run) -> None:
    was = run.train()
    kept = functools.partial(stock_logits, run.twin)
    run.subject.parameters[1].data[0, 0] = float("nan")

    assert run.after(was, reloaded=kept) == {MOVED, RELOADED}


def test_an_adapter_that_was_lost_is_caught(tiny: Any, run: Run) -> None:
    """Defects 26 and 28: the base model alone is not what was trained."""
    was = run.train()
    bare = load_model(tiny.base, tiny.blobs).model
    assert run.after(was, reloaded=functools.partial(stock_logits, bare)) == {RELOADED}


def test_a_log_of_other_rows_is_caught(run: Run) -> None:
    """Defect 33."""
    was = run.train()
    first, *others = run.log()

    assert run.after(was, logged=[first[::-1], *others]) == {LOG}
    assert run.after(was, logged=run.log()[:-1]) == set(), "a run may be stopped early"
