"""The map holds: who may import whom, and what importing costs."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "tunesmith"
HEAVY = (
    *("torch", "transformers", "fastapi", "uvicorn", "sklearn", "scipy", "numpy", "pyarrow"),
    *("duckdb", "alembic"),
)
SERVER = "sqlalchemy.dialects.postgresql"


def test_imports_follow_the_map():
    done = subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    "module", ["tunesmith", "tunesmith.cli.main", "tunesmith.core.runner", "tunesmith.cli.opening"]
)
def test_importing_is_light(module):
    code = f"import sys, {module}; print(*[m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.split() == []


def test_a_command_ends_without_a_look_for_cycles():
    # A tenth of a second, after all that people waited for is printed.
    code = (
        "import gc, sys; gc.set_threshold(10**9)\n"
        "class Left:\n"
        "    def __del__(self): print('freed')\n"
        "left = Left(); left.itself = left; del left\n"
        "from tunesmith.cli.main import main\n"
        "sys.argv = ['tunesmith', '--version']; main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "freed" not in done.stdout


def test_duckdb_does_not_complain_at_the_end():
    code = (
        "import sys, duckdb; from tunesmith.cli.main import main\n"
        "sys.argv = ['tunesmith', '--version']; main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == ""


def test_help_loads_no_models_of_records():
    # Two hundred milliseconds of waiting, in a command that people ask for while they think.
    code = (
        "import sys; from tunesmith.cli.main import app; "
        "print(*({'pydantic', 'sqlalchemy'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.split() == []


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A project in which nothing is left to do."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "a.csv").write_text("id,text\n1,one\n")
    (folder / "tunesmith.toml").write_text(
        '[project]\nname = "desk"\n'
        '[source.a]\norigin = "file:a.csv"\nformat = "csv"\ntext = "text"\n'
    )
    command = [sys.executable, "-m", "tunesmith", "run"]
    subprocess.run(command, check=True, capture_output=True, cwd=folder)
    return folder


@pytest.mark.parametrize("command", ["plan", "run", "runs", "verify", "config show"])
def test_what_only_looks_loads_no_library_for_tables(command, finished):
    # Nor a server's dialect. Each is some tens of milliseconds of everybody's waiting.
    code = (
        "import sys\n"
        "from tunesmith.cli.main import application\n"
        "words = sys.argv[1:]\n"
        "application(words[0])(words, standalone_mode=False)\n"
        f"print('loaded:', *(m for m in {(*HEAVY, SERVER)!r} if m in sys.modules))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *command.split()],
        capture_output=True,
        text=True,
        check=True,
        cwd=finished,
    )
    assert done.stdout.splitlines()[-1] == "loaded:"


def test_importing_has_no_effects(tmp_path):
    code = "import tunesmith, tunesmith.pipeline, tunesmith.cli.main"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert (done.stdout, done.stderr, list(tmp_path.iterdir())) == ("", "", [])


@pytest.mark.parametrize(
    "forbidden",
    [
        "pickle",
        "torch.load",
        "shell=True",
        "os.system",
        "trust_remote_code",
        "eval(",
        "exec(",
        "yaml.load(",
    ],
)
def test_nothing_unsafe_is_called(forbidden):
    """No unpickling, no shell, no remote code; `.eval()` puts a model in evaluation mode."""
    import re

    word = re.compile(r"(?<![.\w])" + re.escape(forbidden))
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in sorted((ROOT / "src").rglob("*.py"))
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if word.search(line) and not line.strip().startswith(("#", '"'))
    ]
    assert found == []


def test_errors_are_of_one_tree():
    """A class that stands elsewhere is known only where its module was loaded: not to the list of
    exit codes, nor to a process that is told of the error by its name."""
    from tunesmith.core import errors

    known = {n for n, it in vars(errors).items() if isinstance(it, type)}
    elsewhere = [
        f"{path.relative_to(SOURCE)}:{node.name}"
        for path in sorted(SOURCE.rglob("*.py"))
        if path != Path(errors.__file__)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef)
        if any(isinstance(base, ast.Name) and base.id in known for base in node.bases)
    ]
    assert elsewhere == []
