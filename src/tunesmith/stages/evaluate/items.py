"""The items of a task: what a model is asked of each row, and what is right."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tunesmith.core.errors import DataError, UsageError
from tunesmith.lm.chat_template import prompt_ids, question
from tunesmith.lm.engine import Message
from tunesmith.lm.lessons import beginning, with_system
from tunesmith.lm.questions import asked as asked_of
from tunesmith.lm.tokenizer import Tokenizer
from tunesmith.records.evaluation import TaskRows
from tunesmith.records.rows import Chat, Checked, Completion, Content, Labelled, Turn
from tunesmith.stages.evaluate.own_rows import read_own
from tunesmith.stages.evaluate.task import TaskConfig


@dataclass(frozen=True, kw_only=True, eq=False)
class Item:
    """What is asked of one row."""

    row_id: str
    messages: Sequence[Message | Turn] = ()
    """A conversation; none where `plain` is asked as it stands."""
    tools: Sequence[Mapping[str, Any]] = ()
    plain: str = ""
    question: str = ""
    """What is asked, without what stands before it."""
    right: tuple[str, ...]
    choices: tuple[str, ...] = ()
    fields: Mapping[str, Any] = field(default_factory=dict)
    """Of a row of a task's own file."""

    def given(self, said: str) -> dict[str, Any]:
        """What a function of the project is told of the answer `said`."""
        return {
            "said": said,
            "answers": list(self.right),
            "prompt": self.question,
            "fields": dict(self.fields),
        }

    def prompt(self, tokenizer: Tokenizer) -> list[int]:
        """The ids that ask it, as a served request's are."""
        if self.messages:
            return prompt_ids(tokenizer, self.messages, self.tools)
        return [*beginning(tokenizer), *tokenizer.encode(self.plain)]


def items_of_own(config: TaskConfig, rows: TaskRows, instruction: str) -> Iterator[Item]:
    """What is asked of the rows of a task's own file."""
    for row in read_own(config, rows):
        messages = asked_of(instruction, row.prompt) if config.chat else ()
        yield Item(
            row_id=row.row_id,
            messages=messages,
            plain=row.prompt,
            question=row.prompt,
            right=row.right,
            choices=row.choices,
            fields=row.fields,
        )


def item_of(row_id: str, content: Content, instruction: str) -> Item:
    """What is asked of a row of a dataset: of a conversation its last answer in words.

    Raises:
        DataError: there is no such answer in it.
    """
    match content:
        case Chat():
            turns = with_system(content, instruction)
            places = [
                n for n, turn in enumerate(turns) if turn.role == "assistant" and turn.content
            ]
            last = [n for n in places if turns[n].weight > 0 and not turns[n].tool_calls][-1:]
            right = turns[last[0]].content if last else ""
            item = Item(
                row_id=row_id,
                messages=turns[: last[0]] if last else (),
                question=turns[last[0] - 1].content if last and last[0] else "",
                tools=content.tools,
                right=(right,),
            )
        case Completion():
            prompt = content.prompt
            item = Item(row_id=row_id, plain=prompt, question=prompt, right=(content.completion,))
        case Labelled():
            asked, text = question(instruction, content.text), content.text
            item = Item(row_id=row_id, messages=asked, question=text, right=(content.label,))
        case Checked():
            asked, text = asked_of(instruction, content.prompt), content.prompt
            item = Item(row_id=row_id, messages=asked, question=text, right=(content.answer,))
        case _:
            raise TypeError(f"{type(content).__name__} is not answered in words")
    if not item.right[0].strip():
        raise DataError(
            f"row {row_id} has no answer in words to compare with",
            remedy="ask for another task of it, or give the task rows of its own",
        )
    return item


def too_long(item: Item, num_tokens: int, context_length: int) -> UsageError:
    """That an item does not fit the model's context."""
    return UsageError(
        f"{item.row_id} has {num_tokens} tokens; the model's context is {context_length}",
        remedy="shorten the row, or leave it out of the task",
    )
