"""What a model's own answers to held-out questions are worth by the recipe's rules."""

from __future__ import annotations

from tunesmith.lm.chat_template import prompt_ids, stop_ids
from tunesmith.lm.load import load_model
from tunesmith.lm.questions import asked as asked_of
from tunesmith.lm.sample import greedy, said
from tunesmith.records.rows import Checked
from tunesmith.stages.evaluate.likelihood import SHOWN
from tunesmith.stages.evaluate.scorer import Asked, Scored
from tunesmith.text.rewards import worth


def score(asked: Asked) -> Scored:
    """The reward of the likeliest answer to each question, token by token, from 0 to 1."""
    loaded = load_model(asked.base, asked.ctx.blobs, adapter=asked.model)
    stops = stop_ids(loaded.tokenizer)
    contents = asked.contents(Checked)
    answers, ended = [], 0
    for done, content in enumerate(contents, start=1):
        prompt = prompt_ids(loaded.tokenizer, asked_of(asked.instruction, content.prompt))
        drawn = greedy(loaded.model, prompt, stops, asked.config.max_new_tokens)
        answers.append(said(loaded.tokenizer, drawn.ids))
        ended += drawn.ended
        asked.ctx.progress(done, len(contents), "answers held-out questions")
    rewards = [
        worth(asked.config.rewards, answer, content.answer)
        for answer, content in zip(answers, contents, strict=True)
    ]
    return Scored(
        metric="reward",
        scores=rewards,
        losses=[1 - reward for reward in rewards],
        truth=[content.answer[:SHOWN] for content in contents],
        predicted=[answer[:SHOWN] for answer in answers],
        others={"answers that ended": ended / len(contents)},
    )
