import pytest

from tunesmith.retrieve.naming import Asked, Names
from tunesmith.retrieve.store import Document, Store, build


def _silent(*_):
    """Report no progress."""


NAMES = {
    "heron": ("Heron License", "heron"),
    "stork-1.0": ("Stork Public License 1.0", "stork-1.0"),
    "stork-2.0": ("Stork Public License 2.0", "SPL 2.0", "stork-2.0"),
    "crane-3": ("Crane-3-Clause", "crane-3"),
    "public-domain": ("Public Domain",),
}
TEXT = "Whoever makes a public copy grants a patent licence to everybody."


@pytest.fixture
def names(tmp_path):
    documents = [Document(key=k, title=n[0], names=n, text=TEXT) for k, n in NAMES.items()]
    build(tmp_path / "i", documents, _silent)
    with Store(tmp_path / "i") as store:
        yield Names(store)


STORKS = {"stork-1.0", "stork-2.0"}


@pytest.mark.parametrize(
    ("question", "documents", "topic"),
    [
        ("What does the Heron licence say about patents?", {"heron"}, ("patents",)),
        ("What does the Stork license say about patents?", STORKS, ("patents",)),
        ("Patents in Stork Public License 2.0", {"stork-2.0"}, ("patents",)),
        ("Patents in Stork Public License version 2", {"stork-2.0"}, ("patents",)),
        ("patents, SPL v2", {"stork-2.0"}, ("patents",)),
        ("patents under the 3-clause Crane licence", {"crane-3"}, ("patents",)),
        ("Heron or Stork 1: patents?", {"heron", "stork-1.0"}, ("patents",)),
        ("Must I make a public copy?", set(), ("make", "public", "copy")),
        ("Is a copy in the public domain?", {"public-domain"}, ("copy",)),
        ("Does the Heron license want its license copied?", {"heron"}, ("license", "copied")),
        ("Ostrich 2.0 patents", set(), ("ostrich", "2", "patents")),
        ("Heron", {"heron"}, ()),
        ("", set(), ()),
    ],
)
def test_a_question_is_its_names_and_its_topic(names, question, documents, topic):
    assert names.take_apart(question) == Asked(documents=frozenset(documents), topic=topic)


def test_how_far_a_document_is_named(names):
    shares = names.shares_named("Stork 2", ["stork-1.0", "stork-2.0", "heron"])
    assert shares["stork-2.0"] == 1
    assert 0 < shares["stork-1.0"] < 1
    assert shares["heron"] == 0
