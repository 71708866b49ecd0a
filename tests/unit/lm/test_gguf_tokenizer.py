from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Regex, pre_tokenizers

from tunesmith.core.errors import DataError
from tunesmith.lm.chat_template import end_of_turn, prompt_ids, question
from tunesmith.lm.gguf_tokenizer import PRE, PROBE, declared_stops, gguf_metadata
from tunesmith.lm.tokenizer import (
    LLAMA3_SPLIT,
    QWEN2_SPLIT,
    Tokenizer,
    tokenizer_of_files,
    tokenizer_of_gguf,
)

TEXTS = [PROBE, "Name the licence.", "GNU 2007 <|im_end|> x", "", "\n\n  \t", "日本 🙂"]


def tokenizer(folder: Path, pre: Any = None, **settings: Any) -> Tokenizer:
    """The tiny tokenizer with another way to cut text, or other settings."""
    saved = json.loads((folder / "tokenizer.json").read_text())
    config = json.loads((folder / "tokenizer_config.json").read_text())
    found = tokenizer_of_files(
        {
            "tokenizer.json": json.dumps(saved).encode(),
            "tokenizer_config.json": json.dumps(config | settings).encode(),
        }
    )
    if pre is not None:
        found.core.pre_tokenizer = pre
    return found


def split(pattern: str) -> Any:
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


CUTS = {
    "gpt-2": pre_tokenizers.ByteLevel(add_prefix_space=False),
    "smollm": pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    ),
    "qwen2": split(QWEN2_SPLIT),
    "llama-bpe": split(LLAMA3_SPLIT),
}


@pytest.mark.parametrize("name", PRE)
def test_the_tokenizer_comes_back_from_its_metadata(tiny_folder: Path, name: str) -> None:
    ours = tokenizer(tiny_folder, CUTS[name])

    entries = gguf_metadata(ours, ours.core.get_vocab_size())

    assert entries["tokenizer.ggml.pre"] == name
    again = tokenizer_of_gguf(entries)
    for text in TEXTS:
        assert again.encode(text) == ours.encode(text)
    asked = question("Name it.", "GNU")
    assert prompt_ids(again, asked) == prompt_ids(ours, asked)  # defect 19
    assert again.special_tokens == ours.special_tokens
    assert (again.bos_token, again.eos_token) == (ours.bos_token, ours.eos_token)


def test_rows_without_a_token_are_filled_up(tiny_folder: Path) -> None:
    ours = tokenizer(tiny_folder)
    size = ours.core.get_vocab_size()

    entries = gguf_metadata(ours, size + 3)

    assert entries["tokenizer.ggml.tokens"][size:] == [f"[PAD{size + n}]" for n in range(3)]
    assert entries["tokenizer.ggml.token_type"][size:] == [5, 5, 5]
    assert tokenizer_of_gguf(entries).encode(PROBE) == ours.encode(PROBE)


def test_the_end_of_a_turn_is_a_stop_even_if_it_is_not_the_eos(tiny_folder: Path) -> None:
    """Defects 9 and 13."""
    same = tokenizer(tiny_folder)
    other = tokenizer(tiny_folder, eos_token="<|endoftext|>")
    end = end_of_turn(same)

    assert declared_stops(gguf_metadata(same, 0)) == {end}
    entries = gguf_metadata(other, 0)
    assert entries["tokenizer.ggml.eot_token_id"] == end
    assert declared_stops(entries) == {end, other.id_of("<|endoftext|>")}


def test_entries_of_a_gguf_file_are_kept_and_no_bos_is_added(tiny_folder: Path) -> None:
    ours = tokenizer(tiny_folder)
    known = gguf_metadata(ours, 0) | {
        "general.name": "base",
        "tokenizer.ggml.add_bos_token": True,
        "tokenizer.ggml.unknown_token_id": 0,
    }

    entries = gguf_metadata(tokenizer_of_gguf(known), 0, known)

    assert entries.pop("tokenizer.ggml.add_bos_token") is False  # defect 19
    assert entries.items() <= known.items()
    assert entries["tokenizer.ggml.unknown_token_id"] == 0
    assert "general.name" not in entries


@pytest.mark.parametrize(
    "pre", [pre_tokenizers.Whitespace(), pre_tokenizers.ByteLevel(add_prefix_space=True)]
)
def test_other_ways_to_cut_are_refused(tiny_folder: Path, pre: Any) -> None:
    with pytest.raises(DataError, match="cuts text"):
        gguf_metadata(tokenizer(tiny_folder, pre), 0)
