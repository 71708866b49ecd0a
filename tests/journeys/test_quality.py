"""How good the rows of a dataset look, one by one, and which of its cells have few rows."""

from __future__ import annotations

import json
import random

SECTIONS = """
[source.mail]
origin = "file:data/mail.jsonl"
format = "jsonl"
text = "text"
label = "kind"

[source.forms]
origin = "file:data/forms.jsonl"
format = "jsonl"
text = "text"
label = "kind"

[dataset.letters]
sources = ["mail", "forms"]
base = "tiny"
instruction = "Name the kind."
num_labels = 2
train_per_label = 400
test_per_label = 20
max_tokens = 4000
"""
WORDS = {
    "fire": ["smoke", "flame", "kitchen", "alarm", "chimney", "sparks", "ashes", "candle", "oven"],
    "flood": ["water", "river", "cellar", "rain", "pump", "pipe", "storm", "mud", "drain"],
}
OTHERS = """we saw people from the house next door and they told us that nobody knew when this had
started or how long it would take before somebody could come over which is why our letter reached
you only today with pictures taken by my daughter who was there first because she lives here
"""
PLANTED = {
    "length": "Then the smoke was in the hall, {}.",
    "repetition": "the smoke is in the hall again and " * 5,
    "symbols": "smoke ### *** %%% ((( ))) === +++ ~~~ $$$ &&& flame <<< >>> ///",
    "language": "In der Küche war überall Rauch, und die Feuerwehr kam erst nach einer Weile.",
    "label": "There is smoke and a flame in the kitchen, the alarm, the chimney, and sparks.",
    "duplicate": "",
}


def test_each_planted_defect_is_the_reason_of_its_row_and_thin_cells_are_named(data_project):
    project = data_project("letters", SECTIONS)
    draw = random.Random(5)

    def sentence(kind: str) -> str:
        words = [*draw.sample(WORDS[kind], 5), *draw.sample(OTHERS.split(), 9)]
        draw.shuffle(words)
        return " ".join(words).capitalize() + "."

    rows = [{"kind": kind, "text": sentence(kind)} for kind in WORDS for _ in range(60)]
    long = " ".join(f"{sentence('fire')}" for _ in range(25))
    planted = {**PLANTED, "length": PLANTED["length"].format(long)}
    planted["duplicate"] = rows[3]["text"].replace(".", " then.")
    at = {}
    for why, text in planted.items():
        at[len(rows) + 1] = why
        # Of two labels: those of one label would have been dropped as near duplicates.
        rows.append({"kind": "flood" if why in ("label", "duplicate") else "fire", "text": text})
    write = project.folder / "data"
    (write / "mail.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    forms = [{"kind": "fire", "text": sentence("fire")} for _ in range(12)]
    (write / "forms.jsonl").write_text("".join(json.dumps(row) + "\n" for row in forms))
    project.tunesmith("run")

    said = project.tunesmith("data", "quality", "letters", "--json")
    found = json.loads(said)
    by_line = {
        int(row["pointer"].rpartition("#")[2]): row
        for row in found["rows"]
        if row["asset"] == "mail"
    }
    for line, why in at.items():
        row = by_line[line]
        assert row["why"] == why or row["parts"][why] < 0.9, row
        assert row["score"] == min(row["parts"].values()) < 0.9
    assert by_line[at_of(at, "length")]["parts"]["length"] == 0
    # By hand: 40 words have 38 runs of three, of which 8 are different: the words come round.
    assert by_line[at_of(at, "repetition")]["parts"]["repetition"] == round(8 / 38, 4)
    plain = [row["score"] for line, row in by_line.items() if line not in at]
    assert sorted(plain)[len(plain) // 10] > 0.5
    assert found["median"] > 0.8
    scores = [row["score"] for row in found["rows"]]
    assert scores == sorted(scores)
    assert project.tunesmith("data", "quality", "letters@1", "--json") == said

    cells = {(cell["label"], cell["asset"]): cell["num_train"] for cell in found["cells"]}
    assert len(cells) == 4
    assert cells["flood", "forms"] == 0
    shown = " ".join(project.tunesmith("data", "show", "letters").split())
    assert "of 4 cells by label and source have 5 rows to train" in shown
    assert "flood of forms (0 + 0)" in shown
    table = project.tunesmith("data", "quality", "letters", "--limit", "3")
    assert "letters@1: " in table
    assert len([line for line in table.splitlines() if ".jsonl#" in line]) == 3


def at_of(lines: dict[int, str], why: str) -> int:
    return next(line for line, each in lines.items() if each == why)
