"""One measured update of a training run as a run of a study: its configuration, its identity and its rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from bpttlab import theory
from bpttlab.errors import ConfigurationError, DivergedError, LabError
from bpttlab.fields import Plain
from bpttlab.gradients.forward import forward
from bpttlab.measures.bias_bounds import BiasBounds
from bpttlab.measures.gradient_bias import GradientBias
from bpttlab.measures.measure import Context, Measure, Result
from bpttlab.measures.recurrent_matrix import described_matrix
from bpttlab.measures.relevant_gradient import RelevantGradient
from bpttlab.measures.selection import Measures, join_results, result_of
from bpttlab.monitoring.probe import Probe, hash_arrays
from bpttlab.networks.adapters.adapter import Adapter
from bpttlab.networks.cells import Cell, Scales
from bpttlab.networks.initializers import NoInitializer
from bpttlab.networks.pretrained import Network
from bpttlab.store import identity, schema
from bpttlab.store.column import Column, MeasureColumns
from bpttlab.store.columns import MONITORED, UPDATE
from bpttlab.sweeps import theory_comparison
from bpttlab.sweeps.configuration import Configuration, Values
from bpttlab.sweeps.identity_parts import group_fields, group_of_run
from bpttlab.sweeps.run import RunRecords, add_lengths
from bpttlab.truncation.segmented import Full

OF_LOOP: tuple[Column, ...] = MONITORED[2:]
"""Columns of `runs` with what the training loop gives."""

UNKNOWN_CELL: Plain = {"name": "unknown"}


@dataclass(frozen=True)
class TrainingRun:
    """What all measured updates of a training run have in common.

    Attributes:
        label, seed: of the training run.
        probe: the sequences.
        measures: what is measured.
        engine: "numpy" or "numba".
    """

    label: str
    seed: int
    probe: Probe
    measures: Measures
    engine: str
    parts: Plain = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        chosen = {"task": self.probe, "scheme": Full(), "initializer": NoInitializer(), "scales": Scales()}
        groups = {
            name: group_of_run(name, value).plain for name, value in (chosen | {"measure": self.measures}).items()
        }
        object.__setattr__(self, "parts", groups)

    @property
    def network_id(self) -> str:
        """Of the training run, which is the unit of statistics."""
        return identity.run_id({"label": self.label, "seed": self.seed})

    @property
    def values(self) -> Values:
        """The values of a run that belong to no group."""
        length, batch_size = self.probe.batch.x.shape[:2]
        return Values(seed=self.seed, sequence_length=length, batch_size=batch_size, engine=self.engine)  # type: ignore[arg-type]

    def configure(self, update: int, weights: str | None, cell: Plain) -> Plain:
        """The configuration of a measured update."""
        values = {one.name: getattr(self.values, one.name) for one in fields(Values)}
        return {
            **values,
            **self.parts,
            "cell": cell,
            UPDATE: update,
            "network": {"label": self.label, "weights": weights},
        }

    def identify(self, update: int, weights: str | None, cell: Plain, status: str) -> dict[str, Any]:
        """The columns of `runs` that are known without a measurement."""
        text = identity.canonical(self.configure(update, weights, cell))
        described = schema.Described(text, schema.flatten(identity.parse_canonical(text)))
        run_id = identity.id_of(text)
        known = {"run_id": run_id, "network_id": self.network_id, "status": status, "configuration": described}
        return {**known, **described.columns}


def plain_cell(cell: Cell) -> Plain:
    """The cell's name and its fields, without the sizes that the probe and the readout decide; of a module of another
    library its name and its sizes."""
    if isinstance(cell, Adapter):
        module = getattr(cell.row_functions, "module", None)
        known = {} if module is None else {"module": type(module).__name__}
        return {"name": cell.name, "hidden_size": cell.hidden_size, "state_size": cell.state_size, **known}
    return group_fields(cell, ("input_size", "output_size"))


def measure_network(training: TrainingRun, network: Network) -> Result:
    """The rows and columns of `runs` that a network's measures fill, what W is and what theory says included.

    Raises:
        LabError: the probe does not fit the network, or a measure refuses it.
        DivergedError: the forward state overflowed.
    """
    probe = training.probe
    check_fit(probe, network.cell)
    training.measures.check(network.cell, probe.sequence_length)
    with np.errstate(over="ignore", invalid="ignore"):
        trace = forward(network.cell, network.params, probe.batch.x, None, training.engine, lengths=probe.lengths)
        context = Context(trace, probe.evaluate(trace.y_hat), probe.batch, training.measures.sampling)
        found = join_results([result_of(one, context) for one in training.measures.active if is_requested(one)])
    loss = {} if probe.has_targets else {"loss": None}  # of the states alone it says nothing
    return found._replace(summary={**describe_network_and_theory(training, network, found.summary), **loss})


def is_requested(measure: Measure) -> bool:
    """Whether a measure is not one of those that every run of a sweep has, about schemes and tasks."""
    return not isinstance(measure, GradientBias | BiasBounds | RelevantGradient)


def check_fit(probe: Probe, cell: Cell) -> None:
    """Refuses a probe of other sizes than the network has."""
    if cell.input_size != probe.input_size:
        raise ConfigurationError(f"probe: has I = {probe.input_size}, and the network takes {cell.input_size} inputs")
    is_classes = probe.batch.target.ndim == 2
    if probe.has_targets and not is_classes and probe.output_size != cell.output_size:
        raise ConfigurationError(
            f"targets: have O = {probe.output_size}, and the network gives {cell.output_size}: name the layer after "
            "it, readout=model.fc"
        )


def describe_network_and_theory(training: TrainingRun, network: Network, measured: Mapping[str, Any]) -> dict[str, Any]:
    """Columns of `runs` about W, what was measured, and theory beside it."""
    cell, params = network
    engine = "numpy" if isinstance(cell, Adapter) else training.engine  # for its W alone nothing would be compiled
    columns = training.measures.matrix.describe(cell, params, NoInitializer(), engine)
    configuration = Configuration(
        training.values, cell, training.probe, Full(), NoInitializer(), Scales(), training.measures
    )
    radius = {"log_origin_radius": theory.asymptote_rate(columns["origin_radius"])}
    known = {**columns, **radius, **measured}
    compared = theory_comparison.ComparedNetwork(configuration, described_matrix(cell, params), known)
    return {**columns, **measured, **theory_comparison.compare_columns(compared)}


def records_of_update(training: TrainingRun, update: int, network: Network, loop: Mapping[str, Any]) -> RunRecords:
    """The records of a measured update that is done.

    Args:
        loop: the columns OF_LOOP.
    """
    found = measure_network(training, network)
    weights = hash_arrays(dict(network.params))
    row = training.identify(update, weights, plain_cell(network.cell), "done")
    tables, own = add_lengths(dict(found.tables), own_columns(training), training.probe.lengths)
    return RunRecords(row | dict(found.summary) | dict(loop), {}, tables, own)


def records_of_failure(
    training: TrainingRun, update: int, cell: Plain, weights: str | None, loop: Mapping[str, Any], error: Exception
) -> RunRecords:
    """The records of an update that could not be measured: its row of `runs`, with the reason."""
    status = "diverged" if isinstance(error, DivergedError) else "failed"
    reason = str(error) if isinstance(error, LabError) else f"{type(error).__name__}: {error}"
    row = training.identify(update, weights, cell, status)
    about = {"error": reason, "first_bad_step": getattr(error, "step", None)}
    return RunRecords({**row, **about, **loop}, {}, {}, own_columns(training))


def own_columns(training: TrainingRun) -> MeasureColumns:
    """Columns beside those of this version: of the loop, and of a user's own measures."""
    own = training.measures.own_columns
    return MeasureColumns(own.tables, (*OF_LOOP, *own.summary))
