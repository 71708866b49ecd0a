"""Duplicates: speed, recall and precision on planted ones, leaks, and the true size of a known set.

    python bench/dedup.py [near] [leaks] [size]

`near`: 20,000 documents of 60 to 180 words (Zipf's law), a fifth of them edited copies; F1 over the
pairs that share at least 0.6 of their word 5-grams, counted here a second time; every row that goes
is compared with the one it goes for. Bars: 6,000 documents a second, F1 0.95, none below 0.6.
`leaks`: test rows, some of them in the training rows as they are, in other case and spacing, or
edited; bars: all exact ones, 98 % of the near ones. `size`: chatterbot-corpus's tech_support file,
1,050 pairs of which 10 are distinct. One core; the times are of a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import itertools
import random
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import yaml
from finetune_cpu import _wheel

from tunesmith.text.dedup import Thresholds, duplicate_of, duplicates, exact_key, resembling

CORPUS = "chatterbot-corpus==1.3.3"
MEMBER = "chatterbot_corpus/data/english/tech_support.yml"
RUNS = 0.6
THRESHOLDS = Thresholds(words=0.8, runs=RUNS)
LEAKS = Thresholds(words=0.7, runs=0.4)
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
    """Test rows that are among the training rows in one form or another."""
    draw = random.Random(1)
    test = [document(draw) for _ in range(2000)]
    train = [" ".join(document(draw)) for _ in range(8000)]
    forms = {
        "exact": " ".join,
        "case and spacing": lambda words: "\n ".join(words).upper(),
        "near": lambda words: " ".join(edited(words, draw.uniform(0.01, 0.08), draw)),
    }
    planted: dict[str, list[int]] = {name: [] for name in forms}
    for words in test[:900]:
        name = draw.choice(list(forms))
        copy = forms[name](words)
        if name != "near" or similarity(words, copy.split()) >= LEAKS.runs:
            planted[name].append(len(train))
            train.append(copy)
    found = resembling(train, [" ".join(words) for words in test], LEAKS)
    shares = {
        name: sum(found[row] is not None for row in rows) / len(rows)
        for name, rows in planted.items()
    }
    others = sum(pair is not None for pair in found[:8000])
    said = ", ".join(f"{name} {100 * share:.1f} %" for name, share in shares.items())
    print(f"leaks  found: {said}; {others} of 8000 others said to leak")
    exact = shares["exact"] == shares["case and spacing"] == 1.0
    return exact and shares["near"] >= 0.98 and others == 0


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
