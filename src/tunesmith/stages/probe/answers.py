"""What models say to questions: one of their labels, or an answer of their own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import cast

import torch

from tunesmith.core.errors import UsageError
from tunesmith.lm.chat_template import answered, prompt_ids, stop_ids
from tunesmith.lm.classify import class_log_probabilities
from tunesmith.lm.encode import text_ids
from tunesmith.lm.engine import Message
from tunesmith.lm.example import Answer, Example
from tunesmith.lm.lessons import beginning, with_system
from tunesmith.lm.load import LoadedHead
from tunesmith.lm.sample import greedy, said
from tunesmith.lm.score import score_labels, score_row
from tunesmith.records.rows import (
    Chat,
    Checked,
    Completion,
    Feedback,
    Labelled,
    Preference,
    Turn,
)
from tunesmith.stages.probe.asked import Row, Subject
from tunesmith.stages.probe.tokens import token_log_probs

Done = Callable[[int], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """What a model is asked."""

    name: str
    text: str
    """What the user says last; or a text to go on with."""
    expected: str = ""
    """What is right; empty where nothing is known to be."""
    before: tuple[Turn, ...] = ()
    plain: bool = False
    """Whether no chat template is used."""

    def saying(self, text: str) -> Question:
        """The same with another text."""
        return replace(self, text=text)


def question_of(row: Row) -> Question | None:
    """What a row asks; None where no user speaks before the first answer."""
    match row.content:
        case Labelled():
            return Question(name=row.row_id, text=row.text, expected=row.label)
        case Chat(messages=turns):
            first = next((n for n, turn in enumerate(turns) if turn.role == "assistant"), 0)
            if not first or turns[first - 1].role != "user":
                return None
            return Question(
                name=row.row_id,
                text=turns[first - 1].content,
                expected=turns[first].content,
                before=turns[: first - 1],
            )
        case Completion(prompt=prompt, completion=completion):
            return Question(name=row.row_id, text=prompt, expected=completion, plain=True)
        case Checked(prompt=prompt, answer=answer):
            return Question(name=row.row_id, text=prompt, expected=answer)
        case Preference(prompt=prompt, chosen=chosen):
            return Question(name=row.row_id, text=prompt, expected=chosen)
        case Feedback(prompt=prompt, completion=completion, label=liked):
            return Question(name=row.row_id, text=prompt, expected=completion if liked else "")
        case _:
            return None


def fits(subject: Subject, question: Question, max_new_tokens: int) -> bool:
    """Whether there is room for the question and its answer in the model's context."""
    loaded = subject.loaded
    if isinstance(loaded, LoadedHead):
        return len(text_ids(loaded, question.text)) <= loaded.context_length
    if subject.labels:
        try:
            score_row(loaded, _messages(subject, question), subject.labels)
        except UsageError:
            return False
        return True
    return len(_prompt(subject, question)) + max_new_tokens <= loaded.context_length


def answers(
    subject: Subject, questions: Sequence[Question], max_new_tokens: int, done: Done
) -> list[str]:
    """The likeliest label of each question; of a model without labels its likeliest answer, token
    by token.

    Raises:
        UsageError: a question does not fit the model's context.
    """
    if subject.labels:
        best = label_log_probs(subject, questions, done).argmax(dim=1).tolist()
        return [subject.labels[place] for place in best]
    loaded, found = subject.generative, []
    stops = stop_ids(loaded.tokenizer)
    for number, question in enumerate(questions, start=1):
        drawn = greedy(loaded.model, _prompt(subject, question), stops, max_new_tokens)
        found.append(said(loaded.tokenizer, drawn.ids))
        done(number)
    return found


def label_log_probs(subject: Subject, questions: Sequence[Question], done: Done) -> torch.Tensor:
    """log p of each label among all, (num_questions, num_labels), float64."""
    texts = [question.text for question in questions]
    if isinstance(subject.loaded, LoadedHead):
        return class_log_probabilities(subject.loaded, texts, done)
    scores = score_labels(subject.loaded, subject.instruction, texts, subject.labels, done)
    return torch.log_softmax(scores.double(), dim=-1)


def likelihoods(
    subject: Subject, questions: Sequence[Question], answer: str, done: Done
) -> list[float]:
    """How probable `answer` is after each question: of labels its log-probability among them, else
    the mean log-probability of its tokens.

    Raises:
        UsageError: it is not one of the labels.
    """
    if subject.labels:
        if answer not in subject.labels:
            raise UsageError(
                f"{answer!r} is none of the model's labels",
                remedy=f"one of: {', '.join(subject.labels)}",
            )
        found = label_log_probs(subject, questions, done)
        return found[:, subject.labels.index(answer)].tolist()
    examples = [_example(subject, question, answer) for question in questions]
    parts = token_log_probs(subject.generative, examples, done)
    return [sum(part) / len(part) for part in parts]


def _example(subject: Subject, question: Question, answer: str) -> Example:
    tokenizer = subject.generative.tokenizer
    if question.plain:
        start, rest = tokenizer.encode_on(question.text, answer)
        return Example(
            row_id=question.name,
            prompt=(*beginning(tokenizer), *start),
            answers=(Answer(ids=tuple(rest)),),
        )
    rendered = answered(tokenizer, _messages(subject, question), answer)
    return Example(
        row_id=question.name,
        prompt=rendered.ids[: rendered.num_prompt],
        answers=(Answer(ids=rendered.ids[rendered.num_prompt :]),),
    )


def _prompt(subject: Subject, question: Question) -> list[int]:
    tokenizer = subject.generative.tokenizer
    if question.plain:
        return [*beginning(tokenizer), *tokenizer.encode(question.text)]
    return prompt_ids(tokenizer, _messages(subject, question))


def _messages(subject: Subject, question: Question) -> tuple[Message, ...]:
    turns = (*question.before, Turn(role="user", content=question.text))
    asked = with_system(Chat(messages=turns), subject.instruction)
    return cast("tuple[Message, ...]", asked)  # a turn says all that a message does
