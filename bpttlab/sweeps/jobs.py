"""Jobs: what a worker receives, computes and sends back.

A job has as many bundles as take a worker a quarter of a second. It comes back with a row for each of its runs,
whatever a run does. If its worker dies, the job is repeated in smaller parts. Workers make the rows for all runs of a
job at once, so that the parent process only has to join them.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

from bpttlab.errors import LabError, SchemaError
from bpttlab.measures.measure import Result
from bpttlab.store.column import NO_COLUMNS, MeasureColumns
from bpttlab.store.store import Finished, Records
from bpttlab.sweeps.configuration import Configuration
from bpttlab.sweeps.interruption import Checkpoints, StoppedTraining
from bpttlab.sweeps.plan import Bundle
from bpttlab.sweeps.worker_pool import Limits
from bpttlab.sweeps.worker_process import BYTES_OF_GIB, memory_of_this_process, retire

Compute = Callable[[Sequence[Configuration]], Sequence[Records]]
Computed = tuple[Finished, float, tuple[Bundle, ...]]
"""Rows, seconds, and the bundles of the job that another process must compute."""

JOB_SECONDS = 0.25
LARGEST_PARCEL = 256


@dataclass(frozen=True)
class Job:
    """The bundles that a worker receives together.

    Attributes:
        deaths: how many workers have died with this run while it was alone.
        passes: pass_key -> what stored runs tell of the forward passes (`stored_passes`).
    """

    bundles: tuple[Bundle, ...]
    deaths: int = 0
    passes: Mapping[str, Result] = field(default_factory=dict)

    @property
    def runs(self) -> list[Configuration]:
        return [configuration for bundle in self.bundles for configuration in bundle]

    def seconds(self, limit: float | None) -> float | None:
        """What it may take if a run may take `limit`.

        A bundle may take as long as its runs alone. Several bundles are in a job only if that takes a moment, so
        they have no more than the largest of them and that moment: who is late is found the sooner, and nobody has
        failed before being late alone.
        """
        if limit is None:
            return None
        return limit * max(map(len, self.bundles)) + (4 * JOB_SECONDS if len(self.bundles) > 1 else 0.0)

    def smaller(self, late: bool = False) -> list[Job]:
        """The parts to try after a death: the bundles one by one, then the runs one by one.

        Whose fault a death in company was is not known, so it counts for none. Empty if a run alone has died twice, or
        was late.
        """
        if len(self.bundles) > 1:
            return [Job((bundle,)) for bundle in self.bundles]
        if len(self.runs) > 1:
            return [Job(((configuration,),)) for configuration in self.runs]
        return [] if late or self.deaths else [Job(self.bundles, 1)]


class Supply(Protocol):
    """Bundles that are not in the queue yet.

    Attributes:
        left: how many there are.
    """

    @property
    def left(self) -> int: ...

    def take(self, count: int) -> list[Bundle]:
        """About so many of them; none if there are none now."""
        ...


class Queue:
    """The jobs to come, of a size that keeps every worker busy and the overhead small.

    Args:
        waiting: bundles to begin with.
        supply: further bundles.
    """

    def __init__(self, waiting: Iterable[Bundle], workers: int, supply: Supply | None = None) -> None:
        self.waiting = deque(waiting)
        self.again: deque[Job] = deque()
        self.workers = max(1, workers)
        self.supply = supply
        self.seconds_of_a_bundle: float | None = None

    def __bool__(self) -> bool:
        return bool(self.again or self.left)

    @property
    def left(self) -> int:
        """How many bundles have not been given to a worker."""
        return len(self.waiting) + (self.supply.left if self.supply else 0)

    def take(self) -> Job | None:
        """The next job; repeated ones come first. None: there is none now."""
        if self.again:
            return self.again.popleft()
        size = self.size()
        if self.supply and len(self.waiting) < size:
            self.waiting.extend(self.supply.take(size - len(self.waiting)))
        chosen = tuple(self.waiting.popleft() for _ in range(min(size, len(self.waiting))))
        return Job(chosen) if chosen else None

    def size(self) -> int:
        """How many bundles take JOB_SECONDS, but never so many that another worker would have none left."""
        if self.seconds_of_a_bundle is None:
            return 1
        affordable = int(JOB_SECONDS / max(self.seconds_of_a_bundle, 1e-6))
        return max(1, min(affordable, LARGEST_PARCEL, self.left // (2 * self.workers)))

    def learn(self, job: Job, seconds: float) -> None:
        """How long a job took."""
        latest = seconds / len(job.bundles)
        before = latest if self.seconds_of_a_bundle is None else self.seconds_of_a_bundle
        self.seconds_of_a_bundle = (before + latest) / 2


def compute(measure: Compute | None, limits: Limits, job: Job, checkpoints: Checkpoints | None = None) -> Computed:
    """Computes a job in a worker: the rows of its runs, the time, and what is left.

    A process that was refused memory once may be refused it again, for what it keeps or for a limit that a run has set.
    So it computes nothing more: other runs must not fail for it. Nor does one in which a training was stopped.
    """
    begun = time.perf_counter()
    if measure is None:
        from bpttlab.sweeps.run import measure_bundle

        left_memory = memory_left(limits)
        measure = partial(measure_bundle, memory_limit=left_memory, known=job.passes, checkpoints=checkpoints)
    records: list[Records] = []
    left = deque(job.bundles)
    while left:
        try:
            latest = compute_bundle(measure, left[0])
        except StoppedTraining:
            break
        left.popleft()
        records += latest
        if any(lacked_memory(one.run) for one in latest):
            retire()
            break
    rows = [Rows(name_memory_limit(one.run, limits), one.provenance, one.tables, one.own) for one in records]
    return as_rows(rows), time.perf_counter() - begun, tuple(left)


def as_rows(records: Sequence[Records]) -> Finished:
    """Records as rows of the tables. A run whose rows do not fit a table is found by trying runs one by one, and has
    failed.
    """
    try:
        return Finished.of(records)
    except SchemaError as error:
        if len(records) > 1:
            return Finished.join([as_rows([record]) for record in records])
        known = {name: records[0].run[name] for name in ("run_id", "network_id", "configuration")}
        return Finished.of([Rows({**known, "status": "failed", "error": f"its rows cannot be stored: {error}"})])


def memory_left(limits: Limits) -> float | None:
    """The part of its memory limit that this process may still use, in GiB."""
    return None if limits.memory is None else limits.memory - memory_of_this_process("VmRSS") / BYTES_OF_GIB


def compute_bundle(measure: Compute, bundle: Bundle) -> Sequence[Records]:
    """One bundle's records; if one of its runs fails, each is computed alone, so that only this one fails."""
    try:
        records = measure(bundle)
        if [record.run["run_id"] for record in records] != [configuration.run_id for configuration in bundle]:
            raise LabError("the measurement did not give one record for each run, in their order")
    except (Exception, SystemExit) as error:  # whatever a run does, the others go on
        records = [failed_records(configuration, reason(error)) for configuration in bundle]
    trained = bundle[0].training is not None  # each alone would be trained again
    if len(bundle) > 1 and not trained and any(record.run["status"] == "failed" for record in records):
        return [record for configuration in bundle for record in compute_bundle(measure, (configuration,))]
    return records


def name_memory_limit(run: Mapping[str, Any], limits: Limits) -> Mapping[str, Any]:
    """A row of `runs`; where the run failed because it was refused memory, its reason names the limit."""
    if limits.memory is None or not lacked_memory(run):
        return run
    kind, _, what = str(run["error"]).partition(": ")
    return {**run, "error": f"would take more than memory_limit={limits.memory:g} (GiB): {what or kind}"}


def lacked_memory(run: Mapping[str, Any]) -> bool:
    """Whether a run failed because it was refused memory: the exception's name comes first in its reason."""
    return run["status"] == "failed" and str(run["error"]).partition(": ")[0].endswith("MemoryError")


def reason(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return f"it called sys.exit({error.code!r})"
    try:
        return str(error) if isinstance(error, LabError) else f"{type(error).__name__}: {error}"
    except Exception:  # an exception that cannot say what it is
        return type(error).__name__


@dataclass(frozen=True)
class Rows:
    """A run's records, as far as they are stored."""

    run: Mapping[str, Any]
    provenance: Mapping[str, Any] = field(default_factory=dict)
    tables: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    own: MeasureColumns = NO_COLUMNS


def failed_records(configuration: Configuration, why: str) -> Rows:
    """The row of a run that has none. Nothing is computed for it, because that may have killed the worker."""
    return Rows(
        {
            "run_id": configuration.run_id,
            "network_id": configuration.network_id,
            "status": "failed",
            "error": why,
            "configuration": configuration.described,
        }
    )
