"""Rewards (GRPO). The oracle is TRL's loss on the same answers, gains and log-probabilities."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pydantic
import pytest
import torch

from tunesmith.core.errors import DataError
from tunesmith.core.ref import from_plain
from tunesmith.lm.example import Example
from tunesmith.records.certificate import Certificate
from tunesmith.stages.evaluate.config import EvaluateConfig
from tunesmith.stages.evaluate.run import evaluate_base, evaluate_tuned
from tunesmith.stages.finetune.config import ModelConfig
from tunesmith.stages.finetune.objectives import rewarded
from tunesmith.stages.finetune.objectives.policy import advantages, policy_losses
from tunesmith.stages.finetune.run import finetune

ALPHA, RANK = 6.0, 4
REWARDS = [{"name": "pattern", "pattern": "(?s).*e.*"}]
CONTENTS = [
    {"prompt": "Which licence?", "answer": "mit"},
    {"prompt": "Permission is hereby granted. Which?", "answer": "mit"},
    {"prompt": "x", "answer": "gpl-2.0"},
    {"prompt": "This program is free software", "answer": "gpl-2.0"},
]


def config_of(checks: Any, **settings: Any) -> ModelConfig:
    given = {"rewards": REWARDS, "group_size": 4, "max_new_tokens": 6, "batch_rows": 2}
    config: ModelConfig = checks.config("grpo", **given | settings)
    return config


def ready(checks: Any, config: ModelConfig) -> tuple[Any, list[Example]]:
    """An engine in float64 that knows what is right, and its rows."""
    dataset = checks.dataset(CONTENTS)
    from tunesmith.lm.load import load_model
    from tunesmith.lm.prefixes import share_prefixes
    from tunesmith.stages.finetune.engine import make_engine, shared_states
    from tunesmith.stages.finetune.objectives.objective import make_objective

    tiny = checks.tiny
    objective = make_objective(config, dataset)
    loaded = objective.load(tiny.base, tiny.blobs)
    rows = list(objective.read(tiny.blobs.path(dataset.train.rows), loaded))
    model = load_model(tiny.base, tiny.blobs).model.double()
    engine = make_engine(model, objective, config, 5, rows)
    assert engine.comparison.ok
    assert engine.hidden.func is shared_states
    assert share_prefixes(engine.first) is not None, "the questions share their instruction"
    objective.prepare(tiny.context(5), engine.model, engine.hidden, rows)
    return engine, rows


def trl_trainer(oracle: Any, config: ModelConfig) -> Any:
    """TRL's, on the tiny model in float64 with adapters; it is asked for its loss only."""
    from datasets import Dataset as Rows
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import GRPOConfig, GRPOTrainer

    trainer = GRPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(oracle.folder, dtype=torch.float64),
        reward_funcs=lambda completions, **_: [0.0] * len(completions),
        args=GRPOConfig(
            output_dir=str(oracle.output), use_cpu=True, bf16=False, report_to=[],
            save_strategy="no", disable_tqdm=True, activation_checkpointing=False,
            per_device_train_batch_size=config.group_size, num_generations=config.group_size,
            max_completion_length=config.max_new_tokens, temperature=config.temperature,
            loss_type="dr_grpo", scale_rewards="none", beta=config.kl_weight,
            epsilon=config.clip, num_iterations=config.updates,
            use_bias_correction_kl=False,  # which is neither paper's
        ),
        train_dataset=Rows.from_list([{"prompt": "a"}] * config.group_size),
        processing_class=AutoTokenizer.from_pretrained(oracle.folder),
        peft_config=LoraConfig(
            r=RANK, lora_alpha=ALPHA, use_rslora=True, lora_dropout=0.0,
            task_type="CAUSAL_LM", target_modules="all-linear",
        ),
    )  # fmt: skip
    trainer.current_gradient_accumulation_steps = 1
    return trainer


def trl_inputs(row: Example, known: Any) -> dict[str, torch.Tensor]:
    """One group as TRL has it after its own generation: padded to the right."""
    width = max(len(answer.ids) for answer in row.answers)

    def padded(parts: Any, dtype: torch.dtype) -> torch.Tensor:
        return torch.tensor([[*part, *[0] * (width - len(part))] for part in parts], dtype=dtype)

    sizes = [len(answer.ids) for answer in row.answers]
    answers = [answer.ids for answer in row.answers]
    prompts = torch.tensor([row.prompt] * len(answers))
    given = {
        "prompt_ids": prompts,
        "prompt_mask": torch.ones_like(prompts),
        "completion_ids": padded(answers, torch.int64),
        "completion_mask": padded([[1] * size for size in sizes], torch.int64),
        "advantages": torch.tensor(known.gains, dtype=torch.float64),
    }
    for name in ("old", "reference"):
        found = getattr(known, name)
        if found is not None:
            parts = [part.tolist() for part in torch.split(found, sizes)]
            key = {"old": "old_per_token_logps", "reference": "ref_per_token_logps"}[name]
            given[key] = padded(parts, torch.float64)
    return given


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("updates", "kl_weight", "temperature"), [(1, 0.04, 1.0), (3, 0.1, 0.8), (2, 0.0, 1.5)]
)
def test_every_step_is_that_of_trl(
    checks: Any, oracle: Any, updates: int, kl_weight: float, temperature: float
) -> None:
    """Loss and gradient of each update of each step; the adapters then move, and far, so that the
    ratios are clipped on both sides."""
    config = config_of(checks, updates=updates, kl_weight=kl_weight, temperature=temperature)
    engine, rows = ready(checks, config)
    trainer = trl_trainer(oracle, config)
    theirs = oracle._adapters(trainer.model)
    losses, gains = [], set()
    for step in (1, 2):
        answered = engine.objective.answered(step, rows[2 * (step - 1) : 2 * step])
        known = engine.objective._drawings
        for _ in range(updates):
            loss, _ = checks.gradients(engine, answered)
            for name, matrix in checks.adapters(engine).items():
                theirs[name].data.copy_(matrix)
                theirs[name].grad = None
            parts = [
                trainer._compute_loss(trainer.model, trl_inputs(row, known[row.row_id]))
                for row in answered
            ]
            expected = torch.stack(parts).mean()
            expected.backward()
            # Of a model in float64 TRL still has log-probabilities in float32.
            assert loss == pytest.approx(float(expected.detach()), rel=1e-5, abs=1e-6)
            for layer, module in engine.trained.adapters.items():
                for name, parameter in module.trained().items():
                    wanted = theirs[f"{layer}.{name}"].grad
                    gap = (parameter.grad - wanted).norm()
                    assert gap <= 1e-4 * wanted.norm() + 1e-7, f"{layer}.{name}"
            losses.append(loss)
            with torch.no_grad():
                for parameter in engine.trained.parameters:
                    assert parameter.grad is not None
                    parameter -= 0.5 * parameter.grad / parameter.grad.norm().clamp(min=1e-12)
        gains |= {gain for row in answered for gain in known[row.row_id].gains}
    assert len(gains) > 2, "all answers were worth the same"
    if updates > 1:
        assert len(set(losses)) > 1


def test_the_formula_by_hand() -> None:
    """One token each: held above, held below, free, and the divergence."""
    log_p = torch.tensor([0.5, -0.5, 0.5, 0.0]).double().log_softmax(0) * 0 + torch.tensor(
        [-1.0, -2.0, -1.0, -1.0], dtype=torch.float64
    )
    old = torch.tensor([-2.0, -1.0, -2.0, -1.0], dtype=torch.float64)
    reference = torch.tensor([-1.0, -1.0, -1.0, -1.5], dtype=torch.float64)
    gains = torch.tensor([1.0, -1.0, -1.0, 2.0], dtype=torch.float64)
    found = policy_losses(log_p, old, reference, gains, clip=0.2, kl_weight=0.5)

    e = 2.718281828459045
    expected = [-1.2, 0.8 + 0.5 * (e - 2), e, -2 + 0.5 * (e**-0.5 - 0.5)]
    assert found.tolist() == pytest.approx(expected, abs=1e-12)
    assert advantages([1.0, 0.0]) == (0.5, -0.5)


def test_accumulation_changes_nothing(checks: Any) -> None:
    """Defects 1 and 25: not by rows, and not by how long the answers are."""
    from tunesmith.lm.example import pack

    engine, rows = ready(checks, config_of(checks, updates=2))
    checks.shaken(engine)
    answered = engine.objective.answered(1, rows)
    whole = checks.gradients(engine, answered)
    parts = checks.gradients(engine, answered, cut=lambda rows: (pack([row]) for row in rows))

    assert parts[0] == pytest.approx(whole[0], abs=1e-12)
    torch.testing.assert_close(parts[1], whole[1], rtol=0, atol=1e-12)


def test_a_run_is_certified_and_earns_more(checks: Any) -> None:
    """The mean reward of greedy answers, as the gate compares it."""
    tiny = checks.tiny
    config = config_of(
        checks, epochs=20, learning_rate=1e-2, batch_rows=4, group_size=8, kl_weight=0.01
    )
    dataset = checks.dataset(CONTENTS)
    dataset = dataclasses.replace(dataset, test=dataset.train)
    seen: dict[int, float] = {}
    forecasts: list[Any] = []
    ctx = dataclasses.replace(
        tiny.context(5, metric=lambda n, v, s: seen.update({s: v}) if n == "reward" else None),
        forecast=forecasts.append,
    )
    version = finetune(config, ctx, base=tiny.base, dataset=dataset)
    certificate = from_plain(Certificate, json.loads(tiny.blobs.get(version.certificate)))

    assert certificate.failed() == ""
    assert sorted(seen) == list(range(1, 21))
    assert sum(seen[step] for step in range(16, 21)) / 5 > sum(seen[s] for s in (1, 2, 3)) / 3 + 0.2
    assert "answers, timed on the first step's questions" in forecasts[0].basis
    asked = EvaluateConfig(
        objective="grpo", rewards=config.rewards, max_new_tokens=config.max_new_tokens
    )
    before = evaluate_base(asked, tiny.context(), base=tiny.base, dataset=dataset)
    after = evaluate_tuned(asked, tiny.context(), model=version, dataset=dataset)
    assert before.metric == after.metric == "reward"
    assert after.value >= before.value
    assert after.value > 0.9


def test_no_states_are_kept_below_the_trained_layers(checks: Any) -> None:
    """The answers are others in each step, so that there would be none to read."""
    tiny, forecasts = checks.tiny, []
    ctx = dataclasses.replace(tiny.context(5), forecast=forecasts.append)
    config = config_of(checks, layers=1, updates=2)
    version = finetune(config, ctx, base=tiny.base, dataset=checks.dataset(CONTENTS))
    certificate = from_plain(Certificate, json.loads(tiny.blobs.get(version.certificate)))

    assert certificate.failed() == ""
    assert version.num_steps == 4
    assert "states below" not in forecasts[0].basis


@pytest.mark.parametrize("wrong", ["gains", "clip", "kl"])
def test_a_wrong_formula_fails_the_certificate(
    checks: Any, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    def broken(*given: torch.Tensor, clip: float, kl_weight: float) -> torch.Tensor:
        log_p, old, reference, gains = given
        gains = gains.abs() if wrong == "gains" else gains
        clip = 0.9 if wrong == "clip" else clip
        kl_weight = 0.0 if wrong == "kl" else kl_weight
        return policy_losses(log_p, old, reference, gains, clip=clip, kl_weight=kl_weight)

    monkeypatch.setattr(rewarded, "policy_losses", broken)
    with pytest.raises(DataError, match=r"certificate fails.*the gradient of a step"):
        finetune(
            config_of(checks),
            checks.tiny.context(5),
            base=checks.tiny.base,
            dataset=checks.dataset(CONTENTS),
        )


def test_rows_that_cannot_be_rewarded_are_refused(checks: Any) -> None:
    tiny = checks.tiny

    def run(contents: list[dict[str, str]], **settings: Any) -> None:
        dataset = checks.dataset(contents)
        finetune(config_of(checks, **settings), tiny.context(5), base=tiny.base, dataset=dataset)

    with pytest.raises(DataError, match="1 rows have no answer to compare with: row001"):
        run([*CONTENTS[:1], {"prompt": "a"}], rewards=[{"name": "exact"}])
    with pytest.raises(DataError, match="longer than the model's 56 tokens"):
        run([*CONTENTS[:1], {"prompt": "a long question " * 9}], max_new_tokens=200)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"objective": "grpo"}, "set rewards"),
        ({"objective": "dpo", "rewards": REWARDS}, "rewards is not read"),
        ({"objective": "sft", "updates": 2}, "updates is not read"),
        ({"objective": "grpo", "rewards": REWARDS, "group_size": 1}, "group_size"),
        ({"objective": "grpo", "rewards": REWARDS, "beta": 1.0}, "beta is not read"),
    ],
)
def test_settings_that_are_not_read_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(pydantic.ValidationError, match=said):
        ModelConfig(base="b", dataset="d", **settings)
