"""What models say that read the states of a text: its class, tags, rewards, ranks.

The base model, which has no head of its own for it, is asked with the one that tuning begins with,
drawn from the same seed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch.nn.functional import logsigmoid

from tunesmith.lm.classify import class_log_probabilities, tag_log_probabilities
from tunesmith.lm.embed import vectors
from tunesmith.lm.load import LoadedHead, load_head
from tunesmith.lm.rerank import answer_rewards, passage_scores
from tunesmith.records.model import Task
from tunesmith.records.rows import Labelled, Pair, Preference, Tagged
from tunesmith.stages.evaluate.labels import of_labels
from tunesmith.stages.evaluate.likelihood import SHOWN
from tunesmith.stages.evaluate.metrics import (
    UNTAGGED,
    counts_by_label,
    f1_by_label,
    gain_of_rank,
    macro_f1,
    micro_f1,
)
from tunesmith.stages.evaluate.scorer import Asked, Scored

RIVALS = 20
"""Passages of other rows that a passage is ranked among where its row names none that are wrong."""
SCALE = 20.0
"""Of cosines, before they compete in a loss."""
CUTOFF = 10
"""How far down a ranking is looked at by recall and nDCG."""


def score_classes(asked: Asked) -> Scored:
    """The likeliest class of each text."""
    loaded = _loaded(asked, "classify")
    said = asked.contents(Labelled)
    log_p = class_log_probabilities(loaded, [each.text for each in said], _shown(asked, "texts"))
    return of_labels(loaded.labels, [each.label for each in said], log_p)


def score_tags(asked: Asked) -> Scored:
    """The share of the words of each row that get their tag."""
    loaded = _loaded(asked, "tag")
    said = asked.contents(Tagged)
    found = tag_log_probabilities(loaded, [each.tokens for each in said], _shown(asked, "rows"))
    tags = [[loaded.labels[place] for place in row.argmax(dim=1).tolist()] for row in found]
    wanted = [torch.tensor([loaded.labels.index(tag) for tag in each.tags]) for each in said]
    every = [tag for each in said for tag in each.tags], [tag for row in tags for tag in row]
    by_tag = f1_by_label(*every, loaded.labels)
    meant = [tag for tag in loaded.labels if tag != UNTAGGED]
    losses = [
        float(-log_p.gather(1, right[:, None]).mean())
        for log_p, right in zip(found, wanted, strict=True)
    ]
    return Scored(
        metric="tag accuracy",
        scores=[
            _mean([float(one == two) for one, two in zip(row, each.tags, strict=True)])
            for row, each in zip(tags, said, strict=True)
        ],
        losses=losses,
        truth=[" ".join(each.tags)[:SHOWN] for each in said],
        predicted=[" ".join(row)[:SHOWN] for row in tags],
        columns={
            "tag_counts": [
                counts_by_label(each.tags, row, loaded.labels)
                for each, row in zip(said, tags, strict=True)
            ]
        },
        others={
            "macro-F1": macro_f1(by_tag),
            "micro-F1": micro_f1(*every, meant),
            "loss": _mean(losses),
        },
        per_label_f1=by_tag,
    )


def score_rewards(asked: Asked) -> Scored:
    """Whether the better answer of each row gets the higher number."""
    loaded = _loaded(asked, "reward")
    said = asked.contents(Preference)
    pairs = [(each.prompt, text) for each in said for text in (each.chosen, each.rejected)]
    numbers = answer_rewards(loaded, pairs, asked.instruction, _shown(asked, "answers", 2))
    margins = numbers[0::2] - numbers[1::2]
    losses = (-logsigmoid(margins)).tolist()
    return Scored(
        metric="pair accuracy",
        scores=(margins > 0).double().tolist(),
        losses=losses,
        truth=[each.chosen[:SHOWN] for each in said],
        predicted=[
            (each.chosen if margin > 0 else each.rejected)[:SHOWN]
            for each, margin in zip(said, margins.tolist(), strict=True)
        ],
        by_row={"margin": margins.tolist()},
        others={"loss": _mean(losses)},
    )


def score_passages(asked: Asked) -> Scored:
    """Where the passage that belongs to a query stands among others: among those that its row says
    do not, or among those of other rows."""
    loaded = _loaded(asked, "rerank")
    said = asked.contents(Pair)
    passages = [
        (each.positive, *(each.negatives or _others(said, n))) for n, each in enumerate(said)
    ]
    pairs = [
        (each.anchor, passage)
        for each, mine in zip(said, passages, strict=True)
        for passage in mine
    ]
    numbers = passage_scores(loaded, pairs, _shown(asked, "passages", len(pairs) / len(said)))
    parts = torch.split(numbers, [len(mine) for mine in passages])
    losses = [float(-torch.log_softmax(part, dim=0)[0]) for part in parts]
    return _ranked(said, passages, parts, losses)


def score_vectors(asked: Asked) -> Scored:
    """Where the text that belongs to an anchor stands among all texts of the rows, by cosine."""
    loaded = _loaded(asked, "embed")
    said = asked.contents(Pair)
    texts = list(dict.fromkeys(text for each in said for text in (each.positive, *each.negatives)))
    whole = vectors(loaded, texts, done=_shown(asked, "texts", len(texts) / len(said)))
    anchors = vectors(loaded, [each.anchor for each in said], done=_shown(asked, "anchors"))
    cosines = anchors.double() @ whole.double().t()
    passages, parts = [], []
    for row, each in zip(cosines, said, strict=True):
        mine = texts.index(each.positive)
        passages.append((each.positive, *texts[:mine], *texts[mine + 1 :]))
        parts.append(torch.cat([row[mine : mine + 1], row[:mine], row[mine + 1 :]]))
    losses = [float(-torch.log_softmax(SCALE * part, dim=0)[0]) for part in parts]
    return _ranked(said, passages, parts, losses)


def _ranked(
    said: Sequence[Pair],
    passages: Sequence[Sequence[str]],
    numbers: Sequence[torch.Tensor],
    losses: Sequence[float],
) -> Scored:
    """By the numbers of each row's passages, of which the first is the right one; of equal numbers
    the right one's comes last. The mean of reciprocal ranks is what is called MRR."""
    ranks = [1 + int((part[1:] >= part[0]).sum()) for part in numbers]
    return Scored(
        metric="reciprocal rank",
        scores=[1 / rank for rank in ranks],
        losses=losses,
        truth=[each.positive[:SHOWN] for each in said],
        predicted=[
            mine[int(part.argmax())][:SHOWN] for mine, part in zip(passages, numbers, strict=True)
        ],
        by_row={
            "recall@1": [float(rank == 1) for rank in ranks],
            f"recall@{CUTOFF}": [float(rank <= CUTOFF) for rank in ranks],
            f"nDCG@{CUTOFF}": [gain_of_rank(rank, CUTOFF) for rank in ranks],
        },
        others={"loss": _mean(losses)},
    )


def _others(said: Sequence[Pair], place: int) -> tuple[str, ...]:
    """Passages of the rows that follow, round and round, which are not the row's own."""
    mine = said[place].positive
    following = (said[(place + step) % len(said)].positive for step in range(1, len(said)))
    return tuple(dict.fromkeys(text for text in following if text != mine))[:RIVALS]


def _loaded(asked: Asked, task: str) -> LoadedHead:
    return load_head(
        asked.base,
        asked.ctx.blobs,
        cast("Task", task),
        asked.dataset.labels,
        adapter=asked.model,
        seed=asked.ctx.seed,
    )


def _shown(asked: Asked, what: str, by_row: float = 1.0) -> Callable[[int], None]:
    total = round(asked.rows.num_rows * by_row)
    return lambda done: asked.ctx.progress(done, total, f"reads {what}")


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
