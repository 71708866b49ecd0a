"""Whether a model holds what people preferred likelier: the metrics of preferences and feedback."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch.nn.functional import logsigmoid

from tunesmith.lm.contents import Said
from tunesmith.lm.example import Example
from tunesmith.lm.likelihood import answer_log_probs, tokens_of_answers
from tunesmith.lm.load import load_model
from tunesmith.lm.questions import feedback_example, preference_example
from tunesmith.lm.tokenizer import Tokenizer
from tunesmith.records.rows import Feedback, Preference
from tunesmith.stages.evaluate.likelihood import SHOWN
from tunesmith.stages.evaluate.scorer import Asked, Scored


def score_pairs(asked: Asked) -> Scored:
    """Whether the better answer of each row is likelier by the token than the other.

    One measure for every objective that learns from pairs, and for the base model too.
    """
    contents = asked.contents(Preference)
    margins = [
        chosen - rejected for chosen, rejected in _by_token(asked, contents, preference_example)
    ]
    losses = (-logsigmoid(torch.tensor(margins, dtype=torch.float64))).tolist()
    return Scored(
        metric="pair accuracy",
        scores=[float(margin > 0) for margin in margins],
        losses=losses,
        truth=[content.chosen[:SHOWN] for content in contents],
        predicted=[
            (each.chosen if margin > 0 else each.rejected)[:SHOWN]
            for each, margin in zip(contents, margins, strict=True)
        ],
        by_row={"margin": margins},
        others={"loss": sum(losses) / len(losses)},
    )


def score_feedback(asked: Asked) -> Scored:
    """Nats of a token of each answer, counted against the model where the answer was not liked."""
    contents = asked.contents(Feedback)
    means = [mean for (mean,) in _by_token(asked, contents, feedback_example)]
    signed = [
        mean if content.label else -mean for mean, content in zip(means, contents, strict=True)
    ]
    return Scored(
        metric="signed log-likelihood",
        scores=signed,
        losses=[-each for each in signed],
        truth=["liked" if content.label else "not liked" for content in contents],
        predicted=[f"{mean:.3f} nats a token" for mean in means],
    )


def _by_token(
    asked: Asked, contents: Sequence[Said], make: Callable[[Tokenizer, str, str, Said], Example]
) -> list[list[float]]:
    """Mean log-probability of a token of each answer of each row, of which `make` makes an example;
    tokens are those of the base model."""
    loaded = load_model(asked.base, asked.ctx.blobs, adapter=asked.model)
    row_ids = asked.rows["row_id"].to_pylist()

    def cut(tokenizer: Tokenizer) -> list[Example]:
        return [
            make(tokenizer, asked.instruction, row_id, content)
            for row_id, content in zip(row_ids, contents, strict=True)
        ]

    examples = cut(loaded.tokenizer)
    found = answer_log_probs(
        loaded, examples, lambda done: asked.ctx.progress(done, len(examples), "reads answers")
    )
    counts = map(tokens_of_answers, cut(asked.counting(loaded)))
    return [
        [total / max(1, count) for total, count in zip(of_row, of_answers, strict=True)]
        for of_row, of_answers in zip(found, counts, strict=True)
    ]
