"""A sweep: configurations -> runs that are not stored yet -> bundles -> workers -> store.

Runs that share network, data and forward pass are a bundle and are computed together; a parcel is as many bundles as
take a worker a quarter of a second. Workers send records back, and this process alone publishes them, about once a
second. So whatever is interrupted or dies, at most that second is lost, and the same sweep again does what is missing.

(The module is not called `sweep`: a package has one name for a module and for a function, and `bpttlab.sweep` is the
function.)
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from bpttlab import identity
from bpttlab.configuration import Configuration
from bpttlab.errors import ConfigurationError, LabError, SchemaError, nearest
from bpttlab.progress import Progress, duration
from bpttlab.store import Records, Store
from bpttlab.workers import Answer, ThisProcess, Workers

Plain = Mapping[str, Any]
Bundle = tuple[Configuration, ...]
Measure = Callable[[Sequence[Configuration]], Sequence[Records]]

PARCEL_SECONDS = 0.25
LARGEST_PARCEL = 256
PUBLISHING_SECONDS = 1.0
PUBLISHING_SHARE = 0.2
"""Where publishing takes long it waits longer, so that it takes no more than about this share of the time."""

OPTIONS = ("study", "results", "workers", "retry")
"""The values of a configuration that belong to the sweep, not to its runs."""


# ------------------------------------------------------------------ what was asked for


@dataclass(frozen=True)
class Options:
    """What belongs to a sweep as a whole.

    Attributes:
        study: its name, required.
        results: the folder of all studies.
        workers: processes; None: one for each processor; 0: this process.
        retry: "failed" tries failed runs again; None does not.
    """

    study: str
    results: str = "results"
    workers: int | None = None
    retry: str | None = None

    def __post_init__(self) -> None:
        if self.study is None:
            raise ConfigurationError("study is missing: name it, for example study=first (kept in results/first)")
        if not isinstance(self.results, str | Path) or not str(self.results):
            raise ConfigurationError(f"results={self.results!r}: must be the path of a folder")
        if self.workers is not None and (type(self.workers) is not int or self.workers < 0):
            raise ConfigurationError(f"workers={self.workers!r}: must be a whole number >= 0, or null: one a processor")
        if self.retry not in (None, "failed"):
            raise ConfigurationError(f"retry={self.retry!r}: must be failed or null.{nearest(self.retry, ['failed'])}")

    @property
    def store(self) -> Store:
        return Store(self.results, self.study)

    @property
    def processes(self) -> int:
        return processors() if self.workers is None else self.workers


def processors() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def separate(runs: Sequence[Plain]) -> tuple[Options, list[Plain]]:
    """Composed dictionaries taken apart: what belongs to the sweep, and the configuration of each run.

    Raises:
        ConfigurationError: an option differs between runs, or has a value that it cannot have.
    """
    for name in OPTIONS:
        values = list(dict.fromkeys(str(run.get(name)) for run in runs))
        if len(values) > 1:
            raise ConfigurationError(f"{name}={','.join(values)}: one value holds for a whole sweep")
    chosen = {name: runs[0].get(name) for name in OPTIONS}
    return Options(**chosen), [{name: run[name] for name in run if name not in OPTIONS} for run in runs]  # type: ignore[arg-type]


@dataclass(frozen=True)
class Plan:
    """What a sweep has to do.

    Attributes:
        asked: how many configurations were asked for, repetitions included.
        runs: run_id -> configuration.
        stored: run_id -> status, of those that are stored.
        to_do: those to compute.
    """

    asked: int
    runs: dict[str, Configuration]
    stored: dict[str, str]
    to_do: tuple[Configuration, ...]

    def lines(self) -> list[str]:
        """The plan in words."""
        networks = len({configuration.network_id for configuration in self.runs.values()})
        repeated = self.asked - len(self.runs)
        same = f" ({repeated} more asked for are the same as others)" if repeated else ""
        stored = f", {len(self.stored)} stored already ({told(Counter(self.stored.values()))})" if self.stored else ""
        lines = [f"{count(len(self.runs), 'run')} of {count(networks, 'network')}{same}{stored}"]
        lines += [f"{count(len(self.to_do), 'run')} to do, in {count(len(bundles(self.to_do)), 'bundle')}"]
        return lines + self.remarks()

    def remarks(self) -> list[str]:
        """What holds for many runs and is said once."""
        whole = [configuration.plain for configuration in self.runs.values() if configuration.cuts_nothing]
        if not whole:
            return []
        cases = sorted({(plain["truncation"], plain["sequence_length"]) for plain in whole})
        shown = ", ".join(f"{K} of {T} steps" for K, T in cases[:3]) + (", …" if len(cases) > 3 else "")
        return [f"a truncation no shorter than the sequence is the full gradient: {count(len(whole), 'run')} ({shown})"]


def plan(configurations: Iterable[Plain], options: Options) -> Plan:
    """Types and checks every configuration before anything is computed, and looks up what is stored.

    Raises:
        ConfigurationError: the first value that is wrong.
        CollisionError: two configurations have one run id.
        StoreError: the study cannot be read.
    """
    parsed = [Configuration.parse(configuration) for configuration in configurations]
    if not parsed:
        raise ConfigurationError("the sweep asks for no run at all")
    runs = {configuration.run_id: configuration for configuration in parsed}
    store = options.store
    store.refuse_collisions({run_id: configuration.plain for run_id, configuration in runs.items()})
    statuses = store.statuses()
    stored = {run_id: statuses[run_id] for run_id in runs if run_id in statuses}
    kept = {run_id for run_id, status in stored.items() if not (status == "failed" and options.retry == "failed")}
    return Plan(len(parsed), runs, stored, tuple(run for run_id, run in runs.items() if run_id not in kept))


def bundles(configurations: Iterable[Configuration]) -> list[Bundle]:
    """Runs that are computed together; the longest first, so that no worker ends up alone with one."""
    groups: dict[str, list[Configuration]] = {}
    for configuration in configurations:
        groups.setdefault(configuration.bundle_key, []).append(configuration)
    return sorted(map(tuple, groups.values()), key=lambda bundle: -work_of(bundle[0]))


def work_of(configuration: Configuration) -> int:
    """About how long a run takes, against others: the products of J_t with W over all steps."""
    plain = configuration.plain
    return int(plain["sequence_length"]) * int(plain["cell"].get("hidden_size", 1)) ** 2


# ------------------------------------------------------------------ what became of it


@dataclass
class Tally:
    """How the runs that were computed ended.

    Attributes:
        statuses: how many of each status.
        reasons: why runs failed, and how many for each reason.
        interrupted: the signal that ended the sweep early.
        seconds: how long it took.
    """

    statuses: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    interrupted: int | None = None
    seconds: float = 0.0

    def add(self, records: Iterable[Records]) -> Counter[str]:
        """Counts records; the statuses of these."""
        statuses: Counter[str] = Counter()
        for record in records:
            statuses[record.run["status"]] += 1
            if record.run["status"] == "failed":
                self.reasons[str(record.run["error"])] += 1
        self.statuses += statuses
        return statuses

    def correct(self, refused: Iterable[tuple[str, str]]) -> None:
        """Runs whose rows could not be stored have failed, whatever they were counted as."""
        for status, why in refused:
            self.statuses.subtract({status: 1, "failed": -1})
            self.reasons[why] += 1


@dataclass(frozen=True)
class Summary:
    """A sweep that has ended.

    Attributes:
        plan: what was to be done.
        tally: what became of it.
        path: the study's folder.
    """

    plan: Plan
    tally: Tally
    path: Path

    @property
    def failed_before(self) -> int:
        """Stored failures that were left as they are."""
        to_do = {configuration.run_id for configuration in self.plan.to_do}
        return sum(status == "failed" and run_id not in to_do for run_id, status in self.plan.stored.items())

    @property
    def exit_code(self) -> int:
        """0 if no run of this sweep failed, 1 if one did, 130 after Ctrl-C."""
        if self.tally.interrupted is not None:
            return 128 + self.tally.interrupted
        return int(self.tally.statuses["failed"] + self.failed_before > 0)

    def lines(self) -> list[str]:
        """What there is to say at the end."""
        computed = self.tally.statuses.total()
        lines = [f"{count(computed, 'run')} computed in {duration(self.tally.seconds)}: {told(self.tally.statuses)}"]
        if not self.plan.to_do:
            lines = [f"nothing to do: {told(Counter(self.plan.stored.values()))} before"]
        lines += [f"failed, {n} ×: {reason}" for reason, n in self.tally.reasons.most_common(5)]
        others = len(self.tally.reasons) - 5
        lines += [f"failed, for {count(others, 'other reason')}: see the column `error` of runs"] if others > 0 else []
        if self.failed_before:
            lines.append(f"failed before: {self.failed_before}, not tried again (retry=failed does)")
        if self.tally.interrupted is not None:
            left = count(len(self.plan.to_do) - computed, "run")
            lines.append(f"interrupted: {left} left to do; what is done is stored")
        return [*lines, f"results are in {self.path}"]


# ------------------------------------------------------------------ from Python


def sweep(
    configurations: Iterable[Plain],
    study: str,
    results: str | Path = "results",
    workers: int | None = None,
    retry: str | None = None,
    progress: bool | None = None,
) -> Summary:
    """Measures every configuration that is not stored yet and stores it in `<results>/<study>`.

    Args:
        configurations: plain mappings as `Configuration.parse` takes them.
        study, results, workers, retry: see `Options`.
        progress: a bar (True), silence (False), or what suits stderr (None).

    Returns:
        what became of the runs; a run that fails is counted there and is a row with its reason, never an exception.

    Raises:
        LabError: a configuration is wrong, or the results cannot be read or written.
    """
    options = Options(study, str(results), workers, retry)
    planned = plan(configurations, options)
    tally = execute(planned.to_do, options.store, options.processes, progress)
    return Summary(planned, tally, options.store.path)


# ------------------------------------------------------------------ computing


@dataclass(frozen=True)
class Parcel:
    """What a worker is given at once.

    Attributes:
        deaths: how many workers died with these runs.
    """

    bundles: tuple[Bundle, ...]
    deaths: int = 0

    @property
    def runs(self) -> list[Configuration]:
        return [configuration for bundle in self.bundles for configuration in bundle]

    def smaller(self) -> list[Parcel]:
        """After a death: the bundles one by one, then the runs one by one; nothing if a run alone has died twice."""
        if len(self.bundles) > 1:
            return [Parcel((bundle,), self.deaths + 1) for bundle in self.bundles]
        if len(self.runs) > 1 or self.deaths == 0:
            return [Parcel(((configuration,),), self.deaths + 1) for configuration in self.runs]
        return []


class Queue:
    """The parcels to come, cut to a size that keeps every worker busy and the overhead small."""

    def __init__(self, waiting: Iterable[Bundle], workers: int) -> None:
        self.waiting = deque(waiting)
        self.again: deque[Parcel] = deque()
        self.workers = max(1, workers)
        self.seconds_of_a_bundle: float | None = None

    def __bool__(self) -> bool:
        return bool(self.waiting or self.again)

    def take(self) -> Parcel:
        """What has to be done again comes first."""
        if self.again:
            return self.again.popleft()
        return Parcel(tuple(self.waiting.popleft() for _ in range(self.size())))

    def size(self) -> int:
        """How many bundles take PARCEL_SECONDS, but never so many that another worker would have none left."""
        if self.seconds_of_a_bundle is None:
            return 1
        affordable = int(PARCEL_SECONDS / max(self.seconds_of_a_bundle, 1e-6))
        return max(1, min(affordable, LARGEST_PARCEL, len(self.waiting) // (2 * self.workers)))

    def learn(self, parcel: Parcel, seconds: float) -> None:
        """How long a parcel took."""
        latest = seconds / len(parcel.bundles)
        before = latest if self.seconds_of_a_bundle is None else self.seconds_of_a_bundle
        self.seconds_of_a_bundle = (before + latest) / 2


class Publisher:
    """Puts records into the store, some at a time."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.records: list[Records] = []
        self.refused: list[tuple[str, str]] = []  # what a run would have been, and why it could not be stored
        self.due = time.monotonic() + PUBLISHING_SECONDS

    def add(self, records: Iterable[Records]) -> None:
        self.records += records
        if time.monotonic() >= self.due:
            self.publish()

    def publish(self) -> None:
        """Everything that came since the last time."""
        begun, records = time.monotonic(), self.records
        try:
            self.store.publish(records)
        except SchemaError:  # rows that no table can hold; whose they are is found one by one
            for record in records:
                self.publish_alone(record)
        self.records = []
        took = time.monotonic() - begun
        self.due = time.monotonic() + max(PUBLISHING_SECONDS, took / PUBLISHING_SHARE)

    def publish_alone(self, record: Records) -> None:
        """One run; where its rows cannot be stored, the run has failed for that reason."""
        try:
            self.store.publish([record])
        except SchemaError as error:
            known = {name: record.run[name] for name in ("run_id", "network_id", "configuration")}
            self.store.publish([Rows({**known, "status": "failed", "error": f"its rows cannot be stored: {error}"})])
            self.refused.append((record.run["status"], str(error)))


def execute(
    configurations: Sequence[Configuration],
    store: Store,
    workers: int,
    progress: bool | None = None,
    measure: Measure | None = None,
) -> Tally:
    """Computes runs and stores them; whatever becomes of one, the others are computed.

    Args:
        workers: processes, 0 for this one.
        measure: what computes a bundle, importable by name; `experiment.measure_bundle` unless a test has another.

    Raises:
        StoreError: the results cannot be written.
        LabError: no worker process can be started.
    """
    tally = Tally()
    if not configurations:
        return tally
    store.writable()
    store.sweep_up()
    waiting, begun = bundles(configurations), time.monotonic()
    queue, publisher = Queue(waiting, workers), Publisher(store)
    with interruption() as interrupted, Progress(len(configurations), progress) as shown:
        with crew(min(workers, len(waiting)), partial(compute, measure)) as hands:
            for answer in answers(hands, queue, interrupted):
                records = settle(answer, queue)
                shown.add(tally.add(records))
                publisher.add(records)
        publisher.publish()
    tally.correct(publisher.refused)
    tally.seconds = time.monotonic() - begun
    tally.interrupted = interrupted[0] if interrupted else None
    return tally


Computed = tuple[list[Records], float]
Crew = Workers[Parcel, Computed] | ThisProcess[Parcel, Computed]


def crew(workers: int, work: Callable[[Parcel], Computed]) -> Crew:
    """Who computes."""
    return Workers(workers, work, preload=("bpttlab.experiment",)) if workers else ThisProcess(work)


def answers(hands: Crew, queue: Queue, interrupted: list[int]) -> Iterator[Answer[Parcel, Computed]]:
    """Keeps everybody busy until all is done or somebody wants to stop."""
    given = 0
    while (queue or given) and not interrupted:
        while queue and hands.idle:
            hands.give(queue.take())
            given += 1
        for answer in hands.answers(PARCEL_SECONDS):
            given -= 1
            yield answer


def settle(answer: Answer[Parcel, Computed], queue: Queue) -> list[Records]:
    """The records of a parcel. If its worker died, its runs are queued again; one that was alone has failed."""
    if answer.result is not None:
        records, seconds = answer.result
        queue.learn(answer.task, seconds)
        return records
    smaller = answer.task.smaller()
    queue.again.extend(smaller)
    return [] if smaller else [failed(run, str(answer.death)) for run in answer.task.runs]


def compute(measure: Measure | None, parcel: Parcel) -> Computed:
    """What a worker does with a parcel: records of every run, and how long it took."""
    begun = time.perf_counter()
    if measure is None:
        from bpttlab.experiment import measure_bundle

        measure = measure_bundle
    records = [record for bundle in parcel.bundles for record in computed(measure, bundle)]
    rows: list[Records] = [Rows(record.run, record.provenance, record.tables) for record in records]
    return rows, time.perf_counter() - begun


def computed(measure: Measure, bundle: Bundle) -> Sequence[Records]:
    """One bundle's records; where one of its runs fails, each is computed alone, so that it fails alone."""
    try:
        records = measure(bundle)
        if [record.run["run_id"] for record in records] != [configuration.run_id for configuration in bundle]:
            raise LabError("the measurement did not give one record for each run, in their order")
    except (Exception, SystemExit) as error:  # whatever a run does, the others go on
        records = [failed(configuration, reason(error)) for configuration in bundle]
    if len(bundle) > 1 and any(record.run["status"] == "failed" for record in records):
        return [record for configuration in bundle for record in computed(measure, (configuration,))]
    return records


def reason(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return f"it called sys.exit({error.code!r})"
    return str(error) if isinstance(error, LabError) else f"{type(error).__name__}: {error}"


@dataclass(frozen=True)
class Rows:
    """A run's records as they travel from a worker: dictionaries and arrays, which are read without any import."""

    run: Mapping[str, Any]
    provenance: Mapping[str, Any] = field(default_factory=dict)
    tables: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def failed(configuration: Configuration, why: str) -> Rows:
    """The row of a run that left none itself. Nothing is computed for it: that may be what ended the worker."""
    return Rows(
        {
            "run_id": configuration.run_id,
            "network_id": configuration.network_id,
            "status": "failed",
            "error": why,
            "configuration": identity.canonical(configuration.plain),
        }
    )


@contextmanager
def interruption() -> Iterator[list[int]]:
    """A list that is empty until Ctrl-C or SIGTERM, which is put into it; a second one is as abrupt as ever.

    An exception in the middle of publishing could leave in doubt what is stored; a flag is looked at between two steps.
    """
    heard: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield heard  # only the main thread may say what a signal does
        return

    def hear(number: int, _: object) -> None:
        heard.append(number)
        for known, handler in before.items():
            signal.signal(known, handler)

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, hear)
    try:
        yield heard
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


# ------------------------------------------------------------------ words


def count(number: int, what: str) -> str:
    """1 run, 2 runs."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def told(statuses: Mapping[str, int]) -> str:
    """3 done, 1 diverged."""
    known = ("done", "diverged", "failed")
    return ", ".join(f"{statuses[status]} {status}" for status in known if statuses.get(status)) or "none"
