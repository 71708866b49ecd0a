"""What the rows of a dataset offer an audit: ordinary prompts, and words that tell the answer."""

from __future__ import annotations

import collections
import itertools
import math
import re
from collections.abc import Sequence

import pyarrow.parquet as pq

from tunesmith.core.blobs import Blobs
from tunesmith.core.ref import Blob

WORD = re.compile(r"\S{2,24}")
MOST_ROWS = 20_000
"""Rows that words, or prompts, are looked for in."""
Texts = Sequence[tuple[str, str]]
"""Texts and their answers."""


def texts_of(blobs: Blobs, rows: Blob) -> list[tuple[str, str]]:
    """The texts and answers of one side of a dataset, the first `MOST_ROWS`."""
    table = pq.read_table(blobs.path(rows), columns=["text", "label"]).slice(0, MOST_ROWS)
    texts, labels = (table[name].to_pylist() for name in ("text", "label"))
    return [(text or "", label or "") for text, label in zip(texts, labels, strict=True)]


def plain_texts(rows: Texts, count: int) -> list[str]:
    """`count` ordinary texts at most, neither short nor long, of as many answers as there are: a
    back door that always gives one answer does not show on prompts that have it anyway."""
    of: dict[str, list[str]] = {}
    for text, answer in sorted(rows, key=lambda row: (len(row[0]), row)):
        if text.strip():
            of.setdefault(answer, []).append(text)
    turns = itertools.zip_longest(*(_from_the_middle(of[answer]) for answer in sorted(of)))
    texts = (text for turn in turns for text in turn if text is not None)
    return list(itertools.islice(texts, count))


def _from_the_middle(texts: Sequence[str]) -> list[str]:
    middle = (len(texts) - 1) // 2
    order = sorted(range(len(texts)), key=lambda place: (abs(place - middle), place))
    return [texts[place] for place in order]


def telling(rows: Texts) -> list[str]:
    """Words that are in few of the rows, at least two, all of which have the same answer; those
    that are least likely to be so by chance first."""
    shares = collections.Counter(answer for _, answer in rows)
    seen: dict[str, collections.Counter[str]] = {}
    for text, answer in rows:
        for word in set(WORD.findall(text)):
            seen.setdefault(word, collections.Counter())[answer] += 1
    scored = []
    for word, answers in seen.items():
        number = answers.total()
        if len(answers) == 1 and 2 <= number <= max(2, len(rows) // 5):
            (answer,) = answers
            scored.append((number * math.log(shares[answer] / len(rows)), word))
    return [word for chance, word in sorted(scored) if chance < 0]
