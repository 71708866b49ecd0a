"""What is looked at before the first step: rows that cannot be learnt from as they are."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from tunesmith.core.errors import DataError
from tunesmith.lm.chat_template import WORD_JOINER, stop_ids
from tunesmith.lm.example import Example, pack
from tunesmith.lm.tokenizer import Tokenizer

MAX_LISTED = 5
"""Rows named in an error message."""

TEMPLATE = "use a base model whose template ends each turn with a special token, once"
Rule = tuple[str, tuple[int, ...], str, str]
"""Name, numbers of the known defects, what is wrong with the rows, remedy."""
LENGTH: Rule = (
    "length",
    (11, 18),
    "are longer than the model's {} tokens",
    "set the dataset's max_tokens to what the base model can read",
)
ROW_ID: Rule = ("row id", (33,), "have the id of another row", "give every row an id of its own")
RULES: tuple[Rule, ...] = (
    ("label", (15, 17), "have no label token", "give every row a label"),
    LENGTH,
    ("end of turn", (14, 18), "do not end with a token that ends a turn", TEMPLATE),
    ("trained end", (13, 14), "end with a token that is not trained", "train every answer's end"),
    ("padding", (13,), "end a turn more than once, as padding does", TEMPLATE),
    (
        "one beginning",
        (19,),
        "begin with the beginning token twice",
        "take it out of the chat template",
    ),
    (
        "served prompt",
        (19, 20),
        "are asked in other tokens than a served request would be",
        "use a base model whose template renders the same prompt every time",
    ),
    ROW_ID,
)
"""Of conversations."""
WRITTEN_RULES: tuple[Rule, ...] = (
    (
        "source text",
        (20, 23),
        "have an answer whose tokens do not say its text",
        "use a base model whose tokenizer knows all of its characters",
    ),
    (
        "two answers",
        (23,),
        "have two answers of the same tokens",
        "leave them out: they do not say what is better",
    ),
)
"""The same, of answers of which somebody said what they are worth."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One thing that no training row may have, and the rows that have it."""

    rule: str
    defects: tuple[int, ...]
    """Numbers of the known defects of fine-tuning that it is, as in
    docs/explanation/defects-of-peers.md."""
    fault: str
    """What is wrong with the rows, e.g. "have no label token"."""
    remedy: str
    row_ids: tuple[str, ...]

    def __str__(self) -> str:
        more = len(self.row_ids) - MAX_LISTED
        listed = ", ".join(self.row_ids[:MAX_LISTED]) + (f" and {more} more" if more > 0 else "")
        return f"{len(self.row_ids)} rows {self.fault}: {listed}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Preflight:
    """What was found in the rows of a run; every rule is there, broken or not."""

    num_rows: int
    num_tokens: int
    num_labels: int
    findings: tuple[Finding, ...]


def inspect(
    rows: Sequence[Example],
    served: Sequence[Sequence[int]],
    tokenizer: Tokenizer,
    context_length: int,
    written: Sequence[Sequence[str]] | None = None,
) -> Preflight:
    """Look at every row for what makes a run useless or dishonest.

    `served` are the prompts of the rows as serving would make them, in the same order; `written`
    the texts of the answers of each row, where somebody judged them.
    """
    broken = [list(_broken(row, tokenizer)) for row in rows]
    for row, texts, rules in zip(rows, written or (), broken, strict=written is not None):
        rules.extend(_broken_by_answers(row, texts, tokenizer))
    for row, prompt, rules in zip(rows, served, broken, strict=True):
        if row.prompt != tuple(prompt):
            rules.append("served prompt")
    rules_of_all = RULES if written is None else (*RULES, *WRITTEN_RULES)
    return found_in(rows, broken, rules_of_all, context_length)


def inspect_texts(rows: Sequence[Example], tokenizer: Tokenizer, context_length: int) -> Preflight:
    """As `inspect`, of texts that no template has rendered."""
    names = ("label", "length", "one beginning", "row id")
    broken = [[rule for rule in _broken(row, tokenizer) if rule in names] for row in rows]
    return found_in(rows, broken, [rule for rule in RULES if rule[0] in names], context_length)


def found_in(
    rows: Sequence[Example],
    broken: Sequence[Iterable[str]],
    rules: Sequence[Rule],
    context_length: int,
) -> Preflight:
    """What there is to say of `rows`, of which each breaks the `rules` named in its part of
    `broken`, and those that hold for all: its length and its id."""
    found: dict[str, dict[str, None]] = {rule: {} for rule, *_ in rules}
    times = Counter(row.row_id for row in rows)
    for row, names in zip(rows, broken, strict=True):
        for rule in names:
            found[rule][row.row_id] = None
        if max(map(len, row.documents())) > context_length:
            found["length"][row.row_id] = None
        if times[row.row_id] > 1:
            found["row id"][row.row_id] = None
    return Preflight(
        num_rows=len(rows),
        num_tokens=sum(row.num_tokens for row in rows),
        num_labels=sum(row.num_labels for row in rows),
        findings=tuple(
            Finding(
                rule=rule,
                defects=defects,
                fault=fault.format(context_length),
                remedy=remedy,
                row_ids=tuple(found[rule]),
            )
            for rule, defects, fault, remedy in rules
        ),
    )


def _broken(row: Example, tokenizer: Tokenizer) -> Iterator[str]:
    """The rules that a row breaks by itself. Places decide, never the value of a token: an end of
    turn that is also the padding is trained like any other."""
    stop = stop_ids(tokenizer)
    bos = tokenizer.bos_token
    labelled = _labelled_places(row)
    if not labelled or not all(labelled):
        yield "label"
    for number, ids in enumerate(row.documents()):
        if ids[-1] not in stop:
            yield "end of turn"
        elif labelled and len(ids) - 1 not in labelled[number]:
            yield "trained end"
        if len(ids) > 1 and stop.issuperset(ids[-2:]):
            yield "padding"
        if bos and ids[:2] == (tokenizer.id_of(bos),) * 2:
            yield "one beginning"


def _broken_by_answers(row: Example, texts: Sequence[str], tokenizer: Tokenizer) -> Iterator[str]:
    """The rules that answers break which were made from `texts`."""
    said = [_letters(tokenizer.decode(answer.ids)) for answer in row.answers]
    # A template may trim a text, or write more than it, as Qwen3's empty block of reasoning.
    if not all(_letters(text) in each for text, each in zip(texts, said, strict=True)):
        yield "source text"
    if len({answer.ids for answer in row.answers}) < len(row.answers):
        yield "two answers"


def _letters(text: str) -> str:
    """`text` without white space, and without what parts the special tokens that it spells."""
    plain = unicodedata.normalize("NFKC", text).replace(WORD_JOINER, "")
    return "".join(plain.split())


def require_sound(preflight: Preflight) -> None:
    """Refuse what cannot be learnt from as it is; nothing is cut off or left out in silence.

    Raises:
        DataError: there are no rows, or a rule is broken; every broken one is named, with rows.
    """
    if not preflight.num_rows:
        raise DataError(
            "the dataset has no training rows", remedy="look at what was dropped, and loosen it"
        )
    broken = [finding for finding in preflight.findings if finding.row_ids]
    if broken:
        raise DataError(
            "; ".join(map(str, broken)),
            remedy="; ".join(dict.fromkeys(finding.remedy for finding in broken)),
        )


def _labelled_places(row: Example) -> list[set[int]]:
    """Places of each document of the row that the loss is taken on, as the loop takes it."""
    micros = [pack([replace(row, answers=(answer,))]) for answer in row.answers]
    return [set(micro.places.tolist()) for micro in micros]
