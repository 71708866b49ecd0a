"""States that are kept: the same bits whether they were there or not, whatever ended a run."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tunesmith.core.canonical import canonical_json
from tunesmith.core.errors import Stopped
from tunesmith.core.execute import CACHE, CACHED_S, sweep
from tunesmith.core.ref import to_plain
from tunesmith.lm.example import Example, MicroBatch
from tunesmith.lm.lessons import labelled
from tunesmith.stages.finetune import states as module
from tunesmith.stages.finetune.config import ModelConfig
from tunesmith.stages.finetune.control import request
from tunesmith.stages.finetune.run import finetune
from tunesmith.stages.finetune.states import Shelf, States, shelf_of
from tunesmith.stages.finetune.trunk import Trunk

WIDTH = 8
ROWS = [labelled(f"r{number}", range(number, 2 * number + 3), 1) for number in range(20)]
TEXTS = [(f"text number {number}", label) for number in range(6) for label in ("mit", "gpl-2.0")]
RUN = """
import sys, torch
from pathlib import Path
from tunesmith.core.blobs import FolderBlobs
from tunesmith.core.canonical import parse
from tunesmith.core.ref import from_plain
from tunesmith.core.step import Context
from tunesmith.records.data import Dataset
from tunesmith.records.model import BaseModel
from tunesmith.stages.finetune import states
from tunesmith.stages.finetune.config import ModelConfig
from tunesmith.stages.finetune.run import finetune

torch.set_num_threads(1)
given = parse(sys.stdin.buffer.read())
states.PART_BYTES, states.MICRO_TOKENS = given["part_bytes"], given["micro_tokens"]
work = Path(given["work"])
(work / "keep").mkdir(exist_ok=True)  # as the executor does
ctx = Context(blobs=FolderBlobs(Path(given["blobs"])), seed=3, workdir=work, keep=work / "keep",
              cache=Path(given["cache"]))
finetune(ModelConfig(**given["config"]), ctx, base=from_plain(BaseModel, given["base"]),
         dataset=from_plain(Dataset, given["dataset"]))
"""


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several micro-batches in a file, several files of a few rows."""
    monkeypatch.setattr(module, "PART_BYTES", 120 * WIDTH * 4)
    monkeypatch.setattr(module, "MICRO_TOKENS", 40)


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(folder=tmp_path, workdir=tmp_path, made_of={"base": "b"})


def states_of(shelf: Shelf, rows: list[Example] = ROWS, **made_of: Any) -> States:
    return States(shelf, made_of, rows, WIDTH, torch.float32)


def compute(micro: MicroBatch) -> torch.Tensor:
    """States that tell with whom a token was computed."""
    return micro.ids[:, None] * torch.arange(1.0, WIDTH + 1) + micro.ids.sum() / 7


def nothing(_num_tokens: int) -> None:
    pass


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("states-*")}


def test_rows_are_read_as_they_were_computed(shelf: Shelf) -> None:
    states = states_of(shelf)
    assert not states.complete
    assert sum(map(states.num_tokens, states.missing())) == sum(row.num_tokens for row in ROWS)
    done: list[int] = []
    states.fill(compute, done.append)
    assert states.complete
    assert states.missing() == []
    assert max(done) <= 40
    assert len(files(shelf.folder)) > 2
    assert sum(map(len, files(shelf.folder).values())) == states.num_bytes + 32 * len(
        files(shelf.folder)
    )
    expected = {}
    for places in states_of(dataclasses.replace(shelf, folder=shelf.folder / "none")).missing():
        micro = states.micro(places)
        for row_id, part in zip(
            micro.row_ids, torch.split_with_sizes(compute(micro), micro.sizes), strict=True
        ):
            expected[row_id] = part
    for some in (ROWS, ROWS[::-3], [ROWS[7]]):
        found = states.read([row.row_id for row in some], [row.num_tokens for row in some])
        assert torch.equal(found, torch.cat([expected[row.row_id] for row in some]))


def test_what_was_left_half_done_is_gone_on_with_to_the_same_bytes(
    shelf: Shelf, tmp_path: Path
) -> None:
    """Wherever it ends: whole files are read again, the half one is not there."""
    states_of(shelf).fill(compute, nothing)
    expected = files(tmp_path)
    num_micros = len(states_of(dataclasses.replace(shelf, folder=tmp_path / "none")).missing())
    for last in range(1, num_micros + 1):
        other = dataclasses.replace(shelf, folder=tmp_path / f"{last}", workdir=tmp_path)
        other.folder.mkdir()
        seen: list[int] = []

        def end(num_tokens: int, seen: list[int] = seen, last: int = last) -> None:
            seen.append(num_tokens)
            if len(seen) == last:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            states_of(other).fill(compute, end)
        assert not list(tmp_path.glob("*.half"))
        kept = files(other.folder)
        assert kept.items() <= expected.items()
        again = states_of(other)
        assert bool(kept) == (len(again.missing()) < num_micros)
        again.fill(compute, nothing)
        assert files(other.folder) == expected


@pytest.mark.parametrize("damage", ["flipped", "cut", "longer", "digest", "empty"])
def test_what_was_damaged_is_computed_again(shelf: Shelf, damage: str) -> None:
    states_of(shelf).fill(compute, nothing)
    expected = files(shelf.folder)
    path = max(shelf.folder.glob("states-*"))
    data = bytearray(path.read_bytes())
    if damage in ("flipped", "digest"):
        data[100 if damage == "flipped" else -1] ^= 1
    path.write_bytes({"cut": data[:-5], "longer": data + b"x", "empty": b""}.get(damage, data))
    again = states_of(shelf)
    assert 0 < len(again.missing()) < 10
    again.fill(compute, nothing)
    assert files(shelf.folder) == expected


def test_whatever_their_bits_depend_on_makes_others(shelf: Shelf) -> None:
    states_of(shelf).fill(compute, nothing)
    assert states_of(shelf).complete
    renamed = [dataclasses.replace(row, row_id=f"x{row.row_id}", target=1) for row in ROWS]
    assert states_of(shelf, renamed).complete  # neither of these goes through the model
    (answer,) = ROWS[0].answers
    typed = dataclasses.replace(
        ROWS[0], answers=(dataclasses.replace(answer, types=(1,) * len(answer.ids)),)
    )
    moved = dataclasses.replace(  # the same tokens, but that one more is the prompt's
        ROWS[5],
        prompt=ROWS[5].prompt + ROWS[5].answers[0].ids[:1],
        answers=(dataclasses.replace(ROWS[5].answers[0], ids=ROWS[5].answers[0].ids[1:]),),
    )
    for other in (
        states_of(shelf, [typed, *ROWS[1:]]),
        states_of(shelf, [*ROWS[:5], moved, *ROWS[6:]]),
        states_of(shelf, ROWS[::-1]),
        states_of(shelf, cut=3),
        states_of(dataclasses.replace(shelf, made_of={"base": "c"})),
        States(shelf, {}, ROWS, WIDTH, torch.float64),
    ):
        assert not other.complete


def test_those_used_longest_ago_make_room(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, made_of in enumerate(("old", "older", "used")):
        states_of(shelf, made=made_of).fill(compute, nothing)
        for path in shelf.folder.glob("states-*"):
            if path.stat().st_mtime > 1e6:
                os.utime(path, (1000 - number, 1000 - number))
    tokens = shelf.folder / "tokens-0"
    tokens.write_bytes(b"x" * 10_000)
    one = states_of(shelf).num_bytes
    assert states_of(shelf, made="used").complete  # that is a use
    monkeypatch.setattr(module, "MOST_BYTES", 3 * one + 1000)
    states_of(shelf, made="new").fill(compute, nothing)
    there = [states_of(shelf, made=m).complete for m in ("new", "used", "old", "older")]
    assert there == [True, True, True, False]
    assert tokens.exists()


def test_more_than_may_be_kept_is_not(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    states = states_of(shelf)
    states.fill(compute, nothing)
    assert states.fit
    monkeypatch.setattr(module, "MOST_BYTES", states.num_bytes - 1)
    assert not states_of(shelf).fit
    assert not states_of(shelf).complete


def test_a_full_disk_is_said_before_anything_is_computed(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others' states go first."""
    states_of(shelf, made="other").fill(compute, nothing)
    monkeypatch.setattr(States, "_free", lambda _: 100)
    with pytest.raises(OSError, match="space") as caught:
        states_of(shelf).fill(lambda _: pytest.fail("computed"), nothing)
    assert caught.value.errno == errno.ENOSPC
    assert not files(shelf.folder)


def test_they_are_swept_when_they_were_not_used_for_long(tmp_path: Path) -> None:
    folder = tmp_path / CACHE
    folder.mkdir()
    shelf = Shelf(folder=folder, workdir=tmp_path, made_of={})
    states_of(shelf).fill(compute, nothing)
    old = 1_000_000.0
    for path in folder.iterdir():
        os.utime(path, (old, old))
    assert states_of(shelf).complete
    sweep(tmp_path)
    assert states_of(shelf).complete
    for path in folder.iterdir():
        os.utime(path, (path.stat().st_mtime - CACHED_S - 60,) * 2)
    sweep(tmp_path)
    assert not files(folder)


# Whole runs.


def recipe(**settings: Any) -> ModelConfig:
    own = ModelConfig(
        name="desk", base="tiny", dataset="tiny", layers=1, rank=4, batch_rows=4, epochs=2
    )
    return own.changed(**settings)


@pytest.fixture
def tuned(tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """tuned(recipe, seed) -> the model, and the tokens that were computed below in that run."""
    computed: list[int] = []
    fill = Trunk.fill

    def counted(trunk: Trunk, done: Callable[[int], None]) -> None:
        def both(num_tokens: int) -> None:
            computed.append(num_tokens)
            done(num_tokens)

        fill(trunk, both)

    monkeypatch.setattr(Trunk, "fill", counted)
    monkeypatch.setattr(module, "PART_BYTES", 120 * 64 * 4)  # the tiny model's width is 64

    def run(config: ModelConfig, seed: int = 3, cache: str = "cache", **hooks: Any) -> Any:
        computed.clear()
        ctx = dataclasses.replace(tiny.context(seed, **hooks), cache=tmp_path / cache)
        dataset = tiny.dataset(TEXTS)
        return finetune(config, ctx, base=tiny.base, dataset=dataset), sum(computed)

    return run


@pytest.mark.parametrize("settings", [{}, {"epochs": 1}, {"share_of_rows": 0.5}])
def test_a_run_ends_with_the_same_bits_whether_they_were_there(
    tuned: Callable[..., Any], settings: dict[str, Any]
) -> None:
    cold, computed = tuned(recipe(**settings))
    assert computed > 0
    assert tuned(recipe(**settings)) == (cold, 0)
    other, computed = tuned(recipe(**settings), cache="another")
    assert computed > 0
    assert other == cold


@pytest.mark.parametrize(
    ("settings", "seed"),
    [
        ({}, 4),
        ({"learning_rate": 5e-3, "epochs": 3, "batch_rows": 3}, 3),
        ({"method": "dora"}, 3),
        ({"method": "full"}, 3),
    ],
)
def test_other_seeds_rates_methods_and_epochs_read_them(
    tuned: Callable[..., Any], settings: dict[str, Any], seed: int
) -> None:
    _, computed = tuned(recipe())
    assert computed > 0
    warm, computed = tuned(recipe(**settings), seed)
    assert computed == 0
    cold, computed = tuned(recipe(**settings), seed, cache="another")
    assert computed > 0
    assert warm == cold


def test_another_cut_has_its_own(tuned: Callable[..., Any]) -> None:
    tuned(recipe())
    assert tuned(recipe(method="head"))[1] > 0
    assert tuned(recipe(method="head"), 4)[1] == 0


@pytest.mark.parametrize("point", ["states.writing:3", "states.kept:1"])
def test_after_kill_9_the_next_run_ends_with_the_same_bits(
    tiny: Any, tmp_path: Path, tuned: Callable[..., Any], point: str
) -> None:
    expected, whole = tuned(recipe())
    work = tmp_path / "one"
    work.mkdir()
    given = {
        "work": str(work),
        "cache": str(tmp_path / "killed"),
        "blobs": str(tiny.workdir.parent / "blobs"),
        "config": to_plain(recipe()),
        "base": to_plain(tiny.base),
        "dataset": to_plain(tiny.dataset(TEXTS)),
        "part_bytes": module.PART_BYTES,
        "micro_tokens": module.MICRO_TOKENS,
    }
    killed = subprocess.run(
        [sys.executable, "-c", RUN],
        input=canonical_json(given),
        capture_output=True,
        check=False,
        env={
            "TUNESMITH_FAILPOINT": point,
            "PATH": "",
            "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
        },
    )
    assert killed.returncode == -9, killed.stderr.decode()
    kept = files(tmp_path / "killed").values()
    assert bool(kept) == (point == "states.kept:1")
    found, computed = tuned(recipe(), cache="killed")
    assert found == expected
    assert computed == whole - sum((len(data) - 32) // (64 * 4) for data in kept)


def test_stopped_while_they_are_computed_it_goes_on(tiny: Any, tuned: Callable[..., Any]) -> None:
    """What is whole is not computed again; nothing of the model was there to be kept."""
    expected, whole = tuned(recipe(), cache="another")
    said: list[str] = []

    def stop(done: float, _total: float, note: str) -> None:
        said.append(note)
        if "below" in note and done >= whole / 2:
            request(tiny.workdir, "stop")

    with pytest.raises(Stopped, match="before the first of its steps"):
        tuned(recipe(), progress=stop)
    found, computed = tuned(recipe())
    assert found == expected
    assert 0 < computed < whole
    assert not [note for note in said if note.startswith("loss ")]


def test_a_run_whose_steps_are_done_computes_nothing(tuned: Callable[..., Any], tiny: Any) -> None:
    """What is left of it is to save it."""
    from tunesmith.stages.finetune import keeper

    keeping = pytest.MonkeyPatch()
    keeping.setattr(keeper, "KEEP_EVERY_S", 0.0)
    keeping.setattr(keeper, "MAX_SHARE", 1e9)
    expected, _ = tuned(recipe())
    keeping.undo()
    assert json.loads((tiny.workdir / "checkpoint.json").read_text())["file"].startswith("step-")
    assert tuned(recipe(), cache="another") == (expected, 0)


def test_without_a_cache_they_are_the_run_s_own(tiny: Any) -> None:
    assert shelf_of(tiny.context(), tiny.base).folder == tiny.workdir
