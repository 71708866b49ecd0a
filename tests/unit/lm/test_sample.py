from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch

from tunesmith.lm.load import LoadedModel, load_model
from tunesmith.lm.sample import Drawn, draw_group, greedy

PROMPT = [1, 30, 40, 50, 60, 70]
NAMES = [f"7/1/row/{member}" for member in range(6)]


@pytest.fixture
def loaded(tiny: Any) -> LoadedModel:
    return load_model(tiny.base, tiny.blobs)


def drawn(
    loaded: LoadedModel, names: list[str], temperature: float = 1.0, **more: Any
) -> list[Drawn]:
    settings: dict[str, Any] = {"stops": frozenset({2, 9, 300}), "max_tokens": 12, **more}
    return draw_group(loaded.model, PROMPT, names, temperature=temperature, **settings)


@torch.no_grad()
def one_by_one(model: Any, name: str, temperature: float, stops: frozenset[int]) -> list[int]:
    """The same draw by its definition: the whole text is read again for each token."""
    from tunesmith.core.canonical import draw

    generator = torch.Generator().manual_seed(int.from_bytes(draw(name)[:8]) >> 1)
    ids: list[int] = []
    while len(ids) < 12 and not (ids and ids[-1] in stops):
        logits = model(input_ids=torch.tensor([[*PROMPT, *ids]])).logits[0, -1].double()
        chances = torch.softmax(logits / temperature, dim=-1)
        ids.append(int(torch.multinomial(chances, 1, generator=generator)))
    return ids


@pytest.mark.parametrize("temperature", [0.5, 1.0, 1.7])
def test_a_group_is_what_each_answer_would_be_alone(
    loaded: LoadedModel, temperature: float
) -> None:
    """The prompt is shared, and members that have ended leave: neither changes an answer."""
    loaded.model.double()
    stops = frozenset(range(2, 400, 9))
    found = drawn(loaded, NAMES, temperature, stops=stops)

    for name, each in zip(NAMES, found, strict=True):
        assert list(each.ids) == one_by_one(loaded.model, name, temperature, stops)
        assert each.ended == (each.ids[-1] in stops)
        assert not stops.intersection(each.ids[:-1])
    assert len({len(each.ids) for each in found}) > 1, "none left before the others"


def test_a_draw_depends_on_its_name_alone(loaded: LoadedModel) -> None:
    found = drawn(loaded, NAMES)
    assert drawn(loaded, NAMES) == found
    assert len(set(found)) == len(NAMES)
    assert [each.ids[0] for each in drawn(loaded, NAMES[::-1])] == [e.ids[0] for e in found[::-1]]


def test_tokens_are_as_frequent_as_they_are_likely(loaded: LoadedModel) -> None:
    names = [f"n/{number}" for number in range(4000)]
    counts = Counter(each.ids[0] for each in drawn(loaded, names, 0.7, max_tokens=1))
    logits = loaded.model(input_ids=torch.tensor([PROMPT])).logits[0, -1].double()
    chances = torch.softmax(logits / 0.7, dim=-1)
    for token, chance in enumerate(chances.tolist()):
        spread = (chance * (1 - chance) / len(names)) ** 0.5
        assert abs(counts[token] / len(names) - chance) < 5 * spread + 1e-3


def test_the_likeliest_answer_is_that_of_transformers(loaded: LoadedModel) -> None:
    expected = loaded.model.generate(
        torch.tensor([PROMPT]),
        attention_mask=torch.ones(1, len(PROMPT), dtype=torch.long),
        max_new_tokens=9,
        do_sample=False,
        eos_token_id=None,
    )[0, len(PROMPT) :].tolist()
    assert list(greedy(loaded.model, PROMPT, frozenset(), 9).ids) == expected
    cut = greedy(loaded.model, PROMPT, frozenset({expected[3]}), 9)
    assert list(cut.ids) == expected[: expected.index(expected[3]) + 1]
    assert cut.ended
