from __future__ import annotations

import dataclasses
import io
import json
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING, Any

import pytest
import tokenizers
import torch
import transformers

from tunesmith.core.errors import DataError
from tunesmith.lm.encode import text_ids
from tunesmith.lm.load import is_encoder, load_head, load_model, load_tokenizer
from tunesmith.records.model import BaseModel

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tunesmith.core.blobs import Blobs


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


def encoder_folder(folder: Path, kind: Any) -> None:
    """A tiny random BERT under the head `kind`, and a tokenizer that truncates and pads."""
    words = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "free", "software", "licence"]
    core = tokenizers.Tokenizer(
        tokenizers.models.WordPiece(
            vocab={word: number for number, word in enumerate(words)}, unk_token="[UNK]"
        )
    )
    core.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    core.post_processor = tokenizers.processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1))
    core.enable_truncation(4)
    core.enable_padding(length=9)
    config = transformers.BertConfig(
        vocab_size=len(words), hidden_size=16, intermediate_size=24, num_hidden_layers=2,
        num_attention_heads=2, max_position_embeddings=32,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        kind(config).save_pretrained(folder)
    core.save(str(folder / "tokenizer.json"))


def zipped(folder: Path, blobs: Blobs) -> BaseModel:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        for path in sorted(folder.iterdir()):
            archive.write(path, path.name)
    return BaseModel(
        name="encoder",
        origin="folder",
        licence="MIT",
        weights=blobs.put(sink.getvalue()),
        format="folder",
    )


@pytest.mark.parametrize("head", ["BertModel", "BertForMaskedLM", "BertForSequenceClassification"])
def test_an_encoder_is_loaded_whatever_head_it_was_saved_with(
    head: str, tiny: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "encoder"
    encoder_folder(folder, getattr(transformers, head))
    stock = transformers.BertModel.from_pretrained(folder, add_pooling_layer=False).eval()
    loaded = load_head(zipped(folder, tiny.blobs), tiny.blobs, "embed")

    ids = text_ids(loaded, "free software licence free")
    assert ids == (1, 4, 5, 6, 4, 2)
    states = loaded.model(torch.tensor([ids])).last_hidden_state
    assert torch.equal(states, stock(torch.tensor([ids])).last_hidden_state)
    assert loaded.context_length == 32
    assert loaded.num_parameters == sum(p.numel() for p in stock.parameters())
    assert not any(parameter.requires_grad for parameter in loaded.model.parameters())


def test_an_encoder_that_lacks_a_tensor_or_a_file_is_refused(tiny: Any, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "encoder"
    encoder_folder(folder, transformers.BertModel)
    tensors = load_file(folder / "model.safetensors")
    del tensors["encoder.layer.1.output.dense.weight"]
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(DataError, match=r"lacks \['encoder\.layer\.1\.output\.dense\.weight'\]"):
        load_head(zipped(folder, tiny.blobs), tiny.blobs, "embed")
    (folder / "tokenizer.json").unlink()
    with pytest.raises(DataError, match=r"no tokenizer\.json"):
        load_head(zipped(folder, tiny.blobs), tiny.blobs, "embed")


def test_how_a_model_cuts_text_is_known_of_chat_models_and_encoders(
    tiny: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "encoder"
    encoder_folder(folder, transformers.BertModel)
    encoder = zipped(folder, tiny.blobs)
    text = "free software licence free"
    core = load_tokenizer(encoder, tiny.blobs).core
    assert (
        core.encode(text).ids
        == load_head(encoder, tiny.blobs, "embed").tokenizer.core.encode(text).ids
    )
    stock = transformers.AutoTokenizer.from_pretrained(tiny.folder)
    core = load_tokenizer(tiny.base, tiny.blobs).core
    assert core.encode(text, add_special_tokens=False).ids == stock.encode(
        text, add_special_tokens=False
    )
    assert is_encoder(encoder, tiny.blobs)
    assert not is_encoder(tiny.base, tiny.blobs)
    assert not is_encoder(dataclasses.replace(encoder, format="gguf"), tiny.blobs)


def test_a_tokenizer_is_loaded_without_torch() -> None:
    code = (
        "import sys, tunesmith.lm.load, tunesmith.lm.chat_template, tunesmith.lm.gguf\n"
        "assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_random_weights_are_those_that_transformers_would_draw(tiny: Any) -> None:
    config = transformers.AutoConfig.from_pretrained(tiny.folder)
    with torch.random.fork_rng():
        torch.manual_seed(5)
        stock = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    before = torch.random.get_rng_state()
    drawn = load_model(tiny.base, tiny.blobs, drawn_from=5)
    other = load_model(tiny.base, tiny.blobs, drawn_from=6)

    assert torch.equal(torch.random.get_rng_state(), before)
    expected = stock.state_dict()
    assert drawn.model.state_dict().keys() == expected.keys()
    assert all(torch.equal(t, expected[name]) for name, t in drawn.model.state_dict().items())
    embeddings = drawn.model.get_input_embeddings().weight
    assert drawn.model.get_output_embeddings().weight is embeddings
    assert not torch.equal(embeddings, other.model.get_input_embeddings().weight)
    assert not any(parameter.requires_grad for parameter in drawn.model.parameters())
    assert (
        drawn.tokenizer.core.to_str() == load_model(tiny.base, tiny.blobs).tokenizer.core.to_str()
    )
