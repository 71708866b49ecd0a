"""The reference is what the code says."""

from __future__ import annotations

import importlib.util
import re
import tomllib
import typing
from pathlib import Path

import pytest

import tunesmith
from tunesmith.project_file import ProjectFile

ROOT = Path(__file__).parents[2]
HOW_TO = sorted((ROOT / "docs" / "how-to").glob("*.md"))
spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
assert spec is not None
assert spec.loader is not None
generate = importlib.util.module_from_spec(spec)
spec.loader.exec_module(generate)


@pytest.mark.parametrize("name", ["commands.md", "settings.md", "tasks.md", "exit-codes.md"])
def test_reference_is_up_to_date(name):
    assert (generate.REFERENCE / name).read_text() == generate.pages()[name], "run `make docs`"


def test_every_setting_is_explained():
    """A field of a section has its docstring under it: it is what the reference prints."""

    def sections(model):
        yield model
        for field in model.model_fields.values():
            for part in (field.annotation, *getattr(field.annotation, "__args__", ())):
                if isinstance(part, type) and hasattr(part, "model_fields"):
                    yield from sections(part)

    missing = [
        f"{model.__name__}.{name}"
        for model in sections(ProjectFile)
        for name in model.model_fields
        if not generate.meanings(model).get(name)
    ]
    assert missing == []


def test_links_between_documents_lead_somewhere():
    broken = []
    for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]:
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", path.read_text()):
            if "://" not in target and not (path.parent / target).exists():
                broken.append(f"{path.relative_to(ROOT)}: {target}")
    assert broken == []


def test_the_readme_leads_to_every_how_to():
    linked = re.findall(r"\]\(docs/how-to/([\w-]+)\.md\)", (ROOT / "README.md").read_text())
    assert sorted(linked) == sorted(path.stem for path in HOW_TO), "each once"


def test_the_changelog_has_this_version():
    assert f"## {tunesmith.__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_the_tree_in_the_readme_is_the_tree():
    """Every first-level name and every stage is in README's tree, and nothing that is not there."""
    tree = (ROOT / "README.md").read_text().split("```text\nsrc/tunesmith/")[1].split("```")[0]
    named = set(re.findall(r"^  ([\w/.]+)", tree, re.MULTILINE))
    source = ROOT / "src" / "tunesmith"
    real = {
        path.name + ("/" if path.is_dir() else "")
        for path in source.iterdir()
        if path.name not in ("__pycache__", "py.typed") and path.name != "__main__.py"
    }
    assert {name.removeprefix("stages/") for name in named} - {
        f"{path.name}/" for path in (source / "stages").iterdir()
    } >= real - {"stages/"}
    assert all((source / name).exists() for name in named)


def test_tests_that_documents_name_are_there():
    """The table of known defects says which test guards each; a test that moves must move there."""
    here = {path.relative_to(ROOT).as_posix() for path in (ROOT / "tests").rglob("test_*.py")}
    names = {path.rpartition("/")[2] for path in here}
    lost = []
    for path in ROOT.glob("docs/**/*.md"):
        for named in re.findall(r"`((?:tests/)?[\w/]*test_\w+\.py)`", path.read_text()):
            if named not in (here if "/" in named else names):
                lost.append(f"{path.relative_to(ROOT)}: {named}")
    assert lost == []


DEFECTS = ROOT / "docs" / "explanation" / "defects-of-peers.md"


def test_every_known_defect_has_a_test_that_is_there():
    """Each line of each table names a test, by its file at least, and says where it was met."""
    lines = [line for line in DEFECTS.read_text().splitlines() if line.startswith("| ")]
    rows = [line for line in lines if not line.startswith(("| defect |", "| # |"))]
    untested = [row for row in rows if not re.search(r"`(tests/)?[\w/]*test_\w+\.py", row)]
    assert untested == []
    lost = []
    for named, function in re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", "\n".join(rows)):
        path = ROOT / named
        if not path.exists() or f"def {function}(" not in path.read_text():
            lost.append(f"{named}::{function}")
    assert lost == []
    assert len(rows) > 80


@pytest.mark.parametrize("path", HOW_TO, ids=[path.stem for path in HOW_TO])
def test_settings_in_the_documents_are_settings(path):
    """Each section of each TOML block is one that a project file could have."""
    for block in re.findall(r"```toml\n(.*?)```", path.read_text(), re.DOTALL):
        for kind, sections in tomllib.loads(block).items():
            made_of = ProjectFile.model_fields[kind].annotation
            if hasattr(made_of, "model_validate"):  # [project] and [ledger]
                made_of.model_validate(sections)
                continue
            _, section = typing.get_args(made_of)
            for name, settings in sections.items():
                section.model_validate({"name": name, **settings})


def test_the_examples_of_preferences_are_what_they_say():
    """Each section of the how-to is valid, and says the defaults where it says a value."""
    import tomllib

    from tunesmith.stages.curate.config import DatasetConfig
    from tunesmith.stages.finetune.config import ModelConfig
    from tunesmith.stages.ingest.config import SourceConfig

    text = (ROOT / "docs" / "how-to" / "tune-on-preferences.md").read_text()
    toml = "\n".join(line[4:] for line in text.splitlines() if line.startswith("    "))
    blocks = re.findall(
        r"^\[(source|dataset|model)\.(\w+)\](.*?)(?=^\[|^tunesmith|^\{|\Z)", toml, re.M | re.S
    )
    seen = []
    for kind, name, body in blocks:
        values = tomllib.loads(body.split("\n", 1)[1])
        section = {"source": SourceConfig, "dataset": DatasetConfig, "model": ModelConfig}[kind]
        found = section(name=name, **values)
        if kind == "model":
            seen.append(found.objective)
            bare = ModelConfig(
                name=name, base=found.base, dataset=found.dataset, objective=found.objective
            )
            assert found == bare
    assert sorted(seen) == ["dpo", "ipo", "kto", "orpo", "simpo"]
