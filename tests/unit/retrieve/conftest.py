"""Three small licences, written for these tests."""

import pytest

from tunesmith.core.ref import Blob
from tunesmith.records.index import Index
from tunesmith.retrieve.store import Document, build


def _silent(*_):
    """Report no progress."""


TEXTS = {
    "heron": (
        "Heron Licence",
        "Everybody may use, copy and sell this program without a fee.\n\n"
        "The copyright notice above shall stand in every copy of the program.\n\n"
        "The program comes as it is, without a warranty of any kind.\n",
    ),
    "stork-2.0": (
        "Stork Public License 2.0",
        "1. Each contributor grants a patent licence for what it contributed.\n\n"
        "2. Whoever distributes modified source files must state the date of the change.\n\n"
        "3. The name of the holder may not be used to endorse products.\n",
    ),
    "stork-1.0": (
        "Stork Public License 1.0",
        "1. Whoever distributes modified source files must send them to the holder.\n\n"
        "2. The courts of Utopia decide every dispute about this text.\n",
    ),
}


@pytest.fixture(scope="module")
def documents():
    """The licences as documents."""
    return [
        Document(key=key, title=title, names=(key, title), text=text)
        for key, (title, text) in TEXTS.items()
    ]


@pytest.fixture
def path(documents, tmp_path):
    """The file of their index."""
    build(tmp_path / "index.sqlite", documents, _silent)
    return tmp_path / "index.sqlite"


@pytest.fixture
def index():
    """The record of their index."""
    return Index(
        name="licences",
        database=Blob(sha256="0" * 64, num_bytes=0),
        num_documents=3,
        num_passages=3,
        num_sentences=8,
        threshold=0.55,
        calibration="",
    )
