"""KTO beside TRL and beside its definition."""

from __future__ import annotations

import dataclasses
import functools
import json
from typing import Any

import pytest
import torch

from tunesmith.core.ref import from_plain
from tunesmith.lm.example import Example
from tunesmith.lm.load import load_model
from tunesmith.records.certificate import Certificate
from tunesmith.stages.finetune.engine import make_training, subject_of
from tunesmith.stages.finetune.first_batch import look
from tunesmith.stages.finetune.invariants import step_errors
from tunesmith.stages.finetune.preflight import require_sound
from tunesmith.stages.finetune.run import finetune
from tunesmith.stages.finetune.states import shelf_of
from tunesmith.stages.finetune.stock import stock_logits

SEED = 5
ROWS = [
    ("What is MIT?", "A short licence that permits nearly all.", True),
    ("Is the GPL free?", "It costs a great deal of money every year, I am afraid.", False),
    ("Who wrote Apache-2.0? " * 3, "The Apache Software Foundation, in 2004.", True),
    ("x", "z z z", False),
    ("May I sell it?", "Yes, with the notice.", True),
    ("And change it?", "No.", False),
    ("Name a licence, please.", "mit", True),
    ("2007?", "The year of the third version of the GPL.", True),
]
CONTENTS = [{"prompt": p, "completion": c, "label": liked} for p, c, liked in ROWS]
WEIGHTS = {"beta": 0.3, "desirable_weight": 1.1, "undesirable_weight": 1.7}

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")


@pytest.fixture
def rows(feedbacks: Any) -> list[Example]:
    return feedbacks.rows(feedbacks.dataset(CONTENTS), feedbacks.config("kto"))


def test_every_step_is_that_of_trl(feedbacks: Any, oracle: Any, rows: list[Example]) -> None:
    """TRL pairs each prompt with the answer before it in its file, batch by batch: our steps."""
    from trl import KTOConfig, KTOTrainer

    config = feedbacks.config("kto", **WEIGHTS)
    engine = feedbacks.engine(config, rows)
    first = feedbacks.adapters(engine)
    texts = [
        {
            "prompt": feedbacks.text(row.prompt),
            "completion": feedbacks.text(row.answers[0].ids),
            "label": bool(row.target),
        }
        for row in feedbacks.ordered(rows, config)
    ]
    expected, theirs = oracle.train(KTOTrainer, KTOConfig, texts, first, **WEIGHTS)

    found = feedbacks.train(engine, config, rows)

    assert len(found) == 4
    # Of a model in float64 TRL still has log-probabilities, or losses, in float32.
    assert found == pytest.approx(expected, rel=5e-6)
    moved = [(matrix - first[name]).abs().max() for name, matrix in theirs.items()]
    assert min(moved) > 1e-3
    for name, matrix in feedbacks.adapters(engine).items():
        torch.testing.assert_close(matrix, theirs[name], rtol=0, atol=1e-5)


@pytest.mark.parametrize("towards", [1.0, -1.0])
def test_the_loss_is_its_definition_by_plain_torch(
    feedbacks: Any, rows: list[Example], towards: float
) -> None:
    """After some steps, in float64; also where the mean of others is below zero, and counts as
    zero."""
    config = feedbacks.config("kto", batch_rows=8, epochs=1, **WEIGHTS)
    engine = feedbacks.engine(config, rows)
    rows = feedbacks.ordered(rows, config)
    untuned = load_model(feedbacks.tiny.base, feedbacks.tiny.blobs).model.double()
    feedbacks.shaken(engine)
    if towards < 0:  # the other way round, most answers become likelier
        for module in engine.trained.adapters.values():
            module.lora_b.data.neg_()

    def log_p(model: Any, prompt: tuple[int, ...], answer: tuple[int, ...]) -> torch.Tensor:
        predicted = stock_logits(model, torch.tensor(prompt + answer))[len(prompt) - 1 : -1]
        return -torch.nn.functional.cross_entropy(predicted, torch.tensor(answer), reduction="sum")

    def gain(row: Example, answer: tuple[int, ...]) -> torch.Tensor:
        with torch.no_grad():
            before = log_p(untuned, row.prompt, answer)
        return log_p(engine.twin, row.prompt, answer) - before

    others = [gain(row, rows[n - 1].answers[0].ids).detach() for n, row in enumerate(rows)]
    mean = sum(others) / len(rows)
    zero = max(0.0, float(mean))
    losses = []
    for row in rows:
        own = gain(row, row.answers[0].ids)
        if row.target:
            losses.append(1.1 * torch.sigmoid(-0.3 * (own - zero)))
        else:
            losses.append(1.7 * torch.sigmoid(-0.3 * (zero - own)))
    expected = torch.stack(losses).mean()
    wanted = torch.autograd.grad(expected, engine.trained.parameters)
    loss, found = feedbacks.gradients(engine, rows)

    assert abs(float(mean)) > 0.1
    assert loss == pytest.approx(expected.item(), rel=1e-9)
    torch.testing.assert_close(found, torch.cat([g.flatten() for g in wanted]), rtol=0, atol=1e-9)


def test_a_shared_prompt_changes_nothing(feedbacks: Any, rows: list[Example]) -> None:
    config = feedbacks.config("kto")
    engine = feedbacks.shaken(feedbacks.engine(config, rows))
    rows = feedbacks.ordered(rows, config)[:4]
    shared_loss, shared = feedbacks.gradients(engine, rows)
    alone = dataclasses.replace(engine, hidden=functools.partial(feedbacks.unrolled, engine))
    alone_loss, twice = feedbacks.gradients(alone, rows)

    assert shared_loss == pytest.approx(alone_loss, abs=1e-10)
    torch.testing.assert_close(shared, twice, rtol=0, atol=1e-10)


def test_nothing_is_learnt_from_the_answers_of_others(feedbacks: Any, rows: list[Example]) -> None:
    config = feedbacks.config("kto")
    engine = feedbacks.engine(config, rows)
    (micro,) = engine.objective.cut(feedbacks.ordered(rows, config)[:4])
    states = engine.hidden(micro).detach().requires_grad_()
    (grad,) = torch.autograd.grad(engine.objective.loss(engine.model, states, micro), states)
    start = 0
    for example in micro.examples:
        prompt, own = len(example.prompt), len(example.answers[0].ids)
        learnt = grad[start + prompt - 1 : start + prompt + own - 1]
        rest = grad[start + prompt + own - 1 : start + example.num_tokens]
        assert learnt.any(dim=1).all()
        assert not rest.any()
        start += example.num_tokens


def test_every_step_pairs_its_own_rows(feedbacks: Any, rows: list[Example]) -> None:
    """Which answer is the second follows from the step's order: another one in another epoch."""
    config = feedbacks.config("kto", batch_rows=3)
    engine = feedbacks.engine(config, rows)
    tiny = feedbacks.tiny
    training = make_training(engine, rows, config, SEED, shelf_of(tiny.context(), tiny.base))
    seen: dict[str, set[tuple[int, ...]]] = {row.row_id: set() for row in rows}
    for step in training.steps_to_do():
        (micro,) = engine.objective.cut(step)
        for place, example in enumerate(micro.examples):
            assert example.answers[1].ids == step[place - 1].answers[0].ids
            seen[example.row_id].add(example.answers[1].ids)
        assert torch.isfinite(engine.loss(micro))  # the reference of each was asked for
    assert max(map(len, seen.values())) > 1


def test_a_wrong_reference_fails_the_certificate(feedbacks: Any, rows: list[Example]) -> None:
    """Defect 24."""
    config = feedbacks.config("kto")
    engine = feedbacks.engine(config, rows)
    subject, step = subject_of(engine, rows), feedbacks.ordered(rows, config)[:4]

    assert max(step_errors(subject, step, engine.twin)) < 1e-5
    known = engine.objective._reference._log_probs  # type: ignore[attr-defined]
    known |= {key: value - key[1] % 5 for key, value in known.items()}
    assert step_errors(subject, step, engine.twin)[0] > 1e-4


def test_a_run_is_certified_and_learns_what_is_liked(feedbacks: Any) -> None:
    tiny = feedbacks.tiny
    config = feedbacks.config("kto", epochs=6, layers=1)
    notes: list[tuple[float, float, str]] = []
    ctx = tiny.context(SEED, progress=lambda *said: notes.append(said))

    model = finetune(config, ctx, base=tiny.base, dataset=feedbacks.dataset(CONTENTS))

    certificate = from_plain(Certificate, json.loads(tiny.blobs.get(model.certificate)))
    assert all(check.passed for check in certificate.checks)
    assert model.first_loss == pytest.approx(0.5, abs=1e-6)
    assert model.last_loss < model.first_loss
    done, total, _ = [said for said in notes if said[1]][-1]
    assert done == total == model.num_trained_tokens
    row_tokens = sum(row.num_tokens for row in feedbacks.rows(feedbacks.dataset(CONTENTS), config))
    answers = sum(
        len(row.answers[0].ids) for row in feedbacks.rows(feedbacks.dataset(CONTENTS), config)
    )
    assert total == 6 * (row_tokens + answers)


def test_a_look_marks_the_own_answers_only(feedbacks: Any) -> None:
    tiny = feedbacks.tiny
    found = look(
        feedbacks.config("kto"), tiny.blobs, tiny.base, feedbacks.dataset(CONTENTS), seed=SEED
    )

    require_sound(found.preflight)
    by_id = {f"row{number:03}": row for number, row in enumerate(ROWS)}
    for number, row_id in enumerate(found.row_ids):
        said = [t.text for t in found.tokens if t.document == number and t.trained == "answer"]
        assert "".join(said) == by_id[row_id][1]
