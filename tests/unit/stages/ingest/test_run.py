"""From a package to a data asset: what is kept, what is not and why, and that nothing is lost."""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tunesmith.core.blobs import FolderBlobs
from tunesmith.core.errors import DataError, NotFound, PackageError
from tunesmith.core.ref import Blob
from tunesmith.core.step import Context
from tunesmith.records.data import DataAsset, Package
from tunesmith.stages.ingest.config import SourceConfig
from tunesmith.stages.ingest.run import ingest

MakePackage = Callable[[dict[str, bytes]], Package]


def source(**settings: Any) -> SourceConfig:
    return SourceConfig(
        **{
            "name": "notices",
            "origin": "pypi:data==1.0",
            "files": ["rules/*.RULE"],
            "label": "key",
            **settings,
        }
    )


def table(ctx: Context, blob: Blob) -> list[dict[str, str]]:
    rows: list[dict[str, str]] = pq.read_table(io.BytesIO(ctx.blobs.get(blob))).to_pylist()
    return rows


def rule(text: str = "Text.", **fields: str) -> bytes:
    header = "".join(f"{name}: {value}\n" for name, value in fields.items())
    return f"---\n{header}---\n\n{text}\n".encode()


def check_conservation(ctx: Context, asset: DataAsset) -> None:
    assert asset.num_in == asset.num_rows + asset.num_quarantined + asset.num_filtered
    assert len(table(ctx, asset.rows)) == asset.num_rows
    assert len(table(ctx, asset.quarantine)) == asset.num_quarantined
    assert sum(asset.quarantined_by_rule.values()) == asset.num_quarantined


def test_every_kind_of_row(ctx: Context, make_package: MakePackage) -> None:
    package = make_package(
        {
            "rules/b.RULE": rule("The {{MIT}} licence.", key="mit", is_notice="yes", name="MIT"),
            "rules/a.RULE": rule("GPL.", key="gpl-2.0", is_notice="true"),
            "rules/c.RULE": rule("A tag.", key="mit", is_notice="no"),
            "rules/d.RULE": rule("No flag.", key="mit"),
            "rules/e.RULE": b"\xff\xfe not text",
            "rules/f.RULE": b"no header",
            "rules/g.RULE": rule("No label.", is_notice="yes"),
            "rules/h.RULE": rule("{{}}", key="mit", is_notice="yes"),
            "rules/i.RULE": b"---\na: [\n---\ntext",
            "rules/old/j.RULE": rule("In another folder.", key="mit", is_notice="yes"),
            "rules/readme.txt": b"no rule",
        }
    )
    config = source(where={"is_notice": True}, remove=["{{", "}}"], title="name", licence="CC0-1.0")
    asset = ingest(config, ctx, package=package)
    check_conservation(ctx, asset)
    assert (asset.num_in, asset.num_rows, asset.num_quarantined, asset.num_filtered) == (9, 2, 5, 2)
    assert asset.quarantined_by_rule == {
        "bad-front-matter": 1,
        "empty-text": 1,
        "no-front-matter": 1,
        "no-label": 1,
        "not-text": 1,
    }
    first, second = table(ctx, asset.rows)
    assert (first["pointer"], first["label"], first["text"]) == ("rules/a.RULE", "gpl-2.0", "GPL.")
    assert (second["text"], second["label"]) == ("The MIT licence.", "mit")
    assert json.loads(second["attributes"]) == {"is_notice": "yes", "name": "MIT", "title": "MIT"}
    for row in table(ctx, asset.quarantine):
        assert row["reason"]
        assert row["pointer"].startswith("rules/")
    assert (asset.name, asset.licence, asset.origin) == ("notices", "CC0-1.0", "pypi:data==1.0")


def test_a_row_id_depends_on_origin_place_and_content_alone(
    ctx: Context, make_package: MakePackage
) -> None:
    def ids(members: dict[str, bytes], **settings: Any) -> dict[str, str]:
        asset = ingest(source(**settings), ctx, package=make_package(members))
        return {row["pointer"]: row["row_id"] for row in table(ctx, asset.rows)}

    one = ids({"rules/a.RULE": rule(key="x"), "rules/b.RULE": rule(key="x")})
    more = ids({"rules/b.RULE": rule(key="x"), "rules/0.RULE": rule(key="x")}, remove=["zz"])
    assert one["rules/b.RULE"] == more["rules/b.RULE"]
    assert len({*one.values(), *more.values()}) == 3
    assert all(len(row_id) == 32 and int(row_id, 16) >= 0 for row_id in one.values())
    assert ids({"rules/b.RULE": rule(key="y")}) != {"rules/b.RULE": one["rules/b.RULE"]}
    assert (
        one["rules/b.RULE"]
        not in ids({"rules/b.RULE": rule(key="x")}, origin="pypi:data==1.1").values()
    )


def test_equal_input_gives_equal_bytes(
    ctx: Context, make_package: MakePackage, tmp_path: Path
) -> None:
    members = {f"rules/{i}.RULE": rule(f"Text {i}.", key="mit") for i in range(50)}
    package = make_package(members)
    first = ingest(source(), ctx, package=package)
    for path in ctx.workdir.iterdir():
        path.unlink()
    second = ingest(source(), ctx, package=make_package(dict(reversed(members.items()))))
    assert first == second


def test_a_hostile_package_yields_nothing(ctx: Context, make_package: MakePackage) -> None:
    package = make_package({"rules/a.RULE": rule(key="mit"), "../evil": b"x"})
    with pytest.raises(PackageError, match="refused"):
        ingest(source(), ctx, package=package)


def test_a_glob_that_matches_nothing_says_what_there_is(
    ctx: Context, make_package: MakePackage
) -> None:
    with pytest.raises(NotFound, match=r"no file .* matches") as caught:
        ingest(source(files=["x/*"]), ctx, package=make_package({"rules/a.RULE": rule(key="x")}))
    assert "rules/" in caught.value.remedy


def test_no_usable_row_is_an_error(ctx: Context, make_package: MakePackage) -> None:
    package = make_package({"rules/a.RULE": b"no header", "rules/b.RULE": rule(key="x")})
    with pytest.raises(DataError, match=r"1 left out .* 1 quarantined; e.g. rules/a.RULE"):
        ingest(source(where={"flag": "yes"}), ctx, package=package)


def test_progress_is_reported(ctx: Context, make_package: MakePackage) -> None:
    clock = iter(range(1000))
    seen: list[tuple[float, float, str]] = []
    watched = dataclasses.replace(ctx, progress=lambda *args: seen.append(args))
    package = make_package({f"rules/{i}.RULE": rule(key="x") for i in range(5)})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("time.monotonic", lambda: float(next(clock)))
        ingest(source(), watched, package=package)
    assert [(done, total) for done, total, _ in seen] == [(i, 5) for i in range(5)]


FILES = st.lists(
    st.one_of(
        st.binary(max_size=30),
        st.builds(lambda t: rule(t, key="mit", flag="yes"), st.text("a {}\n-", max_size=12)),
        st.builds(lambda k: rule("text", key=k), st.text("ab", max_size=2)),
    ),
    min_size=1,
    max_size=8,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(FILES, st.booleans())
def test_no_row_is_lost(
    tmp_path_factory: pytest.TempPathFactory,
    make_package: MakePackage,
    ctx: Context,
    files: list[bytes],
    only_flagged: bool,
) -> None:
    members = {f"rules/{i}.RULE": data for i, data in enumerate(files)}
    members["rules/ok.RULE"] = rule("fine", key="mit", flag="yes")
    config = source(where={"flag": "yes"} if only_flagged else {}, remove=["{", "}"])
    asset = ingest(config, ctx, package=make_package(members))
    assert asset.num_in == len(members)
    check_conservation(ctx, asset)
    pointers = [
        row["pointer"] for blob in (asset.rows, asset.quarantine) for row in table(ctx, blob)
    ]
    assert len(set(pointers)) == len(pointers)


def test_blobs_are_where_the_record_says(ctx: Context, make_package: MakePackage) -> None:
    asset = ingest(source(), ctx, package=make_package({"rules/a.RULE": rule(key="mit")}))
    assert isinstance(ctx.blobs, FolderBlobs)
    for blob in (asset.rows, asset.quarantine):
        ctx.blobs.check(blob, deep=True)
