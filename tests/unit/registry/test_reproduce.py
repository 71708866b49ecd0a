"""What is said of a run that was made again: a verdict, its figure, and what was changed since."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tunesmith
from tunesmith.core import catalog
from tunesmith.core.code_version import code_version, environment
from tunesmith.core.errors import UsageError
from tunesmith.core.kinds import KINDS
from tunesmith.core.owner import owner
from tunesmith.core.ref import Blob
from tunesmith.registry.interpreter import interpreter
from tunesmith.registry.reproduce import _changed, _compared
from tunesmith.registry.signing import model_of


def steps(*losses: float, row: str = "a") -> list[dict[str, Any]]:
    return [{"loss": loss, "num_tokens": 5, "row_ids": [row]} for loss in losses]


@pytest.mark.parametrize(
    ("now", "verdict", "first", "says"),
    [
        (steps(2.0, 1.5), "bitwise", 0, "2 of 3 steps are the same to the bit"),
        (steps(2.0, 1.5 + 1e-6), "within tolerance", 2, "up to 6.7e-07 of the loss"),
        (steps(2.0 + 1e-3, 1.5), "failed", 1, "from step 1 on"),
        (steps(2.0, 1.5, row="b"), "failed", 0, "other rows"),
        (steps(2.0), "failed", 0, "other rows"),
    ],
)
def test_a_slice_is_compared_step_by_step(
    desk: Any, now: list[dict[str, Any]], verdict: str, first: int, says: str
) -> None:
    model = dataclasses.replace(model_of(desk.project, desk.release()), num_steps=3)
    found = _compared("desk@1", model, model, steps(2.0, 1.5), now)
    assert (found["verdict"], found["first_different"]) == (verdict, first)
    assert says in found["said"]
    assert found["whole"] is False


def test_of_a_whole_run_the_weights_are_compared(desk: Any) -> None:
    model = dataclasses.replace(model_of(desk.project, desk.release()), num_steps=2)
    then = steps(2.0, 1.5)
    assert _compared("desk@1", model, model, then, then)["said"].endswith("so are the weights")
    other = dataclasses.replace(model, adapter=Blob(sha256="0" * 64, num_bytes=1))
    assert _compared("desk@1", model, other, then, then)["verdict"] == "within tolerance"


def test_what_is_another_than_it_was_is_named(desk: Any) -> None:
    of = KINDS["finetune@1"]
    identity = {"code": code_version(of), "environment": environment(of)}
    desk.release()
    with desk.project.runner.database.read() as connection:
        run = next(run for run in catalog.all_runs(connection) if run.kind == "finetune@1")
    made = dataclasses.replace(run, identity=identity, owner=owner())
    here = interpreter(None, "finetune@1", {})
    assert _changed(made, here) == []
    other = dataclasses.replace(
        here, code="another", environment={**here.environment, "torch": "9.9"}
    )
    said = _changed(dataclasses.replace(made, owner="elsewhere:1:2"), other)
    assert said[0] == "the step's code changed"
    assert said[1].startswith("environment.torch: ")
    assert said[1].endswith(" -> 9.9")
    assert said[2].startswith("machine: elsewhere -> ")


NewPython = Callable[..., Path]


@pytest.fixture
def new_python(tmp_path: Path) -> NewPython:
    """new_python(places) -> the folder of a virtual environment that finds what is in them."""

    def make(*places: Path) -> Path:
        folder = tmp_path / "clean"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
        (packages,) = (folder / "lib").glob("python*/site-packages")
        (packages / "places.pth").write_text("".join(f"{place}\n" for place in places))
        return folder

    return make


def here() -> list[Path]:
    """Where this process finds Tunesmith and what it needs."""
    libraries = [Path(each) for each in sys.path if each.endswith("site-packages")]
    return [Path(tunesmith.__file__).parents[1], *libraries]


def test_another_python_says_what_it_has(new_python: NewPython) -> None:
    folder = new_python(*here())
    of = KINDS["finetune@1"]
    found = interpreter(folder, "finetune@1", {})
    assert found.command == (f"{folder}/bin/python", "-I")
    assert (found.code, found.environment) == (code_version(of), environment(of))
    assert interpreter(folder / "bin" / "python", "finetune@1", {}) == found
    # Another version of a library is one, as that environment has it.
    (packages,) = (folder / "lib").glob("python*/site-packages")
    (packages / "safetensors-99.0.dist-info").mkdir()
    (packages / "safetensors-99.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: safetensors\nVersion: 99.0\n"
    )
    other = interpreter(folder, "finetune@1", {}).environment
    assert other == {**found.environment, "safetensors": "99.0"}


def test_a_python_hears_nothing_of_who_calls_it(tmp_path: Path, new_python: NewPython) -> None:
    """Not PYTHONPATH, nor what a user has for himself, nor the current folder."""
    folder = new_python(*here())
    for place in (tmp_path / "path", tmp_path / "home" / ".local"):
        place.mkdir(parents=True)
    (tmp_path / "path" / "tunesmith.py").write_text("raise SystemExit('not this one')\n")
    variables = {"PYTHONPATH": str(tmp_path / "path"), "PYTHONSTARTUP": "x", "PYTHONINSPECT": "1"}
    assert interpreter(folder, "finetune@1", variables).code
    asked = "import sys, site; print(sys.flags.isolated, sys.flags.no_user_site)"
    words = [*interpreter(None, "finetune@1", {}).command, "-c", asked]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "1"]


def test_what_is_no_fit_python_is_refused(tmp_path: Path, new_python: NewPython) -> None:
    folder = new_python()
    with pytest.raises(UsageError, match="has no Tunesmith") as refused:
        interpreter(folder, "finetune@1", {})
    assert f"{folder}/bin/python -m pip install" in str(refused.value)
    (packages,) = (folder / "lib").glob("python*/site-packages")
    (packages / "tunesmith").mkdir()
    (packages / "tunesmith" / "__init__.py").write_text('__version__ = "0.0.1"\n')
    with pytest.raises(UsageError, match=r"has Tunesmith 0\.0\.1, and this is "):
        interpreter(folder, "finetune@1", {})
    for wrong in (tmp_path / "nowhere", tmp_path, Path("/bin/true"), Path("/bin/ls"), Path("/dev")):
        with pytest.raises(UsageError, match="as a Python"):
            interpreter(wrong, "finetune@1", {})


def test_a_python_without_a_library_is_refused(tmp_path: Path, new_python: NewPython) -> None:
    """It has Tunesmith and what that needs to be asked, and no torch."""
    chosen = tmp_path / "chosen"
    chosen.mkdir()
    for place in here()[1:]:
        for each in place.iterdir():
            if not each.name.startswith(("torch", "functorch")) and each.suffix != ".pth":
                (chosen / each.name).symlink_to(each)
    with pytest.raises(UsageError, match="torch is needed here and is not installed"):
        interpreter(new_python(here()[0], chosen), "finetune@1", {})
