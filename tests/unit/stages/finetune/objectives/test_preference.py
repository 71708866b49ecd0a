"""DPO, IPO, ORPO and SimPO beside TRL and beside their definitions (defects 23 and 24)."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch

from tunesmith.core.errors import ConfigError, DataError
from tunesmith.core.ref import from_plain
from tunesmith.lm.example import Example, MicroBatch, pack
from tunesmith.lm.load import load_model
from tunesmith.records.certificate import Certificate
from tunesmith.stages.finetune.config import ModelConfig
from tunesmith.stages.finetune.engine import subject_of
from tunesmith.stages.finetune.first_batch import look
from tunesmith.stages.finetune.invariants import step_errors
from tunesmith.stages.finetune.objectives.objective import make_objective
from tunesmith.stages.finetune.objectives.preference import FORMULAS, Side
from tunesmith.stages.finetune.preflight import require_sound
from tunesmith.stages.finetune.run import finetune
from tunesmith.stages.finetune.stock import stock_logits

PAIRS = [
    ("What is MIT?", "A short licence that permits nearly all.", "No idea."),
    ("Is the GPL free?", "Yes.", "It costs a great deal of money every year, I am afraid."),
    ("Who wrote Apache-2.0? " * 3, "The Apache Software Foundation, in 2004.", "Somebody did."),
    ("x", "y", "z z z"),
    ("May I sell it?", "Yes, with the notice.", "Yes, without."),
    ("And change it?", "Yes.", "No."),
    ("Name a licence, please.", "mit", "gpl-2.0-plus or later, or so"),
    ("2007?", "The year of the third version of the GPL.", "A year."),
]
CONTENTS = [{"prompt": p, "chosen": c, "rejected": r} for p, c, r in PAIRS]
SEED = 5
WITH_REFERENCE = ("dpo", "ipo")
OBJECTIVES = sorted(FORMULAS)

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")


@pytest.fixture
def rows(preferences: Any) -> list[Example]:
    return preferences.rows(preferences.dataset(CONTENTS), preferences.config("dpo"))


def in_groups(size: int, rows: Sequence[Example]) -> Iterator[MicroBatch]:
    for start in range(0, len(rows), size):
        yield pack(rows[start : start + size])


def beside_trl(
    preferences: Any, oracle: Any, rows: list[Example], objective: str, trainer: Any, **given: Any
) -> None:
    """Losses of every step and adapters after the last, of ours and of TRL."""
    config = preferences.config(objective, **given.pop("ours", {}))
    engine = preferences.engine(config, rows)
    first = preferences.adapters(engine)
    texts = [
        {
            "prompt": preferences.text(row.prompt),
            "chosen": preferences.text(row.answers[0].ids),
            "rejected": preferences.text(row.answers[1].ids),
        }
        for row in preferences.ordered(rows, config)
    ]
    expected, theirs = oracle.train(*trainer, texts, first, **given)

    found = preferences.train(engine, config, rows)

    assert len(found) == config.epochs * len(rows) // config.batch_rows
    # Of a model in float64 TRL still has log-probabilities, or losses, in float32.
    assert found == pytest.approx(expected, rel=5e-6)
    moved = [(matrix - first[name]).abs().max() for name, matrix in theirs.items()]
    assert min(moved) > 1e-3
    for name, matrix in preferences.adapters(engine).items():
        torch.testing.assert_close(matrix, theirs[name], rtol=0, atol=1e-5)


@pytest.mark.parametrize("objective", ["dpo", "ipo"])
def test_every_step_with_a_reference_is_that_of_trl(
    preferences: Any, oracle: Any, rows: list[Example], objective: str
) -> None:
    from trl import DPOConfig, DPOTrainer

    loss_type = {"dpo": "sigmoid", "ipo": "ipo"}[objective]
    beside_trl(
        preferences, oracle, rows, objective, (DPOTrainer, DPOConfig),
        loss_type=[loss_type], beta=0.3, ours={"beta": 0.3},
    )  # fmt: skip


def test_every_step_of_simpo_is_that_of_trl(
    preferences: Any, oracle: Any, rows: list[Example]
) -> None:
    from trl.experimental.cpo import CPOConfig, CPOTrainer

    beside_trl(
        preferences, oracle, rows, "simpo", (CPOTrainer, CPOConfig),
        loss_type="simpo", cpo_alpha=0.0, beta=1.5, simpo_gamma=0.7,
        ours={"beta": 1.5, "margin": 0.7},
    )  # fmt: skip


def test_every_step_of_orpo_is_that_of_trl_where_they_say_the_same(
    preferences: Any, oracle: Any, rows: list[Example]
) -> None:
    """TRL takes its first term on the prompt too, and as a mean over a micro-batch's tokens: with
    prompts of one token, and pair by pair, that is the paper's."""
    from trl.experimental.orpo import ORPOConfig, ORPOTrainer

    begin = preferences.tokenizer.id_of(preferences.tokenizer.bos_token)
    short = [dataclasses.replace(row, prompt=(begin,)) for row in rows]
    beside_trl(
        preferences, oracle, short, "orpo", (ORPOTrainer, ORPOConfig),
        beta=0.4, ours={"beta": 0.4}, per_device_train_batch_size=1, gradient_accumulation_steps=4,
    )  # fmt: skip


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_loss_is_its_definition_by_plain_torch(
    preferences: Any, rows: list[Example], objective: str
) -> None:
    """After some steps, in float64, by logits of stock code and formulas written out once more."""
    config = preferences.config(objective, beta=0.7)
    engine = preferences.engine(config, rows)
    untuned = load_model(preferences.tiny.base, preferences.tiny.blobs).model.double()

    def log_p(model: Any, row: Example, side: int) -> torch.Tensor:
        answer = row.answers[side].ids
        logits = stock_logits(model, torch.tensor(row.prompt + answer))
        predicted = logits[len(row.prompt) - 1 : -1]
        loss = torch.nn.functional.cross_entropy(predicted, torch.tensor(answer), reduction="sum")
        return -loss

    def by_hand(row: Example) -> torch.Tensor:
        c, r = log_p(engine.twin, row, 0), log_p(engine.twin, row, 1)
        nc, nr = (len(answer.ids) for answer in row.answers)
        with torch.no_grad():
            rc, rr = log_p(untuned, row, 0), log_p(untuned, row, 1)
        if objective == "dpo":
            return torch.log1p(torch.exp(-0.7 * (c - rc - r + rr)))
        if objective == "ipo":
            return ((c - rc) / nc - (r - rr) / nr - 1 / 1.4) ** 2
        if objective == "simpo":
            return torch.log1p(torch.exp(1.0 - 0.7 * (c / nc - r / nr)))
        p, q = torch.exp(c / nc), torch.exp(r / nr)
        odds = (p / (1 - p)) / (q / (1 - q))
        return -c / nc + 0.7 * torch.log1p(1 / odds)

    preferences.shaken(engine)
    expected = torch.stack([by_hand(row) for row in rows]).mean()
    wanted = torch.autograd.grad(expected, engine.trained.parameters)
    loss, found = preferences.gradients(engine, rows)

    assert loss == pytest.approx(expected.item(), rel=1e-9)
    assert loss != pytest.approx(preferences.gradients(preferences.engine(config, rows), rows)[0])
    torch.testing.assert_close(found, torch.cat([g.flatten() for g in wanted]), rtol=0, atol=1e-9)


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("size", [1, 2, 3])
def test_accumulation_changes_nothing(
    preferences: Any, rows: list[Example], objective: str, size: int
) -> None:
    """1x8 = 8x1 = 2x4 (defect 1)."""
    engine = preferences.shaken(preferences.engine(preferences.config(objective), rows))
    loss, whole = preferences.gradients(engine, rows, functools.partial(in_groups, 8))
    parts_loss, parts = preferences.gradients(engine, rows, functools.partial(in_groups, size))

    assert parts_loss == pytest.approx(loss, abs=1e-12)
    torch.testing.assert_close(parts, whole, rtol=0, atol=1e-12)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_shared_prompt_changes_nothing(
    preferences: Any, rows: list[Example], objective: str
) -> None:
    engine = preferences.shaken(preferences.engine(preferences.config(objective), rows))
    shared_loss, shared = preferences.gradients(engine, rows)
    alone = dataclasses.replace(engine, hidden=functools.partial(preferences.unrolled, engine))
    alone_loss, twice = preferences.gradients(alone, rows)

    assert shared_loss == pytest.approx(alone_loss, abs=1e-10)
    torch.testing.assert_close(shared, twice, rtol=0, atol=1e-10)


def test_before_the_first_step_nothing_is_preferred(preferences: Any, rows: list[Example]) -> None:
    """Defect 24: the reference is the base, so the first loss is ln 2, in float32 too."""
    engine = preferences.engine(preferences.config("dpo"), rows, torch.float32)
    losses = preferences.train(engine, preferences.config("dpo", epochs=1), rows)

    assert losses[0] == pytest.approx(math.log(2), abs=1e-7)
    assert losses[1] != pytest.approx(math.log(2), abs=1e-3)


@pytest.mark.parametrize("objective", WITH_REFERENCE)
def test_the_reference_is_the_base_and_stays_it(
    preferences: Any, rows: list[Example], objective: str
) -> None:
    """Defect 24, in float64, however the model was changed since; and nothing of it is learnt."""
    engine = preferences.shaken(
        preferences.engine(preferences.config(objective, batch_rows=3), rows)
    )
    stock = load_model(preferences.tiny.base, preferences.tiny.blobs).model.double()
    expected = []
    for row in rows:
        for answer in row.answers:
            ids = torch.tensor(row.prompt + answer.ids)
            log_p = torch.log_softmax(stock_logits(stock, ids), dim=-1)[:-1]
            expected.append(log_p.gather(1, ids[1:, None])[len(row.prompt) - 1 :].sum())

    found = engine.objective._reference.of(pack(rows))  # type: ignore[attr-defined]

    assert not found.requires_grad
    torch.testing.assert_close(found, torch.stack(expected).detach(), rtol=0, atol=1e-9)


@pytest.mark.parametrize("objective", WITH_REFERENCE)
def test_a_wrong_reference_fails_the_certificate(
    preferences: Any, rows: list[Example], objective: str
) -> None:
    """Defect 24: as if the reference were that of another model, or of other rows."""
    engine = preferences.engine(preferences.config(objective), rows)
    subject = subject_of(engine, rows)

    assert max(step_errors(subject, rows, engine.twin)) < 1e-5
    known = engine.objective._reference._log_probs  # type: ignore[attr-defined]
    known |= {key: value + key[1] % 5 for key, value in known.items()}
    assert step_errors(subject, rows, engine.twin)[0] > 1e-4


def test_an_answer_that_is_certain_has_a_gradient() -> None:
    """ORPO's odds of a probability of one are infinite."""
    log_p = torch.tensor([0.0, -1e-12], dtype=torch.float64, requires_grad=True)
    one = torch.ones(2)
    better = Side(log_p=log_p, reference=log_p, num_tokens=one)
    worse = Side(log_p=log_p - 1, reference=log_p, num_tokens=one)
    config = ModelConfig(base="b", dataset="d", objective="orpo")
    loss = FORMULAS["orpo"](better, worse, config)
    (grad,) = torch.autograd.grad(loss.sum(), log_p)

    assert torch.isfinite(loss).all()
    assert torch.isfinite(grad).all()


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_run_is_certified_and_learns_what_is_better(preferences: Any, objective: str) -> None:
    tiny = preferences.tiny
    config = preferences.config(objective, epochs=6)
    notes: list[tuple[float, float, str]] = []
    ctx = tiny.context(SEED, progress=lambda *said: notes.append(said))

    model = finetune(config, ctx, base=tiny.base, dataset=preferences.dataset(CONTENTS))

    certificate = from_plain(Certificate, json.loads(tiny.blobs.get(model.certificate)))
    assert all(check.passed for check in certificate.checks)
    assert model.last_loss < model.first_loss
    asked = [said for said in notes if "before it is tuned" in said[2]]
    assert bool(asked) == (objective in WITH_REFERENCE)
    assert all(done == total for done, total, _ in asked[-1:])
    done, total, _ = [said for said in notes if said[1]][-1]
    assert done == total == model.num_trained_tokens


def test_pairs_that_nothing_can_be_learnt_from_are_refused(preferences: Any) -> None:
    """Defects 17 and 23: answers of the same tokens, and those that do not fit."""
    tiny = preferences.tiny
    config = preferences.config("dpo")
    long = "too long " * 60
    contents = [
        *CONTENTS[:2],
        {"prompt": "a", "chosen": "the same", "rejected": "the same"},
        {"prompt": "b", "chosen": "short", "rejected": long},
    ]
    found = look(config, tiny.blobs, tiny.base, preferences.dataset(contents), seed=0).preflight
    broken = {finding.rule: finding.row_ids for finding in found.findings if finding.row_ids}

    assert broken == {"two answers": ("row002",), "length": ("row003",)}
    with pytest.raises(DataError, match="two answers of the same tokens: row002"):
        require_sound(found)


def test_answers_are_what_was_written(preferences: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Defect 23: each decodes to its text; one that lost its beginning is found."""
    tiny = preferences.tiny
    config = preferences.config("dpo")
    odd = [
        {"prompt": "p", "chosen": "caf\u00e9 \U0001f600 <|im_end|> on", "rejected": "  spaces  "},
        *CONTENTS,
    ]
    dataset = preferences.dataset(odd)
    loaded = load_model(tiny.base, tiny.blobs)
    objective = make_objective(config, dataset)
    path = tiny.blobs.path(dataset.train.rows)
    rows = list(objective.read(path, loaded))

    def broken(rows: list[Example]) -> dict[str, tuple[str, ...]]:
        found = objective.inspect(path, loaded, rows)
        return {finding.rule: finding.row_ids for finding in found.findings if finding.row_ids}

    assert broken(rows) == {}
    assert loaded.tokenizer.decode(rows[1].answers[0].ids) == PAIRS[0][1]
    assert loaded.tokenizer.decode(rows[1].answers[1].ids) == PAIRS[0][2]
    better, worse = rows[1].answers
    cut = dataclasses.replace(better, ids=better.ids[1:])
    rows[1] = dataclasses.replace(rows[1], answers=(cut, worse))
    assert broken(rows) == {"source text": ("row001",)}
    endless = dataclasses.replace(worse, ids=worse.ids[:-1])
    rows[1] = dataclasses.replace(rows[1], answers=(better, endless))
    assert broken(rows) == {"end of turn": ("row001",)}


def test_without_an_instruction_there_is_no_system_message(preferences: Any) -> None:
    tiny = preferences.tiny
    dataset = preferences.dataset(CONTENTS, instruction="")
    (row, *_) = preferences.rows(dataset, preferences.config("dpo"))

    assert preferences.text(row.prompt) == (
        "<|im_start|>system\nYou are a default.<|im_end|>\n"
        "<|im_start|>user\nWhat is MIT?<|im_end|>\n<|im_start|>assistant\n"
    )
    require_sound(look(preferences.config("dpo"), tiny.blobs, tiny.base, dataset, 0).preflight)


def test_rows_of_another_format_are_refused(preferences: Any, feedbacks: Any) -> None:
    with pytest.raises(ConfigError, match="'dpo' cannot be learnt from dataset 'tiny'") as caught:
        make_objective(preferences.config("dpo"), feedbacks.dataset([]))
    assert "format preference" in caught.value.remedy
    with pytest.raises(ConfigError, match="format 'preference'"):
        make_objective(preferences.config("kto"), preferences.dataset([]))
