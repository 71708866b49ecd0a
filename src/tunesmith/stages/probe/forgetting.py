"""What a model forgot: the loss of a token of general texts, before and after it was tuned.

That models lose what they knew when they learn something else: McCloskey and Cohen, Psychology of
Learning and Motivation 24 (1989); of fine-tuned language models: Luo et al., arXiv 2308.08747.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from tunesmith.core.errors import DataError
from tunesmith.lm.example import Answer, Example
from tunesmith.lm.lessons import beginning
from tunesmith.lm.tokenizer import Tokenizer
from tunesmith.records.suite import FORGETTING
from tunesmith.stages.probe.asked import Asked, Subject
from tunesmith.stages.probe.figures import ratio
from tunesmith.stages.probe.found import Found, Line, Score
from tunesmith.stages.probe.general import TEXTS
from tunesmith.stages.probe.given import json_lines
from tunesmith.stages.probe.tokens import token_log_probs

LOSS = "loss of a token"
MAX_TOKENS = 1024
"""Tokens of a text that are read; the rest is left out."""
_MORE = "give it twenty or more, as different as what the model is to remember"


def forgetting(asked: Asked) -> Found:
    """How much less probable the tuned model holds texts that have nothing to do with its task.

    Raises:
        NotFound, DataError: the texts of the settings cannot be read, or there are none.
    """
    texts = _texts(asked)
    base, tuned = asked.both
    before, after = (
        _losses(asked, subject, texts, done) for subject, done in ((base, 0), (tuned, len(texts)))
    )
    counts = [len(_ids(asked.counting, text, base)) - 1 for text in texts]
    figure = ratio(
        LOSS,
        before,
        after,
        counts,
        confidence=asked.config.confidence,
        seed=asked.ctx.seed,
    )
    total = sum(counts)
    return Found(
        figures=[figure],
        examples=[
            Line(
                row_id=f"text {number}",
                check=FORGETTING,
                asked=text,
                base=f"{count} tokens",
                tuned=f"{count} tokens",
                base_score=one / count,
                tuned_score=other / count,
                scores=(Score(figure=LOSS, base=one, tuned=other, size=count),),
            )
            for number, (text, count, one, other) in enumerate(
                zip(texts, counts, before, after, strict=True), start=1
            )
        ],
        notes=[
            f"perplexity {math.exp(sum(before) / total):.2f} -> "
            f"{math.exp(sum(after) / total):.2f} over {total} tokens of {len(texts)} "
            f"{'general texts' if not asked.config.file else 'texts of ' + asked.config.file}"
        ],
    )


def read_texts(text: str, file: str) -> list[str]:
    """The texts of a file.

    Raises:
        DataError: it is neither a .jsonl file of `text` nor a .txt file, or has too few.
    """
    if file.endswith(".jsonl"):
        texts = [each["text"] for each in json_lines(text, file, ["text"], "text")]
    elif file.endswith(".txt"):
        parts = text.replace("\r\n", "\n").split("\n\n")
        texts = [part.strip() for part in parts if part.strip()]
    else:
        raise DataError(f"{file} is no .txt and no .jsonl", remedy="texts are in one of the two")
    if len(texts) < 2:
        raise DataError(f"{file} has {len(texts)} texts, which shows nothing", remedy=_MORE)
    return texts


def _texts(asked: Asked) -> list[str]:
    """The texts that are asked, of two tokens or more: those of the settings' file, else our
    own."""
    file = asked.config.file
    every = read_texts(asked.text_of_file(), file) if file else TEXTS
    texts = [text for text in every if len(asked.counting.encode(text)) > 1]
    if len(texts) < 2:
        raise DataError(f"{file} has no texts of two tokens or more", remedy=_MORE)
    return texts[: asked.config.num_rows or len(texts)]


def _losses(asked: Asked, subject: Subject, texts: Sequence[str], done: int) -> list[float]:
    """The sum over the tokens of each text."""
    loaded = subject.generative
    examples = [
        Example(row_id=text[:40], answers=(Answer(ids=_ids(loaded.tokenizer, text, subject)),))
        for text in texts
    ]
    shown = asked.shown(2 * len(texts), "reads general texts", done)
    return [-sum(found) for found in token_log_probs(loaded, examples, shown)]


def _ids(tokenizer: Tokenizer, text: str, subject: Subject) -> tuple[int, ...]:
    """A text as it stands, with what the tokenizer puts before texts, cut off where it is long; its
    end is none of the text, and is not predicted."""
    room = min(MAX_TOKENS, subject.generative.context_length)
    return (*beginning(tokenizer), *tokenizer.encode(text))[:room]
