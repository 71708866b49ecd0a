from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tunesmith.core.errors import UsageError
from tunesmith.lm import score as score_module
from tunesmith.lm.chat_template import conversation
from tunesmith.lm.load import LoadedModel, load_model
from tunesmith.lm.score import make_trie, score_labels

LABELS = ("gpl-2.0", "gpl-2.0-plus", "mit", "gpl-2.0-plus-or-mit", "m", "apache-2.0", "é")
TEXTS = ("Permission is granted.", "", "This program is free software under the GNU.", "x" * 40)


def double(loaded: LoadedModel) -> LoadedModel:
    return dataclasses.replace(loaded, model=loaded.model.double())


def one_by_one(loaded: LoadedModel, texts: tuple[str, ...], labels: tuple[str, ...]) -> Any:
    """Each label scored alone, by a stock forward pass over the whole conversation."""
    scores = torch.zeros(len(texts), len(labels), dtype=torch.float64)
    for i, text in enumerate(texts):
        for j, label in enumerate(labels):
            row = conversation(loaded.tokenizer, "Name it.", text, label)
            with torch.no_grad():
                logits = loaded.model(torch.tensor([row.ids])).logits[0].double()
            log_p = torch.log_softmax(logits, dim=-1)
            for place in range(row.num_prompt, len(row.ids)):
                scores[i, j] += log_p[place - 1, row.ids[place]]
    return scores


def test_scores_are_those_of_each_label_alone(tiny: Any) -> None:
    single, exact = (load_model(tiny.base, tiny.blobs) for _ in range(2))
    exact = double(exact)
    stock = double(load_model(tiny.base, tiny.blobs))
    expected = one_by_one(stock, TEXTS, LABELS)

    torch.testing.assert_close(
        score_labels(exact, "Name it.", TEXTS, LABELS), expected, rtol=0, atol=1e-10
    )
    torch.testing.assert_close(
        score_labels(single, "Name it.", TEXTS, LABELS), expected, rtol=0, atol=1e-4
    )


@settings(
    max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    labels=st.lists(st.text("ab-é2", max_size=6), min_size=1, max_size=8),
    size=st.sampled_from([1, 60, 999]),
)
def test_any_labels_in_any_grouping(tiny: Any, labels: list[str], size: int) -> None:
    exact = double(load_model(tiny.base, tiny.blobs))
    stock = double(load_model(tiny.base, tiny.blobs))
    seen: list[int] = []
    before, score_module.MAX_TOKENS = score_module.MAX_TOKENS, size
    try:
        scores = score_labels(exact, "Name it.", TEXTS, labels, seen.append)
    finally:
        score_module.MAX_TOKENS = before

    expected = one_by_one(stock, TEXTS, tuple(labels))
    torch.testing.assert_close(scores, expected, rtol=0, atol=1e-10)
    assert seen == sorted(seen)
    assert seen[-1] == len(TEXTS)


def test_the_probabilities_of_all_one_token_answers_sum_to_one(tiny: Any) -> None:
    """The end-of-turn token is part of a label: p(a) = p(a first) * p(end | a)."""
    loaded = double(load_model(tiny.base, tiny.blobs))
    trie = make_trie(tuple((token,) for token in range(loaded.model.config.vocab_size)))
    row = score_module.ScoreRow(prompt=(5, 6, 7), trie=trie)

    scores = score_module._score(loaded.model, [row])

    assert trie.tokens == ()
    assert float(scores.exp().sum()) == pytest.approx(1, abs=1e-6)


def test_answers_share_their_beginnings() -> None:
    trie = make_trie(((1, 2, 9), (1, 2, 3, 9), (4, 9)))

    assert trie.tokens == (1, 2, 3, 4)
    assert trie.depths == (0, 1, 2, 0)
    assert trie.attends.int().tolist() == [[1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0], [0, 0, 0, 1]]
    assert trie.paths[1] == ((0, 1), (1, 2), (2, 3), (3, 9))


def test_a_text_that_does_not_fit_is_refused(tiny: Any) -> None:
    loaded = load_model(tiny.base, tiny.blobs)
    with pytest.raises(UsageError, match="do not fit the model's 256"):
        score_labels(loaded, "Name it.", ["mit " * 300], ["mit"])
