"""Which rows a run learns from, their order, and the micro-batches of a global step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from tunesmith.core.canonical import draw
from tunesmith.lm.example import Example, MicroBatch, pack
from tunesmith.lm.shard import row_ids_of
from tunesmith.stages.finetune.config import ModelConfig
from tunesmith.stages.finetune.lanes import LANES, deal

MICRO_TOKENS = 512
"""Tokens of a micro-batch: enough to fill the arithmetic units, few enough for the memory."""
LEAST_TOKENS = 256
"""Fewer are not worth two streams."""


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


def lanes_of(config: ModelConfig) -> int:
    """How many micro-batches are computed side by side.

    Gradients of whole weights are too large to be held once more for each.
    """
    return 1 if config.method == "full" else LANES


def micro_batches(rows: Sequence[Example], lanes: int) -> Iterator[MicroBatch]:
    """The rows as streams, the longest first: of at most `MICRO_TOKENS` (or of one longer row), and
    where there is one lane, of as many as others have at one moment.

    First they are dealt to the lanes, so that none of these waits long for the others, then those
    of a lane to as few streams as hold them. Few tokens are one stream.
    """
    sizes = [row.num_tokens for row in rows]
    dealt = deal(rows, sizes, lanes) if sum(sizes) >= LEAST_TOKENS else [rows]
    max_tokens = MICRO_TOKENS * LANES // lanes
    streams = [stream for lane in dealt for stream in _streams(lane, max_tokens)]
    return map(pack, sorted(streams, key=lambda stream: -sum(row.num_tokens for row in stream)))


def _streams(rows: Sequence[Example], max_tokens: int) -> list[list[Example]]:
    """As few streams as hold the rows, all about as long."""
    sizes = [row.num_tokens for row in rows]
    count = -(-sum(sizes) // max_tokens)
    while True:
        dealt = [stream for stream in deal(rows, sizes, count) if stream]
        if all(len(s) == 1 or sum(row.num_tokens for row in s) <= max_tokens for s in dealt):
            return dealt
        count += 1
