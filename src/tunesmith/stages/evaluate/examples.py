"""Examples before the question ("few-shot"): which rows, and how they are put before it.

Brown et al., Language Models are Few-Shot Learners, arXiv 2005.14165. An example is a row that is
not asked, with its right answer; never one that is nearly the question itself, as what the model
then says would be copied.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.parquet as pq

from tunesmith.core.blobs import Blobs
from tunesmith.core.canonical import draw
from tunesmith.core.errors import DataError
from tunesmith.lm.contents import content_of
from tunesmith.lm.engine import Message
from tunesmith.records.data import Dataset
from tunesmith.records.evaluation import TaskRows
from tunesmith.records.rows import FORMATS, Turn
from tunesmith.stages.evaluate.items import Item, item_of, items_of_own
from tunesmith.stages.evaluate.task import TaskConfig
from tunesmith.text.dedup import Thresholds, duplicates, exact_key

MOST = 1000
"""Rows that examples are taken from: the first, or the first of the drawn order."""
NEAR = Thresholds(words=0.7, runs=0.4)
"""From here on a row is nearly the question itself; as `leak_similarity` is where none is said."""
COLUMNS = ["row_id", "text", "content"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Pool:
    """Rows that may stand before a question, in the order in which they are taken."""

    items: Sequence[Item]
    texts: Sequence[str]
    """What near duplicates are found by."""
    glue: str
    """Between the prompt of an example and its answer, where no chat template stands between."""


def of_dataset(
    config: TaskConfig, blobs: Blobs, dataset: Dataset, instruction: str, seed: int
) -> Pool:
    """Rows of the training split of `dataset`."""
    table = pq.read_table(blobs.path(dataset.train.rows), columns=COLUMNS)
    order = _order(config, table["row_id"].to_pylist(), seed)
    kept = table.take(pa.array(order, pa.int64()))
    kind = FORMATS[dataset.format]
    items, texts = [], []
    for row in kept.to_pylist():
        try:
            item = item_of(row["row_id"], content_of(row["content"], kind), instruction)
        except DataError:  # it has no answer in words, so it shows none
            continue
        if not item.tools and not any(getattr(turn, "tool_calls", ()) for turn in item.messages):
            items.append(item)
            texts.append(row["text"])
    return Pool(items=items, texts=texts, glue="")


def of_file(config: TaskConfig, rows: TaskRows, instruction: str, seed: int) -> Pool:
    """Rows of a task's file of examples."""
    every = list(items_of_own(config, rows, instruction))
    order = _order(config, [item.row_id for item in every], seed)
    items = [every[place] for place in order]
    return Pool(items=items, texts=[item.question for item in items], glue=config.between)


def with_examples(
    config: TaskConfig, items: Sequence[Item], texts: Sequence[str], pool: Pool, seed: int
) -> list[Item]:
    """The items with `num_fewshot` rows of `pool` before each; `texts` are what near duplicates of
    the items are found by.

    Raises:
        DataError: there are too few rows that could stand before an item.
    """
    near = _near(texts, pool.texts)
    made = []
    for item, not_these in zip(items, near, strict=True):
        chosen: list[Item] = []
        for place in _places(config, item, len(pool.items), seed):
            if place not in not_these and len(chosen) < config.num_fewshot:
                chosen.append(pool.items[place])
        if len(chosen) < config.num_fewshot:
            raise DataError(
                f"task {config.name!r}: {len(chosen)} rows can be examples for {item.row_id}, and "
                f"num_fewshot is {config.num_fewshot}; {len(not_these)} are nearly the question",
                remedy="lower num_fewshot, or add rows to take examples from",
            )
        made.append(_before(config, item, chosen, pool.glue))
    return made


def _order(config: TaskConfig, row_ids: Sequence[str], seed: int) -> list[int]:
    """The places of the rows that are taken, at most `MOST`."""
    places = list(range(len(row_ids)))
    if config.fewshot_sampler == "seeded":
        drawn = [draw(f"{seed}/examples/{row_id}") for row_id in row_ids]
        places.sort(key=drawn.__getitem__)
    return places[:MOST]


def _places(config: TaskConfig, item: Item, num_rows: int, seed: int) -> Iterator[int]:
    """The places of a pool, for one item: from the first on, or from one that is drawn for the
    item alone on, so that an item has the same examples whichever others are asked."""
    start = 0
    if config.fewshot_sampler == "seeded" and num_rows:
        start = int.from_bytes(draw(f"{seed}/examples of/{item.row_id}")[:8]) % num_rows
    return ((start + step) % num_rows for step in range(num_rows))


def _near(texts: Sequence[str], others: Sequence[str]) -> list[set[int]]:
    """For each text the places of those of `others` that are nearly the same."""
    mine, theirs = _without_frame(texts, others)
    found: list[set[int]] = [set() for _ in mine]
    for first, second in ((p.first, p.second) for p in duplicates([*mine, *theirs], NEAR)):
        if first < len(mine) <= second:
            found[first].add(second - len(mine))
    known = [exact_key(text) for text in theirs]
    for places, text in zip(found, mine, strict=True):
        key = exact_key(text)
        places.update(place for place, other in enumerate(known) if other == key)
    return found


def _without_frame(texts: Sequence[str], others: Sequence[str]) -> tuple[list[str], list[str]]:
    """The texts without what all of them begin and end with, which a template wrote: by it any two
    would be alike."""
    every = [*texts, *others]
    first = _shared(every)
    rest = [text[first:] for text in every]
    last = _shared([text[::-1] for text in rest])
    cut = [text[: len(text) - last] for text in rest]
    return cut[: len(texts)], cut[len(texts) :]


def _shared(texts: Sequence[str]) -> int:
    """How many characters all of the texts begin with; of one text none are shared."""
    least, most = min(texts), max(texts)
    if len(texts) < 2:
        return 0
    same = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(least, most, strict=False))
    return sum(1 for _ in same)


def _before(config: TaskConfig, item: Item, chosen: Sequence[Item], glue: str) -> Item:
    if not item.messages:
        shown = "".join(
            f"{each.plain}{glue}{each.right[0]}{config.between_examples}" for each in chosen
        )
        return replace(item, plain=config.preamble + shown + item.plain)
    told = 1 if item.messages[0].role == "system" else 0
    said: list[Message | Turn] = list(item.messages[:told])
    for each in chosen:
        said += [turn for turn in each.messages if turn.role != "system"]
        said.append(Message(role="assistant", content=each.right[0]))
    return replace(item, messages=(*said, *item.messages[told:]))
