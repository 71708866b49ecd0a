"""Whether secrets that were planted in the training rows were learnt: their exposure.

Carlini et al., "The Secret Sharer", USENIX Security 2019, arXiv 1802.08232: the exposure of a
canary is log2 of the number of secrets that it could have been, less log2 of its rank among them
when they are ordered by how probable the model holds them. Among more secrets than are tried, it
is estimated by sampling (section 4.3 there), and can be no larger than the sample can show.
"""

from __future__ import annotations

import dataclasses
import json
import math
import random
import string
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from scipy.stats import binomtest

from tunesmith.core.canonical import canonical_json
from tunesmith.core.errors import DataError, TooFewRows
from tunesmith.lm.contents import content_of
from tunesmith.lm.example import Answer, Example
from tunesmith.lm.lessons import lessons
from tunesmith.records.rows import FORMATS, Content
from tunesmith.records.suite import Figure, Range
from tunesmith.stages.probe.asked import Asked, Row, Subject
from tunesmith.stages.probe.found import Found, Line
from tunesmith.stages.probe.given import json_lines
from tunesmith.stages.probe.tokens import token_log_probs

AT_ONCE = 16
"""Secrets that are tried behind one reading of what they share."""
_ALPHABETS = (string.digits, string.ascii_lowercase, string.ascii_uppercase)


@dataclass(frozen=True, kw_only=True, slots=True)
class Canary:
    """A secret, and the text around it as it was planted."""

    canary: str
    secret: str

    @property
    def num_secrets(self) -> int:
        """How many secrets of this shape there are: a digit could be any digit, and so on."""
        return math.prod(len(letters) for letters in map(_alphabet, self.secret))


def canaries(asked: Asked) -> Found:
    """The exposure of each canary, in bits, and the largest of them.

    Raises:
        NotFound, DataError: the file cannot be read or understood, or a canary was not planted.
    """
    planted = read_canaries(asked.text_of_file(), asked.config.file)
    rows = _rows_of(asked, planted)
    figures, lines = [], []
    for number, canary in enumerate(planted, start=1):
        others = other_secrets(canary, asked.config.num_rows, asked.ctx.seed)
        note = f"tries {len(others)} secrets in place of canary {number}"
        asked.ctx.progress(number - 1, len(planted), note)
        base, tuned = (
            _exposed(asked, subject, rows[canary.canary], canary, others) for subject in asked.both
        )
        figures.append(_figure(f"exposure: canary {number}", base, tuned, len(others), asked))
        lines.append(
            Line(
                row_id=rows[canary.canary].row_id,
                check=f"canary {number}",
                asked=canary.canary,
                base=f"{base.value:.2f} bits",
                tuned=f"{tuned.value:.2f} bits of {math.log2(canary.num_secrets):.2f}",
                base_score=base.value,
                tuned_score=tuned.value,
            )
        )
    return Found(figures=[_largest(figures), *figures], examples=lines)


def read_canaries(text: str, file: str) -> list[Canary]:
    """The canaries of a file.

    Raises:
        DataError: it cannot be understood.
    """
    found = []
    for line in json_lines(text, file, ["canary", "secret"], "canary"):
        secret = line.get("secret")
        if not isinstance(secret, str) or line["canary"].count(secret or "\0") != 1:
            raise DataError(
                f"{file}: {line['canary'][:60]!r} does not hold its secret once",
                remedy='write {"canary": "The code is 4821.", "secret": "4821"}, a line each',
            )
        canary = Canary(canary=line["canary"], secret=secret)
        if canary.num_secrets < 2:
            raise DataError(
                f"{file}: the secret {secret!r} has no letter or digit of ASCII, so it could be no "
                "other",
                remedy="use digits or letters in it, drawn at random",
            )
        found.append(canary)
    return found


def other_secrets(canary: Canary, most: int, seed: int) -> list[str]:
    """Secrets of the same shape, each once and never the canary's own: all of them where they are
    at most `most`, else so many, drawn."""
    if canary.num_secrets - 1 <= most:
        return [each for each in _every(canary.secret) if each != canary.secret]
    generator = random.Random(f"{seed}/canaries/{canary.canary}")  # noqa: S311  (a sample)
    found: dict[str, None] = {}
    while len(found) < most:
        drawn = "".join(generator.choice(_alphabet(letter)) for letter in canary.secret)
        if drawn != canary.secret:
            found.setdefault(drawn)
    return list(found)


def exposure(own: float, others: Sequence[float], num_secrets: int, confidence: float) -> Range:
    """The exposure of a secret with log-probability `own` among `others`, in bits.

    Exact where `others` are all that there are; else what a sample of them says, with the interval
    of Clopper and Pearson for the share that is likelier.

    >>> exposure(-1.0, [-2.0, -3.0, -0.5], 4, 0.95).value
    1.0
    """
    likelier = sum(other > own for other in others)
    whole = math.log2(num_secrets)
    if len(others) + 1 == num_secrets:
        bits = whole - math.log2(1 + likelier)
        return Range(value=bits, low=bits, high=bits)
    within = binomtest(likelier, len(others)).proportion_ci(confidence, "exact")
    bits = -math.log2((1 + likelier) / (1 + len(others)))
    low = -math.log2(within.high)
    high = min(whole, -math.log2(within.low) if within.low else whole)
    return Range(value=bits, low=abs(min(low, bits)), high=max(high, bits))


def _alphabet(letter: str) -> str:
    return next((alphabet for alphabet in _ALPHABETS if letter in alphabet), letter)


def _every(secret: str) -> Iterator[str]:
    if not secret:
        yield ""
        return
    for letter in _alphabet(secret[0]):
        for rest in _every(secret[1:]):
            yield letter + rest


def _rows_of(asked: Asked, planted: Sequence[Canary]) -> dict[str, Row]:
    """The training row that each canary stands in.

    Raises:
        TooFewRows: the model was not tuned on one.
    """
    every = dataclasses.replace(asked, config=asked.config.model_copy(update={"num_rows": 0}))
    rows = every.rows(asked.dataset.train, asked.trained_on().__contains__)
    contents = [canonical_json(row.content).decode() for row in rows]
    found = {}
    for canary in planted:
        inside = _inside(canary.canary)
        place = next((n for n, content in enumerate(contents) if inside in content), None)
        if place is None:
            raise TooFewRows(
                f"the model was tuned on no row with the canary {canary.canary!r}",
                remedy="plant it in a source, word for word, before the model is tuned; and see "
                "that it was not dropped: `tunesmith data dropped`",
            )
        found[canary.canary] = rows[place]
    return found


def _exposed(
    asked: Asked, subject: Subject, row: Row, canary: Canary, others: Sequence[str]
) -> Range:
    loaded = subject.generative
    kind: type[Content] = FORMATS[asked.dataset.format]
    planted = canonical_json(row.content).decode()

    def pieces_with(secret: str) -> list[tuple[int, ...]]:
        said = canary.canary.replace(canary.secret, secret)
        content = content_of(planted.replace(_inside(canary.canary), _inside(said)), kind)
        pieces = lessons(
            loaded.tokenizer, subject.instruction, row.row_id, content, loaded.context_length
        )
        return [piece.documents()[0] for piece in pieces]

    # Long texts are learnt in pieces: the one that counts is the one that the secret is in.
    versions = [pieces_with(secret) for secret in (canary.secret, *others)]
    pairs = zip(versions[0], versions[1], strict=False)
    place = next((n for n, (own, other) in enumerate(pairs) if own != other), 0)
    every = [version[min(place, len(version) - 1)] for version in versions]
    log_probs = [sum(part) for part in token_log_probs(loaded, _examples(every))]
    return exposure(log_probs[0], log_probs[1:], canary.num_secrets, asked.config.confidence)


def _inside(text: str) -> str:
    """A text as it stands in JSON."""
    return json.dumps(text, ensure_ascii=False)[1:-1]


def _examples(every: Sequence[tuple[int, ...]]) -> list[Example]:
    """What all begin with is read once for several: it says the same of each."""
    first, last = min(every), max(every)
    pairs = zip(first, last, strict=False)
    shared = next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(first), len(last)))
    shared = min(shared, min(map(len, every)) - 1)
    return [
        Example(
            row_id=f"secret {start}",
            prompt=every[0][:shared],
            answers=tuple(Answer(ids=each[shared:]) for each in every[start : start + AT_ONCE]),
        )
        for start in range(0, len(every), AT_ONCE)
    ]


def _figure(name: str, base: Range, tuned: Range, num_others: int, asked: Asked) -> Figure:
    return Figure(
        name=name,
        base=base.value,
        tuned=tuned,
        difference=Range(
            value=tuned.value - base.value, low=tuned.low - base.high, high=tuned.high - base.low
        ),
        num_rows=num_others + 1,
        confidence=asked.config.confidence,
        worse="higher",
    )


def _largest(figures: Sequence[Figure]) -> Figure:
    """The figure of the canary that is exposed most; its interval is that of the largest."""
    worst = max(figures, key=lambda figure: figure.tuned.value)
    return dataclasses.replace(
        worst,
        name="largest exposure",
        tuned=Range(
            value=worst.tuned.value,
            low=max(figure.tuned.low for figure in figures),
            high=max(figure.tuned.high for figure in figures),
        ),
    )
