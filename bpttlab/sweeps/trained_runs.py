"""A training run of a sweep: one network that is trained once, and measured at some updates.

Each measured update is a run, as of a network that a monitor measures. The runs of one training are a bundle. All are
measured on the same sequences, those of a run without training. A network whose training ended early, solved, stays as
it is: runs of later updates are of the same weights, so that medians over networks have all of them. After a divergence
there are no results.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from bpttlab import resources, theory
from bpttlab.gradients.forward import forward
from bpttlab.measures.measure import Context, Result
from bpttlab.measures.recurrent_matrix import described_matrix
from bpttlab.measures.selection import join_results
from bpttlab.networks.cells.cell import Params
from bpttlab.networks.initializers import NoInitializer
from bpttlab.numerics.array import Array
from bpttlab.numerics.random_streams import stream
from bpttlab.store.column import MeasureColumns
from bpttlab.store.columns import TABLES_OF_TRAINING, TRAINED, TRAINING_GRADIENTS, TRAINING_TABLE, WEIGHTS_TABLE
from bpttlab.store.provenance import deciding_facts
from bpttlab.store.weights import weights_columns
from bpttlab.sweeps import theory_comparison
from bpttlab.sweeps.configuration import Configuration
from bpttlab.sweeps.identity_parts import group_of_run
from bpttlab.sweeps.interruption import Checkpoints, StoppedTraining
from bpttlab.sweeps.run import (
    RunRecords,
    add_lengths,
    build_network,
    draw_data,
    identify,
    initial_state,
    record_of_error,
    scheme_stream,
    without_results,
)
from bpttlab.tasks import Batch
from bpttlab.training.checkpoints import CheckpointFolder, list_folder
from bpttlab.training.history import History
from bpttlab.training.loop import Ongoing
from bpttlab.training.success import Evaluation
from bpttlab.training.train import Trained, run_updates
from bpttlab.training.update import Setup, TrainingState, make_setup

READOUT = ("U", "b_y")


def measure_trained(
    configurations: Sequence[Configuration], checkpoints: Checkpoints | None = None
) -> list[RunRecords]:
    """Trains a network once, and measures it at the update of each run.

    Args:
        configurations: of one bundle: they differ in the update alone.
        checkpoints: those of a study, and whether to stop; None: an interrupted training begins again.

    Raises:
        StoppedTraining: because of a signal, with a checkpoint from which the same bundle goes on.
    """
    setup, state = setup_of(configurations[0])
    found = MeasuredUpdates(setup, {update_of(one): one for one in configurations})
    folder = None if checkpoints is None else folder_of_training(configurations[0], checkpoints.folder)
    known = found.resume(folder) or Ongoing(state, state)

    def observe(known: Ongoing) -> None:
        if found.measure(known) and folder is not None:
            folder.keep(known)
        if folder is not None:
            folder.save_if_due(known)
        if folder is not None and checkpoints is not None and checkpoints.interrupted:
            folder.save_or_say(known)
            raise StoppedTraining

    trained = run_updates(setup, known, observe, progress=False, until=max(found.wanted))
    found.add_rest(known, trained)
    return [found.records[update_of(one)] for one in configurations]


def folder_of_training(configuration: Configuration, checkpoints: Path) -> CheckpointFolder:
    """The checkpoints of a training: by programs that would compute the same."""
    facts = deciding_facts(configuration.values.engine) or {"sources": hash_sources()}
    about = {"network_id": configuration.network_id, "programs": repr(sorted(facts.items()))}
    return CheckpointFolder(checkpoints / configuration.network_id, about)


@cache
def hash_sources() -> str:
    """SHA-256 of the package as it is: what a checkout with changes computes."""
    found = hashlib.sha256()
    for path in sorted(resources.PACKAGE.rglob("*.py")):
        found.update(str(path.relative_to(resources.PACKAGE)).encode() + path.read_bytes())
    return found.hexdigest()[:32]


def remove_checkpoints(configurations: Iterable[Configuration], stored: Collection[str], checkpoints: Path) -> None:
    """Deletes the checkpoints of the trainings whose runs are all stored; what cannot be deleted stays."""
    there = {path.name for path in list_folder(checkpoints)}
    runs: dict[str, list[str]] = {}
    for one in configurations:
        if one.training is not None and one.network_id in there:
            runs.setdefault(one.network_id, []).append(one.run_id)
    for network_id, run_ids in runs.items():
        if all(run_id in stored for run_id in run_ids):
            CheckpointFolder(checkpoints / network_id, {}).remove()


def update_of(configuration: Configuration) -> int:
    """After how many updates it is measured."""
    update = configuration.measured_update
    assert update is not None
    return update


def setup_of(configuration: Configuration) -> tuple[Setup, TrainingState]:
    """The parts of a training run, and its state before the first update."""
    values, (cell, params) = configuration.values, build_network(configuration)
    assert configuration.training is not None
    assert configuration.optimizer is not None
    return make_setup(
        cell,
        params,
        configuration.task,
        configuration.training,
        configuration.optimizer,
        configuration.scheme,
        values.seed,
        values.batch_size,
        values.reduction,
        values.engine,
        configuration.penalty,
        configuration.projection,
        frozen=READOUT if values.readout == "units" else (),
        input_scale=configuration.scales.x,
        state_scale=configuration.scales.h_0,
    )


@dataclass
class MeasuredUpdates:
    """The runs of a training, and what was measured of them so far.

    Attributes:
        setup: of the training.
        wanted: update -> its run.
        records: update -> its results.
    """

    setup: Setup
    wanted: Mapping[int, Configuration]
    records: dict[int, RunRecords] = field(default_factory=dict)
    measured: dict[int, Result | Exception] = field(default_factory=dict)

    def measure(self, known: Ongoing) -> bool:
        """Measures the network as it is now, if a run wants it; whether one does."""
        update = known.state.update
        if update in self.wanted:
            self.records[update] = self.record(self.wanted[update], known)
        return update in self.wanted

    def resume(self, folder: CheckpointFolder | None) -> Ongoing | None:
        """The last checkpoint, if there is one, with the runs of the updates before it measured again."""
        stored = None if folder is None else folder.find(set(self.wanted))
        if stored is None:
            return None
        known, measured = stored
        for one in measured:
            self.measure(one)
        return known

    def add_rest(self, known: Ongoing, trained: Trained) -> None:
        """The runs of updates that training did not reach, and the history with the last run."""
        for update, run in self.wanted.items():
            if update not in self.records:
                diverged = trained.status == "diverged"
                self.records[update] = self.diverged(run, known) if diverged else self.record(run, known)
        last = self.records.get(self.setup.settings.updates)
        if last is not None:
            last.tables = {**last.tables, **tables_of_history(known.history)}

    def diverged(self, run: Configuration, known: Ongoing) -> RunRecords:
        """The row of an update that training did not reach, because it diverged."""
        reason = f"training diverged at update {known.diverged_at}: {known.reason}"
        record = without_results(run, "diverged", reason, None)
        columns = scheme_of_training(run) | {
            "training_status": "diverged",
            "trained_updates": known.state.update,
            "solved_at": known.solved_at,
        }
        record.run = {**record.run, **columns}
        record.own = with_training(run.measure.own_columns)
        return record

    def record(self, run: Configuration, known: Ongoing) -> RunRecords:
        """The results of the network as it is; an error of a measure becomes a row with its reason."""
        found = self.results(run, known)
        if isinstance(found, Exception):
            record = record_of_error(run, found)
            record.run = {**record.run, **scheme_of_training(run)}
            record.own = with_training(run.measure.own_columns)
            return record
        row = identify(run, "done") | dict(found.summary) | self.describe_training(run, known)
        tables, columns = add_lengths(dict(found.tables), run.measure.own_columns, self.probe.lengths)
        tables[WEIGHTS_TABLE.name] = weights_columns(self.setup.layout.params(known.state.vector))
        return RunRecords(row, dict(found.provenance), tables, with_training(columns))

    def results(self, run: Configuration, known: Ongoing) -> Result | Exception:
        """What the measures give; of one state once, however many runs are of it."""
        update = known.state.update
        if update not in self.measured:
            self.measured = {}
            try:
                with np.errstate(over="ignore", invalid="ignore"):
                    self.measured[update] = self.measure_network(run, self.setup.layout.params(known.state.vector))
            except Exception as error:  # the other updates go on
                self.measured[update] = error
        return self.measured[update]

    @cached_property
    def probe(self) -> Batch:
        """The sequences that are measured, as the network receives them."""
        run = next(iter(self.wanted.values()))
        batch = draw_data(run)
        x = run.cell.extend_inputs(batch.x * run.scales.x, stream("noise", run.values.seed))
        return replace(batch, x=x)

    def measure_network(self, run: Configuration, params: Params) -> Result:
        """What the measures give of some weights, what W is and what theory says included."""
        batch, values = self.probe, run.values
        trace = forward(run.cell, params, batch.x, initial_state(run), values.engine, lengths=batch.lengths)
        batch = batch.prefix(trace.length)
        context = Context(trace, run.task.loss(trace.y_hat, batch, values.reduction), batch, run.measure.sampling)
        own = context.with_scheme(run.scheme, partial(scheme_stream, run))
        found = join_results([*run.measure.of_scheme(own), *run.measure.of_pass(context)])
        return found._replace(summary=describe_trained(run, params, found.summary))

    def describe_training(self, run: Configuration, known: Ongoing) -> dict[str, Any]:
        """The columns of TRAINED."""
        row, last = known.row, update_of(run) == self.setup.settings.updates
        loop = {} if row is None else {"training_loss": row.loss, "training_log_gradient_norm": row.log_gradient_norm}
        is_known = row is not None and row.validation_loss is not None
        checked = row.validation if row is not None and is_known else self.setup.check(known.state)
        columns = {
            **scheme_of_training(run),
            "training_status": "done" if known.solved_at is None else "solved",
            "trained_updates": known.state.update,
            "solved_at": known.solved_at,
            **loop,
            **columns_of("validation", checked),
        }
        tested = self.setup.test_batch if last else None
        return columns if tested is None else columns | columns_of("test", self.setup.evaluate(known.state, tested))


def scheme_of_training(run: Configuration) -> dict[str, Any]:
    """The columns SCHEME_OF_TRAINING."""
    fields = group_of_run("scheme", run.scheme).plain
    own = ", ".join(f"{name}={value}" for name, value in fields.items() if name != "name")
    scheme = f"{run.scheme.name}({own})" if own else run.scheme.name
    return {"training_scheme": scheme, "training_truncation": str(run.scheme.truncation or "full")}


def columns_of(part: str, found: Evaluation) -> dict[str, Any]:
    """The columns of `runs` with the loss and the errors of a part of the data."""
    return {f"{part}_loss": found.loss, f"{part}_accuracy": found.accuracy, f"{part}_error": found.sequence_error}


def describe_trained(run: Configuration, params: Params, measured: Mapping[str, Any]) -> dict[str, Any]:
    """Columns of `runs` about W as it is now, what was measured, and theory beside it.

    Theory of random matrices is about drawn ones, which they are before training alone.
    """
    columns = run.measure.matrix.describe(run.cell, params, run.initializer, run.values.engine)
    radius = {"log_origin_radius": theory.asymptote_rate(columns["origin_radius"])}
    drawn = run.initializer if run.measured_update == 0 else NoInitializer()
    plain = replace(run.without_training(), initializer=drawn)
    known = {**columns, **radius, **measured}
    compared = theory_comparison.ComparedNetwork(plain, described_matrix(run.cell, params), known)
    return {**columns, **measured, **theory_comparison.compare_columns(compared)}


def with_training(own: MeasureColumns) -> MeasureColumns:
    """The columns and tables of training beside those of a person's own measures."""
    return MeasureColumns((*own.tables, *TABLES_OF_TRAINING), (*TRAINED, *own.summary))


def tables_of_history(history: History) -> dict[str, dict[str, Array]]:
    """The rows of the tables `training` and `training_gradients`."""
    return {TRAINING_TABLE.name: history.columns(), TRAINING_GRADIENTS.name: history.gradient_columns()}
