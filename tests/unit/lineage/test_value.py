"""A dataset of two sources, of which one is wrong, from files and packages to what people read."""

from __future__ import annotations

import hashlib
import json
import math
import os
import random
import shutil
import zipfile
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tokenizers
from typer.testing import CliRunner, Result

from tunesmith.cli.main import app
from tunesmith.core.errors import NotFound
from tunesmith.core.ref import Blob
from tunesmith.core.verify import verify
from tunesmith.graph import build
from tunesmith.lineage.forget import forget
from tunesmith.lineage.plan import plan
from tunesmith.lineage.value import _without, choose_base, value
from tunesmith.pipeline import books
from tunesmith.project import Project, open_project
from tunesmith.records.rivals import Estimate
from tunesmith.stages.value.config import ValueConfig

PROJECT = """
[project]
name = "valued"
seed = 1

[source.clean]
origin = "file:clean.jsonl"
format = "jsonl"
text = "note"
label = "kind"
subject = "who"

[source.wrong]
origin = "file:wrong.jsonl"
format = "jsonl"
text = "note"
label = "kind"

[source.spare]
origin = "file:clean.jsonl"
format = "jsonl"
text = "note"
label = "kind"
where = { kind = "rare" }
subject = "who"

[base.writer]
origin = "pypi:mini-writer==1.0"
sha256 = "WRITER"
file = "mini_writer/model"

[base.reader]
origin = "pypi:mini-reader==1.0"
sha256 = "READER"
file = "mini_reader/model"

[dataset.kinds]
sources = ["clean", "wrong", "spare"]
base = "writer"
instruction = "Name the kind."
num_labels = 2
train_per_label = 40
test_per_label = 12
max_tokens = 60

[dataset.letters]
sources = ["clean"]
base = "writer"
format = "text"

[ledger]
per_cpu_hour = "0.02"
per_kwh = "0.30"
"""
WORDS = {"tax": "granted permission hereby charge", "rent": "public general version later"}
WHO, SAID = "person-0042", "granted permission hereby charge said the person who is forgotten"


def note(kind: str, draw: random.Random) -> str:
    return " ".join([*draw.choices(WORDS[kind].split(), k=5), f"{draw.randrange(10**6)}"])


def write(folder: Path, name: str, rows: list[dict[str, str]]) -> None:
    lines = [json.dumps(row) for row in rows]
    (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n")


def word_by_word(path: Path) -> None:
    """A tokenizer that knows the words of the notes, always by the same numbers."""
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    vocabulary = [*names, *(word for words in WORDS.values() for word in words.split())]
    numbers = {word: number for number, word in enumerate(vocabulary)}
    core = tokenizers.Tokenizer(tokenizers.models.WordLevel(numbers, unk_token="[UNK]"))
    core.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    core.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[(name, numbers[name]) for name in names[2:]]
    )
    core.add_special_tokens(names)
    core.save(str(path))


def wheel(house: Path, name: str, model: Path) -> str:
    """Pack a model's folder; the digest of the wheel."""
    info, path = f"{name}-1.0.dist-info", house / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as packed:
        for file in model.iterdir():
            packed.write(file, f"{name}/model/{file.name}")
        about = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
        packed.writestr(f"{info}/METADATA", about)
        packed.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        packed.writestr(f"{info}/RECORD", "")
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the first test that needs it leaves the project for the others."""
    return tmp_path_factory.mktemp("valued") / "project"


@pytest.fixture
def folder(made: Path, readers: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of this test's own, whose dataset is cut and valued."""
    if not made.exists():
        house = made.parent / "house"
        house.mkdir()
        readers.encoder("bert", vocab_size=64)
        word_by_word(readers.folder / "bert" / "tokenizer.json")
        pins = {
            "WRITER": wheel(house, "mini_writer", readers.tiny.folder),
            "READER": wheel(house, "mini_reader", readers.folder / "bert"),
        }
        made.mkdir()
        write_project(made, pins)
    pip = {"NO_INDEX": "1", "FIND_LINKS": made.parent / "house", "CONFIG_FILE": os.devnull}
    for name, setting in pip.items():
        monkeypatch.setenv(f"PIP_{name}", str(setting))
    if not (made / ".tunesmith").exists():
        with_project(made, lambda project: project.run(build(project.file).datasets["kinds"]))
        with_project(made, lambda project: value(project, "kinds", ValueConfig()))
    copy = tmp_path / "project"
    shutil.copytree(made, copy)
    return copy


def write_project(folder: Path, pins: dict[str, str]) -> None:
    """One of two sources has its labels the wrong way round."""
    text = PROJECT
    for name, digest in pins.items():
        text = text.replace(name, digest)
    (folder / "tunesmith.toml").write_text(text)
    draw = random.Random(3)
    kinds = list(WORDS)
    clean = [
        {"who": f"person-{n:04}", "kind": kinds[n % 2], "note": note(kinds[n % 2], draw)}
        for n in range(80)
    ]
    clean.append({"who": WHO, "kind": "tax", "note": SAID})
    clean.append({"who": "person-0001", "kind": "rare", "note": "of none of the commonest kinds"})
    write(folder, "clean", clean)
    wrong = [{"kind": kinds[n % 2], "note": note(kinds[1 - n % 2], draw)} for n in range(12)]
    write(folder, "wrong", wrong)


def with_project(folder: Path, do: Any) -> Any:
    project = open_project(folder)
    try:
        return do(project)
    finally:
        project.close()


@pytest.fixture
def project(folder: Path) -> Iterator[Project]:
    opened = open_project(folder)
    yield opened
    opened.close()


def call(folder: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["data", "value", *arguments, "-p", str(folder)])


def without_of(rows: list[tuple[bool, bool]]) -> Estimate:
    """The interval from whether the vote is right with a source and without it, row by row."""
    right, without = zip(*rows, strict=True)
    return _without(pa.table({"right": right, "right_without": without}))


@pytest.mark.parametrize("change", [(True, True), (True, False), (False, True)])
def test_no_interval_has_no_width(change: tuple[bool, bool]) -> None:
    """Where all, or nearly all, test rows go the same way, resampling them alone would be sure."""
    found = without_of([change] * 30)
    assert found.low < found.high
    assert found.low <= found.mean <= found.high
    assert found.mean == change[1] - change[0]


def test_the_accuracy_without_a_source_is_paired() -> None:
    """Of 90 rows 30 are lost and 10 won: by the normal approximation of a paired difference."""
    found = without_of([(True, False)] * 30 + [(False, True)] * 10 + [(True, True)] * 50)
    spread = 1.96 * math.sqrt((40 / 90 - (20 / 90) ** 2) / 90)
    assert found.mean == pytest.approx(-20 / 90)
    assert (found.low, found.high) == pytest.approx(
        (found.mean - spread, found.mean + spread), abs=0.02
    )


def test_sources_are_valued_beside_their_cost(project: Project) -> None:
    found = value(project, "kinds", ValueConfig(), num_rows=5)

    assert (found.base, found.is_encoder) == ("reader", True)  # the encoder, and not the dataset's
    by_name = {each.source: each for each in found.sources}
    assert [each.source for each in found.sources] == ["clean", "spare", "wrong"]
    clean, spare, wrong = by_name["clean"], by_name["spare"], by_name["wrong"]
    assert clean.num_rows + wrong.num_rows == found.num_train
    assert clean.share + wrong.share == pytest.approx(1)
    assert clean.value.mean + wrong.value.mean == pytest.approx(found.utility)
    assert clean.value.low < clean.value.mean < clean.value.high
    assert wrong.value.high < 0 < clean.value.low
    assert clean.without.high < 0 <= wrong.without.mean
    assert (spare.num_rows, spare.value.mean, spare.without.high) == (0, 0.0, 0.0)
    assert len(found.least) == 5
    assert {row.asset for row in found.least} == {"wrong"}
    values = [row.value for row in found.least]
    assert values == sorted(values)
    assert values[-1] < 0
    assert found.num_harmful >= 5
    assert clean.cost is not None
    assert clean.cost.amount > 0


def test_of_the_only_source_nothing_is_said_without_it(folder: Path) -> None:
    file = folder / "tunesmith.toml"
    file.write_text(file.read_text().replace('["clean", "wrong", "spare"]', '["clean"]'))
    with_project(folder, lambda project: project.run(build(project.file).datasets["kinds"]))
    assert "no row is left" in call(folder, "kinds").stdout
    (source,) = json.loads(call(folder, "kinds", "--json").stdout)["sources"]
    assert (source["without"], source["share"]) == (None, 1.0)


def test_each_is_computed_once(project: Project) -> None:
    """The same number of votes finds the values; another one finds the vectors."""
    runs = [run.kind for run in project.runs()]
    assert (runs.count("embed@1"), runs.count("value@1")) == (1, 1)
    value(project, "kinds", ValueConfig())
    assert len(project.runs()) == len(runs)
    value(project, "kinds", ValueConfig(neighbours=3))
    assert [run.kind for run in project.runs()[len(runs) :]] == ["value@1"]


def test_what_several_sources_are_read_from_is_paid_for_once(project: Project) -> None:
    """`clean` and `spare` are read from one file, which was taken in once."""
    runs = {run.step: run.usage["cpu_s"] for run in project.runs() if run.usage}
    (landing,) = {runs[step] for step in ("land:clean", "land:spare") if step in runs}
    found = {each.source: each.cpu_s for each in value(project, "kinds", ValueConfig()).sources}

    for source in ("clean", "spare"):
        assert found[source] == pytest.approx(landing / 2 + runs[f"ingest:{source}"])
    assert found["wrong"] == pytest.approx(runs["land:wrong"] + runs["ingest:wrong"])


def test_the_books_have_the_runs_and_no_value(project: Project) -> None:
    rates = {"per_cpu_hour": Decimal(0), "per_kwh": Decimal(0)}
    ledger = project.file.ledger.model_copy(update=rates)
    project.file = project.file.model_copy(update={"ledger": ledger})
    # Without prices there is no money; the seconds are there all the same.
    found = value(project, "kinds", ValueConfig())
    assert {each.cost for each in found.sources} == {None}
    assert all(each.cpu_s > 0 for each in found.sources)
    entries = {entry.step: entry for entry in books(project).entries}
    for step in ("embed:kinds/reader", "value:kinds/reader"):
        assert entries[step].treatment == "expense"
        assert entries[step].reason == (
            "serves the dataset kinds, not one model alone: the process that ran it tuned no model "
            "on what it made"
        )
        assert not entries[step].cost.amount


def test_the_base_is_an_encoder_where_there_is_one(project: Project) -> None:
    assert choose_base(project, "kinds") == "reader"
    file = project.file
    dataset = file.dataset["kinds"].model_copy(update={"base": "reader"})
    project.file = file.model_copy(update={"dataset": {"kinds": dataset}})
    assert choose_base(project, "kinds") == "reader"
    alone = {"base": {"writer": file.base["writer"]}, "dataset": file.dataset}
    project.file = file.model_copy(update=alone)
    assert choose_base(project, "kinds") == "writer"
    assert not value(project, "kinds", ValueConfig()).is_encoder


def test_nothing_is_valued_before_it_is_cut(project: Project) -> None:
    with pytest.raises(NotFound, match="has not run as it is set now"):
        value(project, "letters", ValueConfig())
    assert "embed:letters/reader" not in {run.step for run in project.runs()}


def test_who_is_forgotten_is_no_longer_valued(project: Project) -> None:
    person, planned = plan(project, [WHO])
    held = {(each.kind, each.name) for each in planned.holders}
    assert {("vectors", "embed:kinds/reader"), ("values", "value:kinds/reader")} <= held

    forget(project, [WHO])

    blobs = project.runner.blobs
    for digest in blobs.digests():
        path = blobs.path(Blob(sha256=digest, num_bytes=0))
        if path.read_bytes().startswith(b"PAR1"):
            table = pq.read_table(path)
            if "row_id" in table.column_names:
                assert person.row_ids[0] not in table["row_id"].to_pylist()
    assert verify(project.runner.database, blobs).problems == ()
    project.run(build(project.file).datasets["kinds"])  # `spare` read the file that was purged, too
    again = value(project, "kinds", ValueConfig())
    assert again.num_train + again.num_test > 0


def test_what_is_printed_says_what_it_is(folder: Path) -> None:
    said = call(folder, "kinds", "--rows", "3").stdout
    assert "texts as reader sees them, untuned" in said
    assert "They are estimates" in " ".join(said.split())
    assert "no entry in the books" in " ".join(said.split())
    assert "█" in said
    assert "tunesmith data doubts kinds" in " ".join(said.split())
    assert said.count("wrong.jsonl#") == 3
    assert "EUR" in said
    assert "was not made to compare" not in " ".join(said.split())
    # The other base model, of which a warning is due.
    weak = " ".join(call(folder, "kinds", "--base", "writer", "--rows", "0").stdout.split())
    assert "writer goes on with texts and was not made to compare them" in weak
    assert "worth less than nothing" not in weak
    made = json.loads(call(folder, "kinds", "--json", "--rows", "1").stdout)
    assert {each["source"] for each in made["sources"]} == {"clean", "wrong", "spare"}
    assert made["least"][0]["text"]


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (["kind"], NotFound, "there is no dataset 'kind'"),
        (["kinds", "--base", "minilm"], NotFound, "there is no base 'minilm'"),
    ],
)
def test_what_is_not_there_is_said(
    folder: Path, arguments: list[str], error: type[Exception], words: str
) -> None:
    found = call(folder, *arguments).exception
    assert isinstance(found, error)
    assert words in str(found)


def test_a_dataset_without_labels_is_refused(folder: Path) -> None:
    with_project(folder, lambda project: project.run(build(project.file).datasets["letters"]))
    found = call(folder, "letters").exception
    assert "no labels to vote on" in str(found)
    assert "its format is 'text'" in str(found)


def test_a_vote_of_nobody_is_refused(folder: Path) -> None:
    assert call(folder, "kinds", "--neighbours", "0").exit_code == 2
