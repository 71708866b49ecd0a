"""A merged model as a folder that stock transformers loads."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import safetensors.torch
import torch
import transformers

from tunesmith.lm.chat_template import stop_ids, with_call_ids
from tunesmith.lm.engine import Message
from tunesmith.lm.gguf_write import is_tied
from tunesmith.lm.load import LoadedModel
from tunesmith.lm.tokenizer import Tokenizer
from tunesmith.records.rows import Turn
from tunesmith.stages.export.parity import Question, Subject


def write_folder(folder: Path, loaded: LoadedModel) -> None:
    """Write float32 weights, configuration, generation_config.json and tokenizer to `folder`."""
    model = loaded.model
    model.config.tie_word_embeddings = is_tied(model)
    state = model.state_dict()
    if model.config.tie_word_embeddings:
        del state["lm_head.weight"]
    safetensors.torch.save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    model.config.architectures = [type(model).__name__]
    model.config.save_pretrained(folder)
    stops = sorted(stop_ids(loaded.tokenizer))
    transformers.GenerationConfig(do_sample=False, eos_token_id=stops).save_pretrained(folder)
    write_tokenizer(folder, loaded.tokenizer, loaded.context_length)


def write_tokenizer(
    folder: Path,
    tokenizer: Tokenizer,
    context_length: int,
    more: Mapping[str, object] = MappingProxyType({}),
) -> None:
    """Write tokenizer.json and tokenizer_config.json, which says `more` beside the usual."""
    (folder / "tokenizer.json").write_text(tokenizer.core.to_str(), encoding="utf-8")
    settings = _tokenizer_config(tokenizer, context_length) | dict(more)
    (folder / "tokenizer_config.json").write_text(
        json.dumps(settings, indent=2, ensure_ascii=False), encoding="utf-8"
    )


def reload_folder(folder: Path) -> Subject:
    """What stock transformers makes of `folder`."""
    transformers.utils.logging.disable_progress_bar()  # the step reports its own
    model = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, local_files_only=True
    )
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)

    def prompt(asked: Question) -> list[int]:
        if not asked.messages:
            ids = tokenizer(asked.text, add_special_tokens=False)["input_ids"]
            return [*asked.before, *ids]
        messages = [as_message(message) for message in with_call_ids(asked.messages)]
        return list(
            tokenizer.apply_chat_template(
                messages,
                tools=[dict(tool) for tool in asked.tools] or None,
                add_generation_prompt=True,
                return_dict=False,
            )
        )

    stops = model.generation_config.eos_token_id
    declared = frozenset(stops if isinstance(stops, list) else [stops])
    return Subject(model=model.eval(), prompt=prompt, stops=declared)


def as_message(message: Message | Turn) -> dict[str, object]:
    """A turn as transformers takes it."""
    found: dict[str, object] = {"role": message.role, "content": message.content}
    if isinstance(message, Turn) and message.tool_calls:
        found["tool_calls"] = [
            {
                "type": "function",
                "id": call.id,
                "function": {"name": call.name, "arguments": dict(call.arguments)},
            }
            for call in message.tool_calls
        ]
    if isinstance(message, Turn) and message.tool_call_id:
        found["tool_call_id"] = message.tool_call_id
    return found


def _tokenizer_config(tokenizer: Tokenizer, context_length: int) -> dict[str, object]:
    named = {
        "bos_token": tokenizer.bos_token,
        "eos_token": tokenizer.eos_token,
        "chat_template": tokenizer.chat_template,
    }
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        "model_max_length": context_length,
        **{key: text for key, text in named.items() if text},
    }
