"""Exports of models that read states are the models that were tuned, by their own gate and by
transformers, PEFT, sentence-transformers and ONNX Runtime."""

from __future__ import annotations

import dataclasses
import json
import shutil
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
import transformers
from safetensors.torch import save

from tunesmith.core.errors import GateFailed, MissingExtra, UsageError
from tunesmith.core.ref import Blob, find, from_plain, to_plain
from tunesmith.lm.example import Example
from tunesmith.lm.heads import head_modules
from tunesmith.lm.load import load_head, load_tuned_head
from tunesmith.records.data import Dataset
from tunesmith.records.export import Export
from tunesmith.records.model import ModelVersion
from tunesmith.records.rows import Labelled, Pair, Preference, Tagged
from tunesmith.stages.export import head_folder, of_states, onnx_file
from tunesmith.stages.export.config import ExportConfig
from tunesmith.stages.export.parity import REQUIRED_OF_STATES
from tunesmith.stages.export.run import export
from tunesmith.stages.export.states import Document, Row, compare_outputs, misses_of_states

LABELS = ("apache", "gpl", "mit")
CONTENTS: dict[str, list[Any]] = {
    "classify": [
        Labelled(text="Permission is hereby granted, free of charge.", label="mit"),
        Labelled(text="This program is free software.", label="gpl"),
        Labelled(text="Licensed under the Apache License, Version 2.0; otherwise.", label="apache"),
        Labelled(text="Version 2", label="gpl"),
        Labelled(text="a [SEP] within", label="gpl"),
    ],
    "tag": [
        Tagged(tokens=("free", "software"), tags=("mit", "gpl")),
        Tagged(tokens=("Licensed", "under", "the", "Apache", "License"), tags=("apache",) * 5),
        Tagged(tokens=("any", "person"), tags=("mit", "gpl")),
    ],
    "reward": [
        Preference(prompt="Which licence?", chosen="The Apache License.", rejected="free"),
        Preference(prompt="What is free software?", chosen="This program is.", rejected="No copy"),
    ],
    "rerank": [
        Pair(anchor="free of charge", positive="any person", negatives=("software", "version 2")),
        Pair(anchor="public license", positive="the GNU General Public License", negatives=("a",)),
    ],
}
CONTENTS["embed"] = CONTENTS["rerank"]
TARGETS = {"bert": ["query", "value"], "modernbert": ["Wqkv", "Wo"], "llama": ["q_proj", "v_proj"]}
PEFT_TASKS = {"tag": "TOKEN_CLS", "embed": "FEATURE_EXTRACTION"}
ENCODERS = [("bert", "classify"), ("modernbert", "tag"), ("bert", "rerank"), ("bert", "reward"),
            ("bert", "embed"), ("modernbert", "classify")]  # fmt: skip
DECODERS = [("llama", "classify"), ("llama", "reward")]


@dataclass(frozen=True)
class TunedHead:
    """A tiny model with a random adapter and head, made and applied by PEFT."""

    readers: Any
    model: ModelVersion
    dataset: Dataset
    stock: Any
    """transformers' model, wrapped by PEFT."""

    def export(self, form: str, **settings: Any) -> Export:
        """The export in that format."""
        workdir = self.readers.tiny.workdir
        shutil.rmtree(workdir)
        workdir.mkdir()
        config = ExportConfig(format=form, **settings)  # type: ignore[arg-type]
        context = self.readers.tiny.context()
        return export(config, context, model=self.model, dataset=self.dataset)

    def unpack(self, made: Export, folder: Path) -> Path:
        """The files of an export, in a folder."""
        for name, blob in made.files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(self.readers.tiny.blobs.get(blob))
        return folder


def tune(readers: Any, folder: Path, kind: str, task: Any) -> TunedHead:
    tiny = readers.tiny
    base = tiny.base if kind == "llama" else readers.encoder(kind)
    labels = LABELS if task in ("classify", "tag") else ()
    loaded = load_head(base, tiny.blobs, task, labels, seed=4)
    heads = [name.rpartition(".")[2] for name in head_modules(loaded.model)]
    config = peft.LoraConfig(
        task_type=PEFT_TASKS.get(task, "SEQ_CLS"), r=4, lora_alpha=6, target_modules=TARGETS[kind],
        modules_to_save=heads or None,
    )  # fmt: skip
    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(1)
        wrapped = peft.get_peft_model(loaded.model, config).eval()
        for name, parameter in wrapped.named_parameters():
            if ".lora_B." in name or ".modules_to_save." in name:
                torch.nn.init.normal_(parameter, std=0.3)
        wrapped.save_pretrained(folder)
    version = tiny.version(
        tiny.blobs.put(folder / "adapter_model.safetensors"),
        tiny.blobs.put(folder / "adapter_config.json"),
        objective=task,
        labels=labels,
    )
    model = dataclasses.replace(version, base=base)
    dataset = readers.dataset(CONTENTS[task], labels)
    return TunedHead(readers, model, dataclasses.replace(dataset, test=dataset.train), wrapped)


@pytest.fixture
def tuned(readers: Any, tmp_path: Path) -> Callable[[str, str], TunedHead]:
    """tuned(kind, task) -> a tuned tiny model."""
    return lambda kind, task: tune(readers, tmp_path / "peft", kind, task)


@torch.inference_mode()
def said(model: Any, ids: Sequence[int], task: str, pooling: str = "mean") -> torch.Tensor:
    """What a model of transformers says of one text."""
    output = model(input_ids=torch.tensor([ids]), attention_mask=torch.ones(1, len(ids)).long())
    if task != "embed":
        return output.logits[0]
    assert pooling == "mean"
    return torch.nn.functional.normalize(output.last_hidden_state.mean(dim=1)[0], dim=-1)


@pytest.mark.parametrize(("kind", "task"), ENCODERS + DECODERS)
def test_folders_are_the_tuned_model(tuned: Any, tmp_path: Path, kind: str, task: Any) -> None:
    desk = tuned(kind, task)

    merged, adapter = desk.export("merged"), desk.export("adapter")

    for made in (merged, adapter):
        assert made.parity.verdict == "pass"
        special = task == "classify" and kind != "llama"  # one row holds a token of encoders
        assert made.parity.num_prompts == len(CONTENTS[task]) - special
        assert made.parity.same_prompts == made.parity.same_answers == 1
        assert made.parity.max_difference < 1e-5  # the same products may give the same bits
        assert from_plain(Export, to_plain(made)) == made
        for blob in find(made, Blob):
            desk.readers.tiny.blobs.check(blob, deep=True)
    folder = desk.unpack(merged, tmp_path / "out")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    stock = head_folder.KINDS[task].from_pretrained(folder).eval()
    text = "any person under the license"
    ids = tokenizer(text)["input_ids"]
    torch.testing.assert_close(
        said(stock, ids, task), said(desk.stock, ids, task), atol=1e-5, rtol=1e-5
    )
    if task in ("classify", "tag"):
        assert stock.config.id2label == dict(enumerate(LABELS))
        kind_of = "text-classification" if task == "classify" else "token-classification"
        pipe = transformers.pipeline(kind_of, model=stock, tokenizer=tokenizer)
        chosen = said(desk.stock, ids, task).argmax(-1).flatten().tolist()
        found = pipe([text, "software"], batch_size=1)[0]
        if task == "classify":
            assert found["label"] == LABELS[chosen[0]]
    if task != "embed" and kind == "bert":
        base = head_folder.KINDS[task].from_pretrained(
            desk.readers.folder / kind, num_labels=len(desk.model.labels) or 1
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            peft_folder = desk.unpack(adapter, tmp_path / "adapter")
            again = peft.PeftModel.from_pretrained(base, peft_folder).eval()
        torch.testing.assert_close(said(again, ids, task), said(desk.stock, ids, task))


def test_sentence_transformers_loads_the_folder(tuned: Any, tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer

    desk = tuned("bert", "embed")
    folder = desk.unpack(desk.export("merged"), tmp_path / "out")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = SentenceTransformer(str(folder), device="cpu")
    texts = ["any person", "Licensed under the Apache License", "a"]

    found = torch.from_numpy(model.encode(texts))

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    expected = [said(desk.stock, tokenizer(text)["input_ids"], "embed") for text in texts]
    torch.testing.assert_close(found, torch.stack(expected), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("kind", "task"),
    [
        pytest.param(*ENCODERS[1], marks=pytest.mark.slow),  # torch takes its time to write a file
        pytest.param(*ENCODERS[2], marks=pytest.mark.slow),
        ENCODERS[4],
    ],
)
def test_onnx_runtime_reads_the_file(
    tuned: Any, tmp_path: Path, kind: str, task: Any, monkeypatch: Any
) -> None:
    import onnx
    import onnxruntime

    desk = tuned(kind, task)
    made = desk.export("onnx")

    assert made.parity.verdict == "pass"
    assert 0 < made.parity.max_difference < 1e-4
    folder = desk.unpack(made, tmp_path / "out")
    content = (folder / "model.onnx").read_bytes()
    assert b".py" not in content, "paths of the machine that wrote it"
    assert {e.domain for e in onnx.load(folder / "model.onnx").opset_import} == {""}
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"))
    names = [each.name for each in session.get_inputs()]
    assert names == ["input_ids", "attention_mask", *["token_type_ids"] * (kind == "bert")]
    (output,) = session.get_outputs()
    assert output.name == ("sentence_embedding" if task == "embed" else "logits")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    texts = ["any person", "Licensed under the Apache License, Version 2.0", "a"]
    batch = tokenizer(texts, padding=True, return_tensors="np")
    (found,) = session.run(None, {name: batch[name] for name in names})
    for text, row in zip(texts, torch.from_numpy(found), strict=True):
        ids = tokenizer(text)["input_ids"]
        expected = said(desk.stock, ids, task)
        shown = row[: len(ids)] if task == "tag" else row
        torch.testing.assert_close(shown, expected, atol=1e-4, rtol=1e-4)

    def spoilt(out: Path, _loaded: Any) -> None:
        """One matrix of the file is another."""
        desk.unpack(made, out)
        model = onnx.load(out / "model.onnx")
        (words, *_) = [each for each in model.graph.initializer if "embeddings" in each.name]
        values = onnx.numpy_helper.to_array(words)
        words.CopyFrom(onnx.numpy_helper.from_array(values[::-1].copy(), words.name))
        onnx.save(model, out / "model.onnx")

    monkeypatch.setattr(of_states, "write_onnx", spoilt)
    with pytest.raises(GateFailed, match="the onnx export of desk is not the model"):
        desk.export("onnx")


def test_a_folder_with_another_head_is_not_kept(tuned: Any, monkeypatch: Any) -> None:
    desk = tuned("bert", "classify")
    write = of_states.write_head_folder

    def other(folder: Path, loaded: Any) -> None:
        with torch.no_grad():
            loaded.model.classifier.bias.data[0] += 0.01
        write(folder, loaded)
        with torch.no_grad():
            loaded.model.classifier.bias.data[0] -= 0.01

    monkeypatch.setattr(of_states, "write_head_folder", other)
    with pytest.raises(GateFailed, match="numbers differ by up to"):
        desk.export("merged")


def test_a_folder_whose_tokenizer_cuts_otherwise_is_not_kept(tuned: Any, monkeypatch: Any) -> None:
    desk = tuned("bert", "classify")
    write = of_states.write_head_folder

    def other(folder: Path, loaded: Any) -> None:
        write(folder, loaded)
        path = folder / "tokenizer.json"
        settings = json.loads(path.read_text())
        path.write_text(json.dumps(settings | {"post_processor": None}))

    monkeypatch.setattr(of_states, "write_head_folder", other)
    with pytest.raises(GateFailed, match="0% of the texts have equal ids"):
        desk.export("merged")


def test_an_export_that_is_another_only_when_padded_is_not_kept(
    tuned: Any, monkeypatch: Any
) -> None:
    """The padding is attended to."""
    desk = tuned("bert", "classify")
    real = head_folder.padded

    def unmasked(*given: Any, **named: Any) -> Any:
        arguments = real(*given, **named)
        return arguments | {"attention_mask": torch.ones_like(arguments["attention_mask"])}

    monkeypatch.setattr(head_folder, "padded", unmasked)
    with pytest.raises(GateFailed, match="alone and padded"):
        desk.export("merged")


@pytest.mark.parametrize("form", ["gguf", "gguf-adapter"])
def test_formats_of_models_that_answer_are_refused(tuned: Any, form: str) -> None:
    with pytest.raises(UsageError, match="tuned to classify is not written") as caught:
        tuned("llama", "classify").export(form)
    assert '"merged" or "onnx"' in caught.value.remedy


def test_a_decoder_is_not_written_as_onnx(tuned: Any) -> None:
    with pytest.raises(UsageError, match="only encoders") as caught:
        tuned("llama", "classify").export("onnx")
    assert "merged" in caught.value.remedy


def test_a_model_that_answers_is_not_written_as_onnx(tiny: Any) -> None:
    from tunesmith.stages.export.run import export as run

    model = tiny.version(tiny.blobs.put(b""), tiny.blobs.put(b"{}"))
    with pytest.raises(UsageError, match="answers in text"):
        run(ExportConfig(format="onnx"), tiny.context(), model=model, dataset=tiny.dataset([]))


def test_without_the_extra_it_is_named(tuned: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(onnx_file, "LIBRARIES", ("no_such_library",))
    with pytest.raises(MissingExtra, match="no_such_library") as caught:
        tuned("bert", "classify").export("onnx")
    assert "tunesmith[onnx]" in caught.value.remedy


def test_a_head_alone_is_no_adapter(tuned: Any) -> None:
    desk = tuned("bert", "classify")
    blobs = desk.readers.tiny.blobs
    model = load_tuned_head(desk.model, blobs).model
    overlay = {"classifier.bias": model.classifier.bias.detach() + 1}
    head = dataclasses.replace(
        desk.model,
        method="head",
        adapter=blobs.put(save(overlay)),
        adapter_config=blobs.put(json.dumps({"tunesmith_type": "OVERLAY"}).encode()),
    )
    alone = dataclasses.replace(desk, model=head)
    with pytest.raises(UsageError, match="LoRA or DoRA") as caught:
        alone.export("adapter")
    assert "onnx" in caught.value.remedy
    assert alone.export("merged").parity.verdict == "pass"


def rows_of(num_documents: int) -> list[Row]:
    document = Document(said=("a",), ids=(1,), types=())
    return [Row(example=Example(row_id="a"), documents=(document,) * num_documents)]


@pytest.mark.parametrize(
    ("task", "ours", "theirs", "verdict", "same"),
    [
        ("classify", [[2.0, 1.0]], [[2.0, 1.0005]], "pass", 1),
        ("classify", [[2.0, 1.0]], [[2.0, 1.01]], "fail", 1),  # 0.005 of the largest
        ("classify", [[2.0, 1.9995]], [[1.9995, 2.0]], "fail", 0),
        ("classify", [[2.0, 1.99999]], [[1.99999, 2.0]], "pass", 1),  # a tie
        ("classify", [[2.0, 1.0]], [[2.0, float("nan")]], "fail", None),
        ("rerank", [[2.0], [1.9995]], [[1.9995], [2.0]], "fail", 0),
        ("rerank", [[2.0], [1.0]], [[2.0005], [1.0]], "pass", 1),
        ("embed", [[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [0.0, 1.0005]], "pass", 1),
        ("embed", [[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [1.0, 0.0]], "fail", 1),
    ],
)
@pytest.mark.parametrize("place", [0, 1])
def test_every_difference_of_numbers_is_seen(
    task: Any, ours: Any, theirs: Any, verdict: str, same: int | None, place: int
) -> None:
    tuned = [torch.tensor([row]) for row in ours]
    exports = [tuned, tuned]
    exports[place] = [torch.tensor([row]) for row in theirs]
    rows = rows_of(len(ours))

    parity = compare_outputs(task, rows, tuned, exports, [True], REQUIRED_OF_STATES["onnx"])

    assert parity.verdict == verdict
    if same is not None:
        assert parity.same_answers == 1 - (1 - same) / 2
    assert f"{parity.max_difference:.1e} of the largest" in misses_of_states(parity)
    other = compare_outputs(task, rows, tuned, [tuned], [False], REQUIRED_OF_STATES["onnx"])
    assert other.verdict == "fail"
