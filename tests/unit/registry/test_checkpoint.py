"""The head of the evidence, signed: what was signed and is not so any more is found, by the store,
by an export alone, and by who kept a copy; an alias serves where it was signed to point."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from tunesmith.cli.main import app
from tunesmith.core import audit, evidence, lifecycle
from tunesmith.core.canonical import canonical_json, fingerprint, parse
from tunesmith.core.checkpoint import head
from tunesmith.core.errors import (
    Conflict,
    DataError,
    NotFound,
    SignatureError,
    StoreError,
    TunesmithError,
    UsageError,
)
from tunesmith.core.evidence import GENESIS
from tunesmith.core.verify import verify
from tunesmith.endpoint import serving
from tunesmith.registry.change import approve, promote, roll_back
from tunesmith.registry.checkpoint import checked, checkpoint, claim_kept
from tunesmith.registry.leaving import export_audit
from tunesmith.registry.roles import Actor
from tunesmith.registry.signing import sign, sign_alias, sign_release
from tunesmith.registry.standing import released_version
from tunesmith.signing.audit_file import signed
from tunesmith.signing.checkpoint import FILE, keep, opened
from tunesmith.signing.keys import PrivateKey, new_pair, read_private

ANN, BOB = (Actor(name=name, os_user=name) for name in ("ann", "bob"))


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> list[PrivateKey]:
    """The project's and somebody else's."""
    folder = tmp_path_factory.mktemp("keys")
    for name in ("ours", "eve"):
        new_pair(folder / name, "p256", None)
    return [read_private(folder / name, None, None) for name in ("ours", "eve")]


@pytest.fixture
def key(keys) -> PrivateKey:
    return keys[0]


def public_of(key: PrivateKey) -> Path:
    return key.path.with_name(f"{key.path.name}.pub")


@pytest.fixture
def signed_desk(desk, key):
    """desk@1 and desk@2 were in production, one after the other; all of it is signed."""
    desk.set("[registry]\n", f'[registry]\nsigning_key = "{key.path}"\n')
    desk.set("[registry]\n", f'[registry]\npublic_key = "{public_of(key)}"\n')
    into_production(desk, key)
    into_production(desk, key, beside="desk@1")
    return desk


def into_production(desk, key, **beside: str) -> str:
    version = desk.release(**beside)
    sign_release(desk.project, released_version(desk.project, version).release, key)
    promote(desk.project, version, "production", ANN, "ready")
    approve(desk.project, version, "production", BOB, "fine")
    return version


def problems(desk, *kept, key: PrivateKey | None = None) -> tuple[str, ...]:
    runner = desk.project.runner
    public = public_of(key) if key else None
    return checked(desk.project, verify(runner.database, runner.blobs), kept, public)[0].problems


def log_of(desk) -> list[evidence.Entry]:
    with desk.project.runner.database.read() as connection:
        return list(evidence.entries(connection))


def rewrite(desk, log: list[evidence.Entry]) -> None:
    """What somebody does who writes to the database: a chain that is whole, of another story, and
    the table of aliases to go with it."""
    previous = GENESIS
    with closing(sqlite3.connect(desk.project.store / "tunesmith.db")) as database:
        database.execute("DELETE FROM evidence")
        moves = [each for each in log if each.what == "alias.moved"]
        database.execute(
            "DELETE FROM aliases WHERE id NOT IN (SELECT id FROM aliases ORDER BY id LIMIT ?)",
            [len(moves)],
        )
        for seq, each in enumerate(log, start=1):
            entry = {"seq": seq, "at": each.at, "actor": each.actor, "what": each.what,
                     "body": dict(each.body), "previous": previous}  # fmt: skip
            previous, entry["body"] = fingerprint(entry), canonical_json(each.body).decode()
            row = [*entry.values(), previous]
            names = ", ".join([*entry, "digest"])
            marks = ", ".join("?" * len(row))
            database.execute(f"INSERT INTO evidence ({names}) VALUES ({marks})", row)
        database.commit()


def test_what_is_signed_holds_and_the_newest_checkpoint_is_said(signed_desk, key) -> None:
    project = signed_desk.project
    made = checkpoint(project, "ann", key)
    report, newest = checked(
        project, verify(project.runner.database, project.runner.blobs), [], public_of(key)
    )
    assert report.problems == ()
    assert newest == made
    assert (made.size, made.by) == (report.num_entries - 1, "ann")
    assert opened((project.store / FILE).read_text(), public_of(key), "it") == made
    # The head is the last entry's digest, and the origin the first's.
    log = log_of(signed_desk)
    assert made.head == log[made.size - 1].digest
    assert made.origin == f"tunesmith:{log[0].digest[:32]}"


def test_moves_are_signed_with_the_evidence_up_to_them(signed_desk, key) -> None:
    project = signed_desk.project
    moved = roll_back(project, "desk", "production", ANN, "worse")
    log = log_of(signed_desk)
    assert [each.what for each in log[-4:]] == [
        "alias.moved", "alias.rolled_back", "alias.signed", "evidence.checkpoint",
    ]  # fmt: skip
    assert moved.checkpoint == f"{log[-2].seq}:{log[-2].digest}"
    assert log[-2].body["digest"] == log[-4].digest
    assert "PRIVATE" not in str(log)
    assert f"{key.path}'" not in str([each.body for each in log])
    assert serving(project, "desk")[1] == "desk@1"
    assert problems(signed_desk, key=key) == ()


def test_without_a_key_nothing_is_signed(desk) -> None:
    version = desk.release()
    promote(desk.project, version, "production", ANN, "ready")
    assert approve(desk.project, version, "production", BOB, "fine").checkpoint == ""
    assert not (desk.project.store / FILE).exists()
    assert {"alias.signed", "evidence.checkpoint"}.isdisjoint(each.what for each in log_of(desk))
    assert serving(desk.project, "desk")[1] == version


def test_a_log_that_was_cut_off_is_found_by_the_file_beside_it(signed_desk, key) -> None:
    log = log_of(signed_desk)
    before = next(n for n, each in enumerate(log) if "desk@2" in str(each.body.get("version")))
    rewrite(signed_desk, log[:before])
    assert verify(signed_desk.project.runner.database, signed_desk.project.blobs()) is not None
    assert any("was cut off" in each for each in problems(signed_desk, key=key))
    with pytest.raises(SignatureError, match="was cut off"):
        serving(signed_desk.project, "desk")
    with pytest.raises(StoreError, match=r"was cut off: .* no checkpoint is made of it"):
        checkpoint(signed_desk.project, "ann", key)
    with pytest.raises(StoreError, match="no alias is moved"):
        roll_back(signed_desk.project, "desk", "candidate", ANN, "x")


def test_a_whole_store_put_back_is_found_by_who_kept_a_checkpoint(
    signed_desk, key, tmp_path_factory
) -> None:
    """Without it nothing shows: this is what the documentation says."""
    project = signed_desk.project
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    with closing(sqlite3.connect(project.store / "tunesmith.db")) as database:
        database.execute("VACUUM INTO ?", [str(elsewhere / "then.db")])
    shutil.copy(project.store / FILE, elsewhere / "then.json")
    then = len(log_of(signed_desk))
    roll_back(project, "desk", "production", ANN, "worse")
    made = checkpoint(project, "ann", key)
    (elsewhere / "kept.json").write_text(made.envelope)
    rewrite(signed_desk, log_of(signed_desk)[:then])
    shutil.copy(elsewhere / "then.json", project.store / FILE)
    assert problems(signed_desk, key=key) == ()
    assert serving(project, "desk")[1] == "desk@2"
    kept = claim_kept(str(elsewhere / "kept.json"), public_of(key))
    assert any("was cut off" in each for each in problems(signed_desk, kept, key=key))
    (said,) = set(problems(signed_desk, head(str(made))))
    assert f"the head that was kept is of {made.size} entries" in said


def test_an_older_signed_move_that_is_replayed_is_refused(signed_desk, key) -> None:
    """Somebody who writes to the store points production back at desk@1, with the entries, and the
    signature, by which it came there."""
    project = signed_desk.project
    log = log_of(signed_desk)
    old = next(
        each for each in log if each.what == "alias.moved" and each.body["alias"] == "production"
    )
    seal = next(
        each for each in log if each.what == "alias.signed" and each.body["move"] == old.seq
    )
    with project.runner.database.write() as connection:
        lifecycle.move_alias(connection, dict(old.body))
        evidence.append(connection, seal.what, seal.actor, seal.body)
    assert project.in_use("desk")[1] == "desk@1", "the store says so"
    with pytest.raises(SignatureError, match=r"points at desk@1 .* is not signed with the key"):
        serving(project, "desk")
    # ... and claims that the signature is of this move.
    newest = next(each for each in reversed(log_of(signed_desk)) if each.what == "alias.moved")
    with project.runner.database.write() as connection:
        body = dict(seal.body) | {"digest": newest.digest, "move": newest.seq}
        evidence.append(connection, seal.what, seal.actor, body)
    with pytest.raises(SignatureError, match="is of another move of an alias"):
        serving(project, "desk")
    # A checkpoint of it, made by who does not look, makes no signed move of it.
    checkpoint(project, "ann", key)
    with pytest.raises(SignatureError, match="is of another move of an alias"):
        serving(project, "desk")
    # Who has looked, and wants it so, says so.
    sign_alias(project, "desk@1", "production", key, ANN)
    assert serving(project, "desk")[1] == "desk@1"


def test_rows_of_aliases_that_are_not_as_the_evidence_says_are_refused(signed_desk, key) -> None:
    """Without its rows of production the model would serve as its candidate, which is signed."""
    with closing(sqlite3.connect(signed_desk.project.store / "tunesmith.db")) as database:
        database.execute("DELETE FROM aliases WHERE alias = 'production'")
        database.commit()
    with pytest.raises(SignatureError, match="history of the aliases of desk is not what"):
        serving(signed_desk.project, "desk")


def test_a_move_by_another_key_is_refused_and_so_is_one_that_is_not_signed(
    desk, keys, tmp_path
) -> None:
    ours, eve = keys
    version = desk.release()
    sign(desk.project, version, ours, ANN)
    desk.set("[registry]\n", f'[registry]\npublic_key = "{public_of(ours)}"\n')
    with pytest.raises(SignatureError, match=r"sign desk@1 --alias candidate|is not signed"):
        serving(desk.project, "desk")
    sign_alias(desk.project, version, "candidate", eve, ANN)
    with pytest.raises(SignatureError, match="is not signed with the key"):
        serving(desk.project, "desk")
    sign_alias(desk.project, version, "candidate", ours, ANN)
    assert serving(desk.project, "desk")[1] == version
    with pytest.raises(Conflict, match="points at nothing, not at desk@1"):
        sign_alias(desk.project, version, "production", ours, ANN)


def test_a_run_signs_where_its_release_stands_once_and_nothing_else(signed_desk, key) -> None:
    project = signed_desk.project
    release = released_version(project, "desk@2").release
    num = len(log_of(signed_desk))
    sign_release(project, release, key)
    assert len(log_of(signed_desk)) == num
    # Somebody has pointed the candidate elsewhere: a run does not bless that.
    log = log_of(signed_desk)
    old = next(each for each in log if each.what == "alias.moved")
    with project.runner.database.write() as connection:
        lifecycle.move_alias(connection, dict(old.body))
    sign_release(project, release, key)
    assert log_of(signed_desk)[-1].what == "alias.moved"


def test_a_checkpoint_that_is_forged_or_damaged_is_said(signed_desk, keys, tmp_path) -> None:
    ours, eve = keys
    project = signed_desk.project
    path = project.store / FILE
    envelope = json.loads(path.read_text())
    forged = envelope | {"signatures": [envelope["signatures"][0] | {"sig": "AAAA"}]}
    path.write_text(json.dumps(forged))
    assert any("is not signed with the key" in each for each in problems(signed_desk, key=ours))
    for nonsense in ("", "{}", "[]", '{"payload": "e30="}', "\x00"):
        path.write_text(nonsense)
        with pytest.raises(StoreError, match="is no checkpoint of the evidence"):
            problems(signed_desk)
    path.unlink()
    assert problems(signed_desk, key=ours) == (), "the evidence has them too"
    other = tmp_path / "eve.json"
    other.write_text(checkpoint(project, "eve", eve).envelope)
    with pytest.raises(SignatureError, match="is not signed with the key"):
        claim_kept(str(other), public_of(ours))
    with pytest.raises(UsageError, match="is verified with a key"):
        claim_kept(str(other), None)
    with pytest.raises(UsageError, match="is no head of the evidence"):
        claim_kept("12", None)
    report = tmp_path / "report.json"
    seal = next(each for each in log_of(signed_desk) if each.what == "alias.signed")
    report.write_text(seal.body["envelope"])
    with pytest.raises(SignatureError, match="statement of another kind"):
        claim_kept(str(report), public_of(ours))


def test_an_older_checkpoint_does_not_take_the_place_of_a_newer_one(signed_desk, key) -> None:
    project = signed_desk.project
    first = checkpoint(project, "ann", key)
    second = checkpoint(project, "ann", key)
    keep(project.store, first)
    assert opened((project.store / FILE).read_text(), public_of(key), "it") == second


def exported(desk, key, path: Path) -> list[str]:
    export_audit(desk.project, audit.Filter(), path, key)
    return path.read_text().splitlines()


def found_in(lines: list[str], key: PrivateKey) -> tuple[str, ...]:
    return signed(audit.check(lines), public_of(key))[0].problems


def chained(entries: list[dict]) -> list[str]:
    """Entries as a chain that holds."""
    previous, found = GENESIS, []
    for seq, entry in enumerate(entries, start=1):
        said = {name: entry[name] for name in ("at", "actor", "what", "body")}
        said |= {"seq": seq, "previous": previous}
        previous = fingerprint(said)
        facts = {"facts": entry["facts"]} if "facts" in entry else {}
        found.append(canonical_json(said | {"digest": previous} | facts).decode())
    return found


def header_of(said: dict[str, object]) -> str:
    """A header as somebody writes it anew, whose digest is of no key."""
    rest = {name: value for name, value in said.items() if name != "digest"}
    return canonical_json({**rest, "digest": fingerprint(rest)}).decode()


def test_an_export_that_was_cut_off_or_written_anew_is_found_without_the_store(
    signed_desk, keys, tmp_path_factory
) -> None:
    ours = keys[0]
    folder = tmp_path_factory.mktemp("audit")
    lines = exported(signed_desk, ours, folder / "log.jsonl")
    assert found_in(lines, ours) == ()
    header, entries = parse(lines[0].encode()), lines[1:]
    # Cut off, by somebody who writes a header to go with it.
    last = parse(entries[-3].encode())
    shorter = header | {"head": f"{last['seq']}:{last['digest']}"}
    cut = [header_of(shorter), *entries[:-2]]
    assert any("was cut off" in each for each in found_in(cut, ours))
    bare = header_of({k: v for k, v in shorter.items() if k != "checkpoint"})
    assert found_in([bare, *entries[:-2]], ours)[0].startswith("the header has no checkpoint")
    # Written anew from an entry on, with a header to go with it: an older checkpoint inside says.
    story = [parse(each.encode()) for each in entries]
    story[2]["actor"] = "eve"
    anew = chained(story)
    end = parse(anew[-1].encode())
    own = header | {"head": f"{end['seq']}:{end['digest']}"}
    assert any("was written anew" in each for each in found_in([header_of(own), *anew], ours))
    # ... also by who takes the checkpoints out, and signs with another key.
    less = chained([each for each in story if each["what"] != "evidence.checkpoint"])
    end = parse(less[-1].encode())
    own = {k: v for k, v in header.items() if k != "checkpoint"}
    own |= {"head": f"{end['seq']}:{end['digest']}"}
    assert audit.check([header_of(own), *less]).problems == ()
    assert found_in([header_of(own), *less], ours)[0].startswith("the header has no checkpoint")
    # Something was put at its end, by somebody who writes a header to go with it.
    more = chained([*(parse(each.encode()) for each in entries), story[2]])
    end = parse(more[-1].encode())
    own = header | {"head": f"{end['seq']}:{end['digest']}"}
    assert any("is what was signed" in each for each in found_in([header_of(own), *more], ours))
    # That the export was made is on record, and so is its checkpoint.
    assert [each.what for each in log_of(signed_desk)[-2:]] == ["copy.left", "evidence.checkpoint"]
    assert problems(signed_desk, key=ours) == ()


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_no_shorter_or_edited_export_passes_with_the_key(data, the_export, key) -> None:
    """Whatever entry is dropped, cut after or changed, with a chain and a header to go with it."""
    lines = the_export
    story = [parse(each.encode()) for each in lines[1:]]
    at = data.draw(st.integers(0, len(story) - 1))
    match data.draw(st.sampled_from(["cut", "drop", "edit"])):
        case "cut":
            story = story[:at]
        case "drop":
            del story[at]
        case "edit":
            story[at] = story[at] | {"actor": f"{story[at]['actor']}x"}
    anew = chained(story)
    end = parse(anew[-1].encode()) if anew else None
    header = parse(lines[0].encode()) | {"head": f"{end['seq']}:{end['digest']}" if end else ""}
    assert found_in([json.dumps(header), *anew], key)


@pytest.fixture
def the_export(signed_desk, key, tmp_path_factory):
    return exported(signed_desk, key, tmp_path_factory.mktemp("audit") / "log.jsonl")


def test_the_commands(signed_desk, keys, tmp_path_factory, monkeypatch) -> None:
    ours, eve = keys
    folder, public = str(signed_desk.project.folder), str(public_of(ours))
    out = tmp_path_factory.mktemp("out")

    def run(*words: str) -> str:
        done = CliRunner().invoke(app, list(words))
        if isinstance(done.exception, TunesmithError):
            raise done.exception
        assert done.exit_code == 0, done.output
        return done.output

    kept = str(out / "kept.json")
    said = run("audit", "checkpoint", "--out", kept, "-p", folder)
    line = said.splitlines()[0]
    assert "a copy for elsewhere" in said
    with pytest.raises(Conflict, match="is there already"):
        run("audit", "checkpoint", "--out", kept, "-p", folder)
    assert "it goes on from what was kept" in run("verify", "--since", kept, "-p", folder)
    assert "it goes on from what was kept" in run("verify", "--since", line, "-p", folder)
    with pytest.raises(UsageError, match="is no head of the evidence"):
        run("verify", "--since", str(out / "none.json"), "-p", folder)
    with pytest.raises(SignatureError, match="is not signed with the key"):
        run("verify", "--since", kept, "--public-key", str(public_of(eve)), "-p", folder)
    with pytest.raises(StoreError, match="was written anew"):
        run("verify", "--since", f"3:{'0' * 64}", "-p", folder)
    log = str(out / "log.jsonl")
    assert "its head is signed" in run("audit", "export", "--out", log, "-p", folder)
    assert "that was signed with key" in run("audit", "verify", log, "--public-key", public)
    assert "goes on from what was kept" in run(
        "audit", "verify", log, "--since", kept, "--public-key", public
    )
    assert "it says that it is signed" in run("audit", "verify", log)
    with pytest.raises(DataError, match="no checkpoint that is signed with the key"):
        run("audit", "verify", log, "--public-key", str(public_of(eve)))
    signed_desk.set(str(ours.path), "$NO_SUCH_KEY")
    with pytest.raises(UsageError, match="NO_SUCH_KEY is not set"):
        run("audit", "export", "--out", str(out / "again.jsonl"), "-p", folder)
    assert not list(out.glob("*again*"))
    run("audit", "export", "--unsigned", "--out", str(out / "again.jsonl"), "-p", folder)
    said = run("model", "sign", "desk@2", "--alias", "production", "--key", str(ours.path),
               "-p", folder)  # fmt: skip
    assert "alias signed by" in said


def test_of_no_evidence_there_is_no_checkpoint(desk, key) -> None:
    with pytest.raises(NotFound, match="no evidence yet"):
        checkpoint(desk.project, "ann", key)
