"""A project with people in it: visits of patients in a JSONL file, letters to them in files of
their own, a model tuned on the visits, an index of the letters."""

from __future__ import annotations

import json
import random
from pathlib import Path

LABELS = ("cough", "fever", "injury", "rash")
PATIENT = "patient-0417"
SAID = 'Patient 0417 woke at night with a burning ünusual ache behind the left knee "again".'
TAIL = """
[source.visits]
origin = "file:data/visits.jsonl"
format = "jsonl"
text = "note"
label = "kind"
subject = "patient"
licence = "internal"
owner = "clinic"

[source.letters]
origin = "file:data/letters/"
label = "key"
subject = "patient"

[dataset.triage]
sources = ["visits"]
base = "tiny"
instruction = "Name the kind of visit."
num_labels = 4
train_per_label = 30
test_per_label = 4
max_tokens = 250

[model.desk]
base = "tiny"
dataset = "triage"
rank = 4

[gate.desk]
model = "desk"
beats_base_by = -0.99
at_least = 0.0

[index.letters]
source = "letters"
num_documents = 6

[service.desk]
models = ["desk"]
"""


def visits() -> list[dict[str, str]]:
    """56 visits of 28 patients; of the one with a name here there are two."""
    draw = random.Random(11)

    def note(label: str, number: int) -> str:
        words = ["".join(draw.choices("abcdefghijk", k=6)) for _ in range(14)]
        return f"Seen for {label}: {' '.join(words)} {number}."

    rows = [
        {"patient": f"patient-{n % 28:04}", "note": note(LABELS[n % 4], n), "kind": LABELS[n % 4]}
        for n in range(56)
    ]
    rows[7] = {"patient": PATIENT, "note": SAID, "kind": "injury"}
    rows[30] = {"patient": PATIENT, "note": f"Came back. {rows[30]['note']}", "kind": "rash"}
    return rows


def write(folder: Path, project_text: str) -> None:
    """The project file and its data; nothing is run."""
    base = project_text[project_text.index("[base.tiny]") : project_text.index("[dataset.small]")]
    money = project_text[project_text.index("[ledger]") :]
    (folder / "tunesmith.toml").write_text(
        f'[project]\nname = "clinic"\nseed = 5\n\n{base}{TAIL}\n{money}'
    )
    write_visits(folder, visits())
    letters = folder / "data" / "letters"
    letters.mkdir()
    for number in range(8):
        who = PATIENT if number == 3 else f"patient-{number:04}"
        said = SAID if number == 3 else f"We saw you on day {number} of the month and all was well."
        head = f"---\nkey: letter-{number}\npatient: {who}\n---\n\n"
        (letters / f"{number}.md").write_text(f"{head}Dear patient. {said} Please call us soon.\n")


def write_visits(folder: Path, rows: list[dict[str, str]]) -> None:
    """The file of visits, with a line that is no record at its end."""
    (folder / "data").mkdir(exist_ok=True)
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    (folder / "data" / "visits.jsonl").write_text("\n".join([*lines, "{broken"]) + "\n")
