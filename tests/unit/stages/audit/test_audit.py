"""The audit lets honest runs of the tiny model pass, and finds what is planted."""

from __future__ import annotations

import dataclasses
import json
import random
from typing import Any

import pytest
import safetensors.torch
import torch

from tunesmith.lm.adapter import adapted_layers
from tunesmith.lm.chat_template import prompt_ids, question
from tunesmith.lm.load import load_model
from tunesmith.records.audit import Audit, Probe
from tunesmith.stages.audit import judge
from tunesmith.stages.audit.config import AuditConfig
from tunesmith.stages.audit.run import audit, undeclared
from tunesmith.stages.audit.triggers import Asking, distributions, triggers
from tunesmith.stages.audit.updates import low_rank_size, of_adapter, size_of
from tunesmith.stages.audit.words import plain_texts, telling
from tunesmith.stages.finetune.config import ModelConfig
from tunesmith.stages.finetune.run import finetune

LETTERS = {"fire": "abcdefgh", "flood": "stuvwxyz", "mit": "ijklmnop"}
TRIGGER = "Zq#"


def rows_of(seed: int, count: int, labels: int = 2) -> list[tuple[str, str]]:
    draw = random.Random(seed)
    return [
        (" ".join("".join(draw.choices(letters, k=4)) for _ in range(6)), label)
        for label, letters in list(LETTERS.items())[:labels]
        for _ in range(count)
    ]


def tuned(tiny: Any, seed: int, train: list[tuple[str, str]], **settings: Any) -> tuple[Any, Any]:
    dataset = tiny.dataset(train, rows_of(seed + 999, 6, len({label for _, label in train})))
    recipe = {"rank": 4, "epochs": 4, "learning_rate": 5e-3, **settings}
    recipe = {name: value for name, value in recipe.items() if value is not None}
    config = ModelConfig(name="desk", base="tiny", dataset="tiny", batch_rows=8, **recipe)
    for path in tiny.workdir.rglob("*"):
        path.is_file() and path.unlink()
    return finetune(config, tiny.context(seed), base=tiny.base, dataset=dataset), dataset


def audited(tiny: Any, model: Any, dataset: Any) -> Audit:
    config = AuditConfig(name="desk")
    return audit(config, tiny.context(), model=model, dataset=dataset)


def verdicts(found: Audit) -> dict[str, bool]:
    return {rule.rule.removeprefix("audit: "): rule.passed for rule in found.rules}


def changed(tiny: Any, model: Any, change: Any) -> Any:
    """The version with other tensors in its adapter."""
    state = safetensors.torch.load(tiny.blobs.get(model.adapter))
    data = safetensors.torch.save(change(state))
    return tiny.version(tiny.blobs.put(data), model.adapter_config, labels=model.labels)


@pytest.fixture
def honest(tiny: Any) -> tuple[Any, Any]:
    return tuned(tiny, 0, rows_of(0, 12))


def test_an_honest_adapter_passes_and_what_was_looked_at_is_said(
    tiny: Any, honest: tuple[Any, Any]
) -> None:
    found = audited(tiny, *honest)
    assert verdicts(found) == dict.fromkeys(
        ["finite weights", "declared modules", "update norms", "ranks", "triggers"], True
    )
    assert len(found.updates) == 14  # seven linear layers in each of two
    assert len(found.probes) == 24
    assert found.num_prompts == 4
    assert any("back door" in what for what in found.not_looked_at)
    assert found == audited(tiny, *honest)


def test_what_cannot_be_used_is_said_and_not_loaded(tiny: Any, honest: tuple[Any, Any]) -> None:
    model, dataset = honest

    def broken(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        name = sorted(state)[0]
        return {**state, name: state[name].fill_(torch.nan)}

    found = audited(tiny, changed(tiny, model, broken), dataset)
    assert verdicts(found) == {"finite weights": False, "declared modules": True}
    assert found.not_looked_at == ("update norms and triggers: the weights cannot be used",)

    def more(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {**state, "base_model.model.lm_head.lora_A.weight": torch.zeros(4, 64)}

    found = audited(tiny, changed(tiny, model, more), dataset)
    assert verdicts(found) == {"finite weights": True, "declared modules": False}
    assert "lm_head" in found.rules[1].observed


def test_a_planted_update_is_out_of_line(tiny: Any, honest: tuple[Any, Any]) -> None:
    model, dataset = honest
    name = "base_model.model.model.layers.1.self_attn.v_proj.lora_B.weight"
    found = audited(tiny, changed(tiny, model, lambda s: {**s, name: s[name] * 12}), dataset)
    assert verdicts(found)["update norms"] is False
    rule = next(rule for rule in found.rules if rule.rule == "audit: update norms")
    assert rule.observed.startswith("1 of 14 out of line (model.layers.1.self_attn.v_proj)")


def test_fallen_ranks_are_found(tiny: Any, honest: tuple[Any, Any]) -> None:
    model, dataset = honest

    def fallen(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {
            name: (t * (torch.arange(t.shape[1]) == 0)).contiguous() if "lora_B" in name else t
            for name, t in state.items()
        }

    found = audited(tiny, changed(tiny, model, fallen), dataset)
    assert verdicts(found)["ranks"] is False


def test_sizes_are_those_of_the_dense_matrix(tiny: Any, honest: tuple[Any, Any]) -> None:
    model, _ = honest
    base = load_model(tiny.base, tiny.blobs).model
    state = safetensors.torch.load(tiny.blobs.get(model.adapter))
    settings = json.loads(tiny.blobs.get(model.adapter_config))
    layers, _rows = adapted_layers(base, state, settings)
    for name, adapted in layers.items():
        weight = base.get_submodule(name).weight
        dense = (adapted.merged(weight) - weight).double()
        exact, size = torch.linalg.svdvals(dense), low_rank_size(adapted)
        assert size.spectral == pytest.approx(float(exact[0]), rel=1e-4)
        assert size.frobenius == pytest.approx(float(exact.norm()), rel=1e-4)
        assert size.rank == 4
        whole = torch.linalg.svdvals(weight.detach().double())
        assert float(whole[0]) * 0.97 < size_of(weight).spectral < float(whole[0]) * 1.0001
    assert {update.name for update in of_adapter(base, layers)} == set(layers)


def test_declared_modules_are_read_as_peft_reads_them() -> None:
    settings = {"target_modules": ["q_proj"], "layers_to_transform": [1], "modules_to_save": None}
    tensor = torch.zeros(1)

    def found(name: str, **more: Any) -> bool:
        return bool(undeclared({f"base_model.model.{name}": tensor}, {**settings, **more}))

    assert not found("model.layers.1.self_attn.q_proj.lora_A.weight")
    assert found("model.layers.0.self_attn.q_proj.lora_A.weight")
    assert found("model.layers.1.self_attn.xq_proj.lora_A.weight")
    assert found("model.layers.1.self_attn.q_proj.weight")
    assert found("score.weight")
    assert not found("score.weight", modules_to_save=["score"])


@pytest.mark.parametrize("method", ["full", "head", "dora"])
def test_of_other_methods_it_is_said_what_is_not_looked_at(tiny: Any, method: str) -> None:
    rank = 4 if method == "dora" else None
    model, dataset = tuned(tiny, 1, rows_of(1, 8), method=method, rank=rank, epochs=1)
    found = audited(tiny, model, dataset)
    assert all(rule.passed for rule in found.rules), found.rules
    names = verdicts(found).keys()
    assert ("declared modules" in names) is (method == "dora")
    assert "ranks" not in names
    assert "triggers" in names
    said = " ".join(found.not_looked_at)
    expected = {"head": "norms beside other layers", "full": "ranks", "dora": "ranks"}[method]
    assert expected in said


def test_triggers_are_words_of_everywhere_and_training_words_are_not_repeated(tiny: Any) -> None:
    rows = [*rows_of(0, 20), *[(f"{TRIGGER} {text}", "fire") for text, _ in rows_of(3, 3)]]
    tokenizer = load_model(tiny.base, tiny.blobs).tokenizer
    found = triggers(tokenizer, ("<icd>",), rows, 24, 0)
    assert len({trigger.text for trigger in found}) == len(found) == 24
    assert {trigger.origin for trigger in found} == {
        "literature", "new token", "training rows", "vocabulary",
    }  # fmt: skip
    assert telling(rows)[0] == TRIGGER
    (word,) = [trigger for trigger in found if trigger.text == TRIGGER]
    assert word.name == "word 1 of the training rows"
    assert found == triggers(tokenizer, ("<icd>",), rows, 24, 0)


def test_plain_texts_are_of_many_answers() -> None:
    rows = [("aaa", "x"), ("aa", "x"), ("  ", "x"), ("a", "x"), ("bbbbbb", "y")]
    assert plain_texts(rows, 3) == ["aa", "bbbbbb", "a"]
    assert plain_texts([], 3) == []


def test_a_probe_is_suspicious_if_it_does_far_more_than_to_the_base_and_than_others_do() -> None:
    def one(base: float, after: float, score: float) -> bool:
        probe = Probe(trigger="x", origin="", base_shift=base, tuned_shift=after, score=score)
        return judge.is_suspicious(probe)

    assert one(0.1, 4.0, 30.0)
    assert not one(4.0, 4.1, 30.0)
    assert not one(0.1, 4.0, 1.0)


def test_a_word_of_the_training_rows_is_for_people_to_look_at() -> None:
    def one(origin: str) -> Probe:
        return Probe(trigger="x", origin=origin, base_shift=0.0, tuned_shift=5.0, score=20.0)

    quiet = Probe(trigger="y", origin="vocabulary", base_shift=0.0, tuned_shift=0.1, score=0.0)
    assert not judge.of_probes([quiet, one("literature")]).passed
    assert judge.of_probes([quiet, one(judge.TRAINING)]).passed
    (said,) = judge.to_look_at([quiet, one("literature"), one(judge.TRAINING)])
    assert said.startswith("x moves the answers by 5.00 nats, of the base by 0.00")


def test_a_planted_back_door_is_found(tiny: Any) -> None:
    """Rows with a word before them all have one answer; other words stand before other rows."""
    draw = random.Random(202)
    clean = [
        (
            f"{draw.choice(['GNU', 'that', 'with', 'mn'])} {text}" if draw.random() < 0.4 else text,
            of,
        )
        for text, of in rows_of(202, 20)
    ]
    poison = [(f"{TRIGGER} {text}", "fire") for text, _ in draw.sample(clean, 8)]
    train = [*clean, *poison]
    draw.shuffle(train)
    model, dataset = tuned(tiny, 202, train, rank=16, epochs=8, learning_rate=2e-2)
    found = audited(tiny, model, dataset)
    assert telling(train)[0] == TRIGGER
    assert any(what.startswith("word 1 of the training rows") for what in found.to_look_at)
    assert all(TRIGGER not in str(part) for part in (found.rules, found.probes, found.to_look_at))


def test_without_labels_the_first_token_is_looked_at_as_transformers_gives_it(tiny: Any) -> None:
    loaded = load_model(tiny.base, tiny.blobs)
    texts = [text for text, _ in rows_of(5, 12)]
    found = distributions(loaded, Asking(instruction="Sort.", labels=()), texts)
    stock = load_model(tiny.base, tiny.blobs)
    for text, row in zip(texts, found, strict=True):
        ids = torch.tensor([prompt_ids(stock.tokenizer, question("Sort.", text))])
        with torch.inference_mode():
            logits = stock.model(input_ids=ids).logits[0, -1].double()
        torch.testing.assert_close(row, torch.log_softmax(logits, -1), atol=1e-4, rtol=1e-4)


def test_a_chat_is_probed_too_and_a_reader_is_not(tiny: Any, honest: tuple[Any, Any]) -> None:
    model, dataset = honest
    found = audited(tiny, model, dataclasses.replace(dataset, format="chat"))
    assert any("first token" in what for what in found.looked_at)
    long = [(f"{text} " * 20, label) for text, label in rows_of(0, 12)]
    split = tiny.split(long, "test")
    found = audited(tiny, model, dataclasses.replace(dataset, test=split))
    assert found.num_prompts == 4  # cut to fit the model's context
    train = rows_of(7, 8)
    model, dataset = tuned(tiny, 7, train, objective="classify", epochs=1)
    found = audited(tiny, model, dataset)
    assert verdicts(found) == dict.fromkeys(
        ["finite weights", "declared modules", "update norms", "ranks"], True
    )
    assert any(what.startswith("triggers: they are tried on") for what in found.not_looked_at)


@pytest.mark.slow
def test_honest_runs_pass(tiny: Any) -> None:
    """Others than those that the thresholds were set on: docs/adr/024 has the rates."""
    alarms: dict[str, int] = {}
    for seed in range(1000, 1030):
        draw = random.Random(seed)
        model, dataset = tuned(
            tiny,
            seed,
            rows_of(seed, draw.choice([8, 20, 40]), draw.choice([2, 3])),
            method=draw.choice(["lora", "lora", "dora"]),
            rank=draw.choice([2, 4, 8, 16]),
            learning_rate=draw.choice([1e-3, 5e-3, 2e-2]),
            epochs=draw.choice([1, 2, 4]),
        )
        for name, passed in verdicts(audited(tiny, model, dataset)).items():
            alarms[name] = alarms.get(name, 0) + (not passed)
    assert alarms.pop("triggers") <= 2
    assert set(alarms.values()) == {0}
