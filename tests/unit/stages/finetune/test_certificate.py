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
from tunesmith.lm.attention import Documents, hidden_states
from tunesmith.lm.example import Answer, Example, MicroBatch
from tunesmith.lm.load import load_model
from tunesmith.records.certificate import Certificate, Check
from tunesmith.stages.finetune import invariants
from tunesmith.stages.finetune.batches import steps_of_epoch
from tunesmith.stages.finetune.certificate import (
    Fingerprints,
    after,
    before,
    fingerprints,
    require_held,
)
from tunesmith.stages.finetune.config import ModelConfig
from tunesmith.stages.finetune.engine import Engine, make_engine, packed_states, subject_of
from tunesmith.stages.finetune.invariants import Subject
from tunesmith.stages.finetune.objectives.answers import Answers
from tunesmith.stages.finetune.preflight import inspect
from tunesmith.stages.finetune.stock import Comparison, stock_logits, stock_states

TEXTS = [("Permission is granted.", "mit"), ("x", "gpl-2.0-plus"), ("Apache", "mit")]


@dataclass(frozen=True)
class Run:
    """A run that is about to start, of which parts can be broken."""

    engine: Engine
    rows: Sequence[Example]
    tokenizer: Any

    @property
    def subject(self) -> Subject:
        return subject_of(self.engine, self.rows)

    def with_engine(self, **changes: Any) -> Run:
        return dataclasses.replace(self, engine=dataclasses.replace(self.engine, **changes))

    def before(self, **changes: Any) -> dict[str, Check]:
        """With what the certificate is about changed, but not the engine."""
        subject = dataclasses.replace(self.subject, **changes)
        served = [row.prompt for row in subject.rows]
        preflight = inspect(subject.rows, served, self.tokenizer, 256)
        checks = before(subject, self.engine.twin, self.engine.comparison, preflight, seed=3)
        assert all(parameter.grad is None for parameter in subject.parameters)
        return {check.name: check for check in checks}

    def failed(self, **changes: Any) -> set[str]:
        return {name for name, check in self.before(**changes).items() if not check.passed}

    def failed_with(self, erring: type[Any]) -> set[str]:
        """With an objective that errs."""
        return self.with_engine(objective=erring(self.engine.objective)).failed()

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
            for step in steps_of_epoch(self.rows, 3, epoch, 2)
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


class Erring:
    """An objective that is right in all that a test does not break."""

    def __init__(self, right: Answers) -> None:
        self.right = right

    def __getattr__(self, name: str) -> Any:
        return getattr(self.right, name)


@pytest.fixture
def run_of(tiny: Any, objective: Answers, read: Callable[..., list[Example]]) -> Callable[..., Run]:
    """run_of(method=...) -> a run by the engine that tunes."""

    def make(**settings: Any) -> Run:
        loaded = load_model(tiny.base, tiny.blobs)
        config = ModelConfig(base="b", dataset="d", **settings)
        rows = read(TEXTS)
        return Run(make_engine(loaded.model, objective, config, 1, rows), rows, loaded.tokenizer)

    return make


@pytest.fixture
def run(run_of: Callable[..., Run]) -> Run:
    return run_of(rank=4, alpha=6.0)


LEAK = "one row's states do not depend on another's tokens"
LOSS = "the loss of a step is its definition, by torch on transformers' forward pass"
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
    assert run.engine.comparison.ok
    assert {7, 1, 3, 4, 11, 13, 14, 17, 18, 19, 33} <= {
        d for c in checks.values() for d in c.defects
    }
    assert run.after(run.train()) == set()
    certificate = Certificate(checks=tuple(checks.values()))
    assert from_plain(Certificate, parse(canonical_json(certificate))) == certificate
    require_held(certificate.checks)


@pytest.mark.parametrize(
    "settings",
    [{"method": "dora"}, {"method": "full"}, {"method": "head"}, {"method": "full", "layers": 1}],
)
def test_every_method_is_certified(run_of: Callable[..., Run], settings: dict[str, Any]) -> None:
    method = run_of(**settings)

    assert method.failed() == set()
    assert method.after(method.train()) == set()


def on_the_stock_path(run: Run) -> Run:
    twin = run.engine.twin
    return run.with_engine(
        model=twin,
        hidden=functools.partial(stock_states, twin),
        comparison=Comparison(difference=0.5),
    )


def test_the_stock_path_is_certified_too(run: Run) -> None:
    """On a mismatch a run falls back to documents alone; that it did shows."""
    checks = list(on_the_stock_path(run).before().values())

    require_held(checks)
    assert "would differ by 5.0e-01" in checks[0].observed


def leaky_states(model: Any, micro: MicroBatch) -> torch.Tensor:
    whole = Documents(lengths=(len(micro.ids),))
    return hidden_states(model, micro.ids, micro.positions, whole)


def test_a_leak_is_caught(run: Run) -> None:
    """Defect 7: by the states alone, and by the loss and the gradient that are made of them."""
    leaky = functools.partial(leaky_states, run.engine.model)

    assert run.failed(hidden=leaky) == {LEAK}
    assert run.with_engine(hidden=leaky).failed() == {LEAK, LOSS, GRADIENT}


@pytest.mark.parametrize("graph", [False, True])
def test_a_leak_is_caught_where_the_trunk_has_no_gradient(run: Run, graph: bool) -> None:
    model = run.engine.model

    def trunkless(states: Callable[[MicroBatch], torch.Tensor], micro: MicroBatch) -> Any:
        with torch.no_grad():
            found = states(micro)
        return found + 0 * run.subject.parameters[0].sum() if graph else found

    leaky = functools.partial(leaky_states, model)
    alone = functools.partial(packed_states, model)
    assert run.failed(hidden=functools.partial(trunkless, alone)) == set()
    assert run.failed(hidden=functools.partial(trunkless, leaky)) == {LEAK}


@pytest.mark.parametrize("graph", [False, True])
def test_states_that_depend_on_nothing_are_no_proof(run: Run, graph: bool) -> None:
    width = run.engine.model.config.hidden_size

    def constant(micro: MicroBatch) -> torch.Tensor:
        states = torch.ones(micro.num_tokens, width)
        return states + 0 * run.subject.parameters[0].sum() if graph else states

    assert run.failed(hidden=constant) == {LEAK}


@pytest.fixture
def branched(run: Run) -> Run:
    """Of rows with two answers to a prompt each, some of whose tokens count more than others."""
    rows = []
    for row, other in zip(run.rows, [*run.rows[1:], run.rows[0]], strict=True):
        (first,), (second,) = row.answers, other.answers
        weights = (2.0, *(0.5,) * (len(second.ids) - 1))
        second = dataclasses.replace(second, weights=weights)
        rows.append(dataclasses.replace(row, answers=(first, second)))
    return dataclasses.replace(run, rows=rows)


def test_answers_that_share_a_prompt_are_certified(branched: Run) -> None:
    assert branched.failed() == set()
    assert branched.after(branched.train()) == set()
    assert on_the_stock_path(branched).failed() == set()


def test_an_answer_that_sees_another_one_is_caught(branched: Run) -> None:
    """Defect 7, within a row."""
    model = branched.engine.model

    def leaky(micro: MicroBatch) -> torch.Tensor:
        unmasked = Documents(lengths=micro.documents.lengths)
        return hidden_states(model, micro.ids, micro.positions, unmasked)

    assert branched.with_engine(hidden=leaky).failed() == {LOSS, GRADIENT}


def test_weights_that_are_not_read_are_caught(branched: Run) -> None:
    class Unweighted(Erring):
        def loss(self, model: Any, states: torch.Tensor, micro: MicroBatch) -> torch.Tensor:
            plain = dataclasses.replace(micro, weights=torch.ones_like(micro.weights))
            return self.right.loss(model, states, plain)

    assert branched.failed_with(Unweighted) == {LOSS, GRADIENT}


def test_what_only_wraps_the_objective_is_certified(run: Run) -> None:
    """The tests below could not tell what they broke if it were not."""
    assert run.failed_with(Erring) == set()


def test_a_mean_of_means_is_caught(run: Run) -> None:
    """Defect 1: each micro-batch by its own labels."""

    class MeanOfMeans(Erring):
        def weight(self, _example: Example) -> float:
            return 1.0

        def loss(self, model: Any, states: torch.Tensor, micro: MicroBatch) -> torch.Tensor:
            mean = self.right.loss(model, states, micro) / len(micro.labels)
            return mean * len(micro.examples)

    two = dataclasses.replace(run, rows=run.rows[:2])
    assert len({row.num_labels for row in two.rows}) == 2, "on rows with as many it is right"
    assert two.failed_with(MeanOfMeans) == {LOSS, GRADIENT}


def test_a_gradient_by_another_denominator_than_the_loss_is_caught(run: Run) -> None:
    """Defect 3: the loss that is logged is right, the step is not."""

    class OtherGradient(Erring):
        def loss(self, model: Any, states: torch.Tensor, micro: MicroBatch) -> torch.Tensor:
            loss = self.right.loss(model, states, micro)
            by_tokens = loss * len(micro.labels) / micro.num_tokens
            return by_tokens + (loss - by_tokens).detach()

    assert run.failed_with(OtherGradient) == {GRADIENT}


@pytest.mark.parametrize("wrong", [1.0, None])
def test_a_wrong_weight_is_caught(run: Run, wrong: float | None) -> None:
    """Defect 3: of each row as one, or with its prompt; nothing else of the objective is wrong."""

    class Weighed(Erring):
        def weight(self, example: Example) -> float:
            return wrong or float(example.num_tokens)

    assert run.failed_with(Weighed) == {LOSS, GRADIENT}


def test_a_loop_with_another_denominator_is_caught(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Defects 1 and 2: each micro-batch by its own labels, whatever the objective says."""

    def wrong(
        _objective: Any,
        loss_of: Callable[[MicroBatch], torch.Tensor],
        rows: Sequence[Example],
        cut: Callable[..., Iterator[MicroBatch]],
    ) -> float:
        loss = torch.stack([loss_of(micro) / len(micro.labels) for micro in cut(rows)]).mean()
        torch.autograd.backward(loss)
        return loss.item()

    monkeypatch.setattr(invariants, "accumulate", wrong)
    assert run.failed() == {LOSS, GRADIENT}


def test_labels_that_are_shifted_twice_are_caught(run: Run) -> None:
    """Defect 4."""

    class ShiftedTwice(Erring):
        def cut(self, examples: Sequence[Example]) -> Iterator[MicroBatch]:
            for micro in self.right.cut(examples):
                yield dataclasses.replace(micro, predicting=micro.predicting - 1)

    assert run.failed_with(ShiftedTwice) == {LOSS, GRADIENT}


def test_a_label_that_is_left_out_is_caught(run: Run) -> None:
    """Defect 13: the end of the turn, by the value of its token."""

    class Endless(Erring):
        def loss(self, model: Any, states: torch.Tensor, micro: MicroBatch) -> torch.Tensor:
            kept = micro.labels != micro.labels[-1]
            shorter = {n: getattr(micro, n)[kept] for n in ("predicting", "labels", "weights")}
            return self.right.loss(model, states, dataclasses.replace(micro, **shorter))

    assert run.failed_with(Endless) == {LOSS, GRADIENT}


def test_an_order_that_follows_the_file_is_caught(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Defect 33."""
    monkeypatch.setattr(invariants, "steps_of_epoch", lambda rows, *_: iter([list(rows)]))
    assert run.failed() == {ORDER}


def test_a_row_that_does_not_end_is_caught(run: Run) -> None:
    """Defect 14."""
    first, *others = run.rows
    (answer,) = first.answers
    endless = dataclasses.replace(first, answers=(Answer(ids=answer.ids[:-1]),))
    failed = run.failed(rows=[endless, *others])

    assert failed == {"no rows do not end with a token that ends a turn"}
    with pytest.raises(DataError, match=r"certificate fails: no rows do not end .*: 1 of 3 rows"):
        require_held(list(run.before(rows=[endless, *others]).values()))


def test_one_row_is_enough(run: Run) -> None:
    assert run.failed(rows=run.rows[:1]) == set()


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
    kept = functools.partial(stock_logits, run.engine.twin)
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
