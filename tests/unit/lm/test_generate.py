from __future__ import annotations

import dataclasses
import itertools
import threading
from typing import Any

import pytest
import torch

from tunesmith.core.errors import UsageError
from tunesmith.lm.chat_template import prompt_ids, stop_ids, with_instruction
from tunesmith.lm.engine import Message, Sampling
from tunesmith.lm.generate import TorchEngine
from tunesmith.lm.load import LoadedModel, load_model
from tunesmith.lm.score import _score, score_labels, score_row

ASKED = (Message(role="user", content="This program is free software"),)


@pytest.fixture
def loaded(tiny: Any) -> LoadedModel:
    return load_model(tiny.base, tiny.blobs)


def answer(engine: TorchEngine, sampling: Sampling, asked: tuple[Message, ...] = ASKED) -> str:
    return "".join(piece.text for piece in engine.generate(asked, sampling))


def test_greedy_answers_are_those_of_transformers(loaded: LoadedModel) -> None:
    prompt = prompt_ids(loaded.tokenizer, with_instruction(ASKED, "Name it."))
    expected = loaded.model.generate(
        torch.tensor([prompt]),
        attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
        max_new_tokens=40,
        do_sample=False,
    )[0, len(prompt) :].tolist()
    ended = expected[-1] in stop_ids(loaded.tokenizer)

    pieces = list(TorchEngine(loaded, "Name it.").generate(ASKED, Sampling(max_tokens=40)))

    text = loaded.tokenizer.decode(expected[:-1] if ended else expected)
    assert "".join(piece.text for piece in pieces) == text
    assert pieces[-1].num_answer_tokens == len(expected) - ended
    assert pieces[-1].num_prompt_tokens == len(prompt)
    assert pieces[-1].finish_reason == ("stop" if ended else "length")
    assert [piece.finish_reason for piece in pieces[:-1]] == [None] * (len(pieces) - 1)


def test_an_answer_ends_at_the_end_of_its_turn(loaded: LoadedModel) -> None:
    """Whatever token comes second is made the one that ends a turn."""
    engine = TorchEngine(loaded, "Name it.")
    prompt = prompt_ids(loaded.tokenizer, with_instruction(ASKED, "Name it."))
    first, second = itertools.islice(engine._free_tokens(prompt, Sampling()), 2)
    assert first != second
    engine._stop = frozenset({second})

    (*_, last) = engine.generate(ASKED, Sampling(max_tokens=40))

    assert (last.finish_reason, last.num_answer_tokens) == ("stop", 1)


def test_an_answer_ends_before_a_stop_string(loaded: LoadedModel) -> None:
    engine = TorchEngine(loaded, "Name it.")
    whole = answer(engine, Sampling(max_tokens=30))
    word = whole[9:11]

    pieces = list(engine.generate(ASKED, Sampling(max_tokens=30, stop=(word,))))

    assert "".join(piece.text for piece in pieces) == whole[: whole.index(word)]
    assert pieces[-1].finish_reason == "stop"


def test_sampling_follows_its_seed(loaded: LoadedModel) -> None:
    engine = TorchEngine(loaded, "Name it.")
    hot = Sampling(max_tokens=20, temperature=1.5, seed=1)
    other = Sampling(max_tokens=20, temperature=1.5, seed=2)
    narrow = Sampling(max_tokens=20, temperature=1.5, seed=1, top_p=0.0)

    assert answer(engine, hot) == answer(engine, hot)
    assert answer(engine, hot) != answer(engine, other)
    assert answer(engine, narrow) == answer(engine, Sampling(max_tokens=20))


def test_an_answer_ends_where_the_context_does(loaded: LoadedModel) -> None:
    engine = TorchEngine(loaded, "Name it.")
    engine._stop = frozenset()
    num_prompt = len(prompt_ids(loaded.tokenizer, with_instruction(ASKED, "Name it.")))

    (*_, last) = engine.generate(ASKED, Sampling(max_tokens=1000))

    assert last.num_answer_tokens == loaded.context_length - num_prompt
    assert last.finish_reason == "length"


def test_a_conversation_that_leaves_no_room_is_refused_at_once(loaded: LoadedModel) -> None:
    engine = TorchEngine(dataclasses.replace(loaded, context_length=20), "Name it.")
    with pytest.raises(UsageError, match="context is 20"):
        engine.generate(ASKED, Sampling())


def test_threads_take_turns(loaded: LoadedModel) -> None:
    engine = TorchEngine(loaded, "Name it.")
    sampling = Sampling(max_tokens=10)
    expected = answer(engine, sampling)
    found: list[str] = []
    threads = [
        threading.Thread(target=lambda: found.append(answer(engine, sampling))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert found == [expected] * 4


LABELS = ("gpl-2.0", "gpl-2.0-plus", *"abcdefghijk", "mit", "é")
TEXTS = [
    "",
    "mit",
    "gpl-2.0",
    "This program is free software",
    "Permission is hereby granted",
    *(f"{word} {number}" for word in ("Licensed", "version", "é") for number in range(12)),
]


@pytest.fixture
def labelled(loaded: LoadedModel) -> TorchEngine:
    return TorchEngine(loaded, "Name it.", LABELS)


def test_what_is_served_is_what_an_evaluation_predicts(tiny: Any, labelled: TorchEngine) -> None:
    other = load_model(tiny.base, tiny.blobs)
    scores = score_labels(other, "Name it.", TEXTS, LABELS)
    predicted = [LABELS[index] for index in scores.argmax(dim=-1).tolist()]

    served = [answer(labelled, Sampling(), (Message(role="user", content=text),)) for text in TEXTS]

    assert served == predicted
    assert len(set(predicted)) > 1  # or any answer that never changes would do


def test_serving_computes_as_an_evaluation_does_to_the_last_bit(tiny: Any) -> None:
    """Else two labels that are nearly as likely could be told apart the other way round."""
    evaluated, served = (load_model(tiny.base, tiny.blobs) for _ in range(2))
    score_labels(evaluated, "Name it.", ["a text"], LABELS)
    TorchEngine(served, "Name it.", LABELS)
    row = score_row(served, with_instruction([Message(role="user", content="a text")], ""), LABELS)
    one, two = (_score(loaded.model, [row]) for loaded in (evaluated, served))
    assert torch.equal(one, two)
    kinds = [[type(module) for module in loaded.model.modules()] for loaded in (evaluated, served)]
    assert kinds[0] == kinds[1]


def test_greedy_token_by_token_would_be_another_answer(loaded: LoadedModel) -> None:
    """A beginning that many labels share is likelier than any of them."""
    free = TorchEngine(loaded, "Name it.")
    assert answer(free, Sampling(max_tokens=20)) not in LABELS


@pytest.mark.parametrize(
    ("sampling", "system"),
    [
        (Sampling(max_tokens=12, temperature=1.0, seed=3), ()),
        (Sampling(max_tokens=12), (Message(role="system", content="Tell me more."),)),
    ],
)
def test_a_temperature_or_a_system_message_frees_the_answer(
    loaded: LoadedModel,
    labelled: TorchEngine,
    sampling: Sampling,
    system: tuple[Message, ...],
) -> None:
    free = TorchEngine(loaded, "Name it.")
    asked = (*system, *ASKED)

    assert answer(labelled, sampling, asked) == answer(free, sampling, asked)
    assert answer(labelled, sampling, asked) not in LABELS


def test_saying_the_instruction_changes_nothing(labelled: TorchEngine) -> None:
    said = (Message(role="system", content="Name it."), *ASKED)
    assert answer(labelled, Sampling(), said) == answer(labelled, Sampling()) in LABELS


def test_a_label_too_has_its_limits(loaded: LoadedModel) -> None:
    engine = TorchEngine(loaded, "Name it.", ["gpl-2.0 or later"])
    whole = list(engine.generate(ASKED, Sampling()))
    count = whole[-1].num_answer_tokens
    cut = list(engine.generate(ASKED, Sampling(max_tokens=2)))
    stopped = list(engine.generate(ASKED, Sampling(stop=(" or",))))

    assert "".join(piece.text for piece in whole) == "gpl-2.0 or later"
    assert whole[-1].finish_reason == "stop"
    assert count > 2
    assert (cut[-1].num_answer_tokens, cut[-1].finish_reason) == (2, "length")
    assert "gpl-2.0 or later".startswith("".join(piece.text for piece in cut))
    assert "".join(piece.text for piece in stopped) == "gpl-2.0"
    assert stopped[-1].finish_reason == "stop"


def test_a_text_that_leaves_a_label_no_room_is_refused_at_once(labelled: TorchEngine) -> None:
    with pytest.raises(UsageError, match="do not fit the model's 256"):
        labelled.generate((Message(role="user", content="mit " * 300),), Sampling())


def test_temperatures_of_next_to_nothing_are_greedy(loaded: LoadedModel) -> None:
    engine = TorchEngine(loaded, "Name it.")
    assert answer(engine, Sampling(max_tokens=9, temperature=1e-320)) == answer(
        engine, Sampling(max_tokens=9)
    )
    just = Sampling(max_tokens=9, temperature=1e-4)
    assert not just.is_greedy
    assert answer(engine, just) == answer(engine, Sampling(max_tokens=9))
