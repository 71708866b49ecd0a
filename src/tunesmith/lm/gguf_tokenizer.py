"""A tokenizer as the metadata of a GGUF file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tunesmith.core.errors import DataError
from tunesmith.lm.chat_template import end_of_turn
from tunesmith.lm.tokenizer import CONTROL, USER_DEFINED, Tokenizer, tokenizer_of_gguf

PREFIX = "tokenizer."
NORMAL, UNUSED = 1, 5
"""Token types of a GGUF file, beside those that steer and those that are kept whole."""
PRE = ("gpt-2", "smollm", "qwen2", "llama-bpe")
"""llama.cpp's names of the ways to cut text that are read here."""
PROBE = "I'll say DON'T:  the 2007 or 12345 x86_64\n\n \tÜber-größe 東京 кот 🙂 f(x)=3.14!!  \r\n"
"""Text that no two of them cut alike."""


def gguf_metadata(
    tokenizer: Tokenizer, vocab_size: int, known: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The entries that describe `tokenizer` to llama.cpp.

    `known` is the metadata of the GGUF file that it was read from, which is kept as it is but for
    tokens that were added; without it the entries are made from the tokenizer. `vocab_size` counts
    the rows of the embedding matrix, which may have more of them than there are tokens.

    In both cases nothing is added to a prompt that the template did not write, as in tuning, and
    the token that ends a turn is one to stop at.

    Raises:
        DataError: it is not byte-level BPE, or cuts text in a way that llama.cpp has no name for.
    """
    if known is None:
        entries = _entries(tokenizer, vocab_size)
    else:
        entries = {key: value for key, value in known.items() if key.startswith(PREFIX)}
        entries |= _extended(tokenizer, entries)
    end = end_of_turn(tokenizer)
    eos = entries.setdefault("tokenizer.ggml.eos_token_id", end)
    if eos != end:
        entries["tokenizer.ggml.eot_token_id"] = end
    return entries | {
        "tokenizer.ggml.add_bos_token": False,
        "tokenizer.ggml.add_eos_token": False,
    }


def declared_stops(metadata: Mapping[str, Any]) -> frozenset[int]:
    """The ids at which a GGUF file says that an answer is over."""
    keys = ("tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id")
    return frozenset(metadata[key] for key in keys if key in metadata)


def _extended(tokenizer: Tokenizer, entries: Mapping[str, Any]) -> dict[str, Any]:
    """The lists with an entry for each token, with those that `tokenizer` has beyond them."""
    tokens = entries["tokenizer.ggml.tokens"]
    size = tokenizer.core.get_vocab_size(with_added_tokens=True)
    new = [tokenizer.core.id_to_token(index) for index in range(len(tokens), size)]
    beyond: dict[str, list[Any]] = {
        "tokenizer.ggml.tokens": new,
        "tokenizer.ggml.token_type": [USER_DEFINED] * len(new),
        "tokenizer.ggml.scores": [0.0] * len(new),
    }
    return {key: entries[key] + more for key, more in beyond.items() if new and entries.get(key)}


def _entries(tokenizer: Tokenizer, vocab_size: int) -> dict[str, Any]:
    core = tokenizer.core
    saved = json.loads(core.to_str())
    by_id = {index: token for token, index in core.get_vocab(with_added_tokens=True).items()}
    added = core.get_added_tokens_decoder()
    tokens, types = [], []
    for index in range(max(vocab_size, max(by_id) + 1)):
        tokens.append(by_id.get(index, f"[PAD{index}]"))
        if index in added:
            types.append(CONTROL if added[index].special else USER_DEFINED)
        else:
            types.append(NORMAL if index in by_id else UNUSED)
    entries: dict[str, Any] = {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": _pre(saved, core),
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": types,
        "tokenizer.ggml.merges": [
            pair if isinstance(pair, str) else " ".join(pair) for pair in saved["model"]["merges"]
        ],
    }
    if tokenizer.chat_template:
        entries["tokenizer.chat_template"] = tokenizer.chat_template
    if tokenizer.bos_token:
        entries["tokenizer.ggml.bos_token_id"] = tokenizer.id_of(tokenizer.bos_token)
    if tokenizer.eos_token:
        entries["tokenizer.ggml.eos_token_id"] = tokenizer.id_of(tokenizer.eos_token)
    return entries


def _pre(saved: Mapping[str, Any], core: Any) -> str:
    """llama.cpp's name of the way in which `core` cuts text, found by what it does."""
    normaliser = (saved.get("normalizer") or {}).get("type", "NFC")
    byte_level = (saved.get("decoder") or {}).get("type") == "ByteLevel"
    if saved["model"]["type"] == "BPE" and byte_level and normaliser == "NFC":
        pieces = _pieces(core)
        for name in PRE:
            if _pieces(_empty(name).core) == pieces:
                return name
    raise DataError(
        "the tokenizer cuts text in a way that is not known here by a name of llama.cpp",
        remedy='export the model as "merged", and convert the folder with llama.cpp',
    )


def _pieces(core: Any) -> list[str]:
    return [piece for piece, _ in core.pre_tokenizer.pre_tokenize_str(PROBE)]


def _empty(pre: str) -> Tokenizer:
    return tokenizer_of_gguf(
        {
            "tokenizer.ggml.model": "gpt2",
            "tokenizer.ggml.pre": pre,
            "tokenizer.ggml.tokens": ["a"],
            "tokenizer.ggml.merges": [],
            "tokenizer.ggml.eos_token_id": 0,
            "tokenizer.chat_template": "a",
        }
    )
