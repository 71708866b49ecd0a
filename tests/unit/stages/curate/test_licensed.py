"""The gate before the freeze: which licences it stops, and what opens it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from tunesmith.core.canonical import plain
from tunesmith.core.errors import DataError
from tunesmith.core.step import Context
from tunesmith.records.data import DataAsset
from tunesmith.records.licence import LicenceStatements, Statement
from tunesmith.records.model import BaseModel
from tunesmith.stages.curate.config import DatasetConfig
from tunesmith.stages.curate.licensed import require_licences
from tunesmith.stages.curate.run import curate

WHO = "J. Doe (legal), 2026-07-01: contract 17 with the label"
LYRICS = Statement(file="README.md", line=36, kind="others", says="song lyrics")


def config(**settings: Any) -> DatasetConfig:
    given = {"name": "d", "sources": ["rows"], "base": "words", "format": "chat", **settings}
    return DatasetConfig(**given)


def found(*statements: Statement, declared: str = "MIT") -> LicenceStatements:
    return LicenceStatements(name="rows", declared=declared, statements=statements, num_files=2)


@pytest.fixture
def asset(records: Callable[..., DataAsset]) -> DataAsset:
    return records(
        [
            {
                "messages": [
                    {"role": role, "content": " ".join(f"{role}{number}word{i}" for i in range(6))}
                    for role in ("user", "assistant")
                ]
            }
            for number in range(8)
        ]
    )


def test_a_doubtful_licence_stops_the_freeze_and_says_who_must_decide(asset: DataAsset) -> None:
    with pytest.raises(DataError) as caught:
        require_licences(config(), [asset], [found(LYRICS)])
    assert caught.value.exit_code == 1
    assert "its licence, MIT, is doubtful: song lyrics (README.md, line 36)" in str(caught.value)
    assert 'licence_cleared = { rows = "WHO, WHEN: WHY" }' in caught.value.remedy
    assert "tunesmith data show rows" in caught.value.remedy

    require_licences(config(licence_cleared={"rows": WHO}), [asset], [found(LYRICS)])
    require_licences(config(), [asset], [found()])
    with pytest.raises(DataError, match="is doubtful"):  # that it is listed says nothing of whose
        require_licences(config(licences=["MIT"]), [asset], [found(LYRICS)])


def test_a_source_behind_the_one_that_is_named_is_looked_at(asset: DataAsset) -> None:
    made_of_it = dataclasses.replace(asset, name="joined")
    with pytest.raises(DataError, match="source 'rows'"):
        require_licences(config(sources=["joined"]), [made_of_it], [found(LYRICS)])


def test_an_unknown_licence_that_speaks_of_research_alone_is_doubtful(asset: DataAsset) -> None:
    said = found(declared="Hospital terms (research use only)")
    with pytest.raises(DataError) as caught:
        require_licences(config(), [asset], [said])
    assert "none that is known, and says 'research use': it is doubtful" in str(caught.value)
    assert "licence_cleared = { rows" in caught.value.remedy
    require_licences(config(licence_cleared={"rows": WHO}), [asset], [said])


@pytest.mark.parametrize(
    "licence", ["CC-BY-NC-4.0", "CC BY-NC 4.0", "CC-BY-ND-4.0", "MIT AND CC-BY-NC-SA-4.0"]
)
def test_no_commercial_use_and_no_derivatives_are_not_for_tuning(
    asset: DataAsset, licence: str
) -> None:
    strict = dataclasses.replace(asset, licence=licence)
    with pytest.raises(DataError, match="which is no") as caught:
        require_licences(config(), [strict], [])
    assert "licence_cleared" in caught.value.remedy
    require_licences(config(licence_cleared={"rows": WHO}), [strict], [])
    require_licences(config(licences=["MIT", *licence.split(" AND ")]), [strict], [])


def test_where_none_is_declared_what_the_package_says_counts(asset: DataAsset) -> None:
    silent = dataclasses.replace(asset, licence="not stated")
    package = Statement(file="x/METADATA", line=4, kind="package", says="CC-BY-NC-4.0")
    with pytest.raises(DataError, match=r"CC-BY-NC-4\.0, which is non-commercial"):
        require_licences(config(), [silent], [found(package, declared="not stated")])
    with pytest.raises(DataError, match=r"no licence; CC-BY-NC-4\.0 is named in x/METADATA"):
        require_licences(
            config(licences=["permissive"]), [silent], [found(package, declared="not stated")]
        )
    require_licences(config(), [silent], [found(declared="not stated")])


def test_families_may_be_listed(asset: DataAsset) -> None:
    require_licences(config(licences=["public-domain"]), [asset], [])
    with pytest.raises(DataError, match=r"CC0-1\.0 is not among the allowed weak-copyleft"):
        require_licences(config(licences=["weak-copyleft"]), [asset], [])


def test_the_card_says_who_decided_and_nothing_else_changes(
    ctx: Context, base: BaseModel, asset: DataAsset
) -> None:
    plainly = curate(config(), ctx, assets=(asset,), base=base)
    looked = curate(config(), ctx, assets=(asset,), base=base, licences=(found(),))
    assert looked == plainly, "what is not doubtful leaves no trace in the record"
    cleared = config(licence_cleared={"rows": f" {WHO}\n "})
    decided = curate(cleared, ctx, assets=(asset,), base=base, licences=(found(LYRICS),))
    card = ctx.blobs.get(decided.card).decode()
    assert f"- rows: {WHO}\n  It was doubtful: song lyrics (README.md, line 36)." in card
    assert (decided.train, decided.test) == (plainly.train, plainly.test)


def test_a_decision_says_who_when_and_why() -> None:
    with pytest.raises(ValidationError, match="at least 20 characters"):
        config(licence_cleared={"rows": "ok"})
    assert "licence_cleared" not in plain(config().model_dump())
    assert plain(config(licence_cleared={"rows": WHO}).model_dump())["licence_cleared"]
