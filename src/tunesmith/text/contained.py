"""Texts that stand in longer ones: the share of their runs of eight words that one other text has.

Similarity is of whole texts (`text.dedup`): a question of forty words in a document of a thousand
is like it in nothing, and a model that was tuned on the document has seen it. How much of the
shorter text stands in the longer is another measure, and is not symmetric. Eight words are the run
by which PaLM was held against its test sets (Chowdhery et al. 2022, which asked for seven in ten of
them), and the shortest that GPT-3 was (Brown et al. 2020, appendix C, up to 13).

Runs are compared by 64 bits, so that time and memory grow as the texts do. A run that very many
rows have is a template's, a system prompt's or a notice's, and tells nothing: it is left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tunesmith.text.sketch import hashed_words

NUM_WORDS = 8
"""Words in a run. A text with fewer is not looked for."""
AT_LEAST = 0.8
"""The share of a text's runs, of those that count, from which it stands in another."""
COMMON_SHARE = 0.01
"""A run does not count that stands in more than this share of the texts of one side."""
COMMON_ROWS = 10
"""Nor does it count against a run that so few texts have it, however few there are."""
_TEXTS_AT_ONCE = 2048
_MATCHES_AT_ONCE = 1 << 22
# Odd numbers without a pattern, so that the order of the words in a run counts.
_PLACES = np.array(
    [0xD1342543DE82EF95, 0xAF251AF3B0F025B5, 0xB564EF22EC7AECE5, 0xF7C2EBC08F67F2B5,
     0x9FB21C651E98DF25, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x27D4EB2F165667C5],
    dtype=np.uint64,
)  # fmt: skip

_Numbers = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Held:
    """A text, by position, that stands in another."""

    first: int
    """The one that is looked for."""
    second: int
    """The one that has it."""
    share: float
    """Of the runs of the first that count."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Contained:
    """What stands where, and what could not be looked for."""

    held: tuple[Held, ...]
    """In order of (first, second)."""
    num_short: int
    """Texts of fewer than `NUM_WORDS` words."""
    num_common: int
    """Texts of which too little is left without the runs that do not count."""


def contained(
    looked_for: Sequence[str], within: Sequence[str], rows_of: Sequence[int] = ()
) -> Contained:
    """Which of the texts `looked_for` stand in one of `within`, by at least `AT_LEAST`.

    `rows_of` says, in order, of which row each of them is, where some are of one row: what a row
    says twice is not common for that.
    Without the runs that do not count a text needs more of them than a word touches that is filled
    into a template, or all that it had.
    """
    texts, runs = _runs_of(looked_for)
    known, which = np.unique(runs, return_inverse=True)
    num_runs = np.bincount(texts, minlength=len(looked_for))
    rows, places = _occurrences(known, within)
    row_of = np.asarray(rows_of or range(len(looked_for)), dtype=np.int64)
    each_once = np.unique((row_of[texts] << 32) | which) & 0xFFFFFFFF
    counts = ~(
        _is_common(each_once, len(known), len(set(row_of.tolist())))
        | _is_common(places, len(known), len(within))
    )
    texts, which = texts[counts[which]], which[counts[which]]
    rows, places = rows[counts[places]], places[counts[places]]
    num_left = np.bincount(texts, minlength=len(looked_for))
    is_judged = num_left >= np.maximum(1, np.minimum(num_runs, NUM_WORDS + 1))
    texts, which = texts[is_judged[texts]], which[is_judged[texts]]
    return Contained(
        held=tuple(_held(_Postings.of(texts, which, len(known)), num_left, rows, places)),
        num_short=int((num_runs == 0).sum()),
        num_common=int(((num_runs > 0) & ~is_judged).sum()),
    )


def held_rows(asked: Sequence[Sequence[str]], within: Sequence[str]) -> tuple[Held, ...]:
    """What is `asked`, and the texts of `within` in which one of its texts stands, by position, in
    order. Each of its texts is looked for by itself; the share is of the one that most stands."""
    owners = [owner for owner, texts in enumerate(asked) for _ in texts]
    best: dict[tuple[int, int], float] = {}
    for held in contained([text for texts in asked for text in texts], within, owners).held:
        at = owners[held.first], held.second
        best[at] = max(held.share, best.get(at, 0.0))
    return tuple(
        Held(first=first, second=second, share=share)
        for (first, second), share in sorted(best.items())
    )


def everything_in(content: str) -> str:
    """All texts of a row's content, whatever its format: its prompt, its answers, its turns."""

    def texts(value: Any) -> Iterator[str]:
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict):
            for name, each in value.items():
                if name != "role":  # it would stand between the turns
                    yield from texts(each)
        elif isinstance(value, list):
            for each in value:
                yield from texts(each)

    return "\n".join(texts(json.loads(content)))


def asked_in(content: str) -> tuple[str, ...]:
    """What the user says in each turn of a row's content; nothing unless it is a conversation."""
    turns = json.loads(content).get("messages", ())
    return tuple(turn["content"] for turn in turns if turn["role"] == "user" and turn["content"])


@dataclass(frozen=True, kw_only=True, slots=True)
class _Postings:
    """Which texts have each run, by its number."""

    texts: _Numbers
    """By the runs' numbers."""
    starts: _Numbers
    """Where those of each run begin; one more than there are runs."""

    @classmethod
    def of(cls, texts: _Numbers, which: _Numbers, num_runs: int) -> _Postings:
        """The texts in order of the runs."""
        order = np.argsort(which, kind="stable")
        sizes = np.bincount(which, minlength=num_runs)
        return cls(texts=texts[order], starts=np.concatenate([[0], np.cumsum(sizes)]))


def _held(postings: _Postings, num_left: _Numbers, rows: _Numbers, places: _Numbers) -> list[Held]:
    """The texts that rows have, of the runs at `places` that stand in them."""
    sizes = np.diff(postings.starts)[places]
    totals = np.concatenate([[0], np.cumsum(sizes)])
    found: list[Held] = []
    start = 0
    while start < len(rows):
        # About so many matches at once, and all of a row's: they are counted together.
        last = np.searchsorted(totals, totals[start] + _MATCHES_AT_ONCE, side="right") - 2
        end = int(np.searchsorted(rows, rows[max(last, start)], side="right"))
        part, num = slice(start, end), sizes[start:end]
        firsts = np.repeat(postings.starts[places[part]] - (totals[part] - totals[start]), num)
        texts = postings.texts[firsts + np.arange(len(firsts))]
        pairs = (np.repeat(rows[part], num) << 32) | texts
        each, shared = np.unique(pairs, return_counts=True)
        seconds, texts = each >> 32, each & 0xFFFFFFFF
        shares = shared / num_left[texts]
        found += [
            Held(first=int(texts[at]), second=int(seconds[at]), share=float(shares[at]))
            for at in np.flatnonzero(shares >= AT_LEAST)
        ]
        start = end
    return sorted(found, key=lambda held: (held.first, held.second))


def _occurrences(known: _Numbers, within: Sequence[str]) -> tuple[_Numbers, _Numbers]:
    """Rows, in order, and the places in `known` of the runs that stand in them, each once."""
    rows, places = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.int64)]
    for start in range(0, len(within) if len(known) else 0, _TEXTS_AT_ONCE):
        texts, runs = _runs_of(within[start : start + _TEXTS_AT_ONCE])
        at = np.searchsorted(known, runs)
        is_known = known[np.minimum(at, len(known) - 1)] == runs
        rows.append(texts[is_known] + start)
        places.append(at[is_known])
    return np.concatenate(rows), np.concatenate(places)


def _is_common(which: _Numbers, num_runs: int, num_texts: int) -> _Numbers:
    """Of each run whether too many of the texts have it."""
    most = max(COMMON_ROWS, COMMON_SHARE * num_texts)
    return np.bincount(which, minlength=num_runs) > most


def _runs_of(texts: Sequence[str]) -> tuple[_Numbers, _Numbers]:
    """The text of each run, in order, and 64 bits of it; of a text each run once."""
    every, of = [np.zeros(0, dtype=np.uint64)], [np.zeros(0, dtype=np.int64)]
    for start in range(0, len(texts), _TEXTS_AT_ONCE):
        words, sizes = hashed_words(texts[start : start + _TEXTS_AT_ONCE])
        ends = np.cumsum(sizes)
        place = np.arange(len(words)) - np.repeat(ends - sizes, sizes)
        starts = np.flatnonzero(place + NUM_WORDS <= np.repeat(sizes, sizes))
        runs = np.zeros(len(starts), dtype=np.uint64)
        for offset, factor in enumerate(_PLACES):
            runs += words[starts + offset] * factor
        runs ^= runs >> np.uint64(29)
        texts_of = np.searchsorted(ends, starts, side="right")
        order = np.lexsort((runs, texts_of))
        runs, texts_of = runs[order], texts_of[order]
        is_new = np.ones(len(runs), dtype=bool)
        is_new[1:] = (runs[1:] != runs[:-1]) | (texts_of[1:] != texts_of[:-1])
        every.append(runs[is_new])
        of.append(texts_of[is_new] + start)
    return np.concatenate(of), np.concatenate(every)
