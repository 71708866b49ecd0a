"""New tokens beside adapters (defect 27), with PEFT's trained tokens as the oracle."""

from __future__ import annotations

import dataclasses
import io
import json
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import peft
import pytest
import safetensors.torch
import torch
from torch.nn.functional import cross_entropy

from tunesmith.core.canonical import parse
from tunesmith.core.errors import DataError
from tunesmith.core.ref import from_plain, to_plain
from tunesmith.lm.adapter import merge_adapter
from tunesmith.lm.attach import load_version
from tunesmith.lm.attention import attend_by_document
from tunesmith.lm.engine import Message, Sampling
from tunesmith.lm.example import Example
from tunesmith.lm.generate import torch_engines
from tunesmith.lm.load import LoadedModel, load_model
from tunesmith.records.certificate import Certificate
from tunesmith.records.model import BaseModel, ModelVersion
from tunesmith.records.rows import Feedback, Preference, Text
from tunesmith.stages.finetune import keeper, tokens
from tunesmith.stages.finetune.batches import share_of
from tunesmith.stages.finetune.config import ModelConfig
from tunesmith.stages.finetune.engine import packed_states
from tunesmith.stages.finetune.first_batch import look
from tunesmith.stages.finetune.loop import accumulate
from tunesmith.stages.finetune.objectives.answers import Answers
from tunesmith.stages.finetune.optimiser import make_optimiser
from tunesmith.stages.finetune.run import finetune
from tunesmith.stages.finetune.trained import prepare, trained_bytes, trained_config

NEW = ("<icd>", "<atc>", "<end-of-code>")
ROWS = [
    ("Code <icd> of the licence", "mit"),
    ("Which <atc> is this program", "<icd> gpl-2.0 <end-of-code>"),
    ("Licensed under the Apache License <icd><icd>", "apache-2.0"),
    ("This program is free software <end-of-code>", "mit"),
]
# peft asks transformers for a property that transformers renamed.
pytestmark = pytest.mark.filterwarnings(
    "ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"
)
heads = pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
paddings = pytest.mark.parametrize("padding", [0, 2, 8])


def recipe(**settings: Any) -> ModelConfig:
    given = {"new_tokens": NEW, "rank": 4, "learning_rate": 1e-2} | settings
    return ModelConfig(name="desk", base="tiny", dataset="tiny", **given)


@pytest.fixture
def make_base(tiny: Any) -> Callable[..., BaseModel]:
    """make_base(tied, padding) -> the tiny model; with a head of its own; with rows of no token."""

    def make(tied: bool = True, padding: int = 0) -> BaseModel:
        model = load_model(tiny.base, tiny.blobs).model
        config = model.config.to_dict()
        state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        config |= {"tie_word_embeddings": tied, "vocab_size": config["vocab_size"] + padding}
        state["lm_head.weight"] = state["lm_head.weight"].flip(0)
        for name in ("model.embed_tokens.weight", "lm_head.weight"):
            rows = torch.full((padding, state[name].shape[1]), 7.0)
            state[name] = torch.cat([state[name], rows])
        if tied:
            del state["lm_head.weight"]
        sink = io.BytesIO()
        with zipfile.ZipFile(sink, "w") as archive:
            archive.writestr("config.json", json.dumps(config))
            archive.writestr("model.safetensors", safetensors.torch.save(state))
            for name in ("tokenizer.json", "tokenizer_config.json"):
                archive.write(tiny.folder / name, name)
        return dataclasses.replace(tiny.base, weights=tiny.blobs.put(sink.getvalue()))

    return make


def load(tiny: Any, base: BaseModel) -> LoadedModel:
    return load_model(base, tiny.blobs, new_tokens=NEW)


def read(tiny: Any, base: BaseModel) -> list[Example]:
    objective = Answers(recipe(), tiny.dataset([]))
    return list(objective.read(tiny.blobs.path(tiny.split(ROWS).rows), load(tiny, base)))


def matrices(model: Any) -> list[torch.Tensor]:
    return [
        model.get_input_embeddings().weight.detach(),
        model.get_output_embeddings().weight.detach(),
    ]


@heads
@paddings
def test_new_rows_begin_as_the_mean_of_the_pieces_and_no_other_changes(
    tiny: Any, make_base: Callable[..., BaseModel], tied: bool, padding: int
) -> None:
    """Defect 27: also where the matrix has more rows than there are tokens."""
    base = make_base(tied, padding)
    plain, grown = load_model(base, tiny.blobs), load(tiny, base)
    size = plain.tokenizer.core.get_vocab_size()

    ids = [grown.tokenizer.id_of(token) for token in NEW]
    assert ids == [size, size + 1, size + 2]
    for old, new in zip(matrices(plain.model), matrices(grown.model), strict=True):
        assert len(new) == max(len(old), size + len(NEW))
        for token, index in zip(NEW, ids, strict=True):
            pieces = plain.tokenizer.encode(token)
            assert len(pieces) > 1
            assert torch.equal(new[index], old[pieces].mean(dim=0))
        kept = [index for index in range(len(old)) if index not in ids]
        assert torch.equal(new[kept], old[kept])
    model = grown.model
    assert (model.lm_head.weight is model.model.embed_tokens.weight) == tied
    assert model(torch.tensor([ids])).logits.shape[-1] == model.config.vocab_size


def test_new_tokens_are_kept_whole_and_said(tiny: Any) -> None:
    tokenizer = load(tiny, tiny.base).tokenizer
    ids = tokenizer.encode("a<icd>b <atc> <icd")
    assert tokenizer.decode(ids) == "a<icd>b <atc> <icd"
    assert [tokenizer.id_of(token) for token in NEW[:2]] == [
        index for index in ids if index >= tokenizer.id_of("<icd>")
    ]
    assert not tokenizer.special_tokens & set(NEW)


@pytest.mark.parametrize(
    ("token", "said"),
    [
        ("<|im_end|>", "has '<|im_end|>' already"),
        ("a", "has 'a' already"),
        ("caf\u00e9", "read back"),
    ],
)
def test_a_token_that_is_there_or_is_not_read_back_is_refused(
    tiny: Any, token: str, said: str
) -> None:
    with pytest.raises(DataError, match=said.replace("|", r"\|")):
        load_model(tiny.base, tiny.blobs, new_tokens=[token])


def in_peft(model: Any, ids: Sequence[int], tied: bool, kind: str) -> Any:
    rows = {"embed_tokens": list(ids)} | ({} if tied else {"lm_head": list(ids)})
    leaves = [f"{x}_proj" for x in ("q", "k", "v", "o", "gate", "up", "down")]
    config = peft.LoraConfig(
        r=4,
        lora_alpha=8,
        use_rslora=True,
        use_dora=kind == "dora",
        target_modules=leaves,
        trainable_token_indices=rows,
    )
    return peft.get_peft_model(model, config, autocast_adapter_dtype=False)


@heads
@pytest.mark.parametrize("method", ["lora", "dora"])
def test_steps_are_those_of_trained_tokens_in_peft(
    tiny: Any, make_base: Callable[..., BaseModel], tied: bool, method: str, tmp_path: Path
) -> None:
    """Same weights, same rows, in float64: every gradient, every step, and what is saved."""
    base = make_base(tied, padding=2)
    rows = read(tiny, base)
    loaded = load(tiny, base)
    ids = [loaded.tokenizer.id_of(token) for token in NEW]
    before = [matrix.clone() for matrix in matrices(loaded.model.double())]
    config = recipe(method=method)
    attend_by_document(loaded.model)
    trained = prepare(loaded.model, config, 1, ids)
    theirs = in_peft(load(tiny, base).model.double(), ids, tied, method)
    pairs = _paired(trained, theirs)
    assert (
        len(pairs) == len(trained.parameters) == sum(p.requires_grad for p in theirs.parameters())
    )
    for own, other in pairs:
        other.data.copy_(own.detach())

    objective = Answers(config, tiny.dataset([]))
    ours = make_optimiser(trained.parameters, config)
    optimiser = make_optimiser([other for _, other in pairs], config)
    for _ in range(3):
        loss = accumulate(
            objective,
            lambda micro: objective.loss(loaded.model, packed_states(loaded.model, micro), micro),
            rows,
        )
        expected = _loss(theirs, rows)
        assert loss == pytest.approx(float(expected.detach()), rel=1e-10)
        expected.backward()
        for own, other in pairs:
            torch.testing.assert_close(own.grad, other.grad, rtol=1e-8, atol=1e-10)
        for each in (ours, optimiser):
            each.step()
            each.zero_grad()
    for own, other in pairs:
        torch.testing.assert_close(own, other, rtol=0, atol=1e-7)

    _assert_saved(tiny, base, loaded.model, trained, config, tmp_path)
    merged = load(tiny, base).model.double()
    merge_adapter(merged, trained_bytes(trained), trained_config(trained, config, base))
    for old, new in zip(before, matrices(merged), strict=True):
        kept = [index for index in range(len(old)) if index not in ids]
        assert torch.equal(new[kept], old[kept])
        assert all(not torch.equal(new[index], old[index]) for index in ids)


def _paired(trained: Any, theirs: Any) -> list[tuple[Any, Any]]:
    found = dict(theirs.named_parameters())
    pairs = []
    for name, layer in trained.adapters.items():
        stem = f"base_model.model.{name}"
        for part, own in layer.trained().items():
            middle, _, _ = part.partition(".")
            pairs.append((own, found[f"{stem}.{middle}.default.weight"]))
    for name, own in trained.token_rows.items():
        key = f"base_model.model.{name}.token_adapter.trainable_tokens_delta.default"
        pairs.append((own, found[key]))
    return pairs


def _loss(model: Any, rows: Sequence[Example]) -> torch.Tensor:
    """Of all answers' tokens, each document alone."""
    total, count = torch.zeros((), dtype=torch.float64), 0
    for row in rows:
        (answer,) = row.answers
        ids = torch.tensor([row.prompt + answer.ids])
        logits = model(ids).logits[0, len(row.prompt) - 1 : -1]
        total = total + cross_entropy(logits, torch.tensor(answer.ids), reduction="sum")
        count += len(answer.ids)
    return total / count


def _assert_saved(
    tiny: Any, base: BaseModel, tuned: Any, trained: Any, config: ModelConfig, folder: Path
) -> None:
    """Defects 26 and 27: PEFT and we load what is saved, onto a base with rows for new tokens."""
    (folder / "adapter_model.safetensors").write_bytes(trained_bytes(trained))
    (folder / "adapter_config.json").write_bytes(trained_config(trained, config, base))
    tuned.config._attn_implementation = "sdpa"
    ids = torch.tensor([list(range(20)) + list(trained.token_ids)])
    expected = tuned(ids).logits
    fresh = load_model(base, tiny.blobs).model.double()
    fresh.resize_token_embeddings(max(trained.token_ids) + 1, mean_resizing=False)
    theirs = peft.PeftModel.from_pretrained(fresh, str(folder), autocast_adapter_dtype=False)
    torch.testing.assert_close(theirs.eval()(ids).logits, expected, rtol=0, atol=1e-10)
    merged = load(tiny, base).model.double()
    merge_adapter(merged, trained_bytes(trained), trained_config(trained, config, base))
    torch.testing.assert_close(merged(ids).logits, expected, rtol=0, atol=1e-10)


@heads
@pytest.mark.parametrize("settings", [{}, {"method": "dora", "layers": 1}], ids=["lora", "dora"])
def test_a_run_with_new_tokens_is_certified_and_used(
    tiny: Any, make_base: Callable[..., BaseModel], tied: bool, settings: dict[str, Any]
) -> None:
    base = make_base(tied)
    config = recipe(epochs=2, batch_rows=2, **settings)
    model = finetune(config, tiny.context(1), base=base, dataset=tiny.dataset(ROWS))

    assert model.new_tokens == NEW
    assert from_plain(ModelVersion, to_plain(model)) == model
    certificate = from_plain(Certificate, parse(tiny.blobs.get(model.certificate)))
    assert certificate.failed() == ""
    used = load_model(base, tiny.blobs, adapter=model)
    assert used.tokenizer.decode(used.tokenizer.encode("a <icd> b")) == "a <icd> b"
    grown = load_model(base, tiny.blobs, new_tokens=NEW)
    ids = [used.tokenizer.id_of(token) for token in NEW]
    for old, new in zip(matrices(grown.model), matrices(used.model), strict=True):
        kept = [index for index in range(len(old)) if index not in ids]
        assert torch.equal(new[kept], old[kept])
        assert not torch.equal(new[ids], old[ids])


def test_a_new_token_that_was_learnt_is_said_and_read(tiny: Any) -> None:
    """The served answer has it, as text, and so does what the model is asked."""
    rows = [("Code <icd>", "<atc> 7"), ("Code <atc>", "<icd> 9<end-of-code>")]
    config = recipe(epochs=60)
    model = finetune(config, tiny.context(), base=tiny.base, dataset=tiny.dataset(rows))

    (engine,) = torch_engines([dataclasses.replace(model, labels=())], tiny.blobs)
    for asked, answer in rows:
        pieces = engine.generate([Message(role="user", content=asked)], Sampling(max_tokens=9))
        assert "".join(piece.text for piece in pieces) == answer


def test_a_new_token_that_no_row_has_is_refused(tiny: Any) -> None:
    config = recipe(new_tokens=[*NEW, "<rxn>"])
    with pytest.raises(DataError, match="no training row has the new token '<rxn>'"):
        finetune(config, tiny.context(), base=tiny.base, dataset=tiny.dataset(ROWS))
    with pytest.raises(DataError, match="no training row has the new token '<rxn>'"):
        look(config, tiny.blobs, tiny.base, tiny.dataset(ROWS), 0)


def test_the_first_batch_is_shown_with_new_tokens_whole(tiny: Any) -> None:
    shown = look(recipe(), tiny.blobs, tiny.base, tiny.dataset(ROWS), 0).tokens
    assert {token.text for token in shown} > set(NEW)
    assert {token.trained for token in shown if token.text == "<end-of-code>"} == {"answer", "no"}


def test_tokens_of_rows_are_kept_apart_by_new_tokens(tiny: Any) -> None:
    """Defect 35."""
    dataset = tiny.dataset(ROWS)
    places = {
        tokens._place(config, tiny.context(), tiny.base, dataset)
        for config in (recipe(), recipe(new_tokens=NEW[:2]), recipe(new_tokens=()))
    }
    assert len(places) == 3


def test_a_share_without_any_new_token_is_certified(
    tiny: Any, make_base: Callable[..., BaseModel]
) -> None:
    """Their rows of the embeddings then have no gradient, and stay."""
    base = make_base(tied=False)
    rows = [*ROWS, *[(f"text number {number}", "mit") for number in range(20)]]
    with_new = {f"row{number:03}" for number in range(len(ROWS))}
    every = [Example(row_id=f"row{number:03}") for number in range(len(rows))]
    seed = next(
        seed
        for seed in range(100)
        if with_new.isdisjoint(row.row_id for row in share_of(every, 0.1, seed))
    )
    config = recipe(share_of_rows=0.1, epochs=2, batch_rows=2)
    model = finetune(config, tiny.context(seed), base=base, dataset=tiny.dataset(rows))

    saved = safetensors.torch.load(tiny.blobs.get(model.adapter))
    key = "base_model.model.model.embed_tokens.token_adapter.trainable_tokens_delta"
    grown = load_model(base, tiny.blobs, new_tokens=NEW)
    ids = [grown.tokenizer.id_of(token) for token in NEW]
    assert torch.equal(saved[key], matrices(grown.model)[0][ids])


CONTENTS: dict[str, list[Any]] = {
    "cpt": [Text(text=f"{text}: {label}") for text, label in ROWS],
    "dpo": [Preference(prompt=text, chosen=label, rejected="none") for text, label in ROWS],
    "kto": [Feedback(prompt=text, completion=label, label=True) for text, label in ROWS]
    + [Feedback(prompt=text, completion=f"not {label}", label=False) for text, label in ROWS],
}


@pytest.mark.parametrize("objective", sorted(CONTENTS))
def test_other_objectives_learn_new_tokens_too(tiny: Any, readers: Any, objective: str) -> None:
    """Their certificates hold; a reference is the base with rows that are not trained yet."""
    dataset = readers.dataset(CONTENTS[objective])
    config = recipe(objective=objective, epochs=2, batch_rows=4)
    model = finetune(config, tiny.context(1), base=tiny.base, dataset=dataset)
    certificate = from_plain(Certificate, parse(tiny.blobs.get(model.certificate)))
    assert certificate.failed() == ""
    key = "base_model.model.model.embed_tokens.token_adapter.trainable_tokens_delta"
    saved = safetensors.torch.load(tiny.blobs.get(model.adapter))[key]
    grown = load(tiny, tiny.base)
    ids = [grown.tokenizer.id_of(token) for token in NEW]
    assert (saved != matrices(grown.model)[0][ids]).any(dim=1).all()


def test_an_interrupted_run_ends_with_the_same_bits(
    tiny: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Defect 33."""
    dataset, config = tiny.dataset(ROWS), recipe(epochs=2, batch_rows=2)
    expected = finetune(config, tiny.context(3), base=tiny.base, dataset=dataset)
    monkeypatch.setattr(keeper, "KEEP_EVERY_S", 0.0)
    monkeypatch.setattr(keeper, "MAX_SHARE", 1e9)

    def interrupt(_name: str, _value: float, step: int) -> None:
        if step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        finetune(config, tiny.context(3, metric=interrupt), base=tiny.base, dataset=dataset)
    assert list(tiny.workdir.glob("step-2.safetensors"))
    assert finetune(config, tiny.context(3), base=tiny.base, dataset=dataset) == expected


@heads
@pytest.mark.parametrize("padding", [0, 8])
def test_models_with_tokens_of_their_own_share_a_base(
    tiny: Any, make_base: Callable[..., BaseModel], tied: bool, padding: int
) -> None:
    """The same ids are other tokens in each; the base has neither."""
    base = make_base(tied, padding)
    versions = []
    for seed, new in enumerate([NEW, ("<rxn>", "<icd>")]):
        loaded = load_model(base, tiny.blobs, new_tokens=new)
        ids = [loaded.tokenizer.id_of(token) for token in new]
        config = recipe(new_tokens=new)
        trained = prepare(loaded.model, config, seed, ids)
        with torch.no_grad():
            for parameter in trained.parameters:
                parameter += 0.1 * torch.randn(
                    parameter.shape, generator=torch.Generator().manual_seed(seed)
                )
        settings = tiny.blobs.put(trained_config(trained, config, base))
        made = tiny.version(tiny.blobs.put(trained_bytes(trained)), settings, new_tokens=new)
        versions.append(dataclasses.replace(made, base=base))
    bases: dict[str, LoadedModel] = {}
    shared = [load_version(version, tiny.blobs, bases) for version in versions]
    untouched = load_model(base, tiny.blobs).model.state_dict()
    (own,) = bases.values()
    for version, found in zip(versions, shared, strict=True):
        merged = load_model(base, tiny.blobs, adapter=version)
        ids = torch.tensor([merged.tokenizer.encode("a <icd> <rxn> <atc> b")])
        assert found.tokenizer.encode("a <icd> <rxn> <atc> b") == ids[0].tolist()
        torch.testing.assert_close(
            found.model(ids).logits, merged.model(ids).logits, rtol=2e-5, atol=1e-4
        )
        layer = found.model.model.layers[0].mlp.up_proj.frozen
        assert layer.weight is own.model.model.layers[0].mlp.up_proj.weight
    for name, tensor in own.model.state_dict().items():
        assert torch.equal(tensor, untouched[name])
