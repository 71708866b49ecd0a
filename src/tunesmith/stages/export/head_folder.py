"""A model that reads states as a folder that stock transformers loads, and sentence-transformers
one that makes vectors."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
import transformers
from torch.nn.functional import normalize

from tunesmith.lm.build_head import KINDS
from tunesmith.lm.chat_template import stop_ids
from tunesmith.lm.load import LoadedHead
from tunesmith.lm.questions import asked
from tunesmith.records.model import Task
from tunesmith.stages.export.folder import as_message, write_tokenizer
from tunesmith.stages.export.states import Document, Reader, padded

ROLES = ("unk", "cls", "sep", "mask")
"""Special tokens of an encoder, which its vocabulary calls [UNK] and so on."""
SENTENCE_MODULES = ("Transformer", "Pooling", "Normalize")


class Head(torch.nn.Module):
    """A model as one function of padded texts: logits or, of a model without a head, vectors of
    length 1."""

    def __init__(self, model: Any, task: Task) -> None:
        super().__init__()
        self.model = model
        self.pooling = model.config.sentence_pooling if task == "embed" else ""

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        token_type_ids: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """All arguments are (num_documents, length); so is the result's first dimension."""
        types = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
        output = self.model(input_ids=input_ids, attention_mask=attention_mask, **types)
        if not self.pooling:
            logits: torch.Tensor = output.logits
            return logits
        states = output.last_hidden_state
        if self.pooling == "cls":
            return normalize(states[:, 0], dim=-1)
        weights = attention_mask[:, :, None].to(states.dtype)
        return normalize((states * weights).sum(dim=1) / weights.sum(dim=1), dim=-1)


def has_types(model: Any) -> bool:
    """Whether `model` is told which of two texts a token is of."""
    return getattr(model.config, "type_vocab_size", 0) > 1


def set_padding(loaded: LoadedHead) -> int | None:
    """Declare a padding token to the model, for batches, and return its id.

    A decoder is given a special token that ends nothing: by the padding it looks for the last
    token of a text. None if its vocabulary has no such token: then texts are read one by one.
    """
    config, tokenizer = loaded.model.config, loaded.tokenizer
    if not loaded.is_encoder:
        ends: set[int | None] = set(stop_ids(tokenizer)) if tokenizer.chat_template else set()
        ends |= {tokenizer.core.token_to_id(t) for t in (tokenizer.bos_token, tokenizer.eos_token)}
        free = [number for number in sorted(tokenizer.special_ids) if number not in ends]
        words = {number: tokenizer.core.id_to_token(number) or "" for number in free}
        named = [number for number, word in words.items() if "pad" in word.lower()]
        config.pad_token_id = next(iter([*named, *free]), None)
    found: int | None = config.pad_token_id
    return found


def write_head_folder(folder: Path, loaded: LoadedHead) -> None:
    """Write float32 weights, configuration and tokenizer to `folder`; of a model that makes vectors
    also what sentence-transformers reads."""
    state = {name: tensor.contiguous() for name, tensor in loaded.model.state_dict().items()}
    safetensors.torch.save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    write_settings(folder, loaded)
    if loaded.task == "embed":
        _write_sentence_modules(folder, loaded)


def write_settings(folder: Path, loaded: LoadedHead) -> None:
    """Write config.json, with the names of the classes, and the tokenizer."""
    pad = set_padding(loaded)
    loaded.model.config.architectures = [type(loaded.model).__name__]
    loaded.model.config.save_pretrained(folder)
    core = loaded.tokenizer.core
    more: dict[str, object] = {"model_input_names": input_names(loaded.model)}
    if pad is not None:
        more["pad_token"] = core.id_to_token(pad)
    if loaded.is_encoder:
        named = {f"{role}_token": f"[{role.upper()}]" for role in ROLES}
        more |= {role: name for role, name in named.items() if core.token_to_id(name) is not None}
    write_tokenizer(folder, loaded.tokenizer, loaded.context_length, more)


def input_names(model: Any) -> list[str]:
    """The arguments that `model` takes of a text."""
    return ["input_ids", "attention_mask", *["token_type_ids"] * has_types(model)]


def reload_head_folder(folder: Path, loaded: LoadedHead, instruction: str) -> Reader:
    """What stock transformers makes of `folder`; of `loaded` only what it is for is used."""
    transformers.utils.logging.disable_progress_bar()  # the step reports its own
    kind = KINDS[loaded.task]
    model = kind.from_pretrained(folder, dtype=torch.float32, local_files_only=True).eval()
    return Reader(ids=own_ids(folder, loaded, instruction), run=running(model, loaded.task))


def own_ids(
    folder: Path, loaded: LoadedHead, instruction: str
) -> Callable[[Document], Sequence[int]]:
    """How the tokenizer that lies in `folder` cuts a document."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    if loaded.task == "tag":
        return lambda document: list(
            tokenizer(list(document.said), is_split_into_words=True)["input_ids"]
        )
    if loaded.task != "reward" or loaded.is_encoder:
        return lambda document: list(tokenizer(*document.said)["input_ids"])

    def answered(document: Document) -> Sequence[int]:
        """The question by the template, and the answer as it was learnt."""
        turns = asked(instruction, document.said[0])
        messages = [as_message(turn) for turn in turns]
        prompt = tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, return_dict=False
        )
        return [*prompt, *document.ids[len(prompt) :]]

    return answered


def running(model: Any, task: Task) -> Callable[[Sequence[Document]], list[torch.Tensor]]:
    """`Reader.run` of a model of transformers."""
    head = Head(model, task)
    pad = model.config.pad_token_id

    @torch.inference_mode()
    def run(documents: Sequence[Document]) -> list[torch.Tensor]:
        if pad is None and len(documents) > 1:
            return [found for document in documents for found in run([document])]
        found = head(**padded(documents, pad or 0, has_types=has_types(model)))
        return parted(found, documents)

    return run


def parted(found: torch.Tensor, documents: Sequence[Document]) -> list[torch.Tensor]:
    """The rows of a padded result, without what was said of the padding."""
    if found.dim() == 2:
        return [row[None] for row in found]
    return [row[: len(each.ids)] for row, each in zip(found, documents, strict=True)]


def _write_sentence_modules(folder: Path, loaded: LoadedHead) -> None:
    """The files by which sentence-transformers knows how states become a vector."""
    paths = ("", "1_Pooling", "2_Normalize")
    modules = [
        {"idx": n, "name": str(n), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for n, (path, kind) in enumerate(zip(paths, SENTENCE_MODULES, strict=True))
    ]
    how = loaded.model.config.sentence_pooling
    pooling = {
        "word_embedding_dimension": loaded.model.config.hidden_size,
        "pooling_mode_cls_token": how == "cls",
        "pooling_mode_mean_tokens": how == "mean",
    }
    lengths = {"max_seq_length": loaded.context_length, "do_lower_case": False}
    (folder / paths[1]).mkdir()
    for name, value in (
        ("modules.json", modules),
        (f"{paths[1]}/config.json", pooling),
        ("sentence_bert_config.json", lengths),
    ):
        (folder / name).write_text(json.dumps(value, indent=2), encoding="utf-8")
