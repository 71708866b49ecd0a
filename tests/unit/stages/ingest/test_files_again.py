"""Files that lie as they lay are not read again, and no edit is missed for it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tunesmith.core import file_digests
from tunesmith.core.errors import InputChanged
from tunesmith.core.file_digests import KEPT, FileDigests
from tunesmith.core.step import Context
from tunesmith.stages.ingest.asking import LandConfig
from tunesmith.stages.ingest.local import digest_of_local, land

CONFIG = LandConfig(origin="file:data")
ONE = LandConfig(origin="file:data/a.txt")
LATER_NS = 120_000_000_000


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    (folder / "data" / "deep").mkdir(parents=True)
    for name in ("a.txt", "b.txt", "deep/c.txt"):
        (folder / "data" / name).write_text(f"This is {name}.")
    return folder


@pytest.fixture
def cache(project: Path) -> Path:
    return project / "cache"


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """The files lie there for two minutes already, and so do all edits."""
    monkeypatch.setattr(file_digests, "SETTLED_NS", -LATER_NS)


def look(project: Path, config: LandConfig, cache: Path) -> str:
    """The digest of the files, as a command finds it out."""
    known = FileDigests(kept=cache / KEPT)
    found = digest_of_local(project, config, known)
    known.save()
    return found


def kept(cache: Path) -> Path:
    (path,) = cache.iterdir()
    return path


def said(path: Path) -> dict[str, list[int | str]]:
    """What is kept, without the line of its digest."""
    return json.loads(path.read_bytes().partition(b"\n")[2])


def poison(path: Path, name: str, sha256: str) -> None:
    """Write another digest of a file, so that it looks whole."""
    body = json.dumps(said(path) | {name: [*said(path)[name][:-1], sha256]}).encode()
    path.write_bytes(hashlib.sha256(body).hexdigest().encode() + b"\n" + body)


@pytest.mark.usefixtures("later")
@pytest.mark.parametrize("config", [CONFIG, ONE])
def test_what_lies_as_it_lay_is_not_read_again(
    project: Path, cache: Path, config: LandConfig
) -> None:
    true = look(project, config, cache)
    assert true == digest_of_local(project, config)
    poison(kept(cache), f"{config.origin}/a.txt", "f" * 64)
    assert look(project, config, cache) not in (true, "")


@pytest.mark.usefixtures("later")
def test_what_is_loaded_is_digested_whatever_is_kept_of_it(
    ctx: Context, project: Path, cache: Path
) -> None:
    true = look(project, CONFIG, cache)
    poison(kept(cache), "file:data/a.txt", "f" * 64)
    config = CONFIG.model_copy(update={"sha256": look(project, CONFIG, cache)})
    here = dataclasses.replace(ctx, project=project, cache=cache)
    with pytest.raises(InputChanged, match=true):
        land(config, here)
    assert list(cache.iterdir()) == [], "the next look reads all of them"
    config = CONFIG.model_copy(update={"sha256": look(project, CONFIG, cache)})
    assert land(config, here).wheel.num_bytes > 0


@pytest.mark.usefixtures("later")
@pytest.mark.parametrize("config", [CONFIG, ONE])
@pytest.mark.parametrize("how", ["edited", "replaced", "by a link"])
def test_another_content_of_the_same_size_and_time_is_seen(
    project: Path, cache: Path, how: str, config: LandConfig
) -> None:
    path = project / "data" / "a.txt"
    before, was = look(project, config, cache), path.stat()
    time.sleep(0.05)  # more than a tick of the file system's clock
    if how == "edited":
        path.write_text("This is A.TXT.")
    else:
        other = project / "other"
        other.write_text("This is A.TXT.")
        os.utime(other, ns=(was.st_atime_ns, was.st_mtime_ns))
        if how == "replaced":
            other.replace(path)
        else:
            path.unlink()
            path.symlink_to(other)
    os.utime(path, ns=(was.st_atime_ns, was.st_mtime_ns))
    lies = path.stat()
    assert (lies.st_size, lies.st_mtime_ns) == (was.st_size, was.st_mtime_ns)
    now = look(project, config, cache)
    assert now not in (before, "")
    assert now == digest_of_local(project, config)


@pytest.mark.usefixtures("later")
def test_a_file_that_came_went_or_has_another_name_is_seen(project: Path, cache: Path) -> None:
    seen = [look(project, CONFIG, cache)]
    for change in (
        lambda data: (data / "d.txt").write_text("New."),
        lambda data: (data / "b.txt").unlink(),
        lambda data: (data / "deep").rename(data / "deeper"),
    ):
        change(project / "data")
        seen.append(look(project, CONFIG, cache))
        assert seen[-1] == digest_of_local(project, CONFIG)
    assert len(set(seen)) == 4
    assert set(said(kept(cache))) == {
        f"file:data/{name}" for name in ("a.txt", "d.txt", "deeper/c.txt")
    }


def test_what_was_written_just_now_is_read_again(project: Path, cache: Path) -> None:
    """Another edit in the same tick of the file system's clock would leave no trace."""
    old = project / "data" / "b.txt"
    look(project, CONFIG, cache)
    assert not cache.exists(), "nothing of it can be relied upon yet"
    digests = FileDigests(kept=cache / "k", now_ns=time.time_ns() + LATER_NS)
    digests.put("b.txt", old.stat(), old.stat(), "a" * 64)
    digests.save()
    assert FileDigests(kept=cache / "k", now_ns=time.time_ns() + LATER_NS).find("b.txt", old.stat())


def test_a_clock_that_was_set_back_is_not_relied_upon(project: Path, cache: Path) -> None:
    path = project / "data" / "a.txt"
    written_ns = path.stat().st_ctime_ns

    def at(at_ns: int) -> FileDigests:
        return FileDigests(kept=cache / "k", now_ns=at_ns)

    back = at(written_ns - LATER_NS)
    back.put("a.txt", path.stat(), path.stat(), "a" * 64)
    back.save()
    assert not cache.exists(), "of a file from the future nothing is kept"
    first = at(written_ns + LATER_NS)
    first.put("a.txt", path.stat(), path.stat(), "a" * 64)
    first.save()
    assert at(written_ns + LATER_NS).find("a.txt", path.stat()) == "a" * 64
    assert at(written_ns - LATER_NS).find("a.txt", path.stat()) is None


def test_a_file_that_is_written_while_it_is_read_is_not_known(project: Path, cache: Path) -> None:
    path = project / "data" / "a.txt"
    digests = FileDigests(kept=cache / "k", now_ns=time.time_ns() + LATER_NS)
    before = path.stat()
    path.write_text("This was a.txt, and is longer.")
    digests.put("a.txt", before, path.stat(), "a" * 64)
    digests.save()
    assert not cache.exists()


@pytest.mark.usefixtures("later")
@pytest.mark.parametrize("damage", ["flipped", "cut", "emptied", "a folder", "gone", "no text"])
def test_what_is_kept_is_made_anew_where_it_is_damaged(
    project: Path, cache: Path, damage: str
) -> None:
    true = look(project, CONFIG, cache)
    path = kept(cache)
    whole = path.read_bytes()
    at = whole.rindex(b'"') - 1  # in a digest
    other = b"0" if whole[at : at + 1] != b"0" else b"1"
    damaged = {
        "flipped": whole[:at] + other + whole[at + 1 :],
        "cut": whole[: len(whole) // 2],
        "emptied": b"",
        "no text": b"\xff\x00\n{",
    }
    path.unlink()
    if damage == "a folder":
        path.mkdir()
    elif damage in damaged:
        path.write_bytes(damaged[damage])
    assert look(project, CONFIG, cache) == true
    if damage != "a folder":
        assert said(path) == json.loads(whole.partition(b"\n")[2])


@pytest.mark.usefixtures("later")
def test_a_cache_that_cannot_be_written_is_done_without(project: Path) -> None:
    (project / "file").write_text("no folder")
    assert look(project, CONFIG, project / "file") == digest_of_local(project, CONFIG)


def test_several_processes_look_at_once_while_files_change(project: Path, cache: Path) -> None:
    """Each sees what lies there, and none reads what another has half written."""
    code = (
        "import sys; from pathlib import Path\n"
        "from tunesmith.core import file_digests\n"
        "from tunesmith.core.file_digests import FileDigests\n"
        "from tunesmith.stages.ingest.asking import LandConfig\n"
        "from tunesmith.stages.ingest.local import digest_of_local\n"
        f"file_digests.SETTLED_NS = -{LATER_NS}\n"
        "project, number = Path(sys.argv[1]), int(sys.argv[2])\n"
        "own = LandConfig(origin='file:data', files=('deep/**', f'own-{number}.txt'))\n"
        "every = LandConfig(origin='file:data/deep')\n"
        "for turn in range(40):\n"
        "    (project / 'data' / f'own-{number}.txt').write_text('x' * turn)\n"
        "    for config in (own, every):\n"
        "        known = FileDigests(kept=project / 'cache' / 'files.json')\n"
        "        seen = digest_of_local(project, config, known)\n"
        "        known.save()\n"
        "        assert seen == digest_of_local(project, config), (number, turn)\n"
    )
    running = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(project), str(number)],
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(3)
    ]
    ended = [(each.communicate()[1], each.returncode) for each in running]
    assert ended == [("", 0)] * 3
    assert list(cache.iterdir()) == [cache / KEPT], "nothing half-written is left"
