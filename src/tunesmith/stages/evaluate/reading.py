"""How likely a model holds the texts of a task's rows: all of each, or what follows its prompt."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from tunesmith.core.errors import DataError
from tunesmith.core.step import Context
from tunesmith.lm.example import Answer, Example
from tunesmith.lm.likelihood import answer_log_probs, tokens_of_answers
from tunesmith.lm.load import LoadedModel
from tunesmith.lm.tokenizer import Tokenizer
from tunesmith.stages.evaluate.choosing import example_of
from tunesmith.stages.evaluate.items import Item
from tunesmith.stages.evaluate.predictions import SHOWN
from tunesmith.stages.evaluate.scorer import Scored
from tunesmith.stages.evaluate.task import TaskConfig


def read(
    config: TaskConfig,
    ctx: Context,
    loaded: LoadedModel,
    counting: Tokenizer,
    items: Sequence[Item],
) -> Scored:
    """Nats of a token of each row; loss and perplexity are of the tokens of all rows together.

    Tokens are those of `counting`, the base model's tokenizer: a model that was given new ones says
    the same in fewer, and would look worse.

    Raises:
        DataError: a whole text has no token before it that the model could begin with.
        UsageError: a prompt and its answer do not fit the model's context.
    """
    length = loaded.context_length
    pieces = [_pieces(config, loaded.tokenizer, length, item) for item in items]
    every = [piece for row in pieces for piece in row]
    found = iter(
        answer_log_probs(
            loaded, every, lambda done: ctx.progress(done, len(every), f"reads {config.name}")
        )
    )
    totals = [sum(sum(next(found)) for _ in row) for row in pieces]
    counted = (_pieces(config, counting, length, item) for item in items)
    counts = [sum(sum(tokens_of_answers(piece)) for piece in row) for row in counted]
    means = [total / max(1, count) for total, count in zip(totals, counts, strict=True)]
    loss = -sum(totals) / max(1, sum(counts))
    return Scored(
        metric=config.metrics[0],
        scores=means,
        losses=[-mean for mean in means],
        truth=[item.right[0][:SHOWN] for item in items],
        predicted=[f"{count} tokens" for count in counts],
        columns={"nats": [-total for total in totals], "num_tokens": counts},
        others={"loss": loss, "perplexity": math.exp(loss)},
    )


def _pieces(
    config: TaskConfig, tokenizer: Tokenizer, context_length: int, item: Item
) -> list[Example]:
    """What of a row is read at a time: a whole text in pieces that fit the context, each after the
    last token of the one before and the last after as many as fit, so that every token is counted
    once, as lm-evaluation-harness does."""
    if item.messages or item.plain:
        asked = replace(item, choices=item.right)
        return [example_of(config, tokenizer, context_length, asked)]
    ids = (*_start(tokenizer), *tokenizer.encode(item.right[0]))
    found = []
    for place in range(1, len(ids), context_length - 1):
        end = min(len(ids), place + context_length - 1)
        before = ids[max(0, end - context_length) : place]
        found.append(
            Example(row_id=item.row_id, prompt=before, answers=(Answer(ids=ids[place:end]),))
        )
    return found


def _start(tokenizer: Tokenizer) -> tuple[int, ...]:
    """What the first token follows: the token that begins a text, else the one that ends it, after
    which the next text stood in pre-training.

    Raises:
        DataError: it has neither.
    """
    token = tokenizer.bos_token or tokenizer.eos_token
    if not token:
        raise DataError(
            "the tokenizer names no token that begins or ends a text, so nothing is before the "
            "first",
            remedy="give the task a prompt, and it reads what follows",
        )
    return (tokenizer.id_of(token),)
