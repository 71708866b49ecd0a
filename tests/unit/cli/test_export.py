from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tunesmith.cli.export import _config, _lines, save
from tunesmith.core.blobs import FolderBlobs
from tunesmith.core.errors import BlobMissing, Conflict, UsageError
from tunesmith.core.ref import Blob
from tunesmith.records.export import Export, Parity

CHOSEN: Any = SimpleNamespace(name="desk@2", why="as named")


@pytest.fixture
def blobs(tmp_path: Path) -> FolderBlobs:
    return FolderBlobs(tmp_path / "blobs")


def files(blobs: FolderBlobs) -> dict[str, Blob]:
    return {"model.gguf": blobs.put(b"weights"), "Modelfile": blobs.put(b"FROM")}


@pytest.mark.parametrize("there", [False, True])
def test_files_are_written_to_a_new_or_empty_folder(
    tmp_path: Path, blobs: FolderBlobs, there: bool
) -> None:
    folder = tmp_path / "deep" / "out"
    if there:
        folder.mkdir(parents=True)

    save(files(blobs), blobs, folder, {"README.md": "a\nb"})

    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        "model.gguf": b"weights",
        "Modelfile": b"FROM",
        "README.md": b"a\nb",
    }
    assert [path.name for path in folder.parent.iterdir()] == ["out"]
    assert folder.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("kind", ["full", "file"])
def test_what_is_there_is_not_touched(tmp_path: Path, blobs: FolderBlobs, kind: str) -> None:
    folder = tmp_path / "out"
    if kind == "full":
        folder.mkdir()
        (folder / "mine").write_text("mine")
    else:
        folder.write_text("mine")

    with pytest.raises(Conflict, match="is there already") as caught:
        save(files(blobs), blobs, folder, {})

    assert "--out" in caught.value.remedy
    mine = folder / "mine" if kind == "full" else folder
    assert mine.read_text() == "mine"


def test_all_files_or_none(tmp_path: Path, blobs: FolderBlobs) -> None:
    missing = Blob(sha256="0" * 64, num_bytes=1)
    with pytest.raises(BlobMissing):
        save({**files(blobs), "x": missing}, blobs, tmp_path / "out", {})
    assert [path.name for path in tmp_path.iterdir()] == ["blobs"]


@pytest.mark.parametrize(
    ("form", "asked", "chosen"),
    [("gguf", None, "q8_0"), ("merged", None, "f32"), ("gguf", "q4_0", "q4_0")],
)
def test_the_quantisation_follows_the_format(form: Any, asked: Any, chosen: str) -> None:
    assert _config(form, asked).quantisation == chosen


def test_a_quantised_folder_is_refused() -> None:
    with pytest.raises(UsageError, match=r"^only format") as caught:
        _config("merged", "q8_0")
    assert "--format gguf" in caught.value.remedy


def test_people_read_files_and_the_proof() -> None:
    parity = Parity(
        num_prompts=16,
        num_positions=110,
        mean_kl=5.4e-5,
        max_kl=1.8e-3,
        required_kl=1e-2,
        same_prompts=1.0,
        same_answers=0.9375,
        required_answers=0.0,
        same_stops=1.0,
        stops_at_turn=True,
        verdict="pass",
    )
    made = Export(
        name="desk",
        format="gguf",
        quantisation="q8_0",
        files={"model.gguf": Blob(sha256="ab" * 32, num_bytes=144_810_912)},
        parity=parity,
    )
    text = "\n".join(_lines(CHOSEN, made, Path("out")))
    assert text.startswith("desk@2 (as named) as gguf (q8_0) in out\n")
    assert "README.md: its model card, as of now" in text
    assert "model.gguf  144.8 MB  abababababab" in text
    assert "5.4e-05 nats a token (allowed 1e-02)" in text
    assert "93.8 % of the greedy answers" in text


def test_a_file_may_lie_in_a_folder_of_its_own(tmp_path: Path, blobs: FolderBlobs) -> None:
    made = {"1_Pooling/config.json": blobs.put(b"{}"), "a": blobs.put(b"a")}
    save(made, blobs, tmp_path / "out", {})
    assert (tmp_path / "out" / "1_Pooling" / "config.json").read_bytes() == b"{}"


def test_people_read_the_proof_of_a_model_that_reads_states() -> None:
    parity = Parity(
        num_prompts=16,
        num_positions=32,
        mean_kl=0.0,
        max_kl=0.0,
        required_kl=1e-4,
        same_prompts=1.0,
        same_answers=1.0,
        required_answers=1.0,
        same_stops=1.0,
        stops_at_turn=True,
        max_difference=2.5e-6,
        required_difference=1e-3,
        verdict="pass",
    )
    made = Export(name="desk", format="onnx", quantisation="f32", files={}, parity=parity)
    text = "\n".join(_lines(CHOSEN, made, Path("out")))
    assert "differ by up to 2.5e-06 of the largest\n(allowed 1e-03), and 100.0 %" in text
    assert "greedy" not in text
