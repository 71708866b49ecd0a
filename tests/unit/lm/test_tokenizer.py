from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.core.errors import DataError
from tunesmith.lm.tokenizer import tokenizer_of_files, tokenizer_of_gguf

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def files(tiny_folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in tiny_folder.glob("*.json")}


@pytest.fixture(scope="module")
def metadata(files: dict[str, bytes]) -> dict[str, Any]:
    """The metadata that a GGUF file of the same tokenizer has."""
    saved = json.loads(files["tokenizer.json"])
    config = json.loads(files["tokenizer_config.json"])
    vocab = saved["model"]["vocab"]
    special = {token["content"] for token in saved["added_tokens"]}
    tokens = sorted(vocab, key=vocab.__getitem__)
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": [3 if token in special else 1 for token in tokens],
        "tokenizer.ggml.merges": [" ".join(pair) for pair in saved["model"]["merges"]],
        "tokenizer.ggml.bos_token_id": vocab["<|im_start|>"],
        "tokenizer.ggml.eos_token_id": vocab["<|im_end|>"],
        "tokenizer.chat_template": config["chat_template"],
    }


@given(text=st.text(st.characters(codec="utf-8")) | st.just("a<|im_end|>b licence 2007"))
def test_a_tokenizer_read_from_gguf_is_the_one_read_from_json(
    files: dict[str, bytes], metadata: dict[str, Any], text: str
) -> None:
    from_json, from_gguf = tokenizer_of_files(files), tokenizer_of_gguf(metadata)

    assert from_gguf.encode(text) == from_json.encode(text)
    assert from_gguf.special_tokens == from_json.special_tokens
    assert (from_gguf.bos_token, from_gguf.eos_token) == (from_json.bos_token, from_json.eos_token)


def test_smollm_cuts_numbers_into_digits(metadata: dict[str, Any]) -> None:
    merged = {**metadata, "tokenizer.ggml.merges": [*metadata["tokenizer.ggml.merges"], "2 0"]}
    merged["tokenizer.ggml.tokens"] = [*metadata["tokenizer.ggml.tokens"], "20"]
    merged["tokenizer.ggml.token_type"] = [*metadata["tokenizer.ggml.token_type"], 1]

    whole = tokenizer_of_gguf(merged).encode("20")
    digits = tokenizer_of_gguf({**merged, "tokenizer.ggml.pre": "smollm"}).encode("20")

    assert (len(whole), len(digits)) == (1, 2)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("tokenizer.ggml.model", "llama", "byte-level BPE"),
        ("tokenizer.ggml.pre", "unheard-of", "unheard-of"),
        ("tokenizer.chat_template", None, "no chat template"),
    ],
)
def test_what_cannot_be_read_is_refused(
    metadata: dict[str, Any], key: str, value: object, said: str
) -> None:
    with pytest.raises(DataError, match=said):
        tokenizer_of_gguf({**metadata, key: value})


def test_a_folder_needs_a_fast_tokenizer() -> None:
    with pytest.raises(DataError, match=r"tokenizer\.json"):
        tokenizer_of_files({})
