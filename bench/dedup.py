"""Duplicates: speed, recall and precision on planted ones, leaks, and the true size of a known set.

    python bench/dedup.py [near] [leaks] [size]

`near`: 20,000 documents of 60 to 180 words (Zipf's law), a fifth of them edited copies; F1 over the
pairs that share at least 0.6 of their word 5-grams, counted here a second time; every row that goes
is compared with the one it goes for. Bars: 6,000 documents a second, F1 0.95, none below 0.6.
`leaks`: test rows that are planted in the training rows as they are, in other case and spacing, or
with a share of their words edited, and the same in the middle of a longer row; how many are found
is said of each form, whatever the detector's thresholds. Bars: all that are not edited, 98 % of the
rows with one word in twenty edited, no other row, 6,000 documents a second for containment. `size`:
chatterbot-corpus's tech_support file, 1,050 pairs of which 10 are distinct. One core; the times are
of a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import itertools
import random
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import yaml
from finetune_cpu import _wheel

from tunesmith.text.contained import contained
from tunesmith.text.dedup import Thresholds, duplicate_of, duplicates, exact_key, resembling

CORPUS = "chatterbot-corpus==1.3.3"
MEMBER = "chatterbot_corpus/data/english/tech_support.yml"
RUNS = 0.6
THRESHOLDS = Thresholds(words=0.8, runs=RUNS)
LEAKS = Thresholds(words=0.7, runs=0.4)
RATES = (0.01, 0.02, 0.05, 0.1, 0.2)
"""Shares of a text's words that are edited."""
NUM_DOCUMENTS, COPIES = 20_000, 0.2
VOCABULARY = [f"w{number}" for number in range(30_000)]
WEIGHTS = list(itertools.accumulate(1 / rank for rank in range(1, len(VOCABULARY) + 1)))


def main() -> None:
    """The named cases, or all; the exit code says whether every bar is met."""
    cases = {"near": near, "leaks": leaks, "size": size}
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", metavar="CASE", help=", ".join(cases))
    wanted = parser.parse_args().cases or list(cases)
    if unknown := [name for name in wanted if name not in cases]:
        parser.error(f"there is no case {unknown[0]!r}")
    sys.exit(0 if min([cases[name]() for name in wanted]) else 1)


def document(draw: random.Random) -> list[str]:
    """Words of one document."""
    return draw.choices(VOCABULARY, cum_weights=WEIGHTS, k=draw.randint(60, 180))


def edited(words: list[str], share: float, draw: random.Random) -> list[str]:
    """A copy with this share of its words, at least one, put elsewhere than they were."""
    copy = list(words)
    for _ in range(max(1, round(share * len(copy)))):
        copy[draw.randrange(len(copy))] = draw.choice(VOCABULARY)
    return copy


def similarity(one: list[str], other: list[str]) -> float:
    """Jaccard similarity of the word 5-grams, written a second time."""
    first, second = ({tuple(w[i : i + 5]) for i in range(len(w) - 4)} for w in (one, other))
    return len(first & second) / len(first | second)


def near() -> bool:
    """Planted near-duplicates among many documents."""
    draw = random.Random(0)
    documents: list[list[str]] = []
    families: list[list[int]] = []
    for number in range(NUM_DOCUMENTS):
        if families and draw.random() < COPIES:
            family = draw.choice(families)
            documents.append(edited(documents[family[0]], draw.uniform(0, 0.15), draw))
            family.append(number)
        else:
            documents.append(document(draw))
            families.append([number])
    texts = [" ".join(words) for words in documents]
    started, before_s = time.perf_counter(), time.process_time()
    found = duplicates(texts, THRESHOLDS)
    goes = duplicate_of(len(texts), found)
    wall_s, cpu_s = time.perf_counter() - started, time.process_time() - before_s
    true = {
        pair
        for family in families
        for pair in itertools.combinations(family, 2)
        if similarity(*(documents[row] for row in pair)) >= RUNS
    }
    said = {(pair.first, pair.second) for pair in found}
    f1 = 2 * len(true & said) / (len(true) + len(said))
    below = sum(
        similarity(documents[pair.first], documents[pair.second]) < RUNS for pair in goes if pair
    )
    kept = [row for row, pair in enumerate(goes) if pair is None]
    left = sum(goes[one] is None and goes[other] is None for one, other in true)
    speed = len(texts) / wall_s
    print(
        f"near   {speed:.0f} documents/s, {len(texts) / cpu_s:.0f} a second of "
        f"processor ({len(texts)}, {sum(map(len, texts)) / 1e6:.1f} MB); "
        f"{len(true)} planted pairs, F1 {f1:.4f}; {len(texts) - len(kept)} rows go, "
        f"{below} of them for one that is not similar enough; {left} pairs stay"
    )
    return speed >= 6000 and f1 >= 0.95 and below == 0


def leaks() -> bool:
    """Test rows that are among the training rows in one form or another.

    What is planted is counted whatever the measure says of it: a leak is what was copied, and not
    what is found.
    """
    draw = random.Random(1)
    test = [document(draw) for _ in range(4800)]
    questions = [document(draw)[: draw.randint(8, 25)] for _ in range(400)]
    train = [" ".join(document(draw)) for _ in range(8000)]

    def inside(words: list[str]) -> str:
        around = [[word for _ in range(3) for word in document(draw)] for _ in range(2)]
        return " ".join([*around[0], *words, *around[1]])

    def changed(rate: float) -> Callable[[list[str]], list[str]]:
        return lambda words: edited(words, rate, draw)

    forms: dict[str, Callable[[list[str]], str]] = {
        "exact": " ".join,
        "case and spacing": lambda words: "\n ".join(words).upper(),
    }
    for rate in RATES:
        copy = changed(rate)
        forms[f"{rate:.0%} edited"] = lambda words, copy=copy: " ".join(copy(words))
    forms["inside"] = inside
    for rate in RATES[:-1]:
        copy = changed(rate)
        forms[f"inside, {rate:.0%} edited"] = lambda words, copy=copy: inside(copy(words))
    planted: dict[str, list[int]] = {}
    for number, (name, form) in enumerate(forms.items()):
        copies = [form(words) for words in test[number * 400 : (number + 1) * 400]]
        planted[name] = list(range(len(train), len(train) + len(copies)))
        train += copies
    planted["question inside"] = list(range(len(train), len(train) + len(questions)))
    train += [inside(words) for words in questions]
    asked = [" ".join(words) for words in (*test, *questions)]
    alike = {row for row, pair in enumerate(resembling(train, asked, LEAKS)) if pair is not None}
    started = time.perf_counter()
    holding = {held.second for held in contained(asked, train).held}
    speed = (len(asked) + len(train)) / (time.perf_counter() - started)
    print(f"leaks  {speed:.0f} documents/s for what stands in another; found by likeness, by both:")
    shares = {}
    for name, rows in planted.items():
        by_likeness = sum(row in alike for row in rows) / len(rows)
        shares[name] = sum(row in alike or row in holding for row in rows) / len(rows)
        print(f"         {name:<22} {by_likeness:6.1%}  {shares[name]:6.1%}")
    others = sum(row in alike or row in holding for row in range(8000))
    print(f"       {others} of 8000 others said to leak")
    whole = ("exact", "case and spacing", "inside", "question inside")
    found = all(shares[name] == 1.0 for name in whole) and shares["5% edited"] >= 0.98
    return found and others == 0 and speed >= 6000


def size() -> bool:
    """What a well-known file of 1,050 pairs holds."""
    cache = Path(tempfile.gettempdir()) / "tunesmith-bench"
    cache.mkdir(exist_ok=True)
    with zipfile.ZipFile(_wheel(CORPUS, cache)) as wheel:
        pairs = yaml.safe_load(wheel.read(MEMBER))["conversations"]
    texts = ["\n".join(pair) for pair in pairs]
    distinct = list({exact_key(text): text for text in texts}.values())
    goes = duplicate_of(len(distinct), duplicates(distinct, THRESHOLDS))
    num_near = goes.count(None)
    print(f"size   {len(texts)} rows, {len(distinct)} distinct, {num_near} near-distinct")
    return (len(texts), len(distinct), num_near) == (1050, 10, 10)


if __name__ == "__main__":
    main()
