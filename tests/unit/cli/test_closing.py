"""What a run proposes to type next."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tunesmith.cli import closing


@pytest.mark.parametrize(
    ("name", "question"),
    [
        ("licence-desk", "Does the MIT license require keeping the copyright notice?"),
        ("clinic", "YOUR QUESTION"),
    ],
)
def test_only_the_licence_desk_is_told_to_ask_about_a_licence(
    name: str, question: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = SimpleNamespace(
        project=SimpleNamespace(name=name), index={"texts": None}, service={}, model={}
    )
    project: Any = SimpleNamespace(file=file, folder=tmp_path)
    asked, *_ = closing._commands(project)
    assert asked.endswith(f' ask "{question}"')
