"""A sweep: configurations -> runs that are not stored yet -> bundles -> workers -> store.

Runs that share network, data and forward pass are a bundle and are computed together (`plan`). A job has as many
bundles as take a worker a quarter of a second (`jobs`). Workers send rows back, and only this process publishes them,
about once a second. So an interruption or a death loses at most that second, and the same sweep again computes what is
missing.

(The module is not called `sweep`: a package has one name for a module and for a function, and `bpttlab.sweep` is the
function.)
"""

from __future__ import annotations

import shlex
import signal
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from bpttlab.errors import ConfigurationError, LabWarning, StoreError
from bpttlab.fields import Plain
from bpttlab.gradients.compiled import preload
from bpttlab.limits import USUAL_RUNS
from bpttlab.plugins import use
from bpttlab.store import sweep_requests
from bpttlab.store.file_names import write_names
from bpttlab.store.leases import Leases
from bpttlab.store.store import Finished, Store
from bpttlab.store.study_names import find_words
from bpttlab.streams import print_error
from bpttlab.sweeps.compiled_loops import prepare, worker_preparation
from bpttlab.sweeps.configuration import Configuration
from bpttlab.sweeps.division import Division
from bpttlab.sweeps.fork_server import StartError, preload_of, start_preload
from bpttlab.sweeps.grid import combine
from bpttlab.sweeps.interruption import Checkpoints, interruption
from bpttlab.sweeps.jobs import JOB_SECONDS, Compute, Computed, Job, Queue, compute, failed_records
from bpttlab.sweeps.memory_estimate import refuse_too_large
from bpttlab.sweeps.plan import OPTIONS, Options, SweepPlan, bundles, plan, separate
from bpttlab.sweeps.progress import Progress, duration, format_count, report
from bpttlab.sweeps.stored_passes import StoredPasses
from bpttlab.sweeps.worker_pool import Answer, Limits, ThisProcess, Workers
from bpttlab.user_environment import memory_bytes

__all__ = ["OPTIONS", "Options", "Summary", "SweepPlan", "Tally", "carry_out", "execute", "plan", "separate", "sweep"]

CHECKPOINTS = "checkpoints"
"""The folder of a study for trainings that are not finished."""

PUBLISHING_SECONDS = 1.0
PUBLISHING_SHARE = 0.2
"""Where publishing takes long it waits longer, so that it takes no more than about this share of the time."""


# ------------------------------------------------------------------ what became of it


@dataclass
class Tally:
    """The results of the computed runs.

    Attributes:
        statuses: how many of each status.
        reasons: why runs failed, and how many for each reason.
        divergences: why runs diverged, likewise.
        elsewhere: how many of each status other launchers computed meanwhile.
        ends: how workers ended that had to be replaced, and how many for each way.
        interrupted: the signal that ended the sweep early.
        seconds: how long it took.
    """

    statuses: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    divergences: Counter[str] = field(default_factory=Counter)
    elsewhere: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    interrupted: int | None = None
    seconds: float = 0.0

    def add(self, finished: Finished) -> Counter[str]:
        """Counts runs; the statuses of these."""
        each = finished.column("status")
        statuses = Counter(each)
        self.statuses += statuses
        for status, why in zip(each, finished.column("error"), strict=True):
            if status != "done":
                (self.reasons if status == "failed" else self.divergences)[str(why)] += 1
        return statuses


@dataclass(frozen=True, repr=False)
class Summary:
    """A sweep that has ended.

    Attributes:
        plan: the plan of the sweep.
        tally: the results of its runs.
        path: the study's folder.
    """

    plan: SweepPlan
    tally: Tally
    path: Path

    def __repr__(self) -> str:
        computed = report(self.tally.statuses)
        stored = f", stored before: {report(Counter(self.plan.stored.values()))}" if self.plan.stored else ""
        return f"Summary({format_count(len(self.plan.runs), 'run')}, computed: {computed}{stored}, in {self.path})"

    @property
    def failed_before(self) -> int:
        """Stored failures that were left as they are."""
        to_do = {configuration.run_id for configuration in self.plan.to_do}
        return sum(status == "failed" and run_id not in to_do for run_id, status in self.plan.stored.items())

    @property
    def exit_code(self) -> int:
        """0 if no run of this sweep failed, 1 if one did, 130 after Ctrl-C, 128 + its number after another signal."""
        if self.tally.interrupted is not None:
            return 128 + self.tally.interrupted
        return int(self.tally.statuses["failed"] + self.tally.elsewhere["failed"] + self.failed_before > 0)

    def lines(self) -> list[str]:
        """What there is to say at the end."""
        computed = self.tally.statuses.total()
        lines = [
            f"{format_count(computed, 'run')} computed in {duration(self.tally.seconds)}: {report(self.tally.statuses)}"
        ]
        if not self.plan.to_do:
            lines = [f"nothing to do: {report(Counter(self.plan.stored.values()))} before"]
        if elsewhere := self.tally.elsewhere.total():
            by_others = f"{format_count(elsewhere, 'run')} computed meanwhile by other launchers of this study"
            lines.append(f"{by_others}: {report(self.tally.elsewhere)}")
        lines += [f"failed, {n} ×: {reason}" for reason, n in self.tally.reasons.most_common(5)]
        others = len(self.tally.reasons) - 5
        lines += (
            [f"failed, for {format_count(others, 'other reason')}: see the column `error` of runs"]
            if others > 0
            else []
        )
        lines += self.describe_divergences()
        lines += [f"worker lost, {n} ×: {how}" for how, n in self.tally.ends.most_common(5)]
        if self.failed_before:
            lines.append(f"failed before: {self.failed_before}, not tried again (retry=failed does)")
        if self.tally.interrupted is not None:
            left = format_count(len(self.plan.to_do) - computed - elsewhere, "run")
            lines.append(f"interrupted: {left} left to do; what is done is stored")
        return [*lines, f"results are in {self.path}"]

    def describe_divergences(self) -> list[str]:
        """How many runs diverged, which is a result, the most frequent reason, and what shows all."""
        found = self.tally.divergences
        if not found:
            return []
        (why, _), *others = found.most_common()
        words = ["bpttlab", "status", *find_words(self.path.name, str(self.path.parent))]
        shown = f"for example: {why}; all reasons: {shlex.join(words)}" if others else why
        return [f"diverged, {found.total()} ×: {shown}"]


# ------------------------------------------------------------------ from Python


def sweep(
    configurations: Iterable[Plain] | None = None,
    /,
    study: str = "",
    results: str | Path = "results",
    workers: int | None = None,
    retry: str | None = None,
    progress: bool | None = None,
    time_limit: float | None = None,
    memory_limit: float | None = None,
    plugins: Any = None,
    max_runs: int = USUAL_RUNS,
    **axes: Any,
) -> Summary:
    """Measures every configuration that is not stored yet and stores it in `<results>/<study>`.

        lab.sweep(study="first", spectral_radius=[0.5, 1.0], task=["noise", "adding"], seed=range(8))
        lab.sweep([{"seed": seed, "truncation": seed + 1} for seed in range(8)], study="first")

    Args:
        configurations: plain mappings as `Configuration.parse` takes them.
        axes: instead of configurations, fields and their values, of which every combination is a run
            (`grid.grid`).
        study, results, workers, retry, time_limit, memory_limit, max_runs: see `Options`.
        progress: a bar (True), silence (False), or what suits stderr (None).
        plugins: files, modules or classes of your own whose names may be used (`plugins.use`).

    Returns:
        what became of the runs; a run that fails is counted there and is a row with its reason, never an exception.

    Raises:
        KeyboardInterrupt: Ctrl-C; finished runs are stored.
        LabError: a configuration is wrong, or the results cannot be read or written.
    """
    options = Options(
        study or None,  # type: ignore[arg-type]
        str(results),
        workers,
        retry,  # type: ignore[arg-type]
        time_limit,
        memory_limit,
        max_runs,
    )
    if (configurations is None) == (not axes):
        raise ConfigurationError("sweep: needs either configurations or fields with their values, and not both")
    if isinstance(configurations, Mapping):
        raise ConfigurationError("sweep: configurations must be a list of mappings; put one mapping in [ ]")
    with use(plugins):
        requested = combine(axes, options.max_runs) if configurations is None else configurations
        planned = plan(requested, options, progress=progress)
        own = [*planned.other_versions, *planned.of_files, *planned.ineffective]
        said = [*planned.replaced_schemes, *planned.close_values(), *own]
        for remark in said:
            warnings.warn(remark, LabWarning, stacklevel=2)
        summary = carry_out(planned, options, progress)
    pass_on(summary)
    return summary


def pass_on(summary: Summary) -> None:
    """Does what the signal that ended a sweep early would have done; its finished runs are stored.

    Otherwise a program of several sweeps would go on with the next one after Ctrl-C or SIGTERM.
    """
    if summary.tally.interrupted is not None:
        print_error("\n".join(summary.lines()))
        signal.raise_signal(summary.tally.interrupted)


def carry_out(planned: SweepPlan, options: Options, progress: bool | None = None, line: str | None = None) -> Summary:
    """Does what there is to do of a plan; `line` is the command that requested it, told by `status`."""
    if options.processes:
        refuse_notebook(planned.to_do)
    refuse_too_large(planned, options, memory_bytes())
    request = ""
    if planned.to_do:
        options.store.check_writable()
        if options.processes:
            start_imports(planned.to_do)
        prepare(planned.to_do, options.processes, silent=progress is False)
        request = sweep_requests.write_request(options.store, line, planned.runs)
        write_names(options.store.path, planned.files)
    elif planned.runs:
        with suppress(StoreError):  # where nothing can be written, nothing has to be
            sweep_requests.write_request(options.store, line, planned.runs)
            options.store.sweep_up()
        write_names(options.store.path, planned.files)  # a sweep for new names alone
    tally = execute(planned.to_do, options.store, options.processes, progress, limits=options.limits, request=request)
    remove_old_checkpoints(planned.runs.values(), options.store)
    return Summary(planned, tally, options.store.path)


def remove_old_checkpoints(runs: Iterable[Configuration], store: Store) -> None:
    """Deletes the checkpoints of the trainings whose runs are all stored, also what an earlier sweep left of them."""
    folder = store.path / CHECKPOINTS
    if folder.is_dir():
        from bpttlab.sweeps import trained_runs  # imports all that workers compute with

        with suppress(StoreError):  # reading the study will say what is wrong with it
            trained_runs.remove_checkpoints(runs, store.statuses(), folder)


# ------------------------------------------------------------------ computing


class Publisher:
    """Puts finished runs into the store, some at a time.

    Args:
        notify: receives the name of each commit, and its runs, which are stored then.
    """

    def __init__(self, store: Store, notify: Callable[[str, Finished], None] | None = None) -> None:
        self.store = store
        self.notify = notify
        self.parts: list[Finished] = []
        self.due = time.monotonic() + PUBLISHING_SECONDS

    def add(self, finished: Finished) -> None:
        self.parts.append(finished)
        self.publish_if_due()

    def publish_if_due(self) -> None:
        if time.monotonic() >= self.due:
            self.publish()

    def publish(self) -> None:
        """Everything that came since the last time."""
        begun = time.monotonic()
        if self.parts:
            finished = Finished.join(self.parts)
            commit = self.store.publish_rows(finished)
            self.parts = []  # stored, whatever happens next
            if self.notify:
                self.notify(commit, finished)
        took = time.monotonic() - begun
        self.due = time.monotonic() + max(PUBLISHING_SECONDS, took / PUBLISHING_SHARE)


def execute(
    configurations: Sequence[Configuration],
    store: Store,
    workers: int,
    progress: bool | None = None,
    measure: Compute | None = None,
    limits: Limits = Limits(),  # noqa: B008  # frozen
    request: str = "",
) -> Tally:
    """Computes runs and stores them; a run that fails does not stop the others.

    Args:
        workers: processes, 0 for this one.
        measure: the function that computes a bundle, importable by name; `run.measure_bundle` unless a test has
            another.
        limits: limits of a run and a worker; without workers they have no effect.
        request: the file of the request that is carried out (`sweep_requests`), told by `status`.

    Raises:
        StoreError: the results cannot be written.
        StartError: no worker process can be started.
    """
    tally = Tally()
    if not configurations:
        return tally
    store.check_writable()
    if workers:
        start_imports(configurations)
    store.sweep_up()
    waiting, begun = bundles(configurations, workers), time.monotonic()
    with interruption() as interrupted, Progress(len(configurations), progress) as shown:
        work = partial(compute, measure, limits, checkpoints=Checkpoints(store.path / CHECKPOINTS, interrupted))
        try:
            with (
                open_pool(min(workers, len(waiting)), work, limits, modules_to_preload(configurations)) as pool,
                Leases(store.path, request=request) as leases,
            ):
                division = Division(waiting, store, leases)
                passes = StoredPasses(store, configurations)
                tally.ends = pool.ends
                work_through(pool, division, workers, Steps(store, tally, shown, interrupted, limits, passes))
        except StartError as error:
            if not interrupted:  # else it was ended by the same signal
                raise StartError(describe_rest(str(error), tally, len(configurations))) from None
    tally.seconds = time.monotonic() - begun
    tally.interrupted = interrupted[0] if interrupted else None
    return tally


def describe_rest(reason: str, tally: Tally, total: int) -> str:
    """Why a sweep ends early, and what of it is stored."""
    stored = tally.statuses.total() + tally.elsewhere.total()
    return f"{reason}; {stored} of {format_count(total, 'run')} are stored, and the same line again computes the others"


def start_imports(configurations: Sequence[Configuration]) -> None:
    """Starts the imports of the process from which workers are forked, if that has not begun."""
    start_preload(modules_to_preload(configurations), preload.request_preload(*kinds_of(configurations)))


def kinds_of(configurations: Sequence[Configuration]) -> tuple[set[str], set[str]]:
    """The names of cells and of dtypes."""
    return {one.cell.name for one in configurations}, {one.values.dtype for one in configurations}


def refuse_notebook(configurations: Iterable[Configuration]) -> None:
    """Refuses classes that no worker process can have."""
    for configuration in configurations:
        for _, source in configuration.sources:
            if not source.reaches_workers:
                raise ConfigurationError(
                    f"plugins={source.label}: worker processes cannot have a class that is defined in a notebook or a "
                    "script: put it into a .py file and name that, or compute in this process with workers=0"
                )


WorkerPool = Workers[Job, Computed] | ThisProcess[Job, Computed]


def open_pool(workers: int, work: Callable[[Job], Computed], limits: Limits, preload: tuple[str, ...]) -> WorkerPool:
    """Who computes."""
    return Workers(workers, work, preload, limits.memory, worker_preparation()) if workers else ThisProcess(work)


def modules_to_preload(configurations: Iterable[Configuration]) -> tuple[str, ...]:
    """What workers import before they part."""
    return preload_of(configuration.values.engine for configuration in configurations)


class Steps(NamedTuple):
    """What the steps of a sweep have in common."""

    store: Store
    tally: Tally
    shown: Progress
    interrupted: list[int]
    limits: Limits
    passes: StoredPasses


def work_through(pool: WorkerPool, division: Division, workers: int, steps: Steps) -> None:
    """Keeps everybody busy until all runs are stored, here or by another launcher, or somebody wants to stop."""
    queue, publisher = Queue((), workers, division), Publisher(steps.store, partial(count_stored, division, steps))
    given = 0
    try:
        while (queue or given) and not steps.interrupted:
            given += give_jobs(pool, queue, steps)
            waits = not given  # for other launchers, which have all that is left
            for answer in pool.answers(JOB_SECONDS):
                given -= 1
                finished = _finish_job(answer, queue, steps.limits)
                if finished is not None:
                    publisher.add(finished)
            show_elsewhere(division, steps)
            if not waits:
                publisher.publish_if_due()
            elif queue:
                publisher.publish()  # other launchers may wait for these runs, as this one does for theirs
                time.sleep(JOB_SECONDS)
    finally:
        publisher.publish()


def count_stored(division: Division, steps: Steps, commit: str, finished: Finished) -> None:
    """Counts runs when they are stored, and not before: nothing that is shown may be lost."""
    steps.shown.add(steps.tally.add(finished))
    division.note_commit(commit, finished.column("run_id"))


def give_jobs(pool: WorkerPool, queue: Queue, steps: Steps) -> int:
    """Gives a job to every idle worker, as far as there are jobs; how many."""
    given = 0
    while pool.idle and not steps.interrupted and (job := queue.take()) is not None:
        if not pool.give(replace(job, passes=steps.passes.of(job.bundles)), job.seconds(steps.limits.seconds)):
            queue.again.appendleft(job)
            break
        given += 1
    return given


def show_elsewhere(division: Division, steps: Steps) -> None:
    """Counts what other launchers have computed since the last time."""
    new = division.elsewhere - steps.tally.elsewhere
    if new:
        steps.tally.elsewhere.update(new)
        steps.shown.add_elsewhere(new.total())


def _finish_job(answer: Answer[Job, Computed], queue: Queue, limits: Limits) -> Finished | None:
    """The rows of a job. If its worker died, its runs are queued again; one that was alone has failed."""
    if answer.result is not None:
        finished, seconds, left = answer.result
        queue.learn(answer.task, seconds)
        queue.again.extend(Job((bundle,)) for bundle in left)
        return finished if finished.runs.num_rows else None
    if not answer.begun:  # its worker died before it received the job
        queue.again.append(answer.task)
        return None
    smaller = answer.task.smaller(answer.late)
    queue.again.extend(smaller)
    if smaller:
        return None
    return Finished.of([failed_records(run, failure_reason(answer, limits)) for run in answer.task.runs])


def failure_reason(answer: Answer[Job, Computed], limits: Limits) -> str:
    """The reason of a run whose worker died, or was killed."""
    if answer.late:
        return f"took longer than time_limit={limits.seconds:g} (seconds)"
    short = f" (memory_limit={limits.memory:g} GiB may have been too little)" if limits.memory is not None else ""
    return f"{answer.death}{short}"
