"""What holds for all objectives that read states: accumulation, preflight, the format of
what is saved."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import peft
import pytest
import torch

from tunesmith.core.errors import ConfigError, DataError
from tunesmith.lm.adapter import merge_adapter
from tunesmith.lm.attention import attend_by_document
from tunesmith.lm.encode import NO_TAG
from tunesmith.lm.example import Example, MicroBatch
from tunesmith.lm.load import load_head
from tunesmith.records.rows import Labelled, Pair, Preference, Tagged
from tunesmith.stages.finetune.config import ModelConfig
from tunesmith.stages.finetune.engine import packed_states
from tunesmith.stages.finetune.first_batch import look
from tunesmith.stages.finetune.loop import accumulate
from tunesmith.stages.finetune.objectives.objective import make_objective
from tunesmith.stages.finetune.trained import prepare, trained_bytes, trained_config

TEXTS = [
    "Permission is hereby granted, free of charge",
    "This program is free",
    "x",
    "Licensed under the Apache License, Version 2.0; you may not use this file",
    "GNU General Public License, version 2 or later",
    "a copy of this software",
    "under",
    "to any person obtaining a copy",
]
LABELS = ("apache", "gpl", "mit")
TAGS = ("long", "short")
CONTENTS: dict[str, list[Any]] = {
    "classify": [Labelled(text=t, label=LABELS[n % 3]) for n, t in enumerate(TEXTS)],
    "tag": [
        Tagged(
            tokens=tuple(t.split()),
            tags=tuple("long" if len(word) > 4 else "short" for word in t.split()),
        )
        for t in TEXTS
    ],
    "reward": [
        Preference(prompt=f"Which {n}?", chosen=t, rejected=TEXTS[n - 1])
        for n, t in enumerate(TEXTS)
    ],
    "rerank": [
        Pair(anchor=f"{n}", positive=t, negatives=tuple(TEXTS[:n])) for n, t in enumerate(TEXTS)
    ],
    "embed": [
        Pair(anchor=f"{n}", positive=t, negatives=tuple(TEXTS[n + 1 : n + 2]))
        for n, t in enumerate(TEXTS)
    ],
}


def labels_of(objective: str) -> tuple[str, ...]:
    return {"classify": LABELS, "tag": TAGS}.get(objective, ())


def config(objective: str, **settings: Any) -> ModelConfig:
    return ModelConfig(name="desk", base="b", dataset="d", objective=objective, **settings)


def rows_of(readers: Any, base: Any, recipe: ModelConfig, contents: Sequence[Any]) -> Any:
    """The objective, the loaded model, its rows and the path they were read from."""
    dataset = readers.dataset(contents, labels_of(recipe.objective))
    objective = make_objective(recipe, dataset)
    loaded = objective.load(base, readers.tiny.blobs, seed=3)
    path = readers.tiny.blobs.path(dataset.train.rows)
    return objective, loaded, list(objective.read(path, loaded)), path


CASES = [
    (objective, kind)
    for objective in ("classify", "tag", "reward", "rerank")
    for kind in ("bert", "modernbert", "llama")
    if kind != "llama" or objective in ("classify", "reward")
]


@pytest.mark.parametrize(("objective", "kind"), CASES)
def test_accumulation_changes_nothing(objective: str, kind: str, readers: Any) -> None:
    """Defects 1 and 2: 1x8 = 8x1 = 2x4, and uneven groups too."""
    base = readers.tiny.base if kind == "llama" else readers.encoder(kind)
    made, loaded, rows, _ = rows_of(readers, base, config(objective), CONTENTS[objective])
    loaded.model.double()
    attend_by_document(loaded.model)
    parameters = prepare(loaded.model, config(objective, method="full"), 1).parameters

    def gradients(size: int) -> tuple[float, torch.Tensor]:
        def cut(rows: Sequence[Example]) -> Iterator[MicroBatch]:
            for start in range(0, len(rows), size):
                yield from made.cut(rows[start : start + size])

        def loss(micro: MicroBatch) -> torch.Tensor:
            found: torch.Tensor = made.loss(loaded.model, packed_states(loaded.model, micro), micro)
            return found

        loaded.model.zero_grad()
        mean = accumulate(made, loss, rows, cut=cut)
        return mean, torch.cat([parameter.grad.flatten() for parameter in parameters])

    whole, gradient = gradients(8)
    # Norms of decoders compute in float32.
    close = 1e-6 if kind == "llama" else 1e-12
    for size in (1, 2, 3, 4):
        loss, parts = gradients(size)
        assert loss == pytest.approx(whole, abs=1e-12)
        torch.testing.assert_close(parts, gradient, rtol=0, atol=close)


def test_vectors_of_a_step_are_compared_in_one_micro_batch(readers: Any) -> None:
    contents = [Pair(anchor=t, positive=f"{t} {t}") for t in TEXTS * 8]
    made, _, rows, _ = rows_of(readers, readers.encoder("bert"), config("embed"), contents)
    (micro,) = made.cut(rows)
    assert micro.num_tokens > 1024
    assert made.whole_step


PEFT_CASES = [
    ("classify", "bert"), ("classify", "modernbert"), ("classify", "llama"), ("tag", "bert"),
    ("tag", "modernbert"), ("rerank", "bert"), ("reward", "llama"), ("embed", "bert"),
    ("embed", "modernbert"),
]  # fmt: skip


# peft asks transformers for a property that transformers renamed.
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
@pytest.mark.parametrize("settings", [{}, {"layers": 1}, {"method": "dora"}], ids=str)
@pytest.mark.parametrize(("objective", "kind"), PEFT_CASES)
def test_peft_loads_what_is_saved_and_agrees(
    objective: str, kind: str, settings: dict[str, Any], readers: Any, tmp_path: Path
) -> None:
    """On the stock class, with a head of its own that the saved one replaces."""
    base = readers.tiny.base if kind == "llama" else readers.encoder(kind)
    recipe = config(objective, rank=4, **settings)
    _, loaded, rows, _ = rows_of(readers, base, recipe, CONTENTS[objective])
    trained = prepare(loaded.model, recipe, 1)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in trained.parameters:
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    (tmp_path / "adapter_model.safetensors").write_bytes(trained_bytes(trained))
    written = trained_config(trained, recipe, base)
    (tmp_path / "adapter_config.json").write_bytes(written)

    other = load_head(base, readers.tiny.blobs, loaded.task, loaded.labels, seed=99).model
    stock = type(other)(other.config)  # a BERT without a head gets its pooler back
    stock.load_state_dict(other.state_dict(), strict=False)
    theirs = peft.PeftModel.from_pretrained(stock, str(tmp_path)).eval()
    merge_adapter(other, trained_bytes(trained), written)

    ids = torch.tensor([rows[0].documents()[0]])

    def said(model: Any) -> torch.Tensor:
        output = model(input_ids=ids)
        found: torch.Tensor = output["logits" if "logits" in output else "last_hidden_state"]
        return found

    expected = said(loaded.model)
    torch.testing.assert_close(said(theirs), expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(said(other), expected, rtol=1e-4, atol=1e-4)
    untouched = load_head(base, readers.tiny.blobs, loaded.task, loaded.labels, seed=3).model
    assert (said(untouched) - expected).abs().max() > 1e-2
    wrapped = {name for name, part in theirs.named_modules() if hasattr(part, "lora_A")}
    assert wrapped == {f"base_model.model.{name}" for name in trained.adapters}


def test_an_adapter_whose_head_is_of_other_labels_is_refused(readers: Any) -> None:
    base = readers.encoder("bert")
    recipe = config("classify", rank=4)
    _, loaded, _, _ = rows_of(readers, base, recipe, CONTENTS["classify"])
    trained = prepare(loaded.model, recipe, 1)
    other = load_head(base, readers.tiny.blobs, "classify", ("a", "b")).model
    with pytest.raises(DataError, match=r"no parameter 'classifier\.\w+' of shape \(3"):
        merge_adapter(other, trained_bytes(trained), trained_config(trained, recipe, base))


@pytest.mark.parametrize("settings", [{"method": "head"}, {"method": "full", "layers": 1}], ids=str)
@pytest.mark.parametrize("objective", ["classify", "tag", "rerank"])
@pytest.mark.parametrize("kind", ["bert", "modernbert"])
def test_what_is_frozen_is_computed_once_and_changes_nothing(
    kind: str,
    objective: str,
    settings: dict[str, Any],
    readers: Any,
    loops: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An encoder is cut as a decoder is, below its embeddings' norm and types nothing is lost."""
    base = readers.encoder(kind)
    dataset = readers.dataset(CONTENTS[objective], labels_of(objective))
    recipe = config(objective, epochs=3, batch_rows=3, **settings)
    kept = loops.ours(recipe, base, dataset)
    assert any(readers.tiny.workdir.glob("states-*"))
    monkeypatch.setattr("tunesmith.stages.finetune.engine._trunk", lambda *_: None)
    loops.same(loops.ours(recipe, base, dataset), kept, close=1e-10)


FAULTS: list[tuple[str, str, list[Any], dict[str, list[str]]]] = [
    (
        "bert", "classify",
        [Labelled(text="free", label="bsd"), Labelled(text=" \u200b", label="mit"),
         Labelled(text="free " * 80, label="gpl"), Labelled(text="fine", label="mit")],
        {"label": ["row000"], "text": ["row001"], "length": ["row002"]},
    ),
    (
        "llama", "classify",
        [Labelled(text="", label="mit"), Labelled(text="fine", label="mit")],
        {"text": ["row000"]},
    ),
    (
        "bert", "tag",
        [Tagged(tokens=("a", "b"), tags=("long",)), Tagged(tokens=("a",), tags=("odd",)),
         Tagged(tokens=("a", "\u200b"), tags=("long", "short")), Tagged(tokens=(), tags=()),
         Tagged(tokens=("free",) * 80, tags=("long",) * 80),
         Tagged(tokens=("fine",), tags=("short",))],
        {"tags": ["row000"], "label": ["row001"], "words": ["row002"], "text": ["row003"],
         "length": ["row004"]},
    ),
    (
        "llama", "reward",
        [Preference(prompt="q", chosen="", rejected="no"),
         Preference(prompt="q", chosen="no", rejected="no"),
         Preference(prompt="", chosen="yes", rejected="no"),
         Preference(prompt="q", chosen="word " * 300, rejected="no")],
        {"text": ["row000"], "same": ["row001"], "length": ["row003"]},
    ),
    (
        "bert", "rerank",
        [Pair(anchor="q", positive="a"), Pair(anchor="r", positive="b")],
        {"negatives": ["row000", "row001"]},
    ),
    (
        "bert", "rerank",
        [Pair(anchor="q", positive="a"), Pair(anchor="r", positive="b", negatives=("", "c"))],
        {"text": ["row001"]},
    ),
    (
        "bert", "embed",
        [Pair(anchor="q", positive="a"), Pair(anchor="r", positive="a")],
        {"rivals": ["row000", "row001"]},
    ),
    (
        "bert", "embed",
        [Pair(anchor="q", positive="a", negatives=("free " * 80,)), Pair(anchor="", positive="b")],
        {"length": ["row000"], "text": ["row001"]},
    ),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "objective", "contents", "expected"), FAULTS)
def test_what_cannot_be_learnt_from_is_found(
    kind: str,
    objective: str,
    contents: list[Any],
    expected: dict[str, list[str]],
    readers: Any,
    certified: Callable[..., Any],
) -> None:
    """Defects 11, 17 and 23: nothing is cut or left out, the rows are named."""
    base = readers.tiny.base if kind == "llama" else readers.encoder(kind)
    made, loaded, rows, path = rows_of(readers, base, config(objective), contents)

    preflight = made.inspect(path, loaded, rows)

    found = {f.rule: list(f.row_ids) for f in preflight.findings if f.row_ids}
    assert found == expected
    assert {f.rule for f in preflight.findings} >= {"length", "text", "row id"}
    dataset = readers.dataset(contents, labels_of(objective))
    with pytest.raises(DataError, match=next(iter(expected.values()))[0]):
        certified(config(objective), base, dataset)


@pytest.mark.parametrize("objective", ["classify", "tag", "reward", "rerank", "embed"])
def test_rows_of_another_format_are_refused(objective: str, readers: Any) -> None:
    for other, contents in CONTENTS.items():
        dataset = readers.dataset(contents)
        if type(contents[0]) is type(CONTENTS[objective][0]):
            make_objective(config(objective), dataset)
            continue
        with pytest.raises(ConfigError, match="cannot be learnt from dataset 'tiny'"):
            make_objective(config(objective), dataset)
        assert other != objective


def test_two_rows_of_one_id_are_found(readers: Any) -> None:
    """Defect 33: states and order are by row id."""
    made, loaded, rows, path = rows_of(
        readers, readers.encoder("bert"), config("classify"), CONTENTS["classify"]
    )
    twice = [dataclasses.replace(row, row_id="same") for row in rows]
    findings = {f.rule: f.row_ids for f in made.inspect(path, loaded, twice).findings}
    assert findings["row id"] == ("same",)


def test_a_tag_stands_at_the_first_token_of_its_word(readers: Any) -> None:
    _, loaded, rows, _ = rows_of(
        readers, readers.encoder("bert"), config("tag"), [CONTENTS["tag"][3]]
    )
    (row,) = rows
    core = loaded.tokenizer.core
    target = row.target
    words = CONTENTS["tag"][3].tokens
    assert len(row.prompt) == len(target) > len(words) + 2
    firsts = [n for n, tag in enumerate(target) if tag != NO_TAG]
    assert [target[n] for n in firsts] == [0 if len(w) > 4 else 1 for w in words]
    pieces = [core.id_to_token(row.prompt[n]) for n in firsts]
    assert all(w.lower().startswith(p.lower()) for w, p in zip(words, pieces, strict=True))


@pytest.mark.parametrize("objective", ["classify", "tag", "rerank"])
def test_the_first_batch_says_what_is_to_be_said(objective: str, readers: Any) -> None:
    dataset = readers.dataset(CONTENTS[objective], labels_of(objective))
    recipe = config(objective, batch_rows=3)
    found = look(recipe, readers.tiny.blobs, readers.encoder("bert"), dataset, seed=1)

    assert len(found.targets) == len(found.row_ids) == 3
    for row_id, target in zip(found.row_ids, found.targets, strict=True):
        said = CONTENTS[objective][int(row_id[3:])]
        expected = getattr(said, "label", "") or " ".join(getattr(said, "tags", ()))
        assert target == expected
    assert {token.trained for token in found.tokens} == {"no"}
    assert found.tokens[0].text == "[CLS]"


def test_the_adapters_file_says_what_it_belongs_to(readers: Any) -> None:
    base = readers.encoder("bert")
    recipe = config("classify", rank=4)
    _, loaded, _, _ = rows_of(readers, base, recipe, CONTENTS["classify"])
    written = json.loads(trained_config(prepare(loaded.model, recipe, 1), recipe, base))
    assert written["task_type"] == "SEQ_CLS"
    assert written["modules_to_save"] == ["pooler", "classifier"]
