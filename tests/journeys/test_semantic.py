"""Rows that say the same in other words, as a user asks for them and reads what was found."""

from __future__ import annotations

import json
import random

import pytest

DATASET = """
[dataset.{0}]
sources = ["mail"]
base = "tiny"
instruction = "Name the desk."
num_labels = 2
train_per_label = 20
test_per_label = 3
{1}
"""
MAIL = """
[source.mail]
origin = "file:data/mail.jsonl"
format = "jsonl"
text = "said"
label = "desk"
"""
ASKED = 'semantic = { encoder = "encoder", at_least = 0.9999 }'
WORDS = [
    *("permission", "granted", "copy", "modify", "merge", "publish", "distribute", "software"),
    *("copyright", "holder", "warranty", "liability", "damages", "source", "binary", "form"),
    *("version", "later", "general", "public", "apache", "foundation", "university", "author"),
]
ACCENTS = str.maketrans("aeio", "áéíó")


@pytest.mark.slow
def test_contradictions_are_counted_and_listed(data_project, mini_encoder):
    """The encoder sees no accents, and words are other words with them."""
    sections = MAIL + DATASET.format("desks", ASKED) + DATASET.format("plain", "")
    project = data_project("desks", mini_encoder + sections)
    draw = random.Random(0)
    texts = [" ".join(draw.sample(WORDS, 8)) for _ in range(20)]
    rows = [(text, "claims" if n % 2 else "sales") for n, text in enumerate(texts)]
    rows += [(texts[0].translate(ACCENTS), "sales"), (texts[2].translate(ACCENTS), "claims")]
    lines = [json.dumps({"said": text, "desk": desk}, ensure_ascii=False) for text, desk in rows]
    (project.folder / "data" / "mail.jsonl").write_text("\n".join(lines) + "\n")

    shown = project.tunesmith("run")
    assert "true size: 22 rows, 22 distinct, 22 near-distinct, 21 semantically distinct" in shown
    assert "true size: 22 rows, 22 distinct, 22 near-distinct (100.0 %)" in shown
    assert "contradictions: 2 rows mean the same as one with another label" in shown
    assert "1 semantic duplicate" in project.tunesmith("data", "show", "desks")
    listed = json.loads(project.tunesmith("data", "contradictions", "desks", "--json"))
    assert [(row["pointer"], row["label"], row["other_pointer"]) for row in listed] == [
        ("mail.jsonl#3", "sales", "mail.jsonl#22"),
        ("mail.jsonl#22", "claims", "mail.jsonl#3"),
    ]
    printed = project.tunesmith("data", "contradictions", "desks", "--limit", "1").splitlines()
    assert printed[0].split() == ["row", "label", "other", "row", "label", "cosine"]
    assert "mail.jsonl#3" in printed[1]
    assert printed[2] == "and 1 more: --limit 2, or --json for all"

    said = project.process("data", "contradictions", "plain")
    assert said.returncode == 2
    assert "nobody has looked at what the rows of dataset 'plain' mean" in said.stderr
    assert "`semantic` of dataset.plain" in said.stderr
