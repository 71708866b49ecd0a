"""The dataset card: what is in the dataset, what is not, and why, for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tunesmith.core.canonical import parse
from tunesmith.records.data import DataAsset, SemanticSize, TrueSize
from tunesmith.records.licence import LicenceStatements
from tunesmith.records.model import BaseModel
from tunesmith.stages.curate.apart import apart_said, standing_said
from tunesmith.stages.curate.config import READ_BY, TASKS, TREATED, DatasetConfig
from tunesmith.stages.curate.filters import duplicate_thresholds, leak_thresholds
from tunesmith.stages.curate.licensed import cleared_section
from tunesmith.stages.curate.mix import balance_lines
from tunesmith.stages.curate.reviewed import review_section
from tunesmith.stages.curate.rows import Applied, Chosen, Row
from tunesmith.stages.curate.semantic import SemanticFacts
from tunesmith.stages.curate.split import Sides
from tunesmith.stages.curate.synthetic import synthetic_section
from tunesmith.text.dedup import Closest, Pair, Thresholds
from tunesmith.text.names import ENGLISH_WORDS_FOUND, MODEL, WORDS_FOUND
from tunesmith.text.sketch import SHORT


@dataclass(frozen=True, kw_only=True, slots=True)
class CardFacts:
    """What the card says."""

    config: DatasetConfig
    assets: tuple[DataAsset, ...]
    base: BaseModel
    seed: int
    num_in: int
    sides: Sides
    chosen: Chosen
    dropped_by_reason: Mapping[str, int]
    confusable: tuple[frozenset[str], ...]
    """The row ids of each pair of near duplicates with different labels, among the distinct rows of
    the chosen labels."""
    closest: Closest
    """The most similar pairs across the split."""
    size: TrueSize
    pii: Mapping[str, int]
    """By kind, how often personal data stood in the kept rows."""
    semantic: SemanticFacts | None = None
    """None where no encoder was asked."""
    applied: Applied | None = None
    """What became of a review's labels; None where there was none."""
    licences: tuple[LicenceStatements, ...] = ()
    """What packages and files say of the licences of the sources."""

    @property
    def num_components(self) -> int:
        """Near-duplicate components among the rows that were kept."""
        return len({row.component for row in (*self.sides.train, *self.sides.test)})


COMPARED = {
    "labels": "text",
    "chat": "turns, without system messages that several conversations share",
    "completion": "prompt",
    "text": "text",
    "preference": "prompt",
    "feedback": "prompt",
    "checked": "prompt",
    "tags": "words",
    "pairs": "anchor",
}
"""By format: what of a row near duplicates are found by."""


def write_card(facts: CardFacts) -> str:
    """The card, as Markdown."""
    config = facts.config
    by_format = {"labels": _labels, "feedback": _feedback, "tags": _tags}
    parts = [_summary(facts), _sources(facts)]
    parts += [cleared_section(config, facts.licences)] if config.licence_cleared else []
    parts += [_rows(facts), _balance(facts)]
    parts += [review_section(facts.applied)] if facts.applied else []
    parts += [own(facts)] if (own := by_format.get(config.format)) else []
    parts += [_synthetic(facts)] if any(asset.synthetic for asset in facts.assets) else []
    return "\n\n".join([*parts, _personal(facts), _split(facts)]) + "\n"


def _balance(facts: CardFacts) -> str:
    lines, said = balance_lines(facts.config, facts.assets, facts.sides)
    head = ("source", "rows", "train", "test", "share of train", "asked for")
    return f"## Balance\n\n{_table(head, lines)}{said}"


def _synthetic(facts: CardFacts) -> str:
    said, lines = synthetic_section(facts.assets, facts.sides)
    head = ("source", "generator", "sha256 of the prompt", "train", "test", "seeds")
    return f"## Synthetic rows\n\n{_table(head, lines)}\n\n{said}"


def _summary(facts: CardFacts) -> str:
    train, test = facts.sides.train, facts.sides.test
    config = facts.config
    num_labels = f"- {len(facts.chosen.labels)} labels\n" if config.format == "labels" else ""
    return f"""# Dataset {config.name}

Task: {TASKS[config.format]}. {_instruction(config)}

- {len(train)} rows ({_tokens(train)} tokens) to tune on
- {len(test)} rows ({_tokens(test)} tokens) to test on
{num_labels}- tokens are counted {facts.chosen.counted} with the tokenizer of {facts.base.name}
  ({facts.base.origin})"""


def _instruction(config: DatasetConfig) -> str:
    if config.format not in READ_BY["instruction"]:
        return f"Each row is in the format {config.format!r}."
    said = f'starts with the system message\n"{config.instruction}"'
    if not config.instruction:
        own = "its own, if it has one" if config.format == "chat" else "none"
        return f"No system message is added to a conversation: it has {own}."
    if config.format == "chat":
        return f"A conversation without a system message of its own {said}."
    return f"Every conversation {said}."


def _sources(facts: CardFacts) -> str:
    rows = [
        (asset.name, asset.origin, asset.licence, asset.owner, asset.purpose, asset.num_rows)
        for asset in facts.assets
    ]
    head = ("source", "origin", "licence", "owner", "purpose", "rows")
    repaired = [
        f"\n\n{asset.num_repaired} rows of {asset.name} are as people repaired them."
        for asset in facts.assets
        if asset.num_repaired
    ]
    return f"## Sources\n\n{_table(head, rows)}{''.join(repaired)}"


def _rows(facts: CardFacts) -> str:
    dropped = facts.dropped_by_reason
    kept = len(facts.sides.train) + len(facts.sides.test)
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

{_true_size(facts)}"""


def _true_size(facts: CardFacts) -> str:
    config, size = facts.config, facts.size
    kept = sum(facts.chosen.distinct.values())
    fitting = "a fitting label and length" if config.format == "labels" else "a fitting length"
    by_meaning = (
        f", {size.semantic_distinct} semantically distinct"
        if isinstance(size, SemanticSize)
        else ""
    )
    said = f"""{size.rows} rows, {size.distinct} distinct, {size.near_distinct} near-distinct\
{by_meaning} ({100 * size.share:.1f} %).

True size: of {size.rows} rows with {fitting}, {kept} are
distinct:"""
    if config.format not in READ_BY["similarity"]:
        return f"""{said} no two say the same, to the letter. Near duplicates are not dropped: two
rows with nearly the same {COMPARED[config.format]} may say different things. They are on one side
of the split.{_semantic(facts)}"""
    two = "no two of one label" if config.format == "labels" else "no two"
    rule = f"""{said} {two} were found to share at least (Jaccard similarity)

{_rule(duplicate_thresholds(config))}{_semantic(facts)}"""
    return f"{rule}\n\n{_confusable(facts)}" if config.format == "labels" else rule


def _semantic(facts: CardFacts) -> str:
    """What was done about rows that say the same in other words; nothing where nobody asked."""
    config, found = facts.config, facts.semantic
    if found is None or config.semantic is None:
        return ""
    which = " of one label" if config.format == "labels" else ""
    done = "all but the first of such rows were dropped, each for one that stayed"
    if config.format not in READ_BY["similarity"]:
        done = "they were not dropped"
    said = f"""

Two rows{which} mean the same if the cosine of their vectors by {found.encoder.name}
({found.encoder.origin}) is at least {config.semantic.at_least:g}:
{done}. {found.num_unread} rows were not compared
so: too long for it, or with a word unknown to it."""
    if config.format != "labels":
        return said
    kept = {(row.asset, row.row_id) for row in (*facts.sides.train, *facts.sides.test)}
    num_kept = sum((each.row.asset, each.row.row_id) in kept for each in found.contradictions)
    return f"""{said}

Contradictions: {len(found.contradictions)} distinct rows of the labels below mean the same as one
with another label. They were not dropped, and {num_kept} of them are in the dataset. They are
listed by `tunesmith data contradictions {config.name}`."""


def _confusable(facts: CardFacts) -> str:
    kept = {row.row_id for row in (*facts.sides.train, *facts.sides.test)}
    num_kept = sum(pair <= kept for pair in facts.confusable)
    return f"""Near duplicates with different labels are not dropped: there are
{len(facts.confusable)} such pairs among the distinct rows of the labels below. {num_kept} of them
are in the dataset, the two rows of each on the same side."""


def _feedback(facts: CardFacts) -> str:
    sides = (facts.sides.train, facts.sides.test)
    rows = [
        (said, *(sum(row.label == label for row in side) for side in sides))
        for said, label in (("liked", "true"), ("not liked", "false"))
    ]
    return f"## Feedback\n\n{_table(('answer', 'train', 'test'), rows)}"


def _tags(facts: CardFacts) -> str:
    train, test = (
        Counter(tag for row in side for tag in parse(row.content.encode())["tags"])
        for side in (facts.sides.train, facts.sides.test)
    )
    rows = [(tag, train[tag], test[tag]) for tag in sorted(train | test)]
    return f"## Tags\n\n{_table(('tag', 'words in train', 'words in test'), rows)}"


def _labels(facts: CardFacts) -> str:
    train = Counter(row.label for row in facts.sides.train)
    test = Counter(row.label for row in facts.sides.test)
    rows = [
        (label, facts.chosen.distinct[label], train[label], test[label])
        for label in facts.chosen.labels
    ]
    table = _table(("label", "distinct rows", "train", "test"), rows)
    config = facts.config
    short = [
        label
        for label in facts.chosen.labels
        if train[label] < config.train_per_label or test[label] < config.test_per_label
    ]
    note = (
        f"Fewer than {config.train_per_label} + {config.test_per_label} rows: {', '.join(short)}."
        if short
        else f"Every label has {config.train_per_label} + {config.test_per_label} rows."
    )
    return f"## Labels\n\n{table}\n\n{note}"


def _personal(facts: CardFacts) -> str:
    config = facts.config
    if config.pii == "off":
        return "## Personal data\n\nIt was not looked for."
    found = _table(("kind", "found"), list(facts.pii.items())) if facts.pii else "None was found."
    key = f" The key's id is {config.pii_key_id}." if config.pii_key_id else ""
    return f"""## Personal data

{found}

{TREATED[config.pii]}{key} Looked for was what has a form: e-mail and IP addresses, IBANs, payment
cards, telephone numbers, and national numbers of four countries. {_unseen(config)}"""


def _unseen(config: DatasetConfig) -> str:
    """What was looked for by a model, which misses some; and what was not."""
    others = """postal addresses, dates of
birth and what is told in words are not seen."""
    if not config.pii_names:
        return f"Names, {others}"
    kinds = ", ".join(f"{kind}s" for kind in config.pii_names)
    return f"""Names of {kinds} were looked
for by a model of English ({MODEL}). It misses names: in sentences with planted ones it
found {WORDS_FOUND:.0%} of the words of persons' names, of English ones {ENGLISH_WORDS_FOUND:.0%}. \
How many it missed
here is not known. Other {others}"""


def _split(facts: CardFacts) -> str:
    config = facts.config
    whose = {"labels": " by label", "feedback": " by whether the answer was liked"}
    others = ", whatever their labels" if config.format in ("labels", "feedback") else ""
    what = "" if config.format == "labels" else f" in their {COMPARED[config.format]}"
    how = f"assigned{whose.get(config.format, '')}, drawn with seed {facts.seed}"
    if config.test_from:
        how = f"assigned by {config.date}: what is of {config.test_from} or later is tested on"
    return f"""## How it was split

Rows form a component{others}, if they are joined by pairs that share at least
(Jaccard similarity){what}

{_rule(leak_thresholds(config))}{_alike(facts)}{_together(facts)}\
{apart_said(facts.config, facts.sides)}

A component is on one side only. The {facts.num_components} components with a row in the dataset
were {how}.{_straddling(facts)}

Residual similarity, the highest over all pairs of a training row and a test row:

- {_highest(facts.closest.words)} of their words, where either text has fewer than {SHORT}
- {_highest(facts.closest.runs)} of their word 5-grams, where both have at least {SHORT} words\
{_residual(facts)}{standing_said(facts.sides)}"""


def _alike(facts: CardFacts) -> str:
    asked, found = facts.config.semantic, facts.semantic
    if asked is None or found is None:
        return ""
    return f"\n- {asked.at_least:g} as the cosine of their vectors by {found.encoder.name}"


def _residual(facts: CardFacts) -> str:
    """The end of what was measured across the split, and what no measure sees."""
    found = facts.semantic
    if found is None:
        return """

Neither measure sees a paraphrase, nor boilerplate that is shared in part."""
    closest = "no two could be read" if found.closest is None else f"{found.closest:.3f}"
    return f"""
- {closest} as the cosine of their vectors by {found.encoder.name}

No measure sees boilerplate that is shared in part; words see no paraphrase, and an encoder no small
word that turns what is said around."""


def _together(facts: CardFacts) -> str:
    fields = list(facts.config.together)
    fields += [f"{asset.subject} of {asset.name}" for asset in facts.assets if asset.subject]
    if not fields:
        return ""
    return f"""

or have a value in common of: {", ".join(map(_cell, fields))}."""


def _straddling(facts: CardFacts) -> str:
    if not facts.config.test_from:
        return ""
    left_out = len(facts.sides.straddling)
    return f""" {left_out} later rows
were left out, as a row before that date is of their component."""


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
