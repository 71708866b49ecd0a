"""Every objective, on rows of every format that it learns from: tuned, evaluated, compared."""

from __future__ import annotations

import dataclasses
import io
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch

from tunesmith.core.kinds import resolve
from tunesmith.records.evaluation import LOWER_IS_BETTER, Evaluation
from tunesmith.records.model import ModelVersion
from tunesmith.records.rows import (
    FORMATS,
    Chat,
    Completion,
    Feedback,
    Labelled,
    Pair,
    Preference,
    Tagged,
    Text,
    ToolCall,
    Turn,
)
from tunesmith.stages.evaluate.config import (
    METRICS,
    SCORERS,
    EvaluateConfig,
    GateConfig,
    GateRule,
)
from tunesmith.stages.evaluate.measured import known
from tunesmith.stages.evaluate.predictions import from_parquet
from tunesmith.stages.evaluate.run import evaluate_base, evaluate_tuned, judge
from tunesmith.stages.finetune.config import ModelConfig
from tunesmith.stages.finetune.objectives.objective import OBJECTIVES
from tunesmith.stages.finetune.run import finetune

ANSWERS = {"mit": "Permission is hereby granted", "gpl": "This program is free software"}
TAGS = {"free": "B", "software": "I"}
STATES = ("classify", "tag", "reward", "rerank", "embed")


def rows(form: str) -> list[Any]:
    """Rows of a format that can be learnt by heart."""
    texts = list(ANSWERS.items()) * 3
    said: dict[str, Any] = {
        "labels": lambda name, text, _: Labelled(text=text, label=name),
        "chat": lambda name, text, n: Chat(
            messages=(
                Turn(role="user", content=f"{text} {n}"),
                Turn(role="assistant", content="What?", weight=0.0),
                Turn(role="user", content="The licence."),
                Turn(role="assistant", content=name),
            )
        ),
        "completion": lambda name, text, n: Completion(prompt=f"{text} {n}: ", completion=name),
        "text": lambda name, text, n: Text(text=f"{text} is {name}, number {n}. " * 8),
        "preference": lambda name, text, n: Preference(
            prompt=f"{text} {n}", chosen=name, rejected="no idea"
        ),
        "feedback": lambda name, text, n: Feedback(
            prompt=text, completion=f"{name} {n}", label=name == "mit"
        ),
        "tags": lambda _name, text, _n: Tagged(
            tokens=tuple(text.split()),
            tags=tuple(TAGS.get(word, "O") for word in text.split()),
        ),
        "pairs": lambda name, text, n: Pair(
            anchor=f"{name} {n}", positive=text, negatives=(f"general licence {n}",)
        ),
    }
    return [said[form](name, text, number) for number, (name, text) in enumerate(texts)]


def labels_of(form: str) -> tuple[str, ...]:
    return {"labels": ("gpl", "mit"), "tags": ("B", "I", "O")}.get(form, ())


@pytest.fixture
def tuned(tiny: Any, readers: Any) -> Any:
    """tuned(objective, format) -> the dataset, what tunes, and the version."""

    def make(objective: str, form: str) -> tuple[Any, Any, ModelVersion]:
        dataset = readers.dataset(rows(form), labels_of(form))
        dataset = dataclasses.replace(dataset, test=dataset.train, instruction="Name it.")
        base = readers.encoder("bert") if objective in STATES else tiny.base
        settings: dict[str, Any] = {"rank": 4, "epochs": 12, "learning_rate": 5e-3}
        teacher = None
        if objective == "distil":
            settings |= {"teacher": "base:tiny", "teacher_share": 0.1}
            teacher = tiny.base
        config = ModelConfig(
            name="desk", base="b", dataset="d", objective=objective, batch_rows=3, **settings
        )
        ctx = tiny.context(seed=1)
        version = finetune(config, ctx, base=base, dataset=dataset, teacher=teacher)
        return dataset, base, version

    return make


@pytest.mark.parametrize(
    ("objective", "form"),
    sorted(each for each in SCORERS if each[0] != "grpo"),  # whose loss says nothing by itself
)
def test_what_is_learnt_by_heart_is_measured_as_better(
    tiny: Any, tuned: Any, objective: str, form: str
) -> None:
    dataset, base, version = tuned(objective, form)
    asked, ctx = EvaluateConfig(objective=objective), tiny.context(seed=1)
    before = evaluate_base(asked, ctx, base=base, dataset=dataset)
    after = evaluate_tuned(asked, ctx, model=version, dataset=dataset)
    table = pq.read_table(io.BytesIO(tiny.blobs.get(after.predictions)))
    verdict = judge(GateConfig(name="g", model="desk"), ctx, base=before, tuned=after)

    assert version.objective == objective
    assert version.last_loss < version.first_loss
    assert before.metric == after.metric
    assert after.num_rows == len(rows(form)) == table.num_rows
    assert after.value == pytest.approx(sum(table["score"].to_pylist()) / table.num_rows)
    losses = [
        sum(pq.read_table(io.BytesIO(tiny.blobs.get(each.predictions)))["loss"].to_pylist())
        for each in (before, after)
    ]
    assert losses[1] < losses[0]
    assert after.value >= before.value
    (comparison,) = verdict.comparisons
    assert (comparison.metric, comparison.tuned) == (after.metric, after.value)
    require_that_rules_can_ask(tiny, before, after, METRICS[SCORERS[objective, form]])


def require_that_rules_can_ask(
    tiny: Any, before: Evaluation, after: Evaluation, names: tuple[str, ...]
) -> None:
    """For each metric, beside the base and alone, and it is what the evaluation reports."""
    bounds = {name: "at_most" if name in LOWER_IS_BETTER else "at_least" for name in names}
    rules = [GateRule(metric=name, against="base", margin=-100.0) for name in names]
    rules += [GateRule(metric=name, **{bounds[name]: 0.5}) for name in names]
    config = GateConfig(name="g", model="desk", rules=tuple(rules))
    found = judge(config, tiny.context(seed=1), base=before, tuned=after)

    said = from_parquet(tiny.blobs.get(after.predictions))
    assert sorted(known(after, said)) == sorted(names)
    assert set(names) == set(after.metrics())
    compared = found.comparisons[1:]
    assert [each.metric for each in compared] == list(names)
    for each in compared:
        assert each.tuned == pytest.approx(after.metrics()[each.metric])
        assert each.base == pytest.approx(before.metrics()[each.metric])
        assert each.lower_is_better == (each.metric in LOWER_IS_BETTER)
        assert each.low <= each.difference <= each.high
        if each.metric == "loss":  # each row is learnt by heart
            assert (each.num_won, each.num_lost) == (each.num_rows, 0)
            assert each.high < 0


def test_every_objective_is_evaluated_on_the_formats_that_it_learns_from() -> None:
    pairs = {(name, form) for name, (_, forms) in OBJECTIVES.items() for form in forms}

    assert set(SCORERS) == pairs
    assert {form for _, form in SCORERS} == set(FORMATS)
    assert all(callable(resolve(path)) for path in SCORERS.values())
    assert set(METRICS) == set(SCORERS.values())


def test_the_likelihood_is_that_of_transformers(tiny: Any, readers: Any) -> None:
    """Of conversations: the mean over their rows of the log-probability of a trained token."""
    from tunesmith.lm.load import load_model
    from tunesmith.lm.turns import render_chat

    dataset = readers.dataset(rows("chat"))
    dataset = dataclasses.replace(dataset, test=dataset.train, instruction="")
    found = evaluate_base(EvaluateConfig(), tiny.context(), base=tiny.base, dataset=dataset)
    loaded = load_model(tiny.base, tiny.blobs)
    means, total, count = [], 0.0, 0
    for chat in rows("chat"):
        (piece,) = render_chat(loaded.tokenizer, chat.messages)
        ids = torch.tensor(piece.ids)
        with torch.no_grad():
            log_p = torch.log_softmax(loaded.model(ids[None]).logits[0].double(), dim=-1)
        of_tokens = log_p[:-1].gather(1, ids[1:, None])[:, 0]
        kept = of_tokens[torch.tensor(piece.weights[1:]) > 0]
        means.append(float(kept.mean()))
        total, count = total + float(kept.sum()), count + len(kept)

    assert found.metric == "log-likelihood"
    assert found.value == pytest.approx(sum(means) / len(means), rel=1e-5)
    assert found.others["perplexity"] == pytest.approx(
        2.718281828459045 ** (-total / count), rel=1e-4
    )


def test_a_text_in_new_tokens_is_counted_in_those_of_the_base(tiny: Any, readers: Any) -> None:
    """Else fewer tokens would make a model look worse that holds the same text likelier."""
    texts = [Text(text=f"<icd>{n} is <icd> of the licence") for n in range(4)]
    dataset = readers.dataset(texts)
    dataset = dataclasses.replace(dataset, test=dataset.train)
    recipe = ModelConfig(
        name="m", base="tiny", dataset="d", objective="cpt", new_tokens=("<icd>",), epochs=1
    )
    model = finetune(recipe, tiny.context(), base=tiny.base, dataset=dataset)
    found = evaluate_tuned(
        EvaluateConfig(objective="cpt"), tiny.context(), dataset=dataset, model=model
    )

    from tunesmith.lm.load import load_model

    base = load_model(tiny.base, tiny.blobs)
    loaded = load_model(tiny.base, tiny.blobs, adapter=model)
    means = []
    for text in texts:
        end = loaded.tokenizer.id_of(loaded.tokenizer.eos_token)
        ids = torch.tensor([*loaded.tokenizer.encode(text.text), end])
        logits = loaded.model(ids[None]).logits[0, :-1]
        total = torch.nn.functional.cross_entropy(logits, ids[1:], reduction="sum")
        means.append(-float(total) / len(base.tokenizer.encode(text.text)))
    assert found.value == pytest.approx(sum(means) / len(means), rel=1e-5)


def test_tools_of_a_conversation_are_refused_where_the_template_leaves_them_out(
    tiny: Any, readers: Any
) -> None:
    from tunesmith.core.errors import DataError

    call = ToolCall(name="look", arguments={"what": "licence"})
    chat = Chat(
        messages=(Turn(role="user", content="a"), Turn(role="assistant", tool_calls=(call,))),
        tools=({"type": "function", "function": {"name": "look", "parameters": {}}},),
    )
    dataset = dataclasses.replace(readers.dataset([chat]), instruction="")
    config = ModelConfig(name="desk", base="b", dataset="d")
    with pytest.raises(DataError, match="tool"):
        finetune(config, tiny.context(), base=tiny.base, dataset=dataset)
