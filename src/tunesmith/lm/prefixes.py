"""Documents of one stream that begin alike, with what they share computed once.

Rows asked under one system message, or about one context, repeat it. In a decoder nothing depends
on what follows, so its states are the same for all of them, and its gradient is the sum of theirs
(for pairs of preferences: arXiv 2410.20305).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from tunesmith.lm.attention import Documents
from tunesmith.lm.example import MicroBatch

MIN_SHARED = 8
"""Tokens: a shorter beginning costs more in small products than it saves."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SharedPrefixes:
    """A micro-batch's stream without the copies of what its documents begin with."""

    ids: torch.Tensor
    """(num_kept,), int64."""
    positions: torch.Tensor
    """(num_kept,), int64; those of the documents alone."""
    documents: Documents
    places: torch.Tensor
    """(num_tokens,): where in it each token of the micro-batch's own stream stands."""


def share_prefixes(micro: MicroBatch) -> SharedPrefixes | None:
    """The stream of `micro` with each common beginning once; None if there is nothing to share.

    That is exact for decoders only. What shares its prompt within an example stays as it is.
    """
    documents = [document for example in micro.examples for document in example.documents()]
    families = list(_families(documents))
    if micro.documents.branches or len(families) == len(documents):
        return None
    starts = [0]
    for document in documents:
        starts.append(starts[-1] + len(document))
    places = torch.empty(micro.num_tokens, dtype=torch.int64)
    kept, lengths, branches, end = [], [], [], 0
    for members, shared in families:
        root = torch.arange(end, end + shared)
        kept.append(torch.arange(starts[members[0]], starts[members[0]] + shared))
        parts = [shared]
        for member in members:
            own, stop = starts[member] + shared, starts[member + 1]
            kept.append(torch.arange(own, stop))
            places[starts[member] : own] = root
            places[own:stop] = torch.arange(stop - own) + end + sum(parts)
            parts.append(stop - own)
        lengths.append(sum(parts))
        branches.append(tuple(parts) if shared else ())
        end += lengths[-1]
    chosen = torch.cat(kept)
    return SharedPrefixes(
        ids=micro.ids[chosen],
        positions=micro.positions[chosen],
        documents=Documents(lengths=tuple(lengths), branches=tuple(branches)),
        places=places,
    )


def _families(documents: Sequence[tuple[int, ...]]) -> Iterator[tuple[list[int], int]]:
    """The numbers of documents that begin alike, and how many tokens they share, less than any has;
    one by itself shares none. In the order of the first of each."""
    families: dict[object, list[int]] = {}
    for number, document in enumerate(documents):
        is_long = len(document) > MIN_SHARED
        families.setdefault(document[:MIN_SHARED] if is_long else number, []).append(number)
    for members in families.values():
        if len(members) == 1:
            yield members, 0
            continue
        columns = zip(*(documents[member] for member in members), strict=False)
        alike = sum(1 for _ in itertools.takewhile(lambda column: len({*column}) == 1, columns))
        yield members, min(alike, min(len(documents[member]) for member in members) - 1)
