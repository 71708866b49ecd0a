"""Ask a model the items of a task: what it writes, which of the choices it holds likeliest, or how
likely it holds a text."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import TypedDict, Unpack

import pyarrow as pa

from tunesmith.core.ref import PARQUET
from tunesmith.core.step import Context
from tunesmith.lm.attach import load_version
from tunesmith.lm.chat_template import stop_ids
from tunesmith.lm.contents import content_of
from tunesmith.lm.detokenise import Detokeniser
from tunesmith.lm.generate import continuation
from tunesmith.lm.load import LoadedModel, load_model, load_tokenizer
from tunesmith.records.data import Dataset
from tunesmith.records.evaluation import LOWER_IS_BETTER, Apart, Evaluation, TaskRows
from tunesmith.records.model import BaseModel, ModelVersion
from tunesmith.records.rows import FORMATS
from tunesmith.records.transform import Program
from tunesmith.stages.evaluate.answers import METRICS, nearest
from tunesmith.stages.evaluate.choosing import choose
from tunesmith.stages.evaluate.config import EvaluateConfig
from tunesmith.stages.evaluate.corpus import COUNTS, counts_of, of_counts
from tunesmith.stages.evaluate.examples import of_dataset, of_file, with_examples
from tunesmith.stages.evaluate.extract import found, without
from tunesmith.stages.evaluate.function import counted
from tunesmith.stages.evaluate.items import Item, item_of, items_of_own, too_long
from tunesmith.stages.evaluate.predictions import SHOWN, to_parquet
from tunesmith.stages.evaluate.reading import read
from tunesmith.stages.evaluate.rows import asked_rows
from tunesmith.stages.evaluate.scorer import Scored
from tunesmith.stages.evaluate.task import TaskConfig


class Given(TypedDict, total=False):
    """What a task is asked with beside the model and its dataset."""

    rows: TaskRows | None
    """Its own rows."""
    program: Program | None
    examples: TaskRows | None
    """The rows that stand before a question, where it has rows of its own."""
    other: Dataset | None
    """The dataset whose test rows are asked."""
    apart: Apart | None
    """That no row of it was trained on."""


def task_base(
    config: TaskConfig, ctx: Context, *, base: BaseModel, dataset: Dataset, **given: Unpack[Given]
) -> Evaluation:
    """How well `base` does at a task, under the instruction of `dataset`, or of the other one.

    Raises:
        DataError: a row has no right answer, or cannot be rendered; or there are too few examples.
        UsageError: a row does not fit the model's context.
    """
    return _evaluate(config, ctx, (base, None), dataset, given)


def task_tuned(
    config: TaskConfig,
    ctx: Context,
    *,
    model: ModelVersion,
    dataset: Dataset,
    **given: Unpack[Given],
) -> Evaluation:
    """How well `model` does at a task, as it would be served.

    Raises:
        DataError: a row has no right answer, or cannot be rendered; or there are too few examples.
        UsageError: a row does not fit the model's context.
    """
    return _evaluate(config, ctx, (model.base, model), dataset, given)


def _evaluate(
    config: TaskConfig,
    ctx: Context,
    asked: tuple[BaseModel, ModelVersion | None],
    dataset: Dataset,
    given: Given,
) -> Evaluation:
    base, model = asked
    items = asked_items(config, ctx, model.instruction if model else "", dataset, given)
    ctx.progress(0, len(items), f"loading the {'tuned' if model else 'base'} model")
    loaded = load_version(model, ctx.blobs) if model else load_model(base, ctx.blobs)
    if config.ask == "choose":
        scored = choose(config, ctx, loaded, items)
    elif config.ask == "score":
        has_new = model is not None and model.new_tokens
        counting = load_tokenizer(base, ctx.blobs) if has_new else loaded.tokenizer
        scored = read(config, ctx, loaded, counting, items)
    else:
        scored = _answer(config, ctx, loaded, items, given.get("program"))
    return Evaluation(
        model=model.name if model else base.name,
        subject="tuned" if model else "base",
        labels=tuple(scored.per_label_f1),
        num_rows=len(items),
        metric=scored.metric,
        value=scored.value,
        others=scored.all_others(),
        per_label_f1=scored.per_label_f1,
        predictions=ctx.blobs.put(to_parquet([item.row_id for item in items], scored), PARQUET),
        task=config.name,
        task_version=config.version,
        lower_is_better=config.lower_is_better,
    )


def asked_items(
    config: TaskConfig, ctx: Context, instruction: str, dataset: Dataset, given: Given
) -> list[Item]:
    """What is asked, examples before it: of the base and of a tuned model the same, unless the
    latter was tuned under another `instruction` than its dataset has now.

    Raises:
        DataError: a row has no right answer, or there are too few examples.
    """
    other, rows = given.get("other"), given.get("rows")
    asked = other or dataset
    told = (other.instruction if other else "") or instruction or dataset.instruction
    if rows is None:
        table = asked_rows(EvaluateConfig(), ctx.blobs, asked, ctx.seed)
        items, texts = _test_items(config, table, asked, told), table["text"].to_pylist()
    else:
        items = list(items_of_own(config, rows, told))
        texts = [item.question for item in items]
    if not config.num_fewshot:
        return items
    examples = given.get("examples")
    pool = (
        of_dataset(config, ctx.blobs, asked, told, ctx.seed)
        if examples is None
        else of_file(config, examples, told, ctx.seed)
    )
    return with_examples(config, items, texts, pool, ctx.seed)


def _test_items(
    config: TaskConfig, table: pa.Table, dataset: Dataset, instruction: str
) -> list[Item]:
    kind = FORMATS[dataset.format]
    pairs = zip(table["row_id"].to_pylist(), table["content"].to_pylist(), strict=True)
    items = [item_of(row_id, content_of(text, kind), instruction) for row_id, text in pairs]
    if config.ask == "choose":
        return [replace(item, choices=dataset.labels) for item in items]
    return items


def _answer(
    config: TaskConfig,
    ctx: Context,
    loaded: LoadedModel,
    items: Sequence[Item],
    program: Program | None,
) -> Scored:
    """What the model writes, measured by each metric."""
    answers, ended = [], 0
    for done, item in enumerate(items, start=1):
        said, has_ended = written(loaded, item, config)
        answers.append(said)
        ended += has_ended
        ctx.progress(done, len(items), f"answers {config.name}")
    measured, wanted = _compared(config, answers, items)
    scores = {
        name: [nearest(name, said, right) for said, right in zip(measured, wanted, strict=True)]
        for name in config.metrics
        if name in METRICS
    }
    if program is not None:
        given = [item.given(said) for said, item in zip(answers, items, strict=True)]
        scores |= counted(config, program, given, ctx)
    counts = {
        name: [counts_of(name, said, right) for said, right in zip(measured, wanted, strict=True)]
        for name in config.metrics
        if name in COUNTS
    }
    of_all = {name: of_counts(name, rows).value for name, rows in counts.items()}
    first, *more = config.metrics
    falls = first in config.lower_is_better or first in LOWER_IS_BETTER
    return Scored(
        metric=first,
        scores=scores[first],
        losses=[score if falls else 1 - score for score in scores[first]],
        truth=[item.right[0][:SHOWN] for item in items],
        predicted=answers,
        whole=of_all.pop(first, None),
        columns=({"extracted": measured} if config.extract or config.ignore else {})
        | {COUNTS[name]: rows for name, rows in counts.items()},
        by_row={name: scores[name] for name in more},
        others={**of_all, "answers that ended": ended / len(items)},
    )


def _compared(
    config: TaskConfig, answers: Sequence[str], items: Sequence[Item]
) -> tuple[list[str], list[list[str]]]:
    """What of each answer is compared, and with what."""
    measured = list(answers)
    if config.extract:
        measured = found(config.extract, answers, last=config.extract_match == "last")
    if not config.ignore:
        return measured, [list(item.right) for item in items]
    return (
        without(config.ignore, measured),
        [without(config.ignore, item.right) for item in items],
    )


def written(loaded: LoadedModel, item: Item, config: TaskConfig) -> tuple[str, bool]:
    """The likeliest answer, token by token, up to the end of its turn, a stop text or the most
    tokens; and whether it ended by itself.

    Raises:
        UsageError: the prompt leaves no room for it.
    """
    prompt = item.prompt(loaded.tokenizer)
    room = loaded.context_length - len(prompt)
    if room < 1:
        raise too_long(item, len(prompt), loaded.context_length)
    stops = stop_ids(loaded.tokenizer)
    text = Detokeniser(loaded.tokenizer, config.stop)
    tokens = continuation(loaded.model, prompt, lambda logits: int(logits.argmax()))
    parts, ended = [], False
    for token in itertools.islice(tokens, min(config.max_new_tokens, room)):
        if token in stops:
            ended = True
            break
        parts.append(text.add(token))
        if text.stopped:
            break
    if not text.stopped:
        parts.append(text.finish())
    return "".join(parts).strip(), ended or text.stopped
