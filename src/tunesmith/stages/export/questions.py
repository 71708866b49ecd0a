"""What held-out rows ask a model that answers in text, and what they answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tunesmith.core.errors import DataError
from tunesmith.lm.chat_template import (
    Rendered,
    answered,
    for_template,
    inert,
    prompt_ids,
    question,
    turn_ids,
    turn_texts,
)
from tunesmith.lm.contents import read_contents
from tunesmith.lm.engine import Message
from tunesmith.lm.lessons import beginning, with_system
from tunesmith.lm.questions import asked
from tunesmith.lm.tokenizer import Tokenizer
from tunesmith.records.rows import (
    FORMATS,
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
from tunesmith.stages.export.parity import MAX_ANSWER, ROOM, Question, spread

TEXT_PROMPT = 64
"""Tokens of a text that the rest is to follow, at most; at most half of it."""


def held_out(
    rows: Path,
    tokenizer: Tokenizer,
    instruction: str,
    num_prompts: int,
    context_length: int,
    form: str = "labels",
) -> list[Question]:
    """`num_prompts` rows of a test split of format `form`, or all if it has fewer, spread evenly
    over it.

    Rows that do not fit the context, contain a special token as text, or have nothing to answer are
    left out.

    Raises:
        DataError: there is no such row, or the chat template cannot render one.
    """
    questions = []
    for _, content in spread(list(read_contents(rows, FORMATS[form])), num_prompts):
        found = _question(tokenizer, instruction, content)
        if found is None or any(token in found.text for token in tokenizer.special_tokens):
            continue
        if len(found.prompt) + MAX_ANSWER + ROOM <= context_length:
            questions.append(found)
    if not questions:
        raise DataError(
            "no row of the test split can be used to compare the export with the model",
            remedy="raise test_per_label, or add data",
        )
    return questions


def asking(tokenizer: Tokenizer) -> Callable[[Question], Sequence[int]]:
    """How `tokenizer` and its template turn a question into ids."""

    def ids(asked: Question) -> Sequence[int]:
        if not asked.messages:
            return [*asked.before, *tokenizer.encode(asked.text)]
        return prompt_ids(tokenizer, asked.messages, asked.tools)

    return ids


def _question(tokenizer: Tokenizer, instruction: str, content: Content) -> Question | None:
    match content:
        case Labelled():
            messages = question(instruction, content.text)
            return _chat(messages, answered(tokenizer, messages, content.label))
        case Preference():
            messages = asked(instruction, content.prompt)
            return _chat(messages, answered(tokenizer, messages, content.chosen))
        case Feedback():
            messages = asked(instruction, content.prompt)
            return _chat(messages, answered(tokenizer, messages, content.completion))
        case Checked():  # any answer will do to compare two models on
            messages = asked(instruction, content.prompt)
            return _chat(messages, answered(tokenizer, messages, content.answer or content.prompt))
        case Chat():
            return _last_turn(tokenizer, with_system(content, instruction), content.tools)
        case Completion():
            before, rest = tokenizer.encode_on(content.prompt, content.completion)
            return _raw(tokenizer, content.prompt, before, rest)
        case Text():
            ids = tokenizer.encode(content.text)
            size = min(TEXT_PROMPT, len(ids) // 2)
            text = str(tokenizer.core.decode(ids[:size], skip_special_tokens=False))
            start = tokenizer.encode(text)  # a cut within a character, or a merge, is not the same
            return _raw(tokenizer, text, start, ids[size:]) if start == ids[:size] else None
    raise TypeError(f"{type(content).__name__} is not answered in text")


def _chat(
    messages: Sequence[Message | Turn],
    rendered: Rendered,
    tools: Sequence[Mapping[str, Any]] = (),
) -> Question:
    return Question(
        text="\n".join(message.content for message in messages),
        messages=tuple(messages),
        tools=tuple(tools),
        prompt=rendered.ids[: rendered.num_prompt],
        answer=rendered.ids[rendered.num_prompt :][:MAX_ANSWER],
    )


def _last_turn(
    tokenizer: Tokenizer, turns: Sequence[Turn], tools: Sequence[Mapping[str, Any]]
) -> Question | None:
    """What was said before the last turn of the assistant, and that turn."""
    places = [place for place, turn in enumerate(turns) if turn.role == "assistant"]
    if not places or not places[-1]:
        return None
    whole = for_template(tokenizer, turns[: places[-1] + 1])
    texts = turn_texts(tokenizer, whole, inert(tokenizer, tools))
    return _chat(turns[: places[-1]], turn_ids(tokenizer, *texts), tools)


def _raw(
    tokenizer: Tokenizer, text: str, ids: Sequence[int], rest: Sequence[int]
) -> Question | None:
    """A text that goes on to its end, without a template."""
    before = beginning(tokenizer)
    if not rest or not (*before, *ids):
        return None
    end = [tokenizer.id_of(tokenizer.eos_token)] if tokenizer.eos_token else []
    prompt, answer = (*before, *ids), (*rest, *end)[:MAX_ANSWER]
    return Question(text=text, before=before, prompt=prompt, answer=answer)
