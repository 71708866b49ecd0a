"""What a micro-batch says of its stream, against a slow construction token by token."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.lm.example import Answer, Example, MicroBatch, pack

WEIGHTS = (0.0, 0.5, 1.0, 2.0)
ids = st.lists(st.integers(0, 99), min_size=1, max_size=5).map(tuple)


@st.composite
def an_answer(draw: st.DrawFn) -> Answer:
    tokens = draw(ids)
    weights = st.tuples(*[st.sampled_from(WEIGHTS)] * len(tokens))
    return Answer(ids=tokens, weights=draw(st.just(()) | weights))


@st.composite
def an_example(draw: st.DrawFn) -> Example:
    """With or without a prompt, with no answer or several, but not without both."""
    prompt = draw(st.just(()) | ids)
    answers = draw(st.lists(an_answer(), min_size=0 if prompt else 1, max_size=3))
    return Example(row_id=str(draw(st.integers())), prompt=prompt, answers=tuple(answers))


examples = st.lists(an_example(), min_size=1, max_size=5)


@dataclass(frozen=True)
class Token:
    """One token of the stream, and where it comes from."""

    example: int
    answer: int | None
    """None is the prompt."""
    position: int
    """In its document: the prompt and this answer."""
    id: int
    weight: float


def stream_of(rows: list[Example]) -> list[Token]:
    found = []
    for number, row in enumerate(rows):
        for position, token in enumerate(row.prompt):
            found.append(Token(number, None, position, token, 0.0))
        for which, answer in enumerate(row.answers):
            for place, token in enumerate(answer.ids):
                weight = answer.weights[place] if answer.weights else 1.0
                found.append(Token(number, which, len(row.prompt) + place, token, weight))
    return found


def units_of(rows: list[Example]) -> list[tuple[int, int | None]]:
    """(example, answer), or (example, None) where there is no answer."""
    found: list[tuple[int, int | None]] = []
    for number, row in enumerate(rows):
        found += [(number, which) for which in range(len(row.answers))] or [(number, None)]
    return found


def document_of(rows: list[Example], unit: tuple[int, int | None]) -> list[int]:
    """Places in the stream of the tokens of a unit's document, in their order."""
    example, answer = unit
    return [
        place
        for place, token in enumerate(stream_of(rows))
        if token.example == example and token.answer in (None, answer)
    ]


@given(examples)
def test_the_stream_is_the_prompts_and_their_answers(rows: list[Example]) -> None:
    micro, stream = pack(rows), stream_of(rows)

    assert micro.examples == tuple(rows)
    assert micro.row_ids == tuple(row.row_id for row in rows)
    assert micro.ids.tolist() == [token.id for token in stream]
    assert micro.positions.tolist() == [token.position for token in stream]
    assert micro.ids.dtype == micro.positions.dtype == torch.int64
    assert micro.num_tokens == len(stream) == sum(micro.sizes)
    assert micro.sizes == tuple(
        sum(token.example == number for token in stream) for number in range(len(rows))
    )
    assert [row.num_tokens for row in rows] == list(micro.sizes)


@given(examples)
def test_labels_are_in_their_places_and_what_predicts_them_before_them(
    rows: list[Example],
) -> None:
    """After the first answer a prompt's last token is not the one before in the stream."""
    micro, stream, units = pack(rows), stream_of(rows), units_of(rows)
    expected = []
    for place, token in enumerate(stream):
        if token.answer is None or token.weight == 0 or token.position == 0:
            continue
        unit = units.index((token.example, token.answer))
        (before,) = [
            other
            for other in document_of(rows, units[unit])
            if stream[other].position == token.position - 1
        ]
        expected.append((place, before, token.id, token.weight, unit))
    names = ("places", "predicting", "labels", "weights", "unit_of_label")
    found = list(zip(*(getattr(micro, name).tolist() for name in names), strict=True))

    assert found == expected
    assert micro.weights.dtype == torch.float32
    assert {getattr(micro, n).dtype for n in names if n != "weights"} == {torch.int64}
    assert sum(row.num_labels for row in rows) == len(expected)
    assert sum(row.label_weight for row in rows) == sum(weight for *_, weight, _ in expected)


@given(examples)
def test_units_are_answers_or_prompts_without_any(rows: list[Example]) -> None:
    micro, stream, units = pack(rows), stream_of(rows), units_of(rows)
    documents = [document_of(rows, unit) for unit in units]

    assert micro.num_units == len(units)
    assert micro.example_of_unit.tolist() == [example for example, _ in units]
    assert micro.first.tolist() == [document[0] for document in documents]
    assert micro.last.tolist() == [document[-1] for document in documents]
    assert {tensor.dtype for tensor in (micro.first, micro.last, micro.example_of_unit)} == {
        torch.int64
    }
    alone = [ids for row in rows for ids in row.documents()]
    assert alone == [tuple(stream[place].id for place in each) for each in documents]


def attended(micro: MicroBatch) -> torch.Tensor:
    """What attends (row) to what (column) in the whole stream."""
    dense = torch.zeros(micro.num_tokens, micro.num_tokens, dtype=torch.bool)
    lengths = micro.documents.lengths
    start = 0
    for length, parts in zip(
        lengths, micro.documents.branches or ((),) * len(lengths), strict=True
    ):
        seen = torch.ones(length, length, dtype=torch.bool).tril()
        end = parts[0] if parts else length
        for part in parts[1:]:  # what comes after a branch does not see it
            seen[end + part :, end : end + part] = False
            end += part
        assert end == length
        dense[start : start + length, start : start + length] = seen
        start += length
    assert start == micro.num_tokens
    return dense


@given(examples)
def test_a_token_sees_what_is_before_it_in_a_document_of_its_own(rows: list[Example]) -> None:
    """Its prompt and its answer, never another answer nor another example."""
    micro = pack(rows)
    expected = torch.zeros(micro.num_tokens, micro.num_tokens, dtype=torch.bool)
    for unit in units_of(rows):
        places = document_of(rows, unit)
        for number, place in enumerate(places):
            expected[place, places[: number + 1]] = True

    assert torch.equal(attended(micro), expected)


def test_documents_have_branches_only_where_answers_share_a_prompt() -> None:
    """Others need one call of the quick kernel. A mask is never made: it costs memory by the square
    of the document."""
    one, two = Answer(ids=(4, 5)), Answer(ids=(6,))
    single = Example(row_id="a", prompt=(1, 2), answers=(one,))
    apart = Example(row_id="b", answers=(one, two))
    shared = Example(row_id="c", prompt=(1, 2), answers=(one, two))

    assert pack([single, apart]).documents.branches == ()
    assert pack([single, apart]).documents.lengths == (4, 2, 1)
    documents = pack([single, shared, apart]).documents
    assert documents.branches == ((), (2, 2, 1), (), ())
    assert documents.masks == ()
    assert documents.lengths == (4, 5, 2, 1)


def test_a_weight_for_each_token_or_none_at_all() -> None:
    short = Example(row_id="a", prompt=(1,), answers=(Answer(ids=(2, 3), weights=(1.0,)),))
    with pytest.raises(ValueError, match="shorter"):
        pack([short])
