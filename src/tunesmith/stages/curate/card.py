"""The dataset card: what is in the dataset, what is not, and why, for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tunesmith.records.data import DataAsset
from tunesmith.records.model import BaseModel
from tunesmith.stages.curate.config import DatasetConfig
from tunesmith.stages.curate.rows import Row
from tunesmith.stages.curate.split import Sides
from tunesmith.text.dedup import SHORT, Closest, Pair, Thresholds

_DUPLICATES = ("exact duplicate", "near duplicate")


@dataclass(frozen=True, kw_only=True, slots=True)
class CardFacts:
    """What the card says."""

    config: DatasetConfig
    assets: tuple[DataAsset, ...]
    base: BaseModel
    seed: int
    num_in: int
    sides: Sides
    labels: tuple[str, ...]
    distinct: Mapping[str, int]
    """Distinct rows of each label, over all labels, before the commonest were chosen."""
    dropped_by_reason: Mapping[str, int]
    confusable: tuple[frozenset[str], ...]
    """The row ids of each pair of near duplicates with different labels, among the distinct rows of
    the chosen labels."""
    duplicate: Thresholds
    """From where rows are near duplicates."""
    leak: Thresholds
    """From where they are put on one side."""
    closest: Closest
    """The most similar pairs across the split."""

    @property
    def num_components(self) -> int:
        """Near-duplicate components among the rows that were kept."""
        return len({row.component for row in (*self.sides.train, *self.sides.test)})


def write_card(facts: CardFacts) -> str:
    """The card, as Markdown."""
    sections = (_summary(facts), _sources(facts), _rows(facts), _labels(facts), _split(facts))
    return "\n\n".join(sections) + "\n"


def _summary(facts: CardFacts) -> str:
    train, test = facts.sides.train, facts.sides.test
    return f"""# Dataset {facts.config.name}

Task: given a text, name its label. Every conversation starts with the system message
"{facts.config.instruction}".

- {len(train)} rows ({_tokens(train)} tokens) to tune on
- {len(test)} rows ({_tokens(test)} tokens) to test on
- {len(facts.labels)} labels
- tokens are counted over the whole conversation with the tokenizer of {facts.base.name}
  ({facts.base.origin})"""


def _sources(facts: CardFacts) -> str:
    rows = [
        (asset.name, asset.origin, asset.licence, asset.owner, asset.purpose, asset.num_rows)
        for asset in facts.assets
    ]
    head = ("source", "origin", "licence", "owner", "purpose", "rows")
    return f"## Sources\n\n{_table(head, rows)}"


def _rows(facts: CardFacts) -> str:
    dropped = facts.dropped_by_reason
    kept = len(facts.sides.train) + len(facts.sides.test)
    num_distinct = sum(facts.distinct.values())
    num_copies = sum(dropped.get(reason, 0) for reason in _DUPLICATES)
    table = _table(
        ("rows", "count"),
        [
            ("in", facts.num_in),
            *((f"dropped: {reason}", count) for reason, count in dropped.items()),
            ("kept", kept),
        ],
    )
    return f"""## Rows in and out

{table}

True size: of {num_distinct + num_copies} rows with a fitting label and length, {num_distinct} are
distinct: no two of one label were found to share at least (Jaccard similarity)

{_rule(facts.duplicate)}

{_confusable(facts)}"""


def _confusable(facts: CardFacts) -> str:
    kept = {row.row_id for row in (*facts.sides.train, *facts.sides.test)}
    num_kept = sum(pair <= kept for pair in facts.confusable)
    return f"""Near duplicates with different labels are not dropped: there are
{len(facts.confusable)} such pairs among the distinct rows of the labels below. {num_kept} of them
are in the dataset, the two rows of each on the same side."""


def _labels(facts: CardFacts) -> str:
    train = Counter(row.label for row in facts.sides.train)
    test = Counter(row.label for row in facts.sides.test)
    rows = [(label, facts.distinct[label], train[label], test[label]) for label in facts.labels]
    table = _table(("label", "distinct rows", "train", "test"), rows)
    config = facts.config
    short = [
        label
        for label in facts.labels
        if train[label] < config.train_per_label or test[label] < config.test_per_label
    ]
    note = (
        f"Fewer than {config.train_per_label} + {config.test_per_label} rows: {', '.join(short)}."
        if short
        else f"Every label has {config.train_per_label} + {config.test_per_label} rows."
    )
    return f"## Labels\n\n{table}\n\n{note}"


def _split(facts: CardFacts) -> str:
    return f"""## How it was split

Rows form a component, whatever their labels, if they are joined by pairs that share at least
(Jaccard similarity)

{_rule(facts.leak)}

A component is on one side only. The {facts.num_components} components with a row in the dataset
were assigned by label, drawn with seed {facts.seed}.

Residual similarity, the highest over all pairs of a training row and a test row:

- {_highest(facts.closest.words)} of their words, where either text has fewer than {SHORT}
- {_highest(facts.closest.runs)} of their word 5-grams, where both have at least {SHORT} words

Neither measure sees a paraphrase, nor boilerplate that is shared in part."""


def _rule(thresholds: Thresholds) -> str:
    return f"""- {thresholds.words:g} of their words, where either text has fewer than {SHORT}
- {thresholds.runs:g} of their word 5-grams, where both have at least {SHORT} words"""


def _highest(pair: Pair | None) -> str:
    return f"{pair.jaccard:.3f}" if pair else "0.000"


def _tokens(rows: Iterable[Row]) -> int:
    return sum(row.num_tokens for row in rows)


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)


def _cell(value: object) -> str:
    """One line, and no column separator: labels and purposes are other people's text."""
    return " ".join(str(value).split()).replace("|", "\\|")
