"""How probable a model holds what the held-out rows say: the metric of what is learnt token by
token."""

from __future__ import annotations

import math

from tunesmith.lm.example import Example
from tunesmith.lm.lessons import lessons
from tunesmith.lm.likelihood import answer_log_probs, tokens_of_answers
from tunesmith.lm.load import load_model
from tunesmith.lm.tokenizer import Tokenizer
from tunesmith.records.rows import FORMATS, Chat, Completion, Content
from tunesmith.stages.evaluate.scorer import Asked, Scored

SHOWN = 200
"""Characters of a row that are kept for people to read."""


def score(asked: Asked) -> Scored:
    """Nats of a token of the answers of each row, given all before it.

    The metric is the mean over the rows; loss and perplexity are of all their tokens together, so
    that a long answer counts more. Tokens are those of the base model, also where new ones were
    added.

    Raises:
        DataError: a row cannot be rendered, or the model cannot be packed.
    """
    loaded = load_model(asked.base, asked.ctx.blobs, adapter=asked.model)
    contents = asked.contents(FORMATS[asked.dataset.format])
    row_ids = asked.rows["row_id"].to_pylist()

    def cut(tokenizer: Tokenizer) -> list[list[Example]]:
        return [
            list(lessons(tokenizer, asked.instruction, row_id, content, loaded.context_length))
            for row_id, content in zip(row_ids, contents, strict=True)
        ]

    pieces = cut(loaded.tokenizer)
    found = iter(
        answer_log_probs(
            loaded,
            [example for row in pieces for example in row],
            lambda done: asked.ctx.progress(done, sum(map(len, pieces)), "reads held-out rows"),
        )
    )
    totals = [sum(sum(next(found)) for _ in row) for row in pieces]
    counted = cut(asked.counting(loaded))
    counts = [sum(sum(tokens_of_answers(example)) for example in row) for row in counted]
    means = [total / max(1, count) for total, count in zip(totals, counts, strict=True)]
    loss = -sum(totals) / max(1, sum(counts))
    return Scored(
        metric="log-likelihood",
        scores=means,
        losses=[-mean for mean in means],
        truth=[_shown(content) for content in contents],
        predicted=[f"{count} tokens" for count in counts],
        columns={"nats": [-total for total in totals], "num_tokens": counts},
        others={"loss": loss, "perplexity": math.exp(loss)},
    )


def _shown(content: Content) -> str:
    """What is to be said, or its beginning."""
    match content:
        case Chat():
            text = content.messages[-1].content
        case Completion():
            text = content.completion
        case _:
            text = getattr(content, "text", "")
    return text[:SHOWN]
