from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy

from tunesmith.lm import likelihood
from tunesmith.lm.example import Answer, Example
from tunesmith.lm.likelihood import answer_log_probs, tokens_of_answers
from tunesmith.lm.load import load_model


def answer(*ids: int, weights: tuple[float, ...] = ()) -> Answer:
    return Answer(ids=ids, weights=weights)


EXAMPLES = [
    Example(row_id="a", prompt=(1, 9, 30, 31), answers=(answer(40, 41, 2), answer(42, 2))),
    Example(row_id="b", prompt=(1, 9), answers=(answer(50, 51, 52, 53, 2),)),
    Example(row_id="c", prompt=(1, 8, 7)),  # nothing to score
    Example(row_id="d", answers=(answer(60, 61, 2), answer(60, 2))),  # the first has no predecessor
    Example(row_id="e", prompt=(1,), answers=(answer(70, 71, 2, weights=(1.0, 0.0, 0.5)),)),
]


def by_hand(model: Any, example: Example) -> list[float]:
    """Stock logits, each document alone, in float64."""
    found = []
    documents = example.documents() if example.answers else []
    for document, each in zip(documents, example.answers, strict=True):
        ids = torch.tensor(document)
        losses = cross_entropy(model(ids[None]).logits[0, :-1], ids[1:], reduction="none")
        first = max(len(example.prompt), 1)
        weights = torch.tensor(each.weights or (1.0,) * len(each.ids))[first - len(document) :]
        found.append(-float(losses[first - 1 :][weights > 0].sum()))
    return found


@pytest.mark.parametrize(("max_tokens", "chunk"), [(1024, 128), (8, 2)])
def test_log_probabilities_are_those_of_stock_logits(
    tiny: Any, monkeypatch: pytest.MonkeyPatch, max_tokens: int, chunk: int
) -> None:
    """However many go through the model at once (defects 6 and 12)."""
    monkeypatch.setattr(likelihood, "MAX_TOKENS", max_tokens)
    monkeypatch.setattr(likelihood, "CHUNK_TOKENS", chunk)
    loaded = load_model(tiny.base, tiny.blobs)
    loaded.model.double()
    stock = load_model(tiny.base, tiny.blobs).model.double()
    said: list[int] = []

    found = answer_log_probs(loaded, EXAMPLES, said.append)

    with torch.no_grad():
        expected = [by_hand(stock, example) for example in EXAMPLES]
    assert [len(each) for each in found] == [2, 1, 0, 2, 1]
    for one, other in zip(found, expected, strict=True):
        assert one == pytest.approx(other, abs=1e-4)  # transformers' norms are in float32
    assert said[-1] == len(EXAMPLES)
    assert sorted(said) == said


def test_tokens_are_those_that_are_summed() -> None:
    assert [tokens_of_answers(example) for example in EXAMPLES] == [[3, 2], [5], [], [2, 1], [2]]
