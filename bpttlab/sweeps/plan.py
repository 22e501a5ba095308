"""The plan of a sweep: requested, stored and remaining runs, and the remaining ones as bundles."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, islice, pairwise
from typing import Annotated, Any, Literal

from bpttlab.errors import ConfigurationError
from bpttlab.fields import Field, settle_fields
from bpttlab.limits import MOST_RUNS, USUAL_RUNS
from bpttlab.store.file_names import NamedFile
from bpttlab.store.store import Store
from bpttlab.store.where import CLOSE
from bpttlab.sweeps import plugin_versions
from bpttlab.sweeps.configuration import Configuration
from bpttlab.sweeps.fork_server import DAEMONIC, may_start_processes
from bpttlab.sweeps.identity_parts import group_of_run
from bpttlab.sweeps.ineffective import describe_ineffective
from bpttlab.sweeps.own_networks import describe_ignored, equal_files, named_files, settle_activations
from bpttlab.sweeps.progress import format_count, report, show_planning
from bpttlab.sweeps.ranges import refuse_too_many
from bpttlab.sweeps.stored_networks import add_results
from bpttlab.sweeps.worker_pool import Limits
from bpttlab.user_environment import processors

Bundle = tuple[Configuration, ...]

OPTIONS = ("study", "results", "workers", "retry", "time_limit", "memory_limit", "max_runs")
"""The values of a configuration that belong to the sweep, not to its runs."""


@dataclass(frozen=True)
class Options:
    """The options of a sweep as a whole."""

    study: Annotated[
        str,
        Field(
            configured=None,
            description="the name of the folder results/<study>; required unless experiment= is given",
        ),
    ]
    results: Annotated[str, Field(description="folder of all studies, from the current folder")] = "results"
    workers: Annotated[
        int | None,
        Field(ge=0, description="processes that compute; null: one for each usable processor; 0: this process"),
    ] = None
    retry: Annotated[Literal["failed"] | None, Field(description="failed: repeat the runs that failed before")] = None
    time_limit: Annotated[
        float | None, Field(gt=0, description="seconds that one run may take; one that takes longer has failed")
    ] = None
    memory_limit: Annotated[
        float | None,
        Field(
            gt=0,
            description="GiB (2^30 bytes) that one worker may have in memory; a run that needs more has failed. With "
            "measure=gradient states are recomputed if not all fit; results are the same",
        ),
    ] = None
    max_runs: Annotated[
        int,
        Field(ge=1, le=MOST_RUNS, description="runs that a sweep may ask for; a line that asks for more is refused"),
    ] = USUAL_RUNS

    def __post_init__(self) -> None:
        if self.study is None:
            raise ConfigurationError("study is missing: name it, for example study=first (kept in results/first)")
        settle_fields(self)
        if not self.results:
            raise ConfigurationError(f"results={self.results!r}: must be the path of a folder")
        for name in ("time_limit", "memory_limit"):
            if self.processes == 0 and getattr(self, name) is not None:
                value, reason = f"{name}={getattr(self, name):g}", "and workers=0 has none"
                reason = reason if self.workers == 0 else f"but {DAEMONIC}"
                raise ConfigurationError(f"{value}: needs a worker process to hold to it, {reason}")

    @cached_property
    def store(self) -> Store:
        """The store of the study, one for the whole sweep: it reads every commit once."""
        return Store(self.results, self.study)

    @property
    def processes(self) -> int:
        if self.workers is not None:
            return self.workers
        return processors() if may_start_processes() else 0

    @property
    def limits(self) -> Limits:
        return Limits(self.time_limit, self.memory_limit)


def separate(runs: Iterable[Mapping[str, Any]]) -> tuple[Options, Iterator[Mapping[str, Any]]]:
    """Composed dictionaries divided into the options of the sweep and the configuration of each run, one by one.

    Raises:
        ConfigurationError: an option has an invalid value; or, when its run is reached, differs between runs.
    """
    following = iter(runs)
    first = next(following, {})
    chosen = {name: first.get(name) for name in OPTIONS if name in first or name == "study"}
    return Options(**chosen), without_options(first, following)  # type: ignore[arg-type]


def without_options(first: Mapping[str, Any], following: Iterator[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """The runs without the options, which are those of the first."""
    options = [first.get(name) for name in OPTIONS]
    for run in chain([first] if first else [], following):
        if [run.get(name) for name in OPTIONS] != options:
            refuse_several([first, run, *following])
        yield {name: run[name] for name in run if name not in OPTIONS}


def refuse_several(runs: Sequence[Mapping[str, Any]]) -> None:
    """Raises the error for an option with several values."""
    for name in OPTIONS:
        values = list(dict.fromkeys(str(run.get(name)) for run in runs))
        if len(values) > 1:
            raise ConfigurationError(f"{name}={','.join(values)}: one value holds for a whole sweep")


@dataclass(frozen=True, repr=False)
class SweepPlan:
    """What a sweep has to do.

    Attributes:
        requested: how many configurations were requested, repetitions included.
        runs: run_id -> configuration.
        stored: run_id -> status, of those that are stored.
        to_do: those to compute.
        other_versions: what there is to say of stored runs that used other versions of the user's own files.
        replaced_schemes: what there is to say of schemes that truncation=full replaces.
        files: the names of the user's own networks, in the order given.
        of_files: what there is to say of them.
        ineffective: what there is to say of fields of the training that have no effect in any run.
    """

    requested: int
    runs: dict[str, Configuration]
    stored: dict[str, str]
    to_do: tuple[Configuration, ...]
    other_versions: tuple[str, ...] = ()
    replaced_schemes: tuple[str, ...] = ()
    files: tuple[NamedFile, ...] = ()
    of_files: tuple[str, ...] = ()
    ineffective: tuple[str, ...] = ()

    def __repr__(self) -> str:
        stored = f", {len(self.stored)} stored already" if self.stored else ""
        return f"SweepPlan({format_count(len(self.runs), 'run')}{stored}, {len(self.to_do)} to do)"

    def lines(self) -> list[str]:
        """The plan in words."""
        networks = len({configuration.network_id for configuration in self.runs.values()})
        repeated = self.requested - len(self.runs)
        verb = "is the same as another" if repeated == 1 else "are the same as others"
        same = f" ({repeated} more requested {verb})" if repeated else ""
        stored = f", {len(self.stored)} stored already ({report(Counter(self.stored.values()))})" if self.stored else ""
        lines = [f"{format_count(len(self.runs), 'run')} of {format_count(networks, 'network')}{same}{stored}"]
        lines += [
            f"{format_count(len(self.to_do), 'run')} to do, in {format_count(len(bundles(self.to_do)), 'bundle')}"
        ]
        return lines + self.remarks()

    def remarks(self) -> list[str]:
        """What holds for many runs and is said once."""
        own = [*self.close_values(), *self.other_versions, *self.of_files, *self.ineffective]
        return [*self.full_gradients(), *self.replaced_schemes, *own]

    def close_values(self) -> list[str]:
        """Values of one field that differ by rounding alone: other runs, and other rows of tables."""
        names: dict[tuple[float, float], str] = {}  # the first, of several columns for one field
        for name, values in find_numbers(self.runs.values()).items():
            for pair in pairwise(sorted(values)):
                if pair[1] - pair[0] <= CLOSE * abs(pair[1]):
                    names.setdefault(pair, name)
        said = "differ by rounding alone, and are different runs"
        return [f"{name}: {one!r} and {other!r} {said}" for (one, other), name in names.items()]

    def full_gradients(self) -> list[str]:
        """Truncations that cut nothing."""
        whole = [one for one in self.runs.values() if one.cuts_nothing]
        if not whole:
            return []
        cases = sorted({(one.scheme.truncation or 0, one.values.sequence_length) for one in whole})
        shown = ", ".join(f"{K} of {T} steps" for K, T in cases[:3]) + (", …" if len(cases) > 3 else "")
        return [
            "a truncation no shorter than the sequence is the full gradient: "
            f"{format_count(len(whole), 'run')} ({shown})"
        ]


def plan(
    configurations: Iterable[Mapping[str, Any]],
    options: Options,
    total: int | None = None,
    progress: bool | None = None,
) -> SweepPlan:
    """Types and checks every configuration before anything is computed, and looks up what is stored.

    Args:
        configurations: they are taken one by one, and not kept.
        total: how many they are, for the progress that is shown; None: not known.
        progress: as for `scheduler.sweep`.

    Raises:
        ConfigurationError: the first value that is wrong.
        CollisionError: two configurations have one run id.
        StoreError: the study cannot be read.
    """
    ignored: dict[str, str] = {}
    limited = limit_runs(configurations, options.max_runs)
    with closing(show_planning(limited, total, progress)) as counted:
        parsed = [
            run
            for configuration in settle_activations(counted, ignored)
            for run in Configuration.parse(add_results(configuration, options.results)).at_measured_updates()
        ]
    refuse_too_many(len(parsed), "the sweep, with the updates that it measures,", options.max_runs)
    if not parsed:
        raise ConfigurationError("the sweep asks for no run at all")
    runs = {configuration.run_id: configuration for configuration in parsed}
    store = options.store
    statuses = store.statuses()
    stored = {run_id: statuses[run_id] for run_id in runs if run_id in statuses}
    store.refuse_collisions({run_id: runs[run_id].canonical for run_id in stored})
    versions = tuple(plugin_versions.other_versions(runs, store))
    kept = {run_id for run_id, status in stored.items() if not (status == "failed" and options.retry == "failed")}
    to_do = tuple(run for run_id, run in runs.items() if run_id not in kept)
    files, of_files = tuple(named_files(parsed)), (*describe_ignored(ignored), *equal_files(parsed))
    remarks = tuple(replaced_schemes(parsed)), files, of_files, tuple(describe_ineffective(parsed))
    return SweepPlan(len(parsed), runs, stored, to_do, versions, *remarks)


def limit_runs(configurations: Iterable[Mapping[str, Any]], limit: int) -> Iterator[Mapping[str, Any]]:
    """The configurations, one by one; if there are too many, the error says how many."""
    following = iter(configurations)
    if isinstance(configurations, Sized):
        refuse_too_many(len(configurations), "the sweep", limit)
    yield from islice(following, limit)
    more = sum(1 for _ in islice(following, MOST_RUNS - limit + 1))
    if more:
        refuse_too_many(limit + more, "the sweep", limit)


def find_numbers(runs: Iterable[Configuration]) -> dict[str, set[float]]:
    """The finite floats of each column."""
    found: dict[str, set[float]] = {}
    groups: dict[int, tuple[str, Any]] = {}
    for run in runs:
        for name, value in run.scalars.items():
            add_number(found, name, value)
        groups |= {id(group): (name, group) for name, group in run.groups.items()}
    for name, group in groups.values():
        for column, value in group_of_run(name, group).columns.items():
            add_number(found, column, value)
    return found


def add_number(found: dict[str, set[float]], column: str, value: Any) -> None:
    if isinstance(value, float) and math.isfinite(value):
        found.setdefault(column, set()).add(value)


def replaced_schemes(configurations: Sequence[Configuration]) -> list[str]:
    """A line for the schemes that truncation=full replaces in every run, if there are any."""
    requested = dict.fromkeys(one.replaced_scheme for one in configurations)
    measured = {one.scheme.name for one in configurations}
    names = [name for name in requested if name is not None and name not in measured]
    return [f"truncation=full replaces scheme={','.join(names)}; add truncation=K"] if names else []


def bundles(configurations: Iterable[Configuration], workers: int = 0) -> list[Bundle]:
    """Runs that are computed together, the longest bundle first, so that no worker is left alone with it at the end.

    If there are too few bundles for the workers, bundles of several lengths are divided; this changes no number.
    """
    groups: dict[str, list[Configuration]] = {}
    for configuration in configurations:
        groups.setdefault(configuration.bundle_key, []).append(configuration)
    whole = [tuple(group) for group in groups.values()]
    while len(whole) < 2 * workers and (parts := [part for bundle in whole for part in halves(bundle)]) != whole:
        whole = parts
    return sorted(whole, key=lambda bundle: -max(map(work_of, bundle)))


def halves(bundle: Bundle) -> list[Bundle]:
    """Every other length of a bundle, and the rest; the bundle itself if it has only one."""
    lengths = sorted({configuration.values.sequence_length for configuration in bundle})
    parts = [{*lengths[::2]}, {*lengths[1::2]}]
    chosen = [tuple(one for one in bundle if one.values.sequence_length in part) for part in parts]
    return [part for part in chosen if part]


def work_of(configuration: Configuration) -> int:
    """About how long a run takes, against others: the products of J_t with W over all steps."""
    hidden_size = getattr(configuration.groups["cell"], "hidden_size", 1)
    return configuration.values.sequence_length * int(hidden_size) ** 2
