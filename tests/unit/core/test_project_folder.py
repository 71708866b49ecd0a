"""Which files of a project may be read, and how their paths are written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tunesmith.core.errors import DataError, NotFound
from tunesmith.core.project_folder import (
    check_function,
    check_path,
    is_inside,
    make_store,
    read_inside,
)

MISSING = "look beside the project file"


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o750), (0o002, 0o770), (0o077, 0o700)])
def test_what_is_in_the_store_is_not_for_everybody(tmp_path: Path, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        store = make_store(tmp_path / "project")
    finally:
        os.umask(before)
    assert store.stat().st_mode & 0o777 == mode
    store.chmod(0o755)
    assert make_store(tmp_path / "project").stat().st_mode & 0o777 == 0o755, "as somebody set it"


def test_a_text_is_read_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("\ufeffGrüße\r\n".encode())
    assert read_inside(tmp_path, "a.txt", 100, missing=MISSING) == "\ufeffGrüße\r\n"
    marked = read_inside(tmp_path, "a.txt", 100, encoding="utf-8-sig", missing=MISSING)
    assert marked == "Grüße\r\n"


def test_what_is_not_there_is_said_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=f"no a.txt(.|\n)*{MISSING}"):
        read_inside(tmp_path, "a.txt", 100, missing=MISSING)


def test_as_long_as_may_be_and_a_byte_more(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x" * 100)
    assert len(read_inside(tmp_path, "a.txt", 100, missing=MISSING)) == 100
    with pytest.raises(DataError, match=r"no plain file of at most 99 bytes(.|\n)*shorten it"):
        read_inside(tmp_path, "a.txt", 99, missing=MISSING, too_long="shorten it")


def test_what_is_no_text_or_no_file(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xff")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    with pytest.raises(DataError, match=r"a\.txt cannot be read"):
        read_inside(tmp_path, "a.txt", 100, missing=MISSING)
    for name in ("pipe", "folder"):  # neither is waited for
        with pytest.raises(DataError, match=f"{name} (is no plain file|cannot be read)"):
            read_inside(tmp_path, name, 100, missing=MISSING)


def test_a_link_that_leads_out_is_not_followed(tmp_path: Path) -> None:
    project = tmp_path / "project"
    (project / ".tunesmith").mkdir(parents=True)
    (tmp_path / "secret.txt").write_text("secret")
    (project / ".tunesmith" / "inner.txt").write_text("of the store")
    (project / "out.txt").symlink_to(tmp_path / "secret.txt")
    (project / "in.txt").symlink_to(project / ".tunesmith" / "inner.txt")
    for name in ("out.txt", "in.txt"):
        with pytest.raises(DataError, match="leads out of the project's folder, or into its store"):
            read_inside(project, name, 100, missing=MISSING)


@pytest.mark.parametrize("path", ["a.toml", "tasks/a.toml", "tasks/.hidden/a b.toml"])
def test_paths_inside(path: str) -> None:
    assert is_inside(path)
    check_path(path, ".toml", "tasks/answers.toml")


@pytest.mark.parametrize(
    "path",
    ["/a.toml", "../a.toml", "a/../b.toml", "./a.toml", "a//b.toml", ".tunesmith/a.toml",
     "c:a.toml", "a\\b.toml", "a\nb.toml", "a\x7fb.toml"],
)  # fmt: skip
def test_paths_outside(path: str) -> None:
    assert not is_inside(path)
    with pytest.raises(ValueError, match="inside the project, as in tasks/answers"):
        check_path(path, ".toml", "tasks/answers.toml")


def test_a_path_of_another_kind() -> None:
    with pytest.raises(ValueError, match=r"lead to a \.toml file"):
        check_path("a.jsonl", ".toml", "tasks/answers.toml")


def test_a_function_of_a_file() -> None:
    assert check_function("", "clean.py:tidy") == ""
    assert check_function("a/clean.py:tidy", "clean.py:tidy") == "a/clean.py:tidy"
    for python in ("clean.py", "clean.py:", "clean.py:2x", "clean.py:a.b"):
        with pytest.raises(ValueError, match=r"write PATH\.py:FUNCTION, as in clean\.py:tidy"):
            check_function(python, "clean.py:tidy")
    with pytest.raises(ValueError, match=r"lead to a \.py file"):
        check_function("clean.sql:tidy", "clean.py:tidy")
