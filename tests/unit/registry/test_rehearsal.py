"""The way back is tried at promotion: read, loaded and asked; and what happens where it is lost."""

from __future__ import annotations

import dataclasses
import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any, get_args

import pytest
import safetensors.torch

from tunesmith.core import erasure, evidence
from tunesmith.core.errors import Conflict, GateFailed, NotAllowed
from tunesmith.core.ref import Blob
from tunesmith.core.verify import verify
from tunesmith.lm.load import load_head
from tunesmith.records.model import ModelVersion, Task
from tunesmith.registry import change, rehearsal
from tunesmith.registry.change import approve, close, promote, roll_back
from tunesmith.registry.roles import Actor
from tunesmith.registry.signing import sign
from tunesmith.registry.standing import released_version
from tunesmith.signing.keys import new_pair, read_private

TO = "production"
ANN, BOB = (Actor(name=name, os_user=name) for name in ("ann", "bob"))


def put(desk, version: str, alias: str = TO) -> change.Moved:
    promote(desk.project, version, alias, ANN, "better")
    return approve(desk.project, version, alias, BOB, "agreed")


def asked(desk) -> tuple[str, str]:
    """One version in production, and another that somebody asks for."""
    first = desk.release()
    put(desk, first)
    second = desk.release(beside=first)
    promote(desk.project, second, TO, ANN, "better")
    return first, second


def model_of(desk, version: str) -> ModelVersion:
    return released_version(desk.project, version).release.model


def delete(desk, blob: Blob) -> None:
    desk.project.runner.blobs.path(blob).unlink()


def flip(desk, blob: Blob) -> None:
    """A bit in its middle is another; it is as long as before."""
    path = desk.project.runner.blobs.path(blob)
    path.chmod(0o600)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def approvals(desk) -> list[dict[str, Any]]:
    with desk.project.runner.database.read() as connection:
        return [dict(e.body) for e in evidence.entries(connection, "promotion.approved")]


@pytest.mark.parametrize("what", ["adapter", "curve"])
@pytest.mark.parametrize(
    ("harm", "says"), [(delete, "is not in"), (flip, "is damaged")], ids=["deleted", "flipped"]
)
def test_a_way_back_whose_weights_are_gone_is_found_at_promotion(desk, harm, says, what) -> None:
    first, second = asked(desk)
    harm(desk, getattr(model_of(desk, first), what))
    with pytest.raises(GateFailed) as refused:
        approve(desk.project, second, TO, BOB, "fine")
    assert refused.value.exit_code == 3
    assert refused.value.message.startswith(f"{first} cannot be gone back to: blob ")
    assert says in refused.value.message
    for remedy in ("tunesmith store restore", "--without-way-back", f"model retire {first}"):
        assert remedy in refused.value.remedy
    assert desk.project.released("desk", TO)[1] == first  # nothing moved, and nothing was said
    assert len(approvals(desk)) == 1


def test_what_somebody_accepts_is_on_record_and_a_rollback_warns(desk) -> None:
    first, second = asked(desk)
    blob = model_of(desk, first).adapter
    delete(desk, blob)
    why = "it answers wrongly since May"
    moved = approve(desk.project, second, TO, BOB, "the fix", without_way_back=why)
    assert (moved.version, moved.before) == (second, first)
    told = approvals(desk)[1]
    assert told["way_back"] == moved.way_back
    assert moved.way_back.startswith(f"waived: {first} cannot be gone back to (blob ")
    assert moved.way_back.endswith(f"): {why}")
    assert told["way_back_tried"]["waiver"] == why
    assert blob.sha256[:12] in told["way_back_tried"]["lost"]
    assert told["way_back_ms"] > 0  # the row can be moved all the same

    back = roll_back(desk.project, "desk", TO, BOB, "even worse")
    assert back.version == first
    assert back.warning.startswith(f"{first} could not be loaded when the version after it was")
    assert back.wall_s < 1


def test_a_waiver_that_was_not_needed_is_not_on_record(desk) -> None:
    first, second = asked(desk)
    moved = approve(desk.project, second, TO, BOB, "fine", without_way_back="in a hurry")
    assert moved.way_back == f"rehearsed, to {first}; read, every byte; loaded, and it answered"
    assert "hurry" not in str(approvals(desk)[1])
    back = roll_back(desk.project, "desk", TO, BOB, "worse")
    assert (back.version, back.warning) == (first, "")
    assert back.wall_s < 1


def test_an_erased_version_is_said_to_be_gone_for_good(desk) -> None:
    first, second = asked(desk)
    blob = model_of(desk, first).adapter
    body = {"key": "k", "subject": "", "rows": {}, "blobs": [blob.sha256], "begun": 0}
    with desk.project.runner.database.write() as connection:
        evidence.append(connection, erasure.DONE, "ann", body)
    desk.project.look_again()
    delete(desk, blob)
    with pytest.raises(GateFailed, match="was erased when somebody was forgotten, for good"):
        approve(desk.project, second, TO, BOB, "fine")


def test_what_is_whole_and_cannot_be_loaded_is_found(desk) -> None:
    """Every digest holds: what was tuned is not of its base model."""
    shape = desk.shape
    desk.shape = (3, 3)
    first = desk.release()
    put(desk, first)
    desk.shape = shape
    second = desk.release(beside=first)
    promote(desk.project, second, TO, ANN, "better")
    with pytest.raises(GateFailed, match=f"{first} cannot be gone back to: .*lm_head"):
        approve(desk.project, second, TO, BOB, "fine")


def test_what_is_loaded_and_does_not_answer_is_found(desk) -> None:
    """Its base has a template that cannot be used, which is seen once it is asked."""
    files = zipfile.ZipFile(io.BytesIO(desk.weights))
    good, sink = desk.weights, io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        for name in files.namelist():
            data = files.read(name)
            if name == "tokenizer_config.json":
                data = json.dumps(json.loads(data) | {"chat_template": "{{ nobody() }}"}).encode()
            archive.writestr(zipfile.ZipInfo(name), data)
    desk.weights = sink.getvalue()
    first = desk.release()
    put(desk, first)
    desk.weights = good
    second = desk.release(beside=first)
    promote(desk.project, second, TO, ANN, "better")
    with pytest.raises(GateFailed, match=f"{first} cannot be gone back to: .*template"):
        approve(desk.project, second, TO, BOB, "fine")


def test_where_signatures_are_required_the_way_back_has_to_be_signed(
    desk, tmp_path_factory
) -> None:
    path = tmp_path_factory.mktemp("keys") / "k.pem"
    new_pair(path, "p256", None)
    key = read_private(path, None, None)
    first, second = asked(desk)
    sign(desk.project, second, key, ANN)
    desk.set("[registry]\n", f'[registry]\npublic_key = "{path}.pub"\n')
    with pytest.raises(GateFailed, match=f"cannot be gone back to: {first} is not signed with"):
        approve(desk.project, second, TO, BOB, "fine")
    sign(desk.project, first, key, ANN)
    moved = approve(desk.project, second, TO, BOB, "fine")
    assert "every byte, its signature verified; loaded" in moved.way_back
    assert approvals(desk)[1]["way_back_tried"]["signed"] is True


def test_it_is_tried_where_a_rollback_would_lead_and_not_where_the_alias_is(desk) -> None:
    """The version that stands there is retired, so a rollback would pass it over."""
    first = desk.release()
    put(desk, first, "staging")
    second = desk.release(beside=first)
    put(desk, second, "staging")
    close(desk.project, second, "retired", BOB, "leaks")
    third = desk.release(beside=second)
    promote(desk.project, third, "staging", ANN, "better")
    delete(desk, model_of(desk, second).adapter)  # of no use to anybody
    moved = approve(desk.project, third, "staging", BOB, "fine")
    assert moved.way_back.startswith(f"rehearsed, to {first};")
    assert roll_back(desk.project, "desk", "staging", BOB, "bad").version == first


def test_a_damaged_version_that_was_retired_is_in_nobodys_way(desk) -> None:
    first, second = asked(desk)
    delete(desk, model_of(desk, first).adapter)
    approve(desk.project, second, TO, BOB, "the fix", without_way_back="lost")
    close(desk.project, first, "retired", BOB, "its weights are lost")
    moved = put(desk, desk.release(beside=second))
    assert moved.way_back.startswith(f"rehearsed, to {second};")


def test_nothing_is_loaded_for_who_may_not_approve(desk, monkeypatch) -> None:
    _, second = asked(desk)
    monkeypatch.setattr(change, "rehearse", lambda *_: pytest.fail("it was loaded"))
    with pytest.raises(NotAllowed, match="ann tuned, judged or asked"):
        approve(desk.project, second, TO, ANN, "fine")


def test_what_changed_while_the_way_back_was_tried_is_seen(desk, monkeypatch) -> None:
    """Another process retires the version that was tried, before this one moves the alias."""
    first = desk.release()
    put(desk, first, "staging")
    second = desk.release(beside=first)
    promote(desk.project, second, "staging", ANN, "better")
    real = rehearsal.rehearse

    def slow(*given: Any) -> rehearsal.Rehearsed:
        tried = real(*given)
        close(desk.project, first, "retired", BOB, "leaks")
        return tried

    monkeypatch.setattr(change, "rehearse", slow)
    with pytest.raises(Conflict, match="moved, or a version was retired, meanwhile"):
        approve(desk.project, second, "staging", BOB, "fine")
    assert desk.project.released("desk", "staging")[1] == first
    runner = desk.project.runner
    assert verify(runner.database, runner.blobs).problems == ()


@pytest.mark.parametrize("task", get_args(Task))
def test_models_that_say_something_of_a_text_are_asked_too(readers: Any, task: Task) -> None:
    tiny, base = readers.tiny, readers.encoder("bert")
    labels = ("a", "b") if task in ("classify", "tag") else ()
    loaded = load_head(base, tiny.blobs, task, labels)
    names = ("classifier.weight", "encoder.layer.1.output.dense.bias")
    state = loaded.model.state_dict()
    tensors = {name: tensor for name, tensor in state.items() if name.endswith(names)}
    model = tiny.version(
        tiny.blobs.put(safetensors.torch.save(tensors)),
        tiny.blobs.put(json.dumps({"tunesmith_type": "OVERLAY"}).encode()),
        objective=task,
        labels=labels,
    )
    rehearsal._loaded(dataclasses.replace(model, base=base), tiny.blobs)()


def test_a_base_without_a_template_is_asked_the_prompt_itself(
    tiny: Any, readers: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "plain"
    folder.mkdir()
    for path in tiny.folder.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    settings.pop("chat_template")
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    base = readers.zipped(folder)
    with zipfile.ZipFile(tiny.blobs.path(base.weights)) as archive:
        state = safetensors.torch.load(archive.read("model.safetensors"))
    head = {"lm_head.weight": state["model.embed_tokens.weight"].flip(0).contiguous()}
    model = tiny.version(
        tiny.blobs.put(safetensors.torch.save(head)),
        tiny.blobs.put(json.dumps({"tunesmith_type": "OVERLAY"}).encode()),
    )
    rehearsal._loaded(dataclasses.replace(model, base=base), tiny.blobs)()


def test_who_goes_back_loads_no_model(desk) -> None:
    """In a process of its own: torch alone would take longer than the whole command may."""
    first, second = asked(desk)
    approve(desk.project, second, TO, BOB, "fine")
    script = (
        "import sys; from pathlib import Path; from tunesmith.project import open_project\n"
        "from tunesmith.registry.change import roll_back\n"
        "from tunesmith.registry.roles import Actor\n"
        f"project = open_project(Path({str(desk.project.folder)!r}))\n"
        "ann = Actor(name='ann', os_user='ann')\n"
        "moved = roll_back(project, 'desk', 'production', ann, 'bad')\n"
        "print(moved.version, 'torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [first, "False"]
