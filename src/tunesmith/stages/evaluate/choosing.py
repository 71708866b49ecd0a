"""Which of a row's choices a model holds the likeliest, and how sure it is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import torch

from tunesmith.core.step import Context
from tunesmith.lm.chat_template import answered
from tunesmith.lm.engine import Message
from tunesmith.lm.example import Answer, Example
from tunesmith.lm.lessons import beginning
from tunesmith.lm.likelihood import answer_log_probs
from tunesmith.lm.load import LoadedModel
from tunesmith.lm.tokenizer import Tokenizer
from tunesmith.stages.evaluate.items import Item, too_long
from tunesmith.stages.evaluate.label_set import label_set
from tunesmith.stages.evaluate.labels import of_labels
from tunesmith.stages.evaluate.predictions import SHOWN
from tunesmith.stages.evaluate.scorer import Scored
from tunesmith.stages.evaluate.task import TaskConfig


def choose(config: TaskConfig, ctx: Context, loaded: LoadedModel, items: Sequence[Item]) -> Scored:
    """Which choice is the likeliest answer, as a whole and by its characters.

    Where the choices are one label set, what it says of the labels is measured as of a dataset's.
    """
    examples = [example_of(config, loaded.tokenizer, loaded.context_length, i) for i in items]
    found = answer_log_probs(
        loaded, examples, lambda done: ctx.progress(done, len(items), f"reads {config.name}")
    )
    by_char = [
        [one / max(1, len(choice)) for one, choice in zip(sums, item.choices, strict=True)]
        for sums, item in zip(found, items, strict=True)
    ]
    picked = {"accuracy": _picked(items, found), "normalised accuracy": _picked(items, by_char)}
    hits = {
        name: [float(one == item.right[0]) for one, item in zip(chosen, items, strict=True)]
        for name, chosen in picked.items()
    }
    first, *more = config.metrics
    by_row = {name: hits[name] for name in more}
    labels = label_set(config, [item.choices for item in items])
    if labels:
        log_p = torch.log_softmax(_by_label(items, found, labels), dim=-1)
        scored = of_labels(labels, [item.right[0] for item in items], log_p)
        return replace(scored, by_row={**by_row, **scored.by_row})
    losses = [
        -float(torch.log_softmax(torch.tensor(sums, dtype=torch.float64), dim=0)[place])
        for sums, place in zip(found, (i.choices.index(i.right[0]) for i in items), strict=True)
    ]
    return Scored(
        metric=first,
        scores=hits[first],
        losses=losses,
        truth=[item.right[0][:SHOWN] for item in items],
        predicted=[each[:SHOWN] for each in picked[first]],
        by_row=by_row,
        others={"loss": sum(losses) / len(losses)},
    )


def example_of(
    config: TaskConfig, tokenizer: Tokenizer, context_length: int, item: Item
) -> Example:
    """The prompt with each choice as its answer; in conversations with the end of the turn.

    Raises:
        UsageError: it does not fit the model's context.
    """
    if item.messages:
        asked = [message for message in item.messages if isinstance(message, Message)]
        rendered = [answered(tokenizer, asked, choice) for choice in item.choices]
        prompt = rendered[0].ids[: rendered[0].num_prompt]
        answers = [each.ids[each.num_prompt :] for each in rendered]
    else:
        parts = [
            tokenizer.encode_on(item.plain, config.between + choice) for choice in item.choices
        ]
        prompt = (*beginning(tokenizer), *parts[0][0])
        answers = [tuple(rest) for _, rest in parts]
    longest = len(prompt) + max(map(len, answers))
    if longest > context_length:
        raise too_long(item, longest, context_length)
    return Example(
        row_id=item.row_id, prompt=prompt, answers=tuple(Answer(ids=ids) for ids in answers)
    )


def _picked(items: Sequence[Item], values: Iterable[Sequence[float]]) -> list[str]:
    """Of each row the choice with the largest value; of equal ones the first."""
    return [
        item.choices[max(range(len(each)), key=lambda place: (each[place], -place))]
        for item, each in zip(items, values, strict=True)
    ]


def _by_label(
    items: Sequence[Item], found: Sequence[Sequence[float]], labels: Sequence[str]
) -> torch.Tensor:
    """What each choice has, in the order of the labels: (num_rows, num_labels)."""
    rows = [
        [sums[item.choices.index(label)] for label in labels]
        for item, sums in zip(items, found, strict=True)
    ]
    return torch.tensor(rows, dtype=torch.float64)
