from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from tunesmith.core.errors import DataError
from tunesmith.lm.example import Answer, Example, pack
from tunesmith.lm.heads import head_modules, outputs
from tunesmith.lm.load import load_head, load_model, sentence_pooling
from tunesmith.records.model import Task

LABELS = ("a", "b", "c")
CLASSES: list[tuple[str, Task, str, list[str]]] = [
    ("bert", "classify", "BertForSequenceClassification", ["bert.pooler", "classifier"]),
    ("bert", "tag", "BertForTokenClassification", ["classifier"]),
    ("bert", "rerank", "BertForSequenceClassification", ["bert.pooler", "classifier"]),
    ("bert", "embed", "BertModel", []),
    ("modernbert", "classify", "ModernBertForSequenceClassification", ["head", "classifier"]),
    ("modernbert", "tag", "ModernBertForTokenClassification", ["head", "classifier"]),
    ("modernbert", "embed", "ModernBertModel", []),
    ("llama", "classify", "LlamaForSequenceClassification", ["score"]),
    ("llama", "reward", "LlamaForSequenceClassification", ["score"]),
]


def base_of(readers: Any, kind: str) -> Any:
    return readers.tiny.base if kind == "llama" else readers.encoder(kind)


@pytest.mark.parametrize(("kind", "task", "name", "heads"), CLASSES)
def test_the_class_is_transformers_own(
    kind: str, task: Task, name: str, heads: list[str], readers: Any
) -> None:
    blobs = readers.tiny.blobs
    before = torch.random.get_rng_state()
    loaded = load_head(base_of(readers, kind), blobs, task, LABELS, seed=4)
    again = load_head(base_of(readers, kind), blobs, task, LABELS, seed=4)
    other = load_head(base_of(readers, kind), blobs, task, LABELS, seed=5)

    assert torch.equal(torch.random.get_rng_state(), before)
    model = loaded.model
    assert type(model).__name__ == name
    assert head_modules(model) == heads
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert {module.p for module in model.modules() if type(module) is torch.nn.Dropout} <= {0.0}
    if task in ("classify", "tag"):
        assert model.config.id2label == dict(enumerate(LABELS))
    drawn = []
    for (key, one), (_, two), (_, three) in zip(
        *(each.model.named_parameters() for each in (loaded, again, other)), strict=True
    ):
        assert torch.equal(one, two), key
        drawn += [] if torch.equal(one, three) else [key]
    expected = {
        "BertForSequenceClassification": {"classifier.weight"},  # its pooler came with it
        "BertForTokenClassification": {"classifier.weight"},
        "ModernBertForSequenceClassification": {"classifier.weight", "head.dense.weight"},
        "ModernBertForTokenClassification": {"classifier.weight", "head.dense.weight"},
        "LlamaForSequenceClassification": {"score.weight"},
    }
    assert set(drawn) == expected.get(name, set())


def test_what_is_drawn_is_what_transformers_would_draw(readers: Any) -> None:
    """All of it, and of a model that lacks its pooler that too."""
    base = readers.encoder("bert", cls=transformers.AutoModelForMaskedLM)
    loaded = load_head(base, readers.tiny.blobs, "classify", LABELS, seed=4)
    random = load_head(base, readers.tiny.blobs, "classify", LABELS, drawn_from=4)
    config = transformers.AutoConfig.from_pretrained(readers.folder / "bert", num_labels=3)
    with torch.random.fork_rng():
        torch.manual_seed(4)
        stock = transformers.AutoModelForSequenceClassification.from_config(config)

    found, whole = loaded.model.state_dict(), random.model.state_dict()
    for name, tensor in stock.state_dict().items():
        assert torch.equal(whole[name], tensor), name
        is_drawn = name.startswith(("classifier", "bert.pooler"))
        assert torch.equal(found[name], tensor) == (is_drawn or "bias" in name or "Norm" in name)


def test_a_head_is_kept_if_it_tells_the_same_classes_apart(readers: Any) -> None:
    """As transformers loads it; with other labels, or in another order, it is another head."""
    names: dict[str, Any] = {"id2label": dict(enumerate(LABELS))}
    base = readers.encoder("bert", cls=transformers.AutoModelForSequenceClassification, **names)
    stock = transformers.AutoModelForSequenceClassification.from_pretrained(readers.folder / "bert")
    blobs = readers.tiny.blobs

    def weight(labels: tuple[str, ...]) -> torch.Tensor:
        model = load_head(base, blobs, "classify", labels, seed=7).model
        found: torch.Tensor = model.classifier.weight
        return found

    assert torch.equal(weight(LABELS), stock.classifier.weight)
    assert not torch.equal(weight(LABELS[::-1]), stock.classifier.weight)
    assert weight(("a", "b")).shape == (2, 32)


def test_a_model_that_scores_goes_on_from_its_own_head(readers: Any) -> None:
    base = readers.encoder(
        "bert", cls=transformers.AutoModelForSequenceClassification, num_labels=1
    )
    stock = transformers.AutoModelForSequenceClassification.from_pretrained(readers.folder / "bert")
    loaded = load_head(base, readers.tiny.blobs, "rerank", seed=9)
    assert torch.equal(loaded.model.classifier.weight, stock.classifier.weight)


def test_the_last_token_is_found_by_its_place(readers: Any) -> None:
    """Defect 13: transformers takes the last token that is not the padding, which may be one too
    early."""
    loaded = load_head(readers.tiny.base, readers.tiny.blobs, "classify", LABELS)
    example = Example(row_id="r", prompt=(5, 6, 7), answers=(Answer(ids=(8, 0)), Answer(ids=(0,))))
    micro = pack([example])
    ids = [torch.tensor([document]) for document in example.documents()]
    model = loaded.model
    states = torch.cat([model.model(ids[0])[0][0], model.model(ids[1])[0][0, 3:]])

    found = outputs(model, states, micro)

    whole = torch.cat([model(each).logits for each in ids])
    torch.testing.assert_close(found, whole)
    model.config.pad_token_id = 0
    assert not torch.allclose(found, torch.cat([model(each).logits for each in ids]), atol=1e-3)


@pytest.mark.parametrize("task", ["tag", "rerank", "embed"])
def test_what_needs_both_ways_is_refused_on_a_decoder(task: Task, readers: Any) -> None:
    with pytest.raises(DataError, match=f"'llama' models read one way only.* cannot {task}"):
        load_head(readers.tiny.base, readers.tiny.blobs, task, LABELS)


def test_a_model_without_a_template_can_still_be_loaded(readers: Any) -> None:
    base = readers.encoder("bert")
    assert load_head(base, readers.tiny.blobs, "classify", LABELS).tokenizer.chat_template == ""
    with pytest.raises(DataError, match=r"causal model|lacks"):
        load_model(base, readers.tiny.blobs)


MODULES = [
    {"path": "", "type": "sentence_transformers.models.Transformer"},
    {"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    {"path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
]


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [
        ({"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}, "mean"),
        ({"pooling_mode_mean_tokens": False, "pooling_mode_cls_token": True}, "cls"),
        ({"pooling_mode": "cls"}, "cls"),
    ],
)
def test_vectors_are_pooled_as_the_folder_says(pooling: dict[str, Any], expected: str) -> None:
    files = {
        "modules.json": json.dumps(MODULES).encode(),
        "1_Pooling/config.json": json.dumps(pooling).encode(),
    }
    assert sentence_pooling(files) == expected
    assert sentence_pooling({}) == "mean"


@pytest.mark.parametrize(
    ("pooling", "more"),
    [
        ({"pooling_mode_max_tokens": True}, []),
        ({"pooling_mode": ["cls", "mean"]}, []),
        ({"pooling_mode": "mean"}, [{"path": "2_Dense", "type": "x.Dense"}]),
    ],
)
def test_vectors_that_are_made_in_another_way_are_refused(
    pooling: dict[str, Any], more: list[Any]
) -> None:
    files = {
        "modules.json": json.dumps(MODULES + more).encode(),
        "1_Pooling/config.json": json.dumps(pooling).encode(),
    }
    with pytest.raises(DataError, match="which is not done here"):
        sentence_pooling(files)


def test_a_folder_that_pools_by_the_first_token_is_loaded_so(readers: Any) -> None:
    readers.encoder("bert")
    folder: Path = readers.folder / "bert"
    (folder / "modules.json").write_text(json.dumps(MODULES))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode": "cls"}')
    loaded = load_head(readers.zipped(folder), readers.tiny.blobs, "embed")
    assert loaded.model.config.sentence_pooling == "cls"
