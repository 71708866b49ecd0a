"""What evaluation asks of models that read states; the oracles are the libraries' own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer

from tunesmith.core.errors import UsageError
from tunesmith.lm.chat_template import conversation
from tunesmith.lm.classify import class_log_probabilities, tag_log_probabilities
from tunesmith.lm.embed import vectors
from tunesmith.lm.encode import text_ids
from tunesmith.lm.load import LoadedHead, load_head, load_tuned_head
from tunesmith.lm.rerank import answer_rewards, passage_scores
from tunesmith.records.model import Task
from tunesmith.records.rows import Labelled
from tunesmith.stages.finetune.config import ModelConfig
from tunesmith.stages.finetune.run import finetune

LABELS = ("a", "b", "c")
TEXTS = [
    "Permission is hereby granted",
    "x",
    "This program is free software under the GNU General Public License, version 2 or later. " * 2,
    "Licensed under the Apache License",
]


def loaded(readers: Any, kind: str, task: Task) -> LoadedHead:
    base = readers.tiny.base if kind == "llama" else readers.encoder(kind)
    return load_head(base, readers.tiny.blobs, task, LABELS)


def alone(model: LoadedHead, documents: Sequence[Any]) -> torch.Tensor:
    """The stock class, one document at a time."""
    with torch.inference_mode():
        return torch.cat([model.model(torch.tensor([list(ids)])).logits for ids in documents])


@pytest.mark.parametrize("kind", ["bert", "modernbert", "llama"])
def test_classes_are_those_of_transformers(kind: str, readers: Any) -> None:
    model = loaded(readers, kind, "classify")
    expected = alone(model, [text_ids(model, text) for text in TEXTS])
    seen: list[int] = []

    found = class_log_probabilities(model, TEXTS, seen.append)

    torch.testing.assert_close(found, expected.double().log_softmax(1), rtol=0, atol=1e-5)
    assert seen[-1] == len(TEXTS)
    assert class_log_probabilities(model, []).shape == (0, 3)


@pytest.mark.parametrize("kind", ["bert", "modernbert"])
def test_tags_are_those_of_the_first_token_of_each_word(kind: str, readers: Any) -> None:
    model = loaded(readers, kind, "tag")
    rows = [text.split() for text in TEXTS] + [["free", "\u200b", "software"], []]
    core = model.tokenizer.core

    found = tag_log_probabilities(model, rows)

    for words, part in zip(rows, found, strict=True):
        assert part.shape == (len(words), 3)
        encoding = core.encode(words, is_pretokenized=True)
        log_p = alone(model, [encoding.ids])[0].double().log_softmax(1)
        for number, word in enumerate(words):
            if word == "\u200b":
                assert bool((part[number] == -torch.inf).all())
                continue
            place = encoding.word_ids.index(number)
            torch.testing.assert_close(part[number], log_p[place], rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", ["bert", "modernbert"])
def test_passages_are_scored_as_transformers_does(kind: str, readers: Any) -> None:
    model = loaded(readers, kind, "rerank")
    pairs = [(query, text) for query in ("licence?", TEXTS[0]) for text in TEXTS]
    expected = []
    for pair in pairs:
        encoding = model.tokenizer.core.encode(*pair)
        types = {"token_type_ids": torch.tensor([encoding.type_ids])} if kind == "bert" else {}
        with torch.inference_mode():
            expected.append(model.model(torch.tensor([encoding.ids]), **types).logits[0, 0])

    found = passage_scores(model, pairs)

    torch.testing.assert_close(found, torch.stack(expected).double(), rtol=0, atol=1e-5)


def test_answers_are_scored_at_the_end_of_their_turn(readers: Any) -> None:
    model = loaded(readers, "llama", "reward")
    pairs = [(TEXTS[0], "mit"), ("x", TEXTS[2]), (TEXTS[0], "gpl")]
    documents = [conversation(model.tokenizer, "Name it.", *pair).ids for pair in pairs]

    found = answer_rewards(model, pairs, "Name it.")

    expected = alone(model, documents)[:, 0].double()
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def stock_sentences(readers: Any, kind: str, pooling: str) -> SentenceTransformer:
    folder: Path = readers.folder / kind
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_file=str(folder / "tokenizer.json"),
        model_input_names=["input_ids", "attention_mask"],
        **{f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")},
    )
    tokenizer.save_pretrained(folder)
    modules = [Transformer(str(folder)), Pooling(32, pooling_mode=pooling), Normalize()]
    return SentenceTransformer(modules=modules, device="cpu")


@pytest.mark.parametrize("pooling", ["mean", "cls"])
@pytest.mark.parametrize("kind", ["bert", "modernbert"])
def test_vectors_are_those_of_sentence_transformers(kind: str, pooling: str, readers: Any) -> None:
    model = loaded(readers, kind, "embed")
    model.model.config.sentence_pooling = pooling
    stock = stock_sentences(readers, kind, pooling)
    expected = torch.from_numpy(stock.encode(TEXTS))
    cut = torch.from_numpy(stock.encode(TEXTS, truncate_dim=8, normalize_embeddings=True))

    torch.testing.assert_close(vectors(model, TEXTS), expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(vectors(model, TEXTS, dims=8), cut, rtol=0, atol=1e-5)


def test_special_tokens_in_a_text_steer_nothing(readers: Any) -> None:
    """A text that contains the token that ends a text is one text all the same."""
    model = loaded(readers, "bert", "classify")
    end = model.tokenizer.id_of("[SEP]")
    ids = text_ids(model, "free [SEP] software")
    assert ids.count(end) == 1
    assert ids[-1] == end


def test_a_text_that_does_not_fit_is_named(readers: Any) -> None:
    model = loaded(readers, "bert", "classify")
    with pytest.raises(UsageError, match=r"text 1: a text of \d+ tokens does not fit .* 64"):
        class_log_probabilities(model, ["short", "free " * 80])


@pytest.mark.parametrize("method", ["lora", "head"])
def test_a_tuned_version_is_read_as_it_was_tuned(method: str, readers: Any) -> None:
    rows = [Labelled(text=f"{text} {label}"[:60], label=label) for text in TEXTS for label in "abc"]
    config = ModelConfig(
        name="desk", base="b", dataset="d", objective="classify", method=method, epochs=12,
        learning_rate=1e-2,
    )  # fmt: skip
    dataset = readers.dataset(rows, LABELS)
    base = readers.encoder("bert")
    version = finetune(config, readers.tiny.context(1), base=base, dataset=dataset)

    tuned = load_tuned_head(version, readers.tiny.blobs)
    log_p = class_log_probabilities(tuned, [row.text for row in rows])

    right = torch.tensor([LABELS.index(row.label) for row in rows])
    loss = float(-log_p[torch.arange(len(rows)), right].mean())
    assert loss == pytest.approx(version.last_loss, abs=0.3)
    plain = load_head(base, readers.tiny.blobs, "classify", LABELS, seed=1)
    before = class_log_probabilities(plain, [row.text for row in rows])
    assert loss < float(-before[torch.arange(len(rows)), right].mean()) - 0.2
