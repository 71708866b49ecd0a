import sqlite3

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tunesmith.core.canonical import sha256
from tunesmith.core.errors import StoreError
from tunesmith.retrieve.answer import ask
from tunesmith.retrieve.store import Document, Store, build


def _silent(*_):
    """Report no progress."""


ANSWERABLE = [
    ("Does the Heron licence require a copyright notice?", "heron", "copyright notice"),
    ("May I use the name of the holder to endorse products?", "stork-2.0", "endorse products"),
    ("What does the Stork licence say about patents?", "stork-2.0", "patent"),
    ("What must I do when I distribute modified Stork 2 source files?", "stork-2.0", "date"),
    ("What must I do when I distribute modified Stork 1 source files?", "stork-1.0", "send them"),
    ("stork-1.0 disputes in Utopia", "stork-1.0", "courts of Utopia"),
]


@pytest.mark.parametrize(("question", "document", "words"), ANSWERABLE)
def test_it_answers_with_the_right_sentence(index, path, question, document, words):
    answer = ask(index, path, question)
    assert answer.answered
    assert answer.citations[0].document == document
    assert words in answer.citations[0].quote
    assert index.threshold <= answer.score <= 1


@pytest.mark.parametrize(
    "question",
    [
        "What is the capital of France?",
        "How do I bake bread?",
        "Who won the 2022 world cup?",
        "What may I do?",
        "What does the Heron Licence say about penguins?",
        "What does the Stork Public License 2.0 say about helicopters?",
        "What does the Heron licence say about patents?",  # another document does
        "What does the Stork 1 licence say about patents?",
        "What is the Stork Public License 2.0?",
        "Heron",
        "May I sell a penguin?",  # a word that nobody wrote about weighs more than one they did
        "",
        '") OR 1=1 --',
    ],
)
def test_it_says_when_the_documents_do_not_answer(index, path, question):
    answer = ask(index, path, question)
    assert not answer.answered
    assert answer.citations == ()
    assert answer.score < index.threshold


def test_what_a_named_document_says_is_cited_from_it_alone(index, path):
    for name, cited in [("", {"stork-1.0", "stork-2.0"}), ("Stork 2", {"stork-2.0"})]:
        answer = ask(index, path, f"Who distributes modified source files? {name}")
        assert {citation.document for citation in answer.citations} == cited


def test_citations_are_verbatim_and_few(index, path):
    with Store(path) as store:
        for question, _, _ in ANSWERABLE:
            answer = ask(index, store, question, limit=2)
            assert 1 <= len(answer.citations) <= 2
            for citation in answer.citations:
                text = store.document(citation.document).text
                assert text[citation.start : citation.end] == citation.quote
                assert citation.sha256 == sha256(citation.quote.encode())


def test_what_two_documents_say_in_the_same_words_is_cited_once(index, tmp_path):
    text = "Every court of Utopia may decide a dispute."
    build(
        tmp_path / "i",
        [Document(key=key, title=key, names=(key,), text=text) for key in ("one", "two")],
        _silent,
    )
    answer = ask(index, tmp_path / "i", "Which court decides a dispute in Utopia?")
    assert len(answer.citations) == 1


def test_nothing_leaves_a_damaged_index(index, path):
    database = sqlite3.connect(path)
    database.execute("UPDATE document SET text = replace(text, 'without', 'with')")
    database.commit()
    database.close()
    with pytest.raises(StoreError, match="damaged"):
        ask(index, path, "Does the Heron licence come with a warranty?")


@settings(
    max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(st.text(max_size=200))
def test_any_question_has_an_answer_or_none(index, path, question):
    answer = ask(index, path, question)
    assert answer.answered == bool(answer.citations)
    assert 0 <= answer.score <= 1
    if answer.answered:
        assert answer.score >= index.threshold
