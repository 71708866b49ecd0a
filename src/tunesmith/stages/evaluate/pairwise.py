"""Ask a judge which of two answers is the better one, in both orders.

Pairwise comparison by a model, asked again with the answers exchanged: Zheng et al., "Judging
LLM-as-a-Judge with MT-Bench and Chatbot Arena" (2023). Nothing is drawn and nothing written: which
letter the judge holds the likelier answer, of two.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict, Unpack

import pyarrow as pa
import pyarrow.parquet as pq

from tunesmith.core.canonical import fingerprint, sha256
from tunesmith.core.errors import DataError, UsageError
from tunesmith.core.ref import PARQUET
from tunesmith.core.step import Context
from tunesmith.lm.chat_template import answered
from tunesmith.lm.engine import Message
from tunesmith.lm.example import Answer, Example
from tunesmith.lm.likelihood import answer_log_probs
from tunesmith.lm.load import LoadedModel, load_model, load_tokenizer
from tunesmith.records.data import Dataset
from tunesmith.records.evaluation import Evaluation, TaskRows
from tunesmith.records.model import BaseModel, ModelVersion
from tunesmith.records.pairwise import Verdicts
from tunesmith.stages.evaluate.asking import Given, asked_items
from tunesmith.stages.evaluate.config import PairsConfig
from tunesmith.stages.evaluate.items import Item
from tunesmith.stages.evaluate.predictions import SHOWN, from_parquet

LETTERS = ("A", "B")
SCHEMA = pa.schema(
    {
        "row_id": pa.string(),
        "asked": pa.string(),
        "other": pa.string(),
        "tuned": pa.string(),
        "other_chars": pa.int64(),
        "tuned_chars": pa.int64(),
        "tuned_first": pa.float64(),
        "tuned_second": pa.float64(),
        "outcome": pa.int64(),
        "tie": pa.string(),
    }
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """Two answers to one prompt."""

    row_id: str
    asked: str
    other: str
    tuned: str


class Besides(TypedDict, total=False):
    """What some pairs are made of beside the two evaluations."""

    rows: TaskRows
    """The task's own."""
    asked: Dataset
    """The dataset whose test rows the task asks, if they are not the model's own."""
    rival: ModelVersion
    """What stands beside, if it is not the base model."""


def judge_pairs(
    config: PairsConfig,
    ctx: Context,
    *,
    judge: BaseModel,
    model: ModelVersion,
    tuned: Evaluation,
    other: Evaluation,
    dataset: Dataset,
    **besides: Unpack[Besides],
) -> Verdicts:
    """Which answers to a task `judge` holds for better: those of `model` (`tuned`), or those of its
    base or of another version (`other`).

    Raises:
        UsageError: it judges what came of its own weights, or a pair does not fit its context.
        DataError: it has no chat template, or the answers are not to the same rows.
    """
    rival = besides.get("rival")
    sides = {"tuned": model.base, config.versus: rival.base if rival else model.base}
    own = tuple(side for side, base in sides.items() if _same_weights(base, judge))
    if own and not config.own_base:
        raise UsageError(
            f"the judge {judge.name!r} has the weights that {' and '.join(own)} of task "
            f"{config.task.name!r} came from, and models hold what they would say for better",
            remedy="name another base model under [judge], or set own_base = true there",
        )
    # The judge is shown what is asked, and not the examples that stood before it.
    task = config.task.model_copy(update={"num_fewshot": 0})
    given = Given(rows=besides.get("rows"), other=besides.get("asked"))
    items = asked_items(task, ctx, model.instruction, dataset, given)
    pairs = _pairs(config, ctx, items, tuned, other)
    ctx.progress(0, len(pairs), f"loading the judge {judge.name}")
    loaded = load_model(judge, ctx.blobs)
    if not loaded.tokenizer.chat_template:
        raise DataError(
            f"the judge {judge.name!r} has no chat template, so it cannot be asked",
            remedy="name a base model that was tuned to follow instructions",
        )
    favours = judged(loaded, config.question, pairs, ctx)
    tokens = fingerprint_of_tokenizer(judge, ctx)
    return Verdicts(
        task=config.task.name,
        task_version=config.task.version,
        versus=config.versus,
        judge=judge.name,
        judge_origin=judge.origin,
        judge_sha256=judge.weights.sha256,
        question=config.question,
        question_sha256=sha256(config.question.encode()),
        own_base=own,
        own_tokenizer=tuple(
            side
            for side, base in sides.items()
            if side not in own and fingerprint_of_tokenizer(base, ctx) == tokens
        ),
        num_rows=len(pairs),
        pairs=ctx.blobs.put(_to_parquet(pairs, favours), PARQUET),
    )


def judged(
    loaded: LoadedModel, question: str, pairs: Sequence[Pair], ctx: Context
) -> list[tuple[float, float]]:
    """By how many nats the judge holds the tuned model's answer better, shown first and second.

    log p(its letter) - log p(the other letter), each with the end of the turn. Of the same answer
    twice 0: the judge is not asked.

    Raises:
        UsageError: a pair does not fit the judge's context.
    """
    asked = [pair for pair in pairs if not _is_same(pair)]
    examples = [
        example
        for pair in asked
        for example in (
            _example(loaded, question, pair, pair.tuned, pair.other),
            _example(loaded, question, pair, pair.other, pair.tuned),
        )
    ]
    found = answer_log_probs(
        loaded, examples, lambda done: ctx.progress(done, len(examples), "judges pairs")
    )
    favours = {
        pair.row_id: (found[2 * n][0] - found[2 * n][1], found[2 * n + 1][1] - found[2 * n + 1][0])
        for n, pair in enumerate(asked)
    }
    return [favours.get(pair.row_id, (0.0, 0.0)) for pair in pairs]


def shown_to_judge(question: str, asked: str, first: str, second: str) -> str:
    """The one message that a judge is asked by."""
    return (
        f"Two answers were given to the same prompt. Compare them. {question.strip()}\n\n"
        f"[Prompt]\n{asked}\n\n[Answer A]\n{first}\n\n[Answer B]\n{second}\n\n"
        "[Question]\nWhich answer is better? Say the letter alone: A or B."
    )


def said_before(item: Item) -> str:
    """What was asked, as a text: of a conversation each turn, with who said it."""
    turns = [turn for turn in item.messages if turn.content]
    if not turns:
        return item.plain
    if len(turns) == 1:
        return turns[0].content
    return "\n".join(f"{turn.role}: {turn.content}" for turn in turns)


def outcome_of(favours: tuple[float, float]) -> int:
    """1 if the tuned model's answer won in both orders, -1 if the other did, else 0.

    >>> outcome_of((0.5, 0.1)), outcome_of((-0.5, -0.1)), outcome_of((0.5, -0.1))
    (1, -1, 0)
    """
    return (min(favours) > 0) - (max(favours) < 0)


def fingerprint_of_tokenizer(base: BaseModel, ctx: Context) -> str:
    """A digest of the tokens of a base model: models that share them are likely of one family."""
    return fingerprint(sorted(load_tokenizer(base, ctx.blobs).core.get_vocab().items()))


def _pairs(
    config: PairsConfig, ctx: Context, items: Sequence[Item], tuned: Evaluation, other: Evaluation
) -> list[Pair]:
    ours, theirs = (from_parquet(ctx.blobs.get(each.predictions)) for each in (tuned, other))
    wanted = tuple(item.row_id for item in items)
    if not wanted == ours.row_ids == theirs.row_ids:
        raise DataError(
            f"the answers to task {config.task.name!r} that are to be compared are not to the same "
            "rows",
            remedy="run the project again: `tunesmith run`",
        )
    return [
        Pair(row_id=item.row_id, asked=said_before(item), other=second, tuned=first)
        for item, first, second in zip(items, ours.predicted, theirs.predicted, strict=True)
    ]


def _example(loaded: LoadedModel, question: str, pair: Pair, first: str, second: str) -> Example:
    message = Message(role="user", content=shown_to_judge(question, pair.asked, first, second))
    rendered = [answered(loaded.tokenizer, [message], letter) for letter in LETTERS]
    longest = max(len(each.ids) for each in rendered)
    if longest > loaded.context_length:
        raise UsageError(
            f"the answers to {pair.row_id} and what was asked have {longest} tokens; the judge's "
            f"context is {loaded.context_length}",
            remedy="lower max_new_tokens of the task, shorten the row, or name a judge with a "
            "longer context",
        )
    return Example(
        row_id=pair.row_id,
        prompt=rendered[0].ids[: rendered[0].num_prompt],
        answers=tuple(Answer(ids=each.ids[each.num_prompt :]) for each in rendered),
    )


def _is_same(pair: Pair) -> bool:
    return pair.tuned.strip() == pair.other.strip()


def _same_weights(base: BaseModel, other: BaseModel) -> bool:
    return base.weights.sha256 == other.weights.sha256


def _to_parquet(pairs: Sequence[Pair], favours: Sequence[tuple[float, float]]) -> bytes:
    rows = [
        {
            "row_id": pair.row_id,
            "asked": pair.asked[:SHOWN],
            "other": pair.other[:SHOWN],
            "tuned": pair.tuned[:SHOWN],
            "other_chars": len(pair.other.strip()),
            "tuned_chars": len(pair.tuned.strip()),
            "tuned_first": first,
            "tuned_second": second,
            "outcome": outcome_of((first, second)),
            "tie": "same answer" if _is_same(pair) else "order" if first * second < 0 else "",
        }
        for pair, (first, second) in zip(pairs, favours, strict=True)
    ]
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, SCHEMA), sink)
    return sink.getvalue()
