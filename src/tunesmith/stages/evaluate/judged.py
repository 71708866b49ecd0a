"""Whether a model holds what people preferred likelier: the metrics of preferences and feedback."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn.functional import logsigmoid

from tunesmith.lm.example import Example
from tunesmith.lm.likelihood import answer_log_probs, tokens_of_answers
from tunesmith.lm.load import LoadedModel, load_model
from tunesmith.lm.questions import feedback_example, preference_example
from tunesmith.records.rows import Feedback, Preference
from tunesmith.stages.evaluate.likelihood import SHOWN
from tunesmith.stages.evaluate.scorer import Asked, Scored


def score_pairs(asked: Asked) -> Scored:
    """Whether the better answer of each row is likelier by the token than the other.

    One measure for every objective that learns from pairs, and for the base model too.
    """
    loaded = load_model(asked.base, asked.ctx.blobs, adapter=asked.model)
    contents = asked.contents(Preference)
    row_ids = asked.rows["row_id"].to_pylist()
    examples = [
        preference_example(loaded.tokenizer, asked.instruction, row_id, content)
        for row_id, content in zip(row_ids, contents, strict=True)
    ]
    margins = [chosen - rejected for chosen, rejected in _by_token(asked, loaded, examples)]
    return Scored(
        metric="pair accuracy",
        scores=[float(margin > 0) for margin in margins],
        losses=(-logsigmoid(torch.tensor(margins, dtype=torch.float64))).tolist(),
        truth=[content.chosen[:SHOWN] for content in contents],
        predicted=[
            (each.chosen if margin > 0 else each.rejected)[:SHOWN]
            for each, margin in zip(contents, margins, strict=True)
        ],
        others={"margin": sum(margins) / len(margins)},
    )


def score_feedback(asked: Asked) -> Scored:
    """Nats of a token of each answer, counted against the model where the answer was not liked."""
    loaded = load_model(asked.base, asked.ctx.blobs, adapter=asked.model)
    contents = asked.contents(Feedback)
    row_ids = asked.rows["row_id"].to_pylist()
    examples = [
        feedback_example(loaded.tokenizer, asked.instruction, row_id, content)
        for row_id, content in zip(row_ids, contents, strict=True)
    ]
    means = [mean for (mean,) in _by_token(asked, loaded, examples)]
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


def _by_token(asked: Asked, loaded: LoadedModel, examples: Sequence[Example]) -> list[list[float]]:
    """Mean log-probability of a token of each answer of each example."""
    found = answer_log_probs(
        loaded, examples, lambda done: asked.ctx.progress(done, len(examples), "reads answers")
    )
    counts = map(tokens_of_answers, examples)
    return [
        [total / max(1, count) for total, count in zip(of_row, of_answers, strict=True)]
        for of_row, of_answers in zip(found, counts, strict=True)
    ]
