"""A step's key sees all the code and all the libraries that bear on its result."""

from __future__ import annotations

import re
from pathlib import Path

import grimp
import pytest

from tunesmith.core.code_version import code_version, environment
from tunesmith.core.kinds import KINDS

# Import name -> distribution, of the libraries whose versions can change a result.
LIBRARIES = {
    "torch": "torch",
    "transformers": "transformers",
    "tokenizers": "tokenizers",
    "gguf": "gguf",
    "safetensors": "safetensors",
    "jinja2": "jinja2",
    "numpy": "numpy",
    "scipy": "scipy",
    "pyarrow": "pyarrow",
    "ftfy": "ftfy",
    "rensa": "rensa",
    "yaml": "pyyaml",
    "phonenumbers": "phonenumberslite",
    "py3langid": "py3langid",
    "pypdfium2": "pypdfium2",
    "selectolax": "selectolax",
    "presidio_analyzer": "presidio-analyzer",
    "sacrebleu": "sacrebleu",
    "torchmetrics": "torchmetrics",
}
ONLY_WHEN_ASKED = {
    "curate@1": {"presidio-analyzer"},
    "evaluate-base@1": {"sacrebleu"},
    "evaluate-tuned@1": {"sacrebleu"},
    "evaluate-tuned-pairs@1": {"sacrebleu", "torchmetrics"},
}
"""What another kind is for, of the same function or of one in the same module: a dataset that asks
for names, a task that asks for BLEU, a gate that compares by it."""
SEEN = tuple(
    f"tunesmith.{name}" for name in ("asset", "paired", "text", "lm", "retrieve", "stages")
)

SEEN_ALONE = ("asset", "paired", "stages", "text", "lm")
"""Packages whose `__init__` has no code in it."""


@pytest.fixture(scope="module")
def graph():
    return grimp.build_graph("tunesmith", include_external_packages=True, cache_dir=None)


@pytest.mark.parametrize("name", sorted(set(KINDS) - {"echo@1", "fetch@1"}))
def test_the_key_sees_what_the_step_imports(graph, name):
    kind = KINDS[name]
    module = kind.function.partition(":")[0]
    imported = graph.find_upstream_modules(module) | {module}
    unseen = [
        found
        for found in imported
        if found.startswith(SEEN)
        and not any(found == source or found.startswith(f"{source}.") for source in kind.sources)
        and found not in {f"tunesmith.{name}" for name in SEEN_ALONE}
    ]
    assert sorted(unseen) == []
    needed = {LIBRARIES[found] for found in imported if found in LIBRARIES}
    needed -= ONLY_WHEN_ASKED.get(name, set())
    assert needed <= {*kind.libraries, *kind.optional}, "their versions must be in the key"


@pytest.mark.parametrize("name", sorted(KINDS))
def test_keys_are_stable_within_a_process(name):
    assert code_version(KINDS[name]) == code_version(KINDS[name])
    assert "python" in environment(KINDS[name])


def test_what_tests_need_changes_no_key():
    """After `make demo`, `make test` puts more into the same environment; nothing runs anew."""

    def locked(name):
        text = (Path(__file__).parents[2] / name).read_text()
        return dict(re.findall(r"^([\w.-]+)==(\S+)", text, re.MULTILINE))

    in_use, tested = locked("requirements.lock"), locked("requirements-test.lock")
    seen = {library for kind in KINDS.values() for library in (*kind.libraries, *kind.optional)}
    assert {name: tested.get(name) for name in seen} == {name: in_use.get(name) for name in seen}
