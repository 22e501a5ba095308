"""Configurations -> records: the results of a bundle of runs, in memory. It knows no files and no Hydra.

A bundle is a set of runs that differ only in the truncation. They share the network, the data, the forward pass and all
other measurements.
"""

from __future__ import annotations

import time
import traceback
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import lru_cache, partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from bpttlab import theory
from bpttlab.errors import ConfigurationError, DivergedError, LabError, LabWarning
from bpttlab.gradients.checkpointing import CheckpointedTrace, checkpointed_forward, fits, gibibytes
from bpttlab.gradients.forward import forward
from bpttlab.gradients.trace import Trace
from bpttlab.measures import checkpointed
from bpttlab.measures.measure import Columns, Context, Result
from bpttlab.measures.recurrent_matrix import RecurrentMatrix, described_matrix
from bpttlab.measures.selection import join_results
from bpttlab.networks.cells import Cell, Scales
from bpttlab.networks.cells.cell import Params
from bpttlab.networks.initializers import Initializer
from bpttlab.networks.pretrained import FromFile
from bpttlab.numerics.array import Array
from bpttlab.numerics.columnar import as_frame
from bpttlab.numerics.random_streams import stream
from bpttlab.plugins import use
from bpttlab.store.column import NO_COLUMNS, MeasureColumns
from bpttlab.store.columns import SEQUENCE_LENGTHS
from bpttlab.store.provenance import provenance
from bpttlab.sweeps import theory_comparison
from bpttlab.sweeps.compiled_loops import say_missing_once
from bpttlab.sweeps.configuration import Configuration
from bpttlab.sweeps.ineffective import describe_ineffective
from bpttlab.sweeps.interruption import Checkpoints
from bpttlab.tasks import Batch

if TYPE_CHECKING:
    import pandas as pd


@dataclass(repr=False)
class RunRecords:
    """All results of one run.

    Attributes:
        run: its row of the table `runs`.
        provenance: its row of the table `provenance`.
        tables: the other tables' rows, as columns without the run's id.
        own: the tables and columns of a user's own measures.
    """

    run: dict[str, Any]
    provenance: dict[str, Any] = field(default_factory=dict)
    tables: dict[str, Columns] = field(default_factory=dict)
    own: MeasureColumns = NO_COLUMNS

    def __repr__(self) -> str:
        rows = ", ".join(f"{table} {len(next(iter(columns.values()), ()))}" for table, columns in self.tables.items())
        return f"RunRecords({self.run.get('status')}, run_id {self.run.get('run_id')}, rows: {rows or 'none'})"

    def __getattr__(self, table: str) -> pd.DataFrame:
        """A table as a frame: `records.jacobians`."""
        tables = self.__dict__.get("tables", {})  # an object that is being unpickled has none yet
        if table not in tables:
            raise AttributeError(f"no table {table!r}; there are {', '.join(tables)}")
        return as_frame(tables[table])


def run(
    configuration: Configuration | Mapping[str, Any], memory_limit: float | None = None, plugins: Any = None
) -> RunRecords:
    """Measure one point in this process, for notebooks and debuggers: what goes wrong is raised.

    Args:
        configuration: a `Configuration`, or a plain mapping for `Configuration.parse`.
        memory_limit: GiB that it should take (`measure`).
        plugins: files, modules or classes of your own whose names may be used (`plugins.use`).
    """
    memory_limit = None if memory_limit is None else gibibytes(memory_limit)
    with use(plugins):
        if not isinstance(configuration, Configuration):
            configuration = Configuration.parse(configuration)
            for remark in describe_ineffective([configuration]):
                warnings.warn(remark, LabWarning, stacklevel=2)
        if configuration.values.engine == "numba":
            say_missing_once(configuration.cell, configuration.values.dtype)
        return measure([configuration], memory_limit)[0]


Passes = Mapping[str, Result]
"""pass_key -> what does not depend on the scheme: the rows, and the columns of `runs`."""

NO_PASSES: Passes = MappingProxyType({})


def measure_bundle(
    configurations: Sequence[Configuration],
    memory_limit: float | None = None,
    known: Passes = NO_PASSES,
    checkpoints: Checkpoints | None = None,
) -> list[RunRecords]:
    """Measures runs that share a `bundle_key`; an error becomes a row with its reason, never an exception.

    A forward overflow is a diverged run with its step; any other error is a failed run. In a bundle of several lengths
    each length is then tried alone, because a shorter sequence may end before the step of the error.
    """
    begun, started = time.perf_counter(), now()
    try:
        with np.errstate(over="ignore", invalid="ignore"):  # the row tells what leaves the range of a float
            records = measure(configurations, memory_limit, known, checkpoints)
    except Exception as error:  # a bug of ours or of a library must not take the other runs with it
        lengths = by_length(configurations)
        if len(lengths) > 1:
            each = [one for runs in lengths.values() for one in measure_bundle(runs, memory_limit, known)]
            found = {one.run["run_id"]: one for one in each}
            return [found[configuration.run_id] for configuration in configurations]
        records = [record_of_error(configuration, error) for configuration in configurations]
    seconds = (time.perf_counter() - begun) / len(records)
    for configuration, record in zip(configurations, records, strict=True):
        labels = list(dict.fromkeys(source.label for _, source in configuration.sources))
        facts = provenance(seconds, started, plugins=labels, engine=configuration.values.engine)
        record.provenance = facts | record.provenance
    return records


def record_of_error(configuration: Configuration, error: Exception) -> RunRecords:
    """The row of a run that ended in an error."""
    if isinstance(error, DivergedError):
        return without_results(configuration, "diverged", str(error), error.step)
    if isinstance(error, LabError):
        return without_results(configuration, "failed", str(error), getattr(error, "step", None))
    where = traceback.extract_tb(error.__traceback__)[-1]
    reason = f"{type(error).__name__}: {error} ({where.name}, line {where.lineno})"
    return without_results(configuration, "failed", reason, None)


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


# ---------------------------------------------------------------------------------------------------- building


def build_network(configuration: Configuration) -> tuple[Cell, Params]:
    """The cell and its weights: decided by seed, cell, initializer, scales, readout and dtype, by nothing else."""
    values, cell, own = configuration.values, configuration.cell, configuration.own
    scales = of_weights(configuration.scales)
    drawn = network_weights(cell, configuration.initializer, scales, values.seed, values.dtype, own)
    params = {name: array.copy() for name, array in drawn.items()}  # what is held for others is nobody's to change
    return cell, params | (units_as_readout(cell, values.dtype) if values.readout == "units" else {})


def of_weights(scales: Scales) -> Scales:
    """Those of them that weights are drawn with; a bundle's network is drawn once for all that needs it."""
    return replace(scales, x=1.0, h_0=0.0)


def units_as_readout(cell: Cell, dtype: str) -> Params:
    """U = [I 0] and b_y = 0: what is predicted is f_y of the first units."""
    return {"U": np.eye(cell.output_size, cell.hidden_size, dtype=dtype), "b_y": np.zeros(cell.output_size, dtype)}


@lru_cache(maxsize=1)
def network_weights(
    cell: Cell, initializer: Initializer, scales: Scales, seed: int, dtype: str, own: FromFile | None = None
) -> Params:
    """Every parameter has a stream of its own, and that of W does not depend on its scale.

    So along a sweep of spectral radii the networks of one seed differ by a factor. The weights of a user's network come
    from their file, and are drawn only as far as the file lacks them.
    """
    rng = stream("network", seed, cell.name, cell.hidden_size)
    if own is not None:
        return own.network_weights(cell, rng, scales, dtype)
    return cell.init(rng, initializer, scales=scales, dtype=dtype)


def draw_data(configuration: Configuration) -> Batch:
    """The sequences that are measured."""
    values, task = configuration.values, configuration.task
    return task.sample(stream("data", values.seed, task.name), values.batch_size)


def run_network(configuration: Configuration, checkpoints: bool = False) -> tuple[Trace | CheckpointedTrace, Batch]:
    """Forward pass of a configuration, with all states or some, and the data with its targets."""
    values, (cell, params) = configuration.values, build_network(configuration)
    batch = draw_data(configuration)
    x, h_0 = batch.x * configuration.scales.x, initial_state(configuration)
    x = cell.extend_inputs(x, stream("noise", values.seed))
    if checkpoints and batch.lengths is None:
        return checkpointed_forward(cell, params, x, h_0, values.engine), batch
    return forward(cell, params, x, h_0, values.engine, lengths=batch.lengths), batch


def keeps_checkpoints(configurations: Sequence[Configuration], memory_limit: float | None) -> bool:
    """Whether the states of the longest run would not fit into so many GiB, and nothing that is requested needs all."""
    if memory_limit is None or not all(checkpointed.suffices(one.measure, one.scheme) for one in configurations):
        return False
    longest = max(configurations, key=_length_of)
    length, values = longest.values.sequence_length, longest.values
    return not fits(memory_limit, longest.cell, length, values.batch_size, values.dtype)


def initial_state(configuration: Configuration) -> Array:
    """h_0 of every sequence, (B, N): N(0, scales.h_0^2) where the cell takes it, from a stream of its own."""
    values, shape = configuration.values, (configuration.values.batch_size, configuration.cell.state_size)
    if configuration.scales.h_0 == 0:
        return np.zeros(shape)
    drawn = configuration.scales.h_0 * stream("initial state", values.seed).standard_normal(shape)
    return configuration.cell.initial_states(drawn)


# ------------------------------------------------------------------------------------------ measuring


def measure(
    configurations: Sequence[Configuration],
    memory_limit: float | None = None,
    known: Passes = NO_PASSES,
    checkpoints: Checkpoints | None = None,
) -> list[RunRecords]:
    """Measure a bundle: one forward pass over its longest sequence, of which the shorter ones are the beginning.

    Args:
        memory_limit: GiB into which it should fit. Where it would not, and only gradients are requested, few states are
            kept (`checkpointing`), which changes no number; nothing else holds to it, nor do sequences of different
            length, which keep all states.
        known: what is known of the forward passes of some lengths, and is not computed again.
        checkpoints: what trainings need to stop, and to go on later.

    Raises:
        ConfigurationError: the runs do not belong together.
        DivergedError: the forward state overflowed.
    """
    if len({configuration.bundle_key for configuration in configurations}) > 1:
        raise ConfigurationError("a bundle's runs may differ in scheme and truncation, and in a length that is shared")
    if configurations and configurations[0].training is not None:
        from bpttlab.sweeps.trained_runs import measure_trained  # which is made of the functions of this module

        return measure_trained(configurations, checkpoints)
    few_states = keeps_checkpoints(configurations, memory_limit)
    trace, batch = run_network(max(configurations, key=_length_of), few_states)
    records: dict[str, RunRecords] = {}
    for length, runs in by_length(configurations).items():
        part, data = trace.prefix(length), batch.prefix(length)
        if isinstance(part, CheckpointedTrace):
            records |= measure_checkpointed(runs, part, data)
        else:
            records |= measure_length(runs, part, data, known.get(runs[0].pass_key) if known else None)
    return [records[configuration.run_id] for configuration in configurations]


def _length_of(configuration: Configuration) -> int:
    return configuration.values.sequence_length


def by_length(configurations: Sequence[Configuration]) -> dict[int, list[Configuration]]:
    """The runs of each length."""
    lengths: dict[int, list[Configuration]] = {}
    for configuration in configurations:
        lengths.setdefault(_length_of(configuration), []).append(configuration)
    return lengths


def measure_length(
    configurations: Sequence[Configuration], trace: Trace, batch: Batch, known: Result | None = None
) -> dict[str, RunRecords]:
    """Measure runs that differ in the truncation only, by run id; `known` is what `measure_pass` would give."""
    first = configurations[0]
    loss = first.task.loss(trace.y_hat, batch, first.values.reduction)
    context = Context(trace, loss, batch, first.measure.sampling)
    of_pass = known or measure_pass(first, context)
    records = {}
    for configuration in configurations:
        own = context.with_scheme(configuration.scheme, partial(scheme_stream, configuration))
        found = join_results([*first.measure.of_scheme(own), of_pass])
        records[configuration.run_id] = _finish(configuration, found, trace.lengths if trace.padded else None)
    return records


def measure_pass(configuration: Configuration, context: Context) -> Result:
    """All that runs which differ in the truncation only have in common, what W is and what theory says included."""
    found = join_results(configuration.measure.of_pass(context))
    return found._replace(summary=describe_pass(configuration, found.summary))


def describe_pass(configuration: Configuration, measured: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of `runs` that runs which differ in the truncation only have in common."""
    return {**describe_network(configuration).columns, **measured, **compare_theory(configuration, measured)}


def measure_checkpointed(
    configurations: Sequence[Configuration], trace: CheckpointedTrace, batch: Batch
) -> dict[str, RunRecords]:
    """`measure_length` of runs that request nothing that needs every state."""
    first = configurations[0]
    loss = first.task.loss(trace.y_hat, batch, first.values.reduction)
    found = checkpointed.measure_blocks(first.measure, trace, loss, batch.relevant_step)
    found = found._replace(summary={**describe_pass(first, {}), **found.summary})
    return {one.run_id: _finish(one, found) for one in configurations}


def _finish(configuration: Configuration, found: Result, lengths: Array | None = None) -> RunRecords:
    """The records of a run that is done; `lengths` of its sequences, where they differ."""
    run = identify(configuration, "done") | dict(found.summary)
    tables, own = add_lengths(dict(found.tables), configuration.measure.own_columns, lengths)
    return RunRecords(run, dict(found.provenance), tables, own)


def add_lengths(
    tables: dict[str, Columns], own: MeasureColumns, lengths: Array | None
) -> tuple[dict[str, Columns], MeasureColumns]:
    """The tables of a run and what they are beside those of this version, with the lengths of its sequences, if any."""
    if lengths is None:
        return tables, own
    rows = {"sequence": np.arange(len(lengths)), "length": lengths}
    return {**tables, SEQUENCE_LENGTHS.name: rows}, MeasureColumns((*own.tables, SEQUENCE_LENGTHS), own.summary)


def scheme_stream(configuration: Configuration) -> np.random.Generator:
    """What random cuts and signs are drawn from: the same for every truncation."""
    return stream("scheme", configuration.values.seed, configuration.scheme.name)


def compare_theory(configuration: Configuration, measured: Mapping[str, Any]) -> dict[str, Any]:
    """What theory says of a run, and how far off that is of what was measured."""
    network = describe_network(configuration)
    radius = {"log_origin_radius": theory.asymptote_rate(network.columns["origin_radius"])}
    known = {**network.columns, **radius, **measured}
    return theory_comparison.compare_columns(theory_comparison.ComparedNetwork(configuration, network.W, known))


def describe_run(configuration: Configuration, status: str) -> dict[str, Any]:
    """The columns of `runs` that are known before the forward pass."""
    return identify(configuration, status) | describe_network(configuration).columns


def identify(configuration: Configuration, status: str) -> dict[str, Any]:
    """The columns of `runs` that are known before anything is drawn."""
    text = configuration.described
    return {
        "run_id": configuration.run_id,
        "network_id": configuration.network_id,
        "status": status,
        **text.columns,
        "configuration": text,
    }


class DescribedNetwork(NamedTuple):
    """W, (N, N) float64, and the columns of `runs` that say what it is."""

    W: Array
    columns: dict[str, Any]


def describe_network(configuration: Configuration) -> DescribedNetwork:
    """W measured, what was requested of it and what was got."""
    return describe_weights(
        configuration.cell,
        configuration.initializer,
        of_weights(configuration.scales),
        configuration.values.seed,
        configuration.values.dtype,
        configuration.measure.matrix,
        configuration.own,
        configuration.values.engine,
    )


@lru_cache(maxsize=64)
def describe_weights(
    cell: Cell,
    initializer: Initializer,
    scales: Scales,
    seed: int,
    dtype: str,
    matrix: RecurrentMatrix,
    own: FromFile | None,
    engine: str,
) -> DescribedNetwork:
    """`describe_network`, once for each network: its runs come one after another."""
    params = network_weights(cell, initializer, scales, seed, dtype, own)
    return DescribedNetwork(described_matrix(cell, params), matrix.describe(cell, params, initializer, engine))


def without_results(configuration: Configuration, status: str, error: str, step: int | None) -> RunRecords:
    """The row of a run that did not finish."""
    try:
        row = describe_run(configuration, status) | compare_theory(configuration, {})
    except Exception:  # drawing W itself may have failed; the run's own reason is reported
        row = identify(configuration, status)
    return RunRecords({**row, "error": error, "first_bad_step": step})
