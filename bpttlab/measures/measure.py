"""The contract of a measure: one quantity of a run, with its settings, its columns, its number of rows and how it is
computed.

    HIDDEN_MEAN = Table("hidden_mean", "run and t: the mean of the hidden units", ("t",), (
        Column("t", "int64", "step", "from 1", required=True),
        Column("mean", "float64", "", "over units and sequences"),
    ))

    @dataclass(frozen=True)
    class HiddenMean(Measure):
        name = "hidden_mean"
        tables = (HIDDEN_MEAN,)
        every: Annotated[int, Field(ge=1, description="steps from one row to the next")] = 1

        def rows(self, cell, length, sampling):
            return {"hidden_mean": -(-length // self.every)}

        def __call__(self, context):
            h = context.trace.h[1 :: self.every]
            t = 1 + self.every * np.arange(len(h))
            return Result({"hidden_mean": {"t": t, "mean": h.mean(axis=(1, 2))}})
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, NamedTuple, TypeVar

import numpy as np

from bpttlab.errors import ConfigurationError
from bpttlab.fields import Field, settle_fields
from bpttlab.gradients.engine import Cotangents
from bpttlab.gradients.inputs import check_errors
from bpttlab.gradients.plan import full_plan
from bpttlab.gradients.scaled_gradients import scaled_gradients
from bpttlab.gradients.trace import Trace
from bpttlab.networks.cells.cell import Cell, Params
from bpttlab.networks.losses import Loss
from bpttlab.numerics.array import Array
from bpttlab.numerics.log_spacing import log_spacing
from bpttlab.numerics.scaled import Gradients, Scaled
from bpttlab.store.column import Column, Table
from bpttlab.truncation.scheme import Scheme
from bpttlab.truncation.segmented import Full

if TYPE_CHECKING:
    from bpttlab.tasks import Batch

Columns = dict[str, Array]
Value = TypeVar("Value")


@dataclass(frozen=True)
class Sampling:
    """How much of a run is looked at: settings that several measures share.

    Attributes:
        sequences: how many sequences of the batch, from the first, have their Jacobians measured.
        lags: how many lags "log" stands for.
        row_budget: rows that one run may have in one table.
    """

    sequences: Annotated[
        int, Field(ge=1, description="sequences of the batch, from the first, whose Jacobians are measured")
    ] = 2
    lags: Annotated[int, Field(ge=3, description="how many lags `log` stands for")] = 24
    row_budget: Annotated[int, Field(ge=1, description="rows that one run may have in one table")] = 100_000

    def __post_init__(self) -> None:
        settle_fields(self, "measure.{}")


class Result(NamedTuple):
    """The result of a measure.

    Attributes:
        tables: rows by table, as columns without run_id; a column that is left out is missing in every row.
        summary: columns of `runs`.
        provenance: columns of `provenance`.
    """

    tables: Mapping[str, Columns] = {}
    summary: Mapping[str, Any] = {}
    provenance: Mapping[str, Any] = {}


@dataclass(frozen=True)
class Context:
    """The argument of a measure: one forward pass with its loss, and quantities that all measures share.

    Attributes:
        trace: the forward pass; T steps, B sequences.
        loss: the loss of the batch, with dL/dy_hat.
        batch: the data; None where there is a trace alone.
        sampling: settings that measures share.
        scheme: the truncation scheme of the run; the full gradient for measures that do not depend on it.
        stream: returns a new Generator, the same for every truncation; None where nothing may be drawn.
        longest: steps of the longest sequence that is measured, where that is another than T.
    """

    trace: Trace
    loss: Loss | Array
    batch: Batch | None = None
    sampling: Sampling = Sampling()
    scheme: Scheme = field(default_factory=Full)
    stream: Callable[[], np.random.Generator] | None = None
    longest: int = 0
    known: dict[Hashable, Any] = field(default_factory=dict, repr=False, compare=False)

    def with_scheme(self, scheme: Scheme, stream: Callable[[], np.random.Generator] | None = None) -> Context:
        """The same pass for a run of another scheme; what has been computed of it is kept."""
        return replace(self, scheme=scheme, stream=stream)

    def once(self, key: Hashable, compute: Callable[[], Value]) -> Value:
        """compute(), remembered for the other measures and for the other runs of this pass."""
        if key not in self.known:
            self.known[key] = compute()
        value: Value = self.known[key]
        return value

    def space_steps(self, count: int) -> list[int]:
        """So many numbers from 0 to T, spaced evenly in their logarithm.

        Where sequences differ in length they are those of the longest, so that sequences have the lags of a table in
        common. A shorter one has those before its T, and T.
        """
        T = self.trace.length
        return [*(int(step) for step in log_spacing(max(T, self.longest), count) if step < T), T]

    @property
    def errors(self) -> Array:
        """dL/dy_hat, (T, B, O)."""
        return self.once("errors", lambda: check_errors(self.trace, self.loss))

    @property
    def state_errors(self) -> Scaled:
        """dL_t/dh_t, the derivative of the loss at t alone, (T, B, N)."""
        return self.once("state_errors", lambda: self.trace.scaled_error(self.errors))

    @property
    def cotangents(self) -> Cotangents:
        """The cotangents of the backward walk without truncation, scaled."""
        return self.once("cotangents", lambda: self.trace.walk(self.state_errors, full_plan(self.trace.length)))

    @property
    def gradient(self) -> Gradients:
        """The full gradient of every parameter and of h_0, scaled."""
        return self.once("gradient", lambda: scaled_gradients(self.trace, self.errors, self.cotangents))


class Measure(ABC):
    """One quantity of a run; subclasses are frozen dataclasses whose fields are the settings.

    Attributes:
        name: by which a configuration chooses it.
        tables: the tables that it fills.
        summary: the columns of `runs` that it fills.
        depends_on_scheme: whether it is computed for each run of a bundle, not once for the forward pass they share.
            If not, a run of another truncation that is added later copies its rows and columns from a stored run.
        origins: by table that several measures fill, the word in its column `origin` that marks the rows of this one.
        needs_states: whether it needs h_t of every t; if no measure does, a long sequence is checkpointed.
        ends_with_sequences: whether its rows are about single sequences, from the beginning or from the end of each. If
            so, it receives a trace without padding for each length that a batch has; otherwise `trace.lengths` says
            where each sequence ends.
        together: columns of `runs` that describe one another. Where sequences differ in length, they are those of the
            sequence that has the median of the first of them.
        row_settings: by table, the settings to change where a run would have too many rows of it.
    """

    name: ClassVar[str]
    tables: ClassVar[tuple[Table, ...]] = ()
    summary: ClassVar[tuple[Column, ...]] = ()
    depends_on_scheme: ClassVar[bool] = False
    origins: ClassVar[Mapping[str, str]] = {}
    needs_states: ClassVar[bool] = True
    ends_with_sequences: ClassVar[bool] = False
    together: ClassVar[tuple[tuple[str, ...], ...]] = ()
    row_settings: ClassVar[Mapping[str, tuple[str, ...]]] = {}

    def __post_init__(self) -> None:
        settle_fields(self, f"{self.path()}.{{}}")

    @classmethod
    def path(cls) -> str:
        """Where its settings are in a configuration: those of shipped measures are fields of the group itself."""
        shipped = cls.__module__.startswith("bpttlab.measures.")
        return "measure" if shipped else f"measure.{cls.name}"

    @property
    def active(self) -> bool:
        """Whether its settings request anything."""
        return True

    def applies_to(self, scheme: Scheme) -> bool:
        """Whether it is defined for runs of this scheme."""
        return True

    def check(self, cell: Cell, length: int) -> None:  # noqa: B027  # nothing is refused by default
        """Refuses settings that this cell, or a run of this length, cannot have.

        Raises:
            ConfigurationError: naming the field, its value and what is allowed.
        """

    def rows(self, cell: Cell, length: int, sampling: Sampling) -> dict[str, int]:
        """Rows of each of its tables that one run of this length has at most."""
        return {}

    @abstractmethod
    def __call__(self, context: Context) -> Result:
        """Rows of its tables and columns of `runs`."""

    def check_rows(self, cell: Cell, length: int, sampling: Sampling) -> None:
        """Refuses more rows than the budget.

        Raises:
            ConfigurationError: naming the settings to change.
        """
        own = tuple(f"{self.path()}.{one.name}" for one in fields(self))  # type: ignore[arg-type]  # a dataclass
        for table, number in self.rows(cell, length, sampling).items():
            settings = self.row_settings.get(table, () if self.path() == "measure" else own)
            if number > sampling.row_budget and settings:
                raise ConfigurationError(
                    f"measure.row_budget={sampling.row_budget}: a run of sequence_length={length} would have {number} "
                    f"rows of '{table}'; choose less in {', '.join(settings)}, or set measure.row_budget={number}"
                )


def zero_parameters(cell: Cell) -> Params:
    """Parameters of the right shapes, for what depends on shapes alone."""
    return {name: np.zeros(shape) for name, shape in cell.shapes().items()}
