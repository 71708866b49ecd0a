"""Which rows a run learns from, their order, and the micro-batches of a global step."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterator, Sequence

from tunesmith.core.canonical import draw
from tunesmith.lm.example import Example, MicroBatch, pack
from tunesmith.lm.shard import row_ids_of
from tunesmith.stages.finetune.config import ModelConfig
from tunesmith.stages.finetune.lanes import LANES

MICRO_TOKENS = 512
"""Tokens of a micro-batch: enough to fill the arithmetic units, few enough for the memory."""


def share_of(rows: Sequence[Example], share: float, seed: int) -> Sequence[Example]:
    """That share of `rows`, at least one, in their order.

    Which ones follows from the seed and the row ids alone, and those of a smaller share are among
    those of a larger one.

    >>> rows = [Example(row_id=name) for name in "abcd"]
    >>> [row.row_id for row in share_of(rows, 0.5, seed=0)]
    ['b', 'c']
    """
    if share == 1:
        return rows
    ordered = _drawn(rows, f"{seed}/share")
    return [rows[place] for place in sorted(ordered[: max(1, round(share * len(rows)))])]


def steps_of_epoch(
    rows: Sequence[Example], seed: int, epoch: int, batch_rows: int
) -> Iterator[list[Example]]:
    """The rows of each global step of one epoch; the last step may be shorter.

    The order is a pure function of the seed, the epoch and the row ids, neither of the order of the
    file nor of any generator's state, so that any step can be found again.
    """
    ordered = _drawn(rows, f"{seed}/{epoch}")
    for start in range(0, len(ordered), batch_rows):
        yield [rows[place] for place in ordered[start : start + batch_rows]]


def _drawn(rows: Sequence[Example], what: str) -> list[int]:
    """The places of the rows in an order that follows from their ids."""
    numbers = [draw(f"{what}/{row_id}") for row_id in row_ids_of(rows)]
    return sorted(range(len(numbers)), key=numbers.__getitem__)


def count_steps(num_rows: int, config: ModelConfig) -> int:
    """Global steps of the whole run."""
    return config.epochs * -(-num_rows // config.batch_rows)


def two_rows(rows: Sequence[Example], weight: Callable[[Example], float]) -> list[Example]:
    """The shortest row, and the shortest of another `weight` or number of labels: on rows of the
    same, a mean of means would not show. Where all are alike, one without a document of the first:
    two texts that are told from one another must differ."""

    def weigh(row: Example) -> tuple[float, int]:
        return weight(row), row.num_labels

    ordered = sorted(rows, key=lambda row: (row.num_tokens, row.row_id))
    first = ordered[0]
    seen = set(first.documents())
    others = (
        [row for row in ordered if weigh(row) != weigh(first)]
        or [row for row in ordered if seen.isdisjoint(row.documents())]
        or ordered[1:]
    )
    return [first, *(others or ordered)[:1]]


def micro_batches(rows: Sequence[Example], max_tokens: int = MICRO_TOKENS) -> Iterator[MicroBatch]:
    """The rows as streams of at most `max_tokens` (or of one longer row), the longest first.

    They are about as long as one another, and as many as fill all lanes, so that none waits long:
    the longest row first, each to the stream that is shortest by then (R. L. Graham, Bounds on
    Multiprocessing Timing Anomalies, 1969).
    """
    by_length = sorted(range(len(rows)), key=lambda place: -rows[place].num_tokens)
    total = sum(row.num_tokens for row in rows)
    for count in itertools.count(max(1, -(-total // max_tokens))):
        places = _dealt(rows, by_length, min(len(rows), -(-count // LANES) * LANES))
        lengths = [sum(rows[place].num_tokens for place in each) for each in places]
        if all(
            length <= max_tokens or len(each) == 1
            for length, each in zip(lengths, places, strict=True)
        ):
            break
    for _, each in sorted(zip(lengths, places, strict=True), key=lambda pair: -pair[0]):
        yield pack([rows[place] for place in sorted(each)])


def _dealt(rows: Sequence[Example], order: Sequence[int], count: int) -> list[list[int]]:
    """The places of `rows` in `count` parts, each of `order` to the one with the fewest tokens."""
    shortest = [(0, number) for number in range(count)]
    parts: list[list[int]] = [[] for _ in range(count)]
    for place in order:
        num_tokens, number = heapq.heappop(shortest)
        parts[number].append(place)
        heapq.heappush(shortest, (num_tokens + rows[place].num_tokens, number))
    return parts
