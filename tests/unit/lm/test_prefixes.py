from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.lm.attention import attend_by_document, hidden_states
from tunesmith.lm.example import Answer, Example, MicroBatch, pack
from tunesmith.lm.load import load_model
from tunesmith.lm.prefixes import MIN_SHARED, share_prefixes

SYSTEM = tuple(range(40, 52))
OTHER = tuple(range(80, 95))


def rows(*prompts: tuple[int, ...]) -> MicroBatch:
    return pack(
        [
            Example(row_id=str(n), prompt=prompt, answers=(Answer(ids=(7 + n, 3)),))
            for n, prompt in enumerate(prompts)
        ]
    )


@pytest.fixture
def mixed() -> MicroBatch:
    """Two families, interleaved, and one row that begins as nobody else."""
    return rows(
        (*SYSTEM, 5, 6), (*OTHER, 9), (4, 5, 6), (*SYSTEM, 5, 8, 9), (*OTHER, 9, 9), (*SYSTEM, 7)
    )


@pytest.fixture
def model(tiny: Any, exact_norms: None) -> Any:
    loaded = load_model(tiny.base, tiny.blobs).model.double()
    attend_by_document(loaded)
    return loaded


def shared_states(model: Any, micro: MicroBatch) -> torch.Tensor:
    shared = share_prefixes(micro)
    assert shared is not None
    states = hidden_states(model, shared.ids, shared.positions, shared.documents)
    return states[shared.places]


def test_each_beginning_is_computed_once(mixed: MicroBatch) -> None:
    shared = share_prefixes(mixed)

    assert shared is not None
    saved = 2 * len(SYSTEM) + len(OTHER) + 1  # both rows of OTHER go on with 9
    assert len(shared.ids) == mixed.num_tokens - saved
    assert shared.documents.branches[0][0] == len(SYSTEM)
    assert shared.documents.branches[1][0] == len(OTHER) + 1
    assert shared.documents.branches[2] == ()


def test_states_are_those_of_each_document_alone(tiny: Any, model: Any, mixed: MicroBatch) -> None:
    stock = load_model(tiny.base, tiny.blobs).model.double()

    found = shared_states(model, mixed)

    documents = [torch.tensor(d) for example in mixed.examples for d in example.documents()]
    alone = [stock.model(document[None]).last_hidden_state[0] for document in documents]
    torch.testing.assert_close(found, torch.cat(alone), rtol=0, atol=1e-10)


def test_gradients_are_those_without_sharing(model: Any, mixed: MicroBatch) -> None:
    direction = torch.randn(
        (mixed.num_tokens, model.config.hidden_size),
        dtype=torch.float64,
        generator=torch.Generator().manual_seed(1),
    )
    model.requires_grad_(True)
    plain = hidden_states(model, mixed.ids, mixed.positions, mixed.documents)
    weights = list(model.base_model.parameters())

    expected = torch.autograd.grad((plain * direction).sum(), weights)
    found = torch.autograd.grad((shared_states(model, mixed) * direction).sum(), weights)

    for one, two in zip(found, expected, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-9, atol=1e-10)


def test_what_follows_in_one_document_changes_nothing_of_another(
    model: Any, mixed: MicroBatch
) -> None:
    """Exactly nothing: defect 7, where documents share their beginning."""
    changed = list(mixed.examples)
    changed[3] = Example(row_id="3", prompt=(*SYSTEM, 6, 8, 9), answers=changed[3].answers)
    other = pack(changed)
    one, two = shared_states(model, mixed), shared_states(model, other)
    parts = zip(one.split(mixed.sizes), two.split(mixed.sizes), strict=True)

    assert [torch.equal(a, b) for a, b in parts] == [n != 3 for n in range(len(changed))]


@pytest.mark.parametrize(
    "micro",
    [
        pytest.param(rows((1, 2, 3), (4, 5, 6)), id="nothing alike"),
        pytest.param(rows(SYSTEM[: MIN_SHARED - 1], SYSTEM[: MIN_SHARED - 1]), id="too short"),
        pytest.param(rows(SYSTEM), id="one row"),
    ],
)
def test_nothing_to_share(micro: MicroBatch) -> None:
    assert share_prefixes(micro) is None


def test_answers_that_share_their_prompt_stay_as_they_are() -> None:
    pair = Example(row_id="p", prompt=SYSTEM, answers=(Answer(ids=(1,)), Answer(ids=(2,))))
    assert share_prefixes(pack([pair, pair])) is None


@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.integers(0, 12), st.lists(st.integers(0, 1), max_size=12)),
        min_size=1,
        max_size=8,
    )
)
def test_every_token_is_found_again(drawn: list[tuple[int, int, list[int]]]) -> None:
    micro = rows(*((family,) * (length + 1) + tuple(rest) for family, length, rest in drawn))
    shared = share_prefixes(micro)
    if shared is not None:
        assert torch.equal(shared.ids[shared.places], micro.ids)
        assert torch.equal(shared.positions[shared.places], micro.positions)
        assert len(shared.ids) < micro.num_tokens
        assert sum(shared.documents.lengths) == len(shared.ids)
        assert all(map(all, filter(None, shared.documents.branches)))  # no part is empty
        assert sorted(set(shared.places.tolist())) == list(range(len(shared.ids)))
