"""Which texts might be alike: MinHash of their words, and of their runs of words, cut into bands.

Signatures are rensa's (R-MinHash over all tokens); bands are compared here, by sorting. Small sets
of words would share bands as a matter of course: for them, `text.small_sets`. What comes out is a
candidate and no more: see `text.dedup`, which verifies each.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import rensa

from tunesmith.text.small_sets import FEW, alike, largest_partner

SHORT = 20
"""A text with fewer words than this is compared by its set of words."""
NUM_WORDS = 5
"""Words in a run. Characters would make all texts of one language look alike."""
NUM_PERMUTATIONS = 256
MAX_MISS = 1e-3
"""Highest probability that a pair exactly at the threshold is not proposed."""
SEED = 1
"""Of the permutations. A constant, so that equal texts have equal duplicates everywhere."""
_TEXTS_AT_ONCE = 2048
_BANDS_AT_ONCE = 16

# A word; in scripts that are written without spaces, a character.
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\W\u3040-\u30ff\u3400-\u9fff]+")
_ALONE = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]")
_ASCII_WORD = re.compile(r"\w+", re.ASCII)
"""The same in a text of ASCII, in less time."""
# Odd numbers without a pattern, so that the order of the words in a run counts (splitmix64's).
_PLACES = np.array(
    [0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB, 0xD6E8FEB86659FD93,
     0xA0761D6478BD642F],
    dtype=np.uint64,
)  # fmt: skip

Pairs = np.ndarray[Any, np.dtype[np.int64]]
"""(number of pairs, 2): positions, the first below the second, in order."""


@dataclass(kw_only=True, slots=True)
class _Banded:
    """Keys of the bands of the texts that are compared in one way."""

    num_bands: int
    rows: list[int]
    keys: list[np.ndarray[Any, np.dtype[np.uint64]]]


def words_of(text: str) -> list[str]:
    """The words of a text in order, in lower case."""
    folded = text.casefold()
    return (_ASCII_WORD if folded.isascii() else _WORD).findall(folded)


def num_bands(threshold: float) -> int:
    """The fewest bands that propose a pair at `threshold` with probability 1 - MAX_MISS.

    A band of r permutations is shared with probability s^r, at least one of b with 1 - (1 - s^r)^b.
    """
    rows = NUM_PERMUTATIONS
    while rows > 1 and (1 - threshold**rows) ** (NUM_PERMUTATIONS // rows) > MAX_MISS:
        rows //= 2
    return NUM_PERMUTATIONS // rows


def candidates(
    texts: Sequence[str],
    *,
    words: float,
    runs: float,
    progress: Callable[[int, int], None],
) -> tuple[Pairs, Pairs]:
    """Pairs of texts that may have this similarity of their words, or of their runs of five.

    By words only texts are proposed that a short one can be similar to: with fewer than `SHORT`
    words, it is not similar to one that has many more. By runs, texts with `SHORT` words or more.
    """
    most, partner = (SHORT - 1) / words, largest_partner(words)
    small_texts, small_words = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.uint64)]
    by_words = _Banded(num_bands=num_bands(words), rows=[], keys=[])
    by_runs = _Banded(num_bands=num_bands(runs), rows=[], keys=[])
    for start in range(0, len(texts), _TEXTS_AT_ONCE):
        progress(start, len(texts))
        hashes, sizes = hashed_words(texts[start : start + _TEXTS_AT_ONCE])
        members, words_of_members, num_words = _sets(hashes, sizes)
        is_partner = (num_words <= min(most, partner))[members]
        small_texts.append(members[is_partner] + start)
        small_words.append(words_of_members[is_partner])
        _add(by_words, start, *_of_words(hashes, sizes, (num_words > FEW) & (num_words <= most)))
        _add(by_runs, start, *_of_runs(hashes, sizes))
    of_small = alike(np.concatenate(small_texts), np.concatenate(small_words), words)
    of_all = np.concatenate([of_small, _pairs(by_words)])  # no pair is in both
    return of_all[np.lexsort((of_all[:, 1], of_all[:, 0]))], _pairs(by_runs)


def hashed_words(texts: Sequence[str]) -> tuple[Any, Any]:
    """64 bits for each word of all texts, in order; and how many words each text has.

    A word's number is the polynomial of its characters, out of running sums over all of them: it
    is the same in every text and process. Two words may share one; `text.dedup` looks at words.
    """
    folded = [text.casefold() for text in texts]
    joined = "\n".join(folded) + "\n"
    ends_of_texts = np.cumsum([len(text) + 1 for text in folded])
    characters = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    is_word, alone = _kinds(characters, joined.isascii())
    before, after = np.roll(is_word & ~alone, 1), np.roll(is_word & ~alone, -1)
    starts = np.flatnonzero(is_word & (alone | ~before))
    ends = np.flatnonzero(is_word & (alone | ~after)) + 1
    powers, inverses = _powers(len(characters) + 1)
    sums = np.zeros(len(characters) + 1, dtype=np.uint64)
    np.cumsum(characters.astype(np.uint64) * powers[: len(characters)], out=sums[1:])
    hashes = (sums[ends] - sums[starts]) * inverses[starts]
    for shift, factor in ((30, _PLACES[1]), (27, _PLACES[2])):  # splitmix64's last steps
        hashes = (hashes ^ (hashes >> np.uint64(shift))) * factor
    hashes ^= hashes >> np.uint64(31)
    up_to = np.searchsorted(starts, ends_of_texts)
    return hashes, np.diff(up_to, prepend=0)


def _kinds(characters: Any, is_ascii: bool) -> tuple[Any, Any]:
    """Of each character whether it is part of a word, and whether it is a word by itself."""
    if is_ascii:
        return _ASCII_KINDS[characters], np.zeros(len(characters), dtype=bool)
    known, which = np.unique(characters, return_inverse=True)
    found = [_WORD.fullmatch(chr(each)) is not None for each in known]
    alone = [_ALONE.fullmatch(chr(each)) is not None for each in known]
    return np.array(found)[which], np.array(alone)[which]


_ASCII_KINDS = np.array([_ASCII_WORD.fullmatch(chr(each)) is not None for each in range(128)])
_BASE = 0x2545F4914F6CDD1D
"""Odd, so that it has an inverse modulo 2 to the 64."""
_known_powers: list[Any] = []


def _powers(count: int) -> tuple[Any, Any]:
    """At least `count` powers of the base modulo 2 to the 64, and their inverses."""
    if not _known_powers or len(_known_powers[0]) < count:
        _known_powers[:] = [
            np.cumprod(np.full(count, base, dtype=np.uint64))
            for base in (_BASE, pow(_BASE, -1, 2**64))
        ]
    return _known_powers[0], _known_powers[1]


Tokens = tuple[Any, Any, Any]
"""Positions of texts, the hashes of all their tokens, and how many of these each has."""


def _sets(hashes: Any, sizes: Any) -> tuple[Any, Any, Any]:
    """The text and the word (44 bits of it) of each member of the sets of words, by text; and how
    many members each text's has."""
    # The text above 44 bits of the word: sorted, a word that was there is next to itself.
    texts = np.repeat(np.arange(len(sizes), dtype=np.uint64), sizes)
    keys = np.sort((texts << np.uint64(44)) | (hashes >> np.uint64(20)))
    is_new = np.concatenate([[True], keys[1:] != keys[:-1]])[: len(keys)]
    keys = keys[is_new]
    members = (keys >> np.uint64(44)).astype(np.int64)
    words = keys & np.uint64((1 << 44) - 1)
    return members, words, np.bincount(members, minlength=len(sizes))


def _of_words(hashes: Any, sizes: Any, chosen: Any) -> Tokens:
    return np.flatnonzero(chosen), hashes[np.repeat(chosen, sizes)], sizes[chosen]


def _of_runs(words: Any, sizes: Any) -> Tokens:
    long = sizes >= SHORT
    num_runs = np.where(long, sizes - NUM_WORDS + 1, 0)
    ends = np.cumsum(sizes)
    place = np.arange(len(words)) - np.repeat(ends - sizes, sizes)
    starts = np.flatnonzero(place < np.repeat(num_runs, sizes))
    hashes = np.zeros(len(starts), dtype=np.uint64)
    for offset, factor in enumerate(_PLACES):
        hashes += words[starts + offset] * factor
    hashes ^= hashes >> np.uint64(29)
    return np.flatnonzero(long), hashes, num_runs[long]


def _add(to: _Banded, start: int, rows: Any, tokens: Any, sizes: Any) -> None:
    """The bands' keys of some texts: each mixes the permutations of its band."""
    if not len(rows):
        return
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.uint64)
    digests = rensa.RMinHash.digest_matrix_from_flat_token_hashes(
        np.ascontiguousarray(tokens), offsets, NUM_PERMUTATIONS, SEED
    )
    signature = np.array(digests.to_rows(), dtype=np.uint32)
    banded = signature.reshape(len(rows), to.num_bands, -1)
    keys = np.zeros(banded.shape[:2], dtype=np.uint64)
    for place in range(banded.shape[2]):
        keys = (keys ^ banded[:, :, place]) * _PLACES[1]
        keys ^= keys >> np.uint64(31)
    to.rows += (rows + start).tolist()
    to.keys.append(keys)


def _pairs(banded: _Banded) -> Pairs:
    """Every two rows with the same key of a band, once."""
    found = np.zeros(0, dtype=np.int64)
    if banded.rows:
        rows = np.array(banded.rows, dtype=np.int64)
        keys = np.concatenate(banded.keys)
        num = int(rows[-1]) + 1
        for start in range(0, banded.num_bands, _BANDS_AT_ONCE):
            bands = range(start, min(start + _BANDS_AT_ONCE, banded.num_bands))
            new = [
                one * num + other for band in bands for one, other in _equal(keys[:, band], rows)
            ]
            found = np.unique(np.concatenate([found, *new]))
        return np.stack(np.divmod(found, num), axis=1)
    return found.reshape(0, 2)


def _equal(keys: Any, rows: Any) -> Iterator[tuple[Any, Any]]:
    """(rows, later rows) with the same key: those next to each other, two apart, and so on."""
    order = np.argsort(keys, kind="stable")
    keys, rows = keys[order], rows[order]
    at = np.flatnonzero(keys[1:] == keys[:-1])
    apart = 1
    while len(at):
        yield rows[at], rows[at + apart]
        apart += 1
        at = at[at + apart < len(keys)]
        at = at[keys[at] == keys[at + apart]]
