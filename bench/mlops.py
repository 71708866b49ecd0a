"""How long what everybody waits for takes: `python bench/mlops.py [--json] [--only SECTION]`.

Each section is a function that makes its own store and gives back figures; a figure has a bar where
one is promised, and the program ends with 1 where one is missed.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

from tunesmith.core import catalog, evidence
from tunesmith.core.blobs import FolderBlobs
from tunesmith.core.canonical import canonical_json
from tunesmith.core.db import Database
from tunesmith.core.execute import CACHE, InlineExecutor
from tunesmith.core.facts import facts
from tunesmith.core.file_digests import KEPT
from tunesmith.core.kinds import KINDS
from tunesmith.core.listing import listed as listing_of
from tunesmith.core.meter import Usage
from tunesmith.core.migrations import migrate
from tunesmith.core.project_folder import STORE
from tunesmith.core.ref import Blob
from tunesmith.core.runner import Runner
from tunesmith.core.step import Step
from tunesmith.core.verify import verify
from tunesmith.project import open_project
from tunesmith.testing import EchoConfig

WARM_UP = 3


@dataclass(frozen=True, kw_only=True)
class Figure:
    """Something measured."""

    what: str
    value: float
    unit: str
    bar: float | None = None
    """What it has to stay below."""
    least: float | None = None
    most: float | None = None
    """Of the rounds that `value` is the median of."""

    @property
    def holds(self) -> bool:
        return self.bar is None or self.value < self.bar


@contextmanager
def store() -> Iterator[Runner]:
    """A new store on the disk that temporary files are on."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        database = Database(f"sqlite:///{folder / 'tunesmith.db'}")
        migrate(database, folder)
        blobs = FolderBlobs(folder / "blobs")
        executor = InlineExecutor(blobs, folder / "work")
        yield Runner(blobs=blobs, database=database, executor=executor, actor="bench")
        database.close()


def timed(work: Callable[[], object], repeats: int = 5) -> float:
    """Median seconds, once it is warm."""
    seconds = []
    for number in range(repeats + 1):
        start = time.perf_counter()
        work()
        if number:
            seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def many_runs(runner: Runner, count: int, num_metrics: int = 5) -> Blob:
    """Runs as steps leave them, each with its evidence, without the time of the steps."""
    record = runner.blobs.put(b'{"name":"echo"}', "application/json")
    with runner.database.write() as connection:
        for number in range(count):
            values = {
                "key": f"{number:064x}",
                "step": f"finetune:model-{number % 50}",
                "kind": "echo@1",
                "identity": canonical_json(
                    {"code": "c" * 16, "config": {"rank": 8, "seed": number, "name": "desk"},
                     "environment": {"python": "3.11", "torch": "2.13.0"},
                     "inputs": {"dataset": ["d" * 64]}, "kind": "echo@1", "seed": number}
                ).decode(),
                "owner": "laptop:1:1",
                "actor": "bench",
            }  # fmt: skip
            run_id = catalog.insert_run(connection, values, lease_s=30)
            catalog.record_inputs(connection, run_id, {"dataset": ["d" * 64]})
            catalog.record_blobs(connection, run_id, [record])
            points = {(f"metric-{i}", step): 0.5 for i in range(num_metrics) for step in (1, 2)}
            catalog.record_metrics(connection, run_id, points)
            used = Usage(
                wall_s=1.5, cpu_s=2, peak_bytes=10**9, joules=30, joules_method="estimated"
            )
            usage = canonical_json(used).decode()
            catalog.close_run(
                connection, run_id, status="succeeded", output=record.sha256, usage=usage
            )
        for found in facts(connection):
            body = {"run": found.run, "step": found.step, "kind": found.kind,
                    "output": found.output, "facts": found.digest}  # fmt: skip
            evidence.append(connection, "run.finished", "bench", body)
    return record


def commits() -> list[Figure]:
    """A step from its claim to its result, and a bare entry of the evidence."""
    whole_s, entry_s = [], []
    with store() as runner:
        for number in range(200 + WARM_UP):
            step = Step(name="one", kind="echo@1", config=EchoConfig(text=str(number)))
            start = time.perf_counter()
            runner.run(step)
            middle = time.perf_counter()
            with runner.database.write() as connection:
                evidence.append(connection, "wrote", "bench", {"number": number})
            whole_s.append(middle - start)
            entry_s.append(time.perf_counter() - middle)
    p95 = {name: statistics.quantiles(each[WARM_UP:], n=20)[-1] for name, each in
           (("a step of no work", whole_s), ("a commit", entry_s))}  # fmt: skip
    return [
        Figure(what="a commit, p95", value=1e3 * p95["a commit"], unit="ms", bar=20),
        Figure(what="a step of no work (two commits, three blobs), p95",
               value=1e3 * p95["a step of no work"], unit="ms"),
    ]  # fmt: skip


def writers() -> list[Figure]:
    """Eight processes that write to one store at once, 200 times each; the bar is of each hundredth
    that waits longest."""
    from writers import measure

    figures = []
    for what, words in (("commit", "a commit"), ("step", "a step of no work")):
        took = measure(what)
        cuts = statistics.quantiles(took, n=100, method="inclusive")
        for name, value in (("p50", cuts[49]), ("p95", cuts[94]), ("p99", cuts[98]),
                            ("longest", took[-1])):  # fmt: skip
            bar = 1000 if name == "p99" else None
            figures.append(
                Figure(what=f"{words}, 8 processes, {name}", value=1e3 * value, unit="ms", bar=bar)
            )
    return figures


def plans() -> list[Figure]:
    """A plan of 1,000 steps, a chain of ten times a hundred side by side, all of them hits. In
    their keys is as much code, and are as many libraries, as in those of a dataset."""
    like = KINDS["curate@1"]
    as_long = replace(KINDS["echo@1"], sources=like.sources, libraries=like.libraries)
    KINDS["echo@1"] = as_long  # type: ignore[index]
    with store() as runner:
        steps: list[Step] = []
        for lane in range(100):
            last: dict[str, Step] = {}
            for depth in range(10):
                name = f"step-{lane}-{depth}"
                steps.append(
                    Step(name=name, kind="echo@1", config=EchoConfig(text=name[-3:]), inputs=last)
                )
                last = {"of": steps[-1]}
        for step in steps:
            runner.run(step)

        def plan() -> None:
            again = Runner(
                blobs=runner.blobs,
                database=runner.database,
                executor=runner.executor,
                actor=runner.actor,
            )
            planned = again.plan(steps)
            assert all(each.hit for each in planned)

        return [Figure(what="plan of 1,000 steps", value=timed(plan), unit="s", bar=1)]


def listing() -> list[Figure]:
    """10,000 runs, each with five curves: all of them with their last values; the newest thirty."""
    with store() as runner:
        many_runs(runner, 10_000)

        def listed(limit: int | None) -> Callable[[], object]:
            def work() -> object:
                with runner.database.read() as connection:
                    found = listing_of(connection, limit)
                assert len(found) == (limit or 10_000)
                assert len(found[0].metrics) == 5
                return found

            return work

        every, newest = (1e3 * timed(listed(limit)) for limit in (None, 30))
        return [
            Figure(what="10,000 runs with metrics", value=every, unit="ms", bar=300),
            Figure(what="the newest 30 of them", value=newest, unit="ms"),
        ]


def verifying() -> list[Figure]:
    """10,000 entries of the evidence, each of a run whose facts are computed anew."""
    with store() as runner:
        many_runs(runner, 10_000, num_metrics=1)
        report = verify(runner.database, runner.blobs)
        assert (report.num_entries, report.problems) == (10_000, ()), report.problems[:3]
        value = timed(lambda: verify(runner.database, runner.blobs), repeats=3)
        return [Figure(what="verify of 10,000 evidence records", value=value, unit="s", bar=2)]


def starting() -> list[Figure]:
    """The command line from nothing."""
    command = [sys.executable, "-m", "tunesmith", "--help"]
    value = timed(lambda: subprocess.run(command, check=True, capture_output=True))
    return [Figure(what="tunesmith --help", value=1e3 * value, unit="ms", bar=300)]


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command as it is typed, in the folder of a project."""

    what: str
    folder: Path
    words: tuple[str, ...]
    bar: float | None = None
    """Seconds."""


def took(folder: Path, *words: str) -> tuple[float, float]:
    """Seconds of the processor, and by the clock, from a command to its end."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    command = [sys.executable, "-m", "tunesmith", *words]
    subprocess.run(command, check=True, capture_output=True, cwd=folder)
    wall_s, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall_s


def in_turn(commands: Sequence[Command], rounds: int = 5) -> list[Figure]:
    """Each command once a round, after one that warms up, so that an hour that is slow is slow for
    all. The bar is of the processor's seconds: they are the clock's where nothing else runs, and
    stray less where something does."""
    found: dict[str, list[tuple[float, float]]] = {each.what: [] for each in commands}
    for number in range(rounds + 1):
        for each in commands:
            taken = took(each.folder, *each.words)
            if number:
                found[each.what].append(taken)
    return [
        Figure(what=what, value=statistics.median(seconds), unit="s", bar=bar,
               least=min(seconds), most=max(seconds))
        for each in commands
        for (what, bar), seconds in zip(
            ((each.what, each.bar), ("  by the clock", None)), zip(*found[each.what], strict=True),
            strict=True,
        )
    ]  # fmt: skip


@contextmanager
def project_of(sections: str = "") -> Iterator[Path]:
    """A folder with a project file."""
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "tunesmith.toml").write_text(f'[project]\nname = "bench"\n{sections}')
        yield Path(name)


def whole_commands() -> list[Figure]:
    """What the bars above are of, from the command to its end: Python, the libraries and the
    project file are in it. 500 sources are 1,000 steps."""
    section = '[source.s{0}]\norigin = "file:{0}.csv"\nformat = "csv"\ntext = "text"\n'
    sections = "".join(section.format(number) for number in range(500))
    with project_of() as store, project_of(sections) as chain:
        project = open_project(store)
        many_runs(project.runner, 10_000)
        project.close()
        for number in range(500):
            (chain / f"{number}.csv").write_text(f"id,text\n{number},row {number}\n")
        took(chain, "run")
        every = ("runs", "--limit", "10000")
        return in_turn([
            Command(what="tunesmith --help", folder=store, words=("--help",), bar=0.3),
            Command(what="tunesmith plan, 1,000 steps", folder=chain, words=("plan",), bar=1),
            Command(what="tunesmith run, 1,000 steps unchanged", folder=chain, words=("run",)),
            Command(what="tunesmith runs, the newest 30", folder=store, words=("runs",)),
            Command(what="tunesmith runs, 10,000, the table", folder=store, words=every, bar=0.3),
            Command(what="tunesmith runs, 10,000 with metrics (--json)", folder=store,
                    words=(*every, "--json"), bar=0.3),
            Command(what="tunesmith verify, 10,000 evidence records", folder=store,
                    words=("verify",), bar=2),
        ])  # fmt: skip


def many_files() -> list[Figure]:
    """A folder of 20,000 small files: a look that reads them all, and one that finds them as they
    lay."""
    source = '[source.notes]\norigin = "file:notes"\nformat = "text"\n'
    with project_of(source) as folder:
        for number in range(20_000):
            path = folder / "notes" / f"{number // 200}" / f"{number}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"Note {number}. " + "A note has few words. " * 20)
        open_project(folder).close()  # makes the store, in which digests are kept
        time.sleep(4)  # what was written just now is not taken for known
        kept = folder / STORE / "work" / CACHE / KEPT
        read, looked = [], []
        for _ in range(3):
            kept.unlink(missing_ok=True)
            read.append(took(folder, "plan")[0])
            looked.append(took(folder, "plan")[0])
    return [
        Figure(what="tunesmith plan, 20,000 files read", value=statistics.median(read), unit="s"),
        Figure(what="the same, as they lay", value=statistics.median(looked), unit="s", bar=2),
    ]


def going_back() -> list[Figure]:
    """`tunesmith model rollback` in a store of 10,000 other runs, from the command to its end; and
    of that, what the alias itself takes to be moved, with its evidence."""
    from rollback import released, roll_back

    num_versions = 7
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with released(folder, num_versions) as runner:
            many_runs(runner, 10_000, num_metrics=1)
        backs = [roll_back(folder, to) for to in range(num_versions - 1, 0, -1)][1:]
    return [
        Figure(what="model rollback, the whole command",
               value=statistics.median(each.whole_s for each in backs), unit="s", bar=1),
        Figure(what="of that, until the alias has moved",
               value=1e3 * statistics.median(each.moved_s for each in backs), unit="ms"),
    ]  # fmt: skip


def beside_mlflow(num_runs: int = 10_000) -> list[Figure]:
    """Runs logged and listed, as a share of MLflow's time: a fifth is five times as fast."""
    from mlflow_beside import measure, ours, theirs

    logging, listed = (
        here / there
        for here, there in zip(measure(ours, num_runs), measure(theirs, num_runs), strict=True)
    )
    return [
        Figure(what=f"{num_runs} runs logged, of MLflow's time", value=logging, unit="", bar=0.2),
        Figure(what=f"{num_runs} runs listed, of MLflow's time", value=listed, unit="", bar=0.2),
    ]


SECTIONS = (
    *(commits, writers, plans, listing, verifying, starting, whole_commands, many_files),
    *(going_back, beside_mlflow),
)


def main() -> None:
    """Measure, print, and say whether every bar holds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--only", choices=[each.__name__ for each in SECTIONS])
    parser.add_argument("--runs", type=int, default=10_000, help="how many beside MLflow")
    options = parser.parse_args()
    given = {beside_mlflow: partial(beside_mlflow, options.runs)}
    figures = [
        figure
        for section in SECTIONS
        if options.only in (None, section.__name__)
        for figure in given.get(section, section)()
    ]
    if options.json:
        print(json.dumps([asdict(each) | {"holds": each.holds} for each in figures], indent=2))
    else:
        for each in figures:
            verdict = "holds" if each.holds else "MISSED"
            bar = f"  (bar {each.bar:g} {each.unit}: {verdict})" if each.bar else ""
            rounds = f"  ({each.least:.2f} to {each.most:.2f})" if each.least is not None else ""
            print(f"{each.what:<56}{each.value:9.2f} {each.unit}{rounds}{bar}")
    sys.exit(not all(each.holds for each in figures))


if __name__ == "__main__":
    main()
