"""Text to token ids and back, without importing torch or transformers."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import tokenizers
from tokenizers import AddedToken, Regex, decoders, models, pre_tokenizers

from tunesmith.core.errors import DataError

CONTROL, USER_DEFINED = 3, 4
"""Token types of a GGUF file: what steers the model, and what is only kept whole."""

QWEN2_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
LLAMA3_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Tokenizer:
    """A vocabulary, how text is cut into it, and the template of a conversation.

    Two tokenizers are equal if they are the same object.
    """

    core: tokenizers.Tokenizer
    chat_template: str
    """Jinja source; empty if the model cannot be asked anything."""
    bos_token: str
    eos_token: str
    special_tokens: frozenset[str]
    """The tokens that steer the model; no text of a user may contain one."""

    def encode(self, text: str) -> list[int]:
        """The ids of `text`; special tokens in it are recognised, none is added."""
        return list(self.core.encode(text, add_special_tokens=False).ids)

    def encode_on(self, before: str, text: str) -> tuple[list[int], list[int]]:
        """The ids of `before`, and those of `text` after it.

        The former are as they would be alone, also where a merge reaches across the border.
        """
        first, both = self.encode(before), self.encode(before + text)
        if both[: len(first)] == first:
            return first, both[len(first) :]
        said = self._all(both)
        for anchor in ("", "\n", self.eos_token):  # some put a space before what they begin with
            skipped, ids = self.encode(anchor), self.encode(anchor + text)
            rest = ids[len(skipped) :]
            if ids[: len(skipped)] == skipped and self._all(first + rest) == said:
                return first, rest
        raise DataError(
            f"the tokenizer cannot go on from {before[-40:]!r} with {text[:40]!r}",
            remedy="use a base model whose chat template ends its prompts with a special token",
        )

    def _all(self, ids: Sequence[int]) -> str:
        """The text of `ids`, special tokens included."""
        return str(self.core.decode(list(ids), skip_special_tokens=False))

    def decode(self, ids: Sequence[int]) -> str:
        """The text of `ids` without special tokens; half a character is U+FFFD."""
        return str(self.core.decode(list(ids), skip_special_tokens=True))

    def id_of(self, token: str) -> int:
        """The id of one token.

        Raises:
            DataError: the vocabulary has no such token.
        """
        found = self.core.token_to_id(token)
        if found is None:
            raise DataError(f"the tokenizer has no token {token!r}")
        return int(found)

    @functools.cached_property
    def special_ids(self) -> frozenset[int]:
        """The ids of `special_tokens`."""
        return frozenset(self.id_of(token) for token in self.special_tokens)


def with_tokens(tokenizer: Tokenizer, tokens: Sequence[str]) -> Tokenizer:
    """`tokenizer` with `tokens` after its own, in their order; each is kept whole wherever it
    stands, and said as it is written. They do not steer the model: any text may contain them.

    Raises:
        DataError: one is a token already, or would not be read back as it was written.
    """
    core = tokenizers.Tokenizer.from_str(tokenizer.core.to_str())
    known = [token for token in tokens if core.token_to_id(token) is not None]
    if known:
        raise DataError(
            f"the base model's vocabulary has {known[0]!r} already",
            remedy="leave it out of new_tokens: it can be used as it is",
        )
    core.add_tokens([AddedToken(token, normalized=False) for token in tokens])
    extended = dataclasses.replace(tokenizer, core=core)
    for token in tokens:
        ids = extended.encode(token)
        if ids != [core.token_to_id(token)] or extended.decode(ids) != token:
            raise DataError(
                f"the new token {token!r} would be read back as {extended.decode(ids)!r}",
                remedy="make it of ASCII characters other than white space, e.g. <icd>",
            )
    return extended


def tokenizer_of_gguf(metadata: Mapping[str, Any], *, is_asked: bool = True) -> Tokenizer:
    """The byte-level BPE tokenizer that the metadata of a GGUF file describes.

    Unless it `is_asked`, it goes on with texts, and needs no chat template.

    Raises:
        DataError: it is of a kind that is not read here, or it has no chat template.
    """
    kind = metadata.get("tokenizer.ggml.model")
    if kind != "gpt2":
        raise DataError(
            f"the GGUF file's tokenizer is of kind {kind!r}; only byte-level BPE is read from GGUF",
            remedy="use the model's folder with tokenizer.json instead",
        )
    tokens = metadata["tokenizer.ggml.tokens"]
    pre = metadata.get("tokenizer.ggml.pre", "default")
    merges = [tuple(merge.split(" ", 1)) for merge in metadata["tokenizer.ggml.merges"]]
    model = models.BPE(
        vocab={token: index for index, token in enumerate(tokens)},
        merges=merges,
        ignore_merges=pre == "llama-bpe",
    )
    core = tokenizers.Tokenizer(model)
    core.pre_tokenizer = _pre_tokenizer(pre)
    core.decoder = decoders.ByteLevel()
    types = metadata.get("tokenizer.ggml.token_type", ())
    special = [token for token, kind in zip(tokens, types, strict=False) if kind == CONTROL]
    kept = [token for token, kind in zip(tokens, types, strict=False) if kind == USER_DEFINED]
    core.add_special_tokens([AddedToken(token, normalized=False) for token in special])
    core.add_tokens([AddedToken(token, normalized=False) for token in kept])
    bos = metadata.get("tokenizer.ggml.bos_token_id")
    template = metadata.get("tokenizer.chat_template")
    return Tokenizer(
        core=core,
        chat_template=_required(template) if is_asked else str(template or ""),
        bos_token="" if bos is None else tokens[bos],
        eos_token=tokens[metadata["tokenizer.ggml.eos_token_id"]],
        special_tokens=frozenset(special),
    )


def _pre_tokenizer(pre: str) -> Any:
    """How text is cut before merging; the names are llama.cpp's."""
    match pre:
        case "smollm":
            return pre_tokenizers.Sequence(
                [
                    pre_tokenizers.Digits(individual_digits=True),
                    pre_tokenizers.ByteLevel(add_prefix_space=False),
                ]
            )
        case "default" | "gpt-2":
            return pre_tokenizers.ByteLevel(add_prefix_space=False)
        case "qwen2" | "llama-bpe":
            split = QWEN2_SPLIT if pre == "qwen2" else LLAMA3_SPLIT
            return pre_tokenizers.Sequence(
                [
                    pre_tokenizers.Split(Regex(split), behavior="isolated"),
                    pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
                ]
            )
    raise DataError(
        f"the GGUF file cuts text by {pre!r}, which is not known here",
        remedy="use the model's folder with tokenizer.json instead",
    )


def tokenizer_of_files(files: Mapping[str, bytes]) -> Tokenizer:
    """The tokenizer of a model folder: tokenizer.json and tokenizer_config.json.

    Its chat template is empty where the folder has none.

    Raises:
        DataError: a file is missing.
    """
    core = core_of_files(files)
    config = json.loads(files.get("tokenizer_config.json", b"{}"))
    template: Any = config.get("chat_template")
    if isinstance(template, list):  # named templates: the one for plain conversations
        template = {item["name"]: item["template"] for item in template}.get("default")
    if "chat_template.jinja" in files:
        template = files["chat_template.jinja"].decode()
    added = core.get_added_tokens_decoder().values()
    return Tokenizer(
        core=core,
        chat_template=str(template or ""),
        bos_token=_content(config.get("bos_token")),
        eos_token=_content(config.get("eos_token")),
        special_tokens=frozenset(token.content for token in added if token.special),
    )


def core_of_files(files: Mapping[str, bytes]) -> tokenizers.Tokenizer:
    """What tokenizer.json of a model folder describes; it does not truncate or pad.

    Raises:
        DataError: there is no such file.
    """
    if "tokenizer.json" not in files:
        raise DataError(
            "the model's folder has no tokenizer.json",
            remedy="save it with a fast tokenizer, which writes that file",
        )
    core = tokenizers.Tokenizer.from_str(files["tokenizer.json"].decode())
    core.no_truncation()
    core.no_padding()
    return core


def _content(token: Any) -> str:
    """A token, written as a string or as an object."""
    if isinstance(token, Mapping):
        return str(token["content"])
    return token or ""


def _required(template: Any) -> str:
    if not template:
        raise DataError(
            "the base model has no chat template, so it cannot be asked anything",
            remedy="use an instruction-tuned base model",
        )
    return str(template)
