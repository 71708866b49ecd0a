"""What is asked by tasks of lm-evaluation-harness's own, to the character.

The golden prompts were made by the harness itself (0.4.13): `bench/harness_prompts.py` says how.
"""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tunesmith.records.evaluation import TaskRows
from tunesmith.stages.evaluate import examples
from tunesmith.stages.evaluate.asking import asked_items
from tunesmith.stages.evaluate.harness import carry_over
from tunesmith.stages.evaluate.harness_files import as_files, as_lines
from tunesmith.stages.evaluate.harness_rows import given_rows
from tunesmith.stages.evaluate.task import TaskConfig

GOLDEN = json.loads(
    (Path(__file__).parents[3] / "golden/harness_prompts.json").read_text(encoding="utf-8")
)


@pytest.mark.parametrize("name", sorted(GOLDEN))
def test_a_task_of_the_harness_asks_what_it_asks_there(
    tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Its rows as a hub has them, in Parquet."""
    golden = GOLDEN[name]
    (tmp_path / "task.yaml").write_text(golden["yaml"], encoding="utf-8")
    (tmp_path / "data").mkdir()
    for split, docs in golden["rows"].items():
        pq.write_table(pa.Table.from_pylist(docs), tmp_path / f"data/{split}-0-of-1.parquet")
    carried = carry_over(tmp_path / "task.yaml", given_rows([str(tmp_path)]))
    text, rows = as_files(carried, "tasks/x.jsonl")
    config = TaskConfig.model_validate(tomllib.loads(text))
    given: Any = {"rows": TaskRows(task=config.name, text=rows)}
    if carried.examples:
        lines = as_lines(carried.examples)
        given["examples"] = TaskRows(task=f"{config.name}/examples", text=lines)
    # The made-up rows are nearly one another, which is not what is looked at here.
    monkeypatch.setattr(examples, "_near", lambda texts, _: [set() for _ in texts])
    items = asked_items(config, tiny.context(), "", tiny.dataset([], []), given)

    assert len(items) == len(golden["asked"])
    for item, there in zip(items, golden["asked"], strict=True):
        follows = {
            "choose": lambda item=item: [f"{config.between}{each}" for each in item.choices],
            "score": lambda item=item: [f"{config.between}{each}" for each in item.right],
            "answer": list,
        }[config.ask]()
        together = config.ask == "score" and not item.plain.endswith(there["prompt"])
        if together:  # spaces at the end of a prompt begin what is read
            assert [item.plain + each for each in follows] == [
                there["prompt"] + each for each in there["follows"]
            ]
        else:
            assert (item.plain, follows) == (there["prompt"], there["follows"])
        right = there["right"]
        wanted = (
            there["follows"][right].removeprefix(config.between)
            if isinstance(right, int)
            else right
        )
        assert list(item.right) == (wanted if isinstance(wanted, list) else [wanted])
