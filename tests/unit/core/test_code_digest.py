"""What a module says, as a digest, and what is kept of it."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from tunesmith.core import code_digest as module
from tunesmith.core.code_digest import code_digest

CODE = '''"""A module."""


def add(first, second):
    """Their sum."""
    return first + second
'''


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "sums"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "add.py").write_text(CODE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    return folder


def digest() -> str:
    """As the next process would say it."""
    code_digest.cache_clear()
    importlib.invalidate_caches()
    return code_digest("sums")


def kept(package: Path) -> Path:
    (found,) = (package / "__pycache__").glob("sums.*.digest")
    return found


def test_comments_docstrings_and_layout_do_not_count(package: Path) -> None:
    before = digest()
    other = CODE.replace('"""Their sum."""', '"""The sum."""  # of both').replace("\n\n\n", "\n\n")
    (package / "add.py").write_text(other)
    assert digest() == before
    (package / "add.py").write_text(CODE.replace("+", "-"))
    assert digest() != before


def test_it_is_kept(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = digest()
    assert kept(package).read_text().endswith(before)
    with monkeypatch.context() as patched:
        patched.setattr(module, "_digest", lambda _: pytest.fail("was made anew"))
        assert digest() == before
    (package / "more.py").write_text("ONE = 1\n")
    after = digest()
    assert after != before
    assert kept(package).read_text().endswith(after)
    (package / "more.py").unlink()
    assert digest() == before


@pytest.mark.parametrize("damage", ["", "x", "0" * 129, "\xff", "0" * 64 + " " + "0" * 64])
def test_what_is_kept_and_damaged_is_made_anew(package: Path, damage: str) -> None:
    before = digest()
    kept(package).write_bytes(damage.encode("latin-1"))
    assert digest() == before
    assert kept(package).read_text().endswith(before)


def test_where_it_cannot_be_kept(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (package / "__pycache__").write_text("in the way")
    before = digest()
    (package / "__pycache__").unlink()
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    assert digest() == before
    assert not (package / "__pycache__").exists()
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    assert digest() == before
    assert [path.name for path in (package / "__pycache__").iterdir()] == [kept(package).name]
