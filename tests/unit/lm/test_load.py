from __future__ import annotations

import dataclasses
import io
import json
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING, Any

import pytest
import torch
import transformers

from tunesmith.core.errors import DataError
from tunesmith.lm.load import load_model

if TYPE_CHECKING:
    from collections.abc import Callable

    from tunesmith.records.model import BaseModel


def changed(tiny: Any, change: Callable[[dict[str, bytes]], None]) -> BaseModel:
    """The tiny base model with other files."""
    with zipfile.ZipFile(tiny.blobs.path(tiny.base.weights)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    change(files)
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return dataclasses.replace(tiny.base, weights=tiny.blobs.put(sink.getvalue()))


def test_a_loaded_folder_is_what_transformers_loads(tiny: Any) -> None:
    stock = transformers.AutoModelForCausalLM.from_pretrained(tiny.folder, dtype=torch.float32)
    loaded = load_model(tiny.base, tiny.blobs)
    ids = torch.arange(40)[None]

    assert torch.equal(loaded.model(ids).logits, stock.eval()(ids).logits)
    assert loaded.num_parameters == sum(p.numel() for p in stock.parameters())
    assert loaded.context_length == 256
    assert not any(parameter.requires_grad for parameter in loaded.model.parameters())


def test_half_precision_weights_are_read_as_float32(tiny: Any) -> None:
    from safetensors.torch import load, save

    def halve(files: dict[str, bytes]) -> None:
        tensors = load(files["model.safetensors"])
        halved = {name: tensor.to(torch.bfloat16) for name, tensor in tensors.items()}
        files["model.safetensors"] = save(halved)
        config = json.loads(files["config.json"])
        files["config.json"] = json.dumps({**config, "dtype": "bfloat16"}).encode()

    loaded = load_model(changed(tiny, halve), tiny.blobs)

    assert {parameter.dtype for parameter in loaded.model.parameters()} == {torch.float32}


def drop_config(files: dict[str, bytes]) -> None:
    del files["config.json"]


def drop_weights(files: dict[str, bytes]) -> None:
    del files["model.safetensors"]


def own_code(files: dict[str, bytes]) -> None:
    config = json.loads(files["config.json"])
    config |= {"model_type": "mine", "auto_map": {"AutoModelForCausalLM": "evil.Model"}}
    files["config.json"] = json.dumps(config).encode()
    files["evil.py"] = b"raise SystemExit('run')"


def wider(files: dict[str, bytes]) -> None:
    config = json.loads(files["config.json"])
    files["config.json"] = json.dumps({**config, "hidden_size": 128, "head_dim": 32}).encode()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (drop_config, r"no config\.json"),
        (drop_weights, "lacks"),
        (own_code, "cannot build"),
        (wider, "do not fit"),
    ],
)
def test_a_folder_that_is_no_model_is_refused(
    tiny: Any, change: Callable[[dict[str, bytes]], None], said: str
) -> None:
    with pytest.raises(DataError, match=said):
        load_model(changed(tiny, change), tiny.blobs)


def test_a_damaged_zip_is_refused(tiny: Any) -> None:
    base = dataclasses.replace(tiny.base, weights=tiny.blobs.put(b"PK"))
    with pytest.raises(DataError, match="not a whole zip"):
        load_model(base, tiny.blobs)


def test_a_tokenizer_is_loaded_without_torch() -> None:
    code = (
        "import sys, tunesmith.lm.load, tunesmith.lm.chat_template, tunesmith.lm.gguf\n"
        "assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
