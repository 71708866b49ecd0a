"""What a row says as token ids, for models that read states.

An encoder gets a text as its tokenizer prepares one, and two texts with what parts them; a decoder
gets a text as it stands, and a question and its answer by the chat template. Special tokens in a
text are parted, as in conversations, so that none of them steers the model.
"""

from __future__ import annotations

from collections.abc import Sequence

from tunesmith.lm.chat_template import answered, inert
from tunesmith.lm.example import Answer, Example
from tunesmith.lm.load import LoadedHead
from tunesmith.lm.questions import asked
from tunesmith.records.rows import Labelled, Pair, Preference, Tagged

NO_TAG = -100
"""In a target of tags: the token has none."""


def classified(loaded: LoadedHead, row_id: str, content: Labelled) -> Example:
    """A text, and the number of its class as the target; None if there is no such class."""
    return Example(
        row_id=row_id,
        prompt=text_ids(loaded, content.text),
        target=_number(loaded, content.label),
    )


def tagged(loaded: LoadedHead, row_id: str, content: Tagged) -> Example:
    """A text of words. The target is, for each token, the number of its word's tag if it is the
    word's first, else `NO_TAG`; so it is for words without a tag and for tags that are not known.
    """
    ids, places = word_ids(loaded, content.tokens)
    target = [NO_TAG] * len(ids)
    for place, tag in zip(places, content.tags, strict=False):
        number = _number(loaded, tag)
        if place is not None and number is not None:
            target[place] = number
    return Example(row_id=row_id, prompt=ids, target=tuple(target))


def preferred(
    loaded: LoadedHead, row_id: str, content: Preference, instruction: str = ""
) -> Example:
    """A question with the better answer and then the worse one.

    Raises:
        DataError: a decoder's chat template cannot be used.
    """
    answers = (content.chosen, content.rejected)
    if loaded.is_encoder:
        return Example(
            row_id=row_id,
            answers=tuple(_pair(loaded, content.prompt, answer) for answer in answers),
        )
    messages = asked(instruction, content.prompt)
    rendered = [answered(loaded.tokenizer, messages, answer) for answer in answers]
    num_prompt = rendered[0].num_prompt
    return Example(
        row_id=row_id,
        prompt=rendered[0].ids[:num_prompt],
        answers=tuple(_unlabelled(each.ids[num_prompt:]) for each in rendered),
    )


def ranked(loaded: LoadedHead, row_id: str, content: Pair) -> Example:
    """The anchor with each passage, the one that belongs to it first."""
    passages = (content.positive, *content.negatives)
    return Example(
        row_id=row_id,
        answers=tuple(_pair(loaded, content.anchor, passage) for passage in passages),
    )


def embedded(loaded: LoadedHead, row_id: str, content: Pair) -> Example:
    """The anchor, what belongs to it, and then what does not, each by itself."""
    texts = (content.anchor, content.positive, *content.negatives)
    return Example(
        row_id=row_id, answers=tuple(_unlabelled(text_ids(loaded, text)) for text in texts)
    )


def text_ids(loaded: LoadedHead, text: str) -> tuple[int, ...]:
    """The ids of one text, with the special tokens that the model expects around it."""
    return tuple(loaded.tokenizer.core.encode(inert(loaded.tokenizer, text)).ids)


def word_ids(loaded: LoadedHead, words: Sequence[str]) -> tuple[tuple[int, ...], list[int | None]]:
    """The ids of words, each cut by itself, and the place of the first token of each; None where
    the tokenizer makes nothing of a word."""
    safe = [inert(loaded.tokenizer, word) for word in words]
    encoding = loaded.tokenizer.core.encode(safe, is_pretokenized=True)
    first: dict[int, int] = {}
    for place, word in enumerate(encoding.word_ids):
        if word is not None:
            first.setdefault(word, place)
    return tuple(encoding.ids), [first.get(number) for number in range(len(words))]


def num_special(loaded: LoadedHead, *, pair: bool) -> int:
    """Tokens that are put around a text, or around and between two."""
    return int(loaded.tokenizer.core.num_special_tokens_to_add(pair))


def _pair(loaded: LoadedHead, first: str, second: str) -> Answer:
    tokenizer = loaded.tokenizer
    encoding = tokenizer.core.encode(inert(tokenizer, first), inert(tokenizer, second))
    has_types = getattr(loaded.model.config, "type_vocab_size", 0) > 1
    return _unlabelled(tuple(encoding.ids), tuple(encoding.type_ids) if has_types else ())


def _unlabelled(ids: tuple[int, ...], types: tuple[int, ...] = ()) -> Answer:
    """What no loss of tokens is taken on."""
    return Answer(ids=ids, weights=(0.0,) * len(ids), types=types)


def _number(loaded: LoadedHead, label: str) -> int | None:
    return loaded.labels.index(label) if label in loaded.labels else None
