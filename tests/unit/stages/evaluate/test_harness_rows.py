from __future__ import annotations

import datetime
import hashlib
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from tunesmith.core.errors import DataError, NotFound, UsageError
from tunesmith.stages.evaluate.harness import carry_over
from tunesmith.stages.evaluate.harness_rows import docs_of, given_rows
from tunesmith.stages.evaluate.harness_yaml import members, whole

TASK: dict[str, Any] = {
    "task": "hub_like",
    "dataset_path": "someone/things",
    "dataset_name": "small",
    "training_split": "train",
    "test_split": "test",
    "output_type": "multiple_choice",
    "doc_to_text": "{{q}} of {{level}}:",
    "doc_to_target": "label",
    "doc_to_choice": ["no", "yes"],
    "metric_list": [{"metric": "acc"}],
}
ROWS = [{"q": "Is é it", "level": 1, "label": 1}, {"q": 'Was "it",\nso', "level": 2, "label": 0}]
MORE = [{"q": "Were they", "level": 3, "label": 1}]


def written(folder: Path, **settings: Any) -> Path:
    path = folder / "task.yaml"
    path.write_text(yaml.safe_dump(TASK | settings), encoding="utf-8")
    return path


def docs(said: str, split: str = "test", subset: str = "") -> list[dict[str, Any]]:
    task = {"dataset_path": "x", "dataset_name": subset}
    return docs_of(Path("task.yaml"), task, split, given_rows([said]))[0]


def test_rows_of_a_hub_are_refused_with_the_remedy_and_asked_where_they_are_given(
    tmp_path: Path,
) -> None:
    path = written(tmp_path)
    with pytest.raises(DataError, match=r"someone/things', small\), and nothing") as told:
        carry_over(path)
    assert "--rows test=FILE" in told.value.remedy

    file = tmp_path / "any.parquet"
    pq.write_table(pa.Table.from_pylist(ROWS), file)
    carried = carry_over(path, given_rows([f"test={file}"]))

    assert [row["prompt"] for row in carried.rows] == ["Is é it of 1:", 'Was "it",\nso of 2:']
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert list(carried.sources) == [f"any.parquet, sha256 {digest}"]
    with pytest.raises(DataError, match="of its split 'test' are no local files"):
        carry_over(path, given_rows([f"validation={file}"]))


@pytest.mark.parametrize("kind", ["parquet", "arrow", "csv", "jsonl", "json", "saved", "feather"])
def test_a_file_has_the_rows_that_the_library_of_the_harness_reads(
    tmp_path: Path, kind: str
) -> None:
    datasets = pytest.importorskip("datasets")
    made = datasets.Dataset.from_list(ROWS)
    place = tmp_path / f"rows.{kind}"
    if kind == "parquet":
        made.to_parquet(str(place))
    elif kind == "csv":
        made.to_csv(str(place))
    elif kind in ("json", "jsonl"):
        made.to_json(str(place), lines=kind == "jsonl")
    elif kind == "feather":
        place = tmp_path / "rows.arrow"
        with pa.ipc.new_file(str(place), made.data.schema) as sink:
            sink.write_table(made.data.table)
    else:
        made.save_to_disk(str(tmp_path / "saved"))
        place = tmp_path / "saved"
        if kind == "arrow":
            (place,) = place.glob("*.arrow")

    assert docs(f"test={place}") == ROWS


def test_csv_has_the_types_that_it_has_there(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    file = tmp_path / "rows.csv"
    file.write_text('a,b,c,d,e,f\n1,2026-01-02,x,007,,True\n,2026-01-03,None,8,"",False\n')
    there = datasets.load_dataset("csv", data_files=str(file), cache_dir=str(tmp_path / "cache"))

    assert docs(f"test={file}") == there["train"].to_list()
    assert docs(f"test={file}")[0] == {
        "a": 1.0,
        "b": "2026-01-02",
        "c": "x",
        "d": 7,
        "e": None,
        "f": True,
    }
    tabs = tmp_path / "rows.tsv"
    tabs.write_text("a\tb\n1\tx, y\n")
    assert docs(f"test={tabs}") == [{"a": 1, "b": "x, y"}]


@pytest.mark.parametrize(
    "layout",
    [
        "small/test-00000-of-00002.parquet",
        "small/test/0000.parquet",
        "data/small/test.parquet",
        "small/data/test-0.parquet",
        "test.parquet",
        "data/test-0-of-1.parquet",
    ],
)
def test_a_folder_has_its_splits_as_a_hub_has_them(tmp_path: Path, layout: str) -> None:
    for split, rows in (("train", MORE), ("test", ROWS), ("test_more", MORE)):
        place = tmp_path / layout.replace("test", split)
        place.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(rows), place)
    if "00002" in layout:
        second = tmp_path / layout.replace("00000-of", "00001-of")
        pq.write_table(pa.Table.from_pylist(MORE), second)
    (tmp_path / "README.md").write_text("x")

    expected = ROWS + MORE if "00002" in layout else ROWS
    assert docs(str(tmp_path), "test", "small") == expected
    assert docs(str(tmp_path), "train", "small") == MORE


def test_rows_of_another_subset_are_not_taken(tmp_path: Path) -> None:
    (tmp_path / "small").mkdir()
    pq.write_table(pa.Table.from_pylist(MORE), tmp_path / "test.parquet")
    with pytest.raises(DataError, match="no local files"):
        docs(str(tmp_path), "test", "small")


def test_splits_that_were_saved_to_disk_are_read(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    made = {"train": datasets.Dataset.from_list(MORE), "test": datasets.Dataset.from_list(ROWS)}
    datasets.DatasetDict(made).save_to_disk(str(tmp_path / "saved"), num_proc=None)

    assert docs(str(tmp_path / "saved")) == ROWS
    path = written(tmp_path, num_fewshot=1, fewshot_config={"sampler": "first_n"})
    carried = carry_over(path, given_rows([str(tmp_path / "saved")]))
    assert (carried.changes, carried.examples[0]["prompt"]) == ([], "Were they of 3:")
    (tmp_path / "saved/test/state.json").write_text("{}")
    with pytest.raises(DataError, match="names no files"):
        docs(str(tmp_path / "saved"))


def test_dates_are_as_they_are_rendered_there_and_pictures_are_left(tmp_path: Path) -> None:
    when = datetime.datetime(2026, 1, 2, 3, 4, 5)
    row = {"q": "x", "when": when, "picture": {"bytes": b"x", "path": "x.png"}, "l": [b"y"]}
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "a.parquet")
    assert docs(f"test={tmp_path / 'a.parquet'}") == [{"q": "x", "when": str(when)}]


def test_what_is_given_wrong_is_refused(tmp_path: Path) -> None:
    file, bad, strange = tmp_path / "a.jsonl", tmp_path / "b.parquet", tmp_path / "c.xls"
    for each in (file, bad, strange):
        each.write_text('{"a": 1}\n')
    for said, error, match in (
        ([f"test={tmp_path / 'no.csv'}"], NotFound, "there is no"),
        ([str(file)], UsageError, "no split is named"),
        ([f"test={file}", f"test={file}"], UsageError, "names test twice"),
        ([str(tmp_path), str(tmp_path)], UsageError, "names a folder of splits twice"),
    ):
        with pytest.raises(error, match=match):
            given_rows(said)
    with pytest.raises(UsageError, match="name them"):
        given_rows([], is_processed=True)
    for said, match in ((bad, "cannot be read"), (strange, "no file of rows")):
        with pytest.raises(DataError, match=match):
            docs(f"test={said}")
    for split, subset in (("../a", ""), ("test", "../b"), ("test", "/etc")):
        with pytest.raises(DataError, match="no name of a split"):
            docs(str(tmp_path), split, subset)


def test_rows_that_a_function_makes_are_given_as_it_leaves_them(tmp_path: Path) -> None:
    path = written(tmp_path)
    path.write_text(path.read_text() + "process_docs: !function utils.process\n")
    file = tmp_path / "a.jsonl"
    file.write_text('{"q": "x", "level": 1, "label": 0}\n')

    (change,) = carry_over(path, given_rows([f"test={file}"])).changes
    assert "--processed" in change
    carried = carry_over(path, given_rows([f"test={file}"], is_processed=True))
    assert carried.changes == []
    assert any(each.startswith("process_docs: utils.process; not run") for each in carried.notes)


def test_a_prefix_of_answers_and_a_description_of_each_row_are_carried_over(
    tmp_path: Path,
) -> None:
    path = written(tmp_path, gen_prefix="So {{level}}:", description="Of {{level}}.\n")
    file = tmp_path / "a.jsonl"
    file.write_text('{"q": "x", "level": 1, "label": 0}\n')
    given = given_rows([f"test={file}"])

    assert carry_over(path, given).rows[0]["prompt"] == "Of 1.\nx of 1: So 1:"
    path = written(tmp_path, doc_to_text="{{q}}\n", gen_prefix="So:")
    assert carry_over(path, given).rows[0]["prompt"] == "x\nSo:"
    path = written(tmp_path, doc_to_text="{{q}}\n")
    assert carry_over(path, given).rows[0]["prompt"] == "x\n"
    with pytest.raises(DataError, match="gives the place 1 of a choice"):
        carry_over(written(tmp_path, doc_to_text="{{level}}"), given)


def test_the_tasks_of_a_group_are_those_that_it_names(tmp_path: Path) -> None:
    folder = tmp_path / "tasks/group"
    (folder / "more").mkdir(parents=True)
    (tmp_path / "tasks/_base").write_text(yaml.safe_dump(TASK))
    for name, text in {
        "_all.yaml": "group: all\ntask: [some, {task: three, num_fewshot: 4}, one]\n",
        "_some.yaml": "group: some\ntask: [tagged]\n",
        "one.yaml": "include: ../_base\ntask: one\ntag: tagged\n",
        "more/two.yaml": "include: ../../_base\ntask: two\ntag: [x, tagged]\n",
        "more/three.yaml": "include: ../../_base\ntask: three\n",
        "broken.yaml": "a: [",
    }.items():
        (folder / name).write_text(text)
    path = folder / "_all.yaml"

    found = [(file.stem, over) for file, over in members(path, whole(path))]

    assert found == [("two", {}), ("one", {}), ("three", {"num_fewshot": 4})]
    path.write_text("group: all\ntask: [four]\n")
    with pytest.raises(DataError, match="'four' is none of the YAML files"):
        members(path, whole(path))
    path.write_text("group: all\ntask: [all]\n")
    with pytest.raises(DataError, match="is none of"):
        members(path, whole(path))
    (folder / "one.yaml").write_text("include: ../../x\n")
    with pytest.raises(DataError, match="leads out of the folder tasks"):
        whole(folder / "one.yaml")


def test_rows_in_two_forms_are_not_asked_twice(tmp_path: Path) -> None:
    table = pa.Table.from_pylist(ROWS)
    pq.write_table(table, tmp_path / "test.parquet")
    (tmp_path / "test.jsonl").write_text('{"q": "Is it", "level": 1, "label": 1}\n')
    for said in (str(tmp_path), f"test={tmp_path}"):
        with pytest.raises(DataError, match=r"several forms: test\.jsonl, test\.parquet"):
            docs(said)


@pytest.mark.parametrize("name", ["a.parquet", "a.jsonl"])
def test_what_is_no_number_is_empty(tmp_path: Path, name: str) -> None:
    if name.endswith("parquet"):
        pq.write_table(pa.table({"x": [float("nan"), 1.0]}), tmp_path / name)
    else:
        (tmp_path / name).write_text('{"x": NaN}\n{"x": 1.0}\n')
    assert docs(f"test={tmp_path / name}") == [{"x": None}, {"x": 1.0}]


def test_a_column_that_is_there_twice_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("q,q\n1,2\n")
    with pytest.raises(DataError, match="cannot be read"):
        docs(f"test={tmp_path / 'a.csv'}")
