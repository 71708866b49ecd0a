"""What is refused before it is written: compared with mlcroissant, which must take what we take."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import mlcroissant
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunesmith.core.errors import DataError
from tunesmith.core.ref import Blob
from tunesmith.documents.croissant import CONFORMS_TO, CONTEXT, croissant
from tunesmith.documents.croissant_check import problems
from tunesmith.documents.describe import DatasetFacts, SourceFacts
from tunesmith.records.data import DataAsset, Dataset, Split
from tunesmith.records.model import BaseModel

pytestmark = pytest.mark.filterwarnings("ignore:ConjunctiveGraph is deprecated")
BLOB = Blob(sha256="0" * 64, num_bytes=7)


def facts(**stated: str) -> DatasetFacts:
    said = {"licence": "MIT", "owner": "Claims", "purpose": "Routing", "origin": "file:mail.jsonl"}
    asset = DataAsset(
        name="mail", rows=BLOB, quarantine=BLOB, num_in=9, num_rows=9, num_quarantined=0,
        num_filtered=0, quarantined_by_rule={}, **said | stated,
    )  # fmt: skip
    side = Split(rows=BLOB, num_rows=4, num_tokens=24)
    return DatasetFacts(
        dataset=Dataset(
            name="letters", instruction="", labels=("a", "b"), train=side, test=side, dropped=BLOB,
            num_in=9, num_dropped=1, dropped_by_reason={"too long": 1}, num_components=8, card=BLOB,
            licences=("MIT",),
        ),
        number=2,
        digest="a1" * 32,
        made_at="2026-08-02T10:11:12.000Z",
        config={"languages": ["de"]},
        base=BaseModel(name="w", origin="pypi:w==1", licence="MIT", weights=BLOB, format="folder"),
        sources=(SourceFacts(asset=asset, digest="2" * 64, read_on="2026-07-01"),),
        models=(),
        is_erased=False,
    )  # fmt: skip


VALID = croissant(facts())


def wrong(said: Any) -> list[str]:
    return problems(said, CONTEXT, CONFORMS_TO)


def mlcroissant_takes(said: dict[str, Any]) -> bool:
    try:
        mlcroissant.Dataset(jsonld=copy.deepcopy(said))
    except Exception:  # of what is no description at all it raises whatever comes
        return False
    return True


def places(value: Any, before: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Every property and element of a description, but for what is in its context."""
    inside = value.items() if isinstance(value, dict) else enumerate(value)
    for key, each in inside:
        yield (*before, key)
        if isinstance(each, dict | list) and key != "@context":
            yield from places(each, (*before, key))


DELETE = object()


def planted(place: tuple[str | int, ...], value: Any) -> dict[str, Any]:
    """The description with another value there."""
    said = copy.deepcopy(VALID)
    node: Any = said
    for key in place[:-1]:
        node = node[key]
    if value is DELETE:
        del node[place[-1]]
    else:
        node[place[-1]] = value
    return said


def test_what_is_written_is_valid():
    assert wrong(VALID) == []
    assert mlcroissant_takes(VALID)


@settings(max_examples=200, deadline=None)
@given(
    place=st.sampled_from(list(places(VALID))),
    value=st.one_of(
        st.just(DELETE),
        st.none(),
        st.booleans(),
        st.integers(-9, 9),
        st.text(st.characters(codec="utf-8"), max_size=9),
        st.sampled_from([[], {}, ["a"], {"@id": "train"}, "sc:Text", "sc:Nothing", "2026-01-01"]),
    ),
)
def test_what_passes_here_passes_mlcroissant(place, value):
    said = planted(place, value)
    if not wrong(said):
        assert mlcroissant_takes(said)


@settings(max_examples=40, deadline=None)
@given(stated=st.text(st.characters(codec="utf-8"), min_size=1, max_size=40))
def test_whatever_people_state_is_valid_or_refused(stated):
    of = facts(owner=stated, purpose=stated, licence=stated, origin=f"file:{stated}")
    if stated.strip():
        assert mlcroissant_takes(croissant(of))
    else:
        with pytest.raises(DataError, match=r"letters@2 .*license\[0\]\.name: is empty"):
            croissant(of)


FIELD: tuple[str | int, ...] = ("recordSet", 0, "field", 0)


@pytest.mark.parametrize(
    ("place", "value", "named"),
    [
        (("@type",), "sc:CreativeWork", "@type: is not 'sc:Dataset'"),
        (("conformsTo",), ["http://mlcommons.org/croissant/0.3"], "conformsTo: is wrong"),
        (("name",), 7, "name: is no text"),
        (("rai:dataCollection",), 7, "rai:dataCollection: is no text"),
        (("rai:dataLimitations", 0), 7, "rai:dataLimitations[0]: is no text"),
        (("dateCreated",), "yesterday", "dateCreated: is no date (ISO 8601)"),
        (("creator", 0, "@type"), DELETE, "creator[0].@type: is missing"),
        (("license", 0, "name"), 7, "license[0].name: is no text"),
        (("distribution",), [], "distribution: is empty"),
        (("distribution", 0, "sha256"), DELETE, "distribution[0].sha256: is missing"),
        (("distribution", 0, "contentUrl"), DELETE, "distribution[0].contentUrl: is missing"),
        (("distribution", 0, "@id"), "a b", "distribution[0].@id: is no identifier"),
        (("distribution", 1, "@id"), "train.parquet", "distribution[1].@id: 'train.parquet' is so"),
        ((*FIELD, "dataType"), DELETE, "recordSet[0].field[0].dataType: is missing"),
        ((*FIELD, "dataType"), "cr:Label", "recordSet[0].field[0].dataType: names no type that a"),
        ((*FIELD, "source", "extract"), {}, "recordSet[0].field[0].source.extract.column: is miss"),
        (
            (*FIELD, "source", "fileObject", "@id"),
            "no.parquet",
            "recordSet[0].field[0].source: there is no file 'no.parquet'",
        ),
        (
            (*FIELD, "source", "fileObject", "@id"),
            "test.parquet",
            "recordSet[0].field[1].source: is another file than the first field's",
        ),
    ],
)
def test_a_planted_defect_is_named_and_mlcroissant_sees_it_too(place, value, named):
    said = planted(place, value)
    assert any(each.startswith(named) for each in wrong(said)), wrong(said)
    assert not mlcroissant_takes(said)


@pytest.mark.parametrize(
    ("place", "value", "named"),
    [
        (("@context",), {**CONTEXT, "rai": "http://nowhere/"}, "@context: is wrong"),
        (("conformsTo",), list(CONFORMS_TO[:1]), "conformsTo: is wrong"),
        (("rai:dataUseCases",), DELETE, "rai:dataUseCases: is missing"),
        (("description",), " ", "description: is empty"),
        (("identifier",), "sha256:1", "identifier: is no digest (sha256:...)"),
        (("recordSet",), DELETE, "recordSet: is missing"),
        (("recordSet", 1, "key", 0, "@id"), "test/no", "recordSet[1].key[0]: there is no field"),
        (("citation",), "me", "citation: is not known"),
    ],
)
def test_what_mlcroissant_lets_through_is_named_here(place, value, named):
    said = planted(place, value)
    assert any(each.startswith(named) for each in wrong(said)), wrong(said)


@pytest.mark.parametrize("said", [None, [], "x", {}])
def test_what_is_no_description_at_all_is_said(said):
    assert wrong(said)
