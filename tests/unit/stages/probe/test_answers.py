"""What rows ask, by their format; and models that read states."""

from __future__ import annotations

from typing import Any

import pytest

from tunesmith.lm.chat_template import prompt_ids
from tunesmith.lm.classify import class_log_probabilities
from tunesmith.lm.lessons import served_prompt
from tunesmith.lm.load import load_tuned_head
from tunesmith.lm.sample import greedy, said
from tunesmith.records.rows import (
    Chat,
    Checked,
    Completion,
    Content,
    Feedback,
    Labelled,
    Preference,
    Text,
    Turn,
)
from tunesmith.stages.finetune.config import ModelConfig
from tunesmith.stages.finetune.run import finetune
from tunesmith.stages.probe.answers import Question, answers, likelihoods, question_of
from tunesmith.stages.probe.asked import Row, Subject
from tunesmith.stages.probe.config import SuiteConfig, asking
from tunesmith.stages.probe.run import probe

USER, ASSISTANT = Turn(role="user", content="q"), Turn(role="assistant", content="a")
LABELLED = [("one two three four", "mit"), ("five six seven", "gpl-2.0")] * 4


def asked(content: Content) -> Question | None:
    label = content.label if isinstance(content, Labelled) else ""
    return question_of(Row(row_id="r", text="t", label=label, content=content))


@pytest.mark.parametrize(
    ("content", "text", "expected"),
    [
        (Labelled(text="x", label="mit"), "t", "mit"),  # as an evaluation asks it
        (Chat(messages=(USER, ASSISTANT)), "q", "a"),
        (Completion(prompt="p", completion="c"), "p", "c"),
        (Checked(prompt="p", answer="4"), "p", "4"),
        (Preference(prompt="p", chosen="c", rejected="r"), "p", "c"),
        (Feedback(prompt="p", completion="c", label=True), "p", "c"),
        (Feedback(prompt="p", completion="c", label=False), "p", ""),
    ],
)
def test_a_row_asks_what_its_format_says(content: Content, text: str, expected: str) -> None:
    question = asked(content)
    assert question is not None
    assert (question.text, question.expected) == (text, expected)


def test_rows_that_ask_nothing_are_not_asked() -> None:
    assert asked(Text(text="x")) is None
    assert asked(Chat(messages=(ASSISTANT, USER))) is None


def test_a_question_is_asked_as_it_would_be_served(tiny: Any) -> None:
    from tunesmith.lm.load import load_model

    loaded = load_model(tiny.base, tiny.blobs)
    subject = Subject(loaded=loaded, instruction="Be brief.", labels=())
    chat = Chat(messages=(USER, ASSISTANT, Turn(role="user", content="and?"), ASSISTANT))
    question = asked(chat)
    assert question is not None
    prompt = served_prompt(loaded.tokenizer, "Be brief.", chat)
    stops: frozenset[int] = frozenset()
    wanted = said(loaded.tokenizer, greedy(loaded.model, prompt, stops, 5).ids)
    (found,) = answers(subject, [question], 5, lambda _done: None)
    assert wanted.startswith(found)
    assert prompt == prompt_ids(
        loaded.tokenizer, (Turn(role="system", content="Be brief."), *chat.messages[:1])
    )

    plain = Question(name="n", text="Permission is", plain=True)
    (log_p,) = likelihoods(subject, [plain], " hereby granted", lambda _done: None)
    assert log_p < 0


def test_a_classifier_with_a_head_is_asked_too(tiny: Any, readers: Any) -> None:
    base, dataset = readers.encoder("bert"), tiny.dataset(LABELLED, LABELLED)
    config = ModelConfig(
        name="desk", base="b", dataset="d", objective="classify", method="full", epochs=2
    )
    model = finetune(config, tiny.context(), base=base, dataset=dataset)
    suite = asking(SuiteConfig(name="noise", model="desk", kind="robustness"))
    result = probe(suite, tiny.context(), model=model, dataset=dataset)

    loaded = load_tuned_head(model, tiny.blobs)
    best = class_log_probabilities(loaded, [text for text, _ in LABELLED]).argmax(dim=1)
    right = [
        dataset.labels[place] == label
        for place, (_, label) in zip(best.tolist(), LABELLED, strict=True)
    ]
    figure = next(each for each in result.figures if each.name == "accuracy: as it is")
    assert figure.tuned.value == sum(right) / 8
