"""The measures of a run: which there are, how their settings form the group `measure`, and what they make together.

The settings of the shipped measures are the fields of the group, flat: `measure.exponents=all`. Each field is declared
by one class. A measure of a user's own is an entry of the group under its name, `measure.hidden_mean.every=2`, so
that runs without it are the same runs as ever.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cache
from typing import Any, TypeVar

import numpy as np

from bpttlab import plugins
from bpttlab.errors import ConfigurationError, SchemaError
from bpttlab.fields import Plain
from bpttlab.measures.lengths import measure_lengths
from bpttlab.measures.measure import Columns, Context, Measure, Result, Sampling
from bpttlab.measures.recurrent_matrix import RecurrentMatrix
from bpttlab.networks.cells import Cell
from bpttlab.numerics.columnar import concatenate
from bpttlab.store.column import MeasureColumns, Table
from bpttlab.store.columns import SEQUENCE_LENGTHS
from bpttlab.truncation.scheme import Scheme

MeasureType = TypeVar("MeasureType", bound=Measure)


@cache
def shipped_measures() -> tuple[type[Measure], ...]:
    """The classes that come with bpttlab, by name."""
    known = plugins.find_shipped("measure")
    return tuple(known[name] for name in sorted(known))


def declaring_classes() -> tuple[Any, ...]:
    """The classes whose fields are the group `measure`, in the order of its files."""
    return (Sampling, *shipped_measures(), RecurrentMatrix)


@cache
def settings() -> dict[str, type]:
    """Field of the group `measure` -> the class that declares it.

    Raises:
        ConfigurationError: two classes declare one field.
    """
    declared: dict[str, type] = {}
    for kind in declaring_classes():
        for one in fields(kind):
            if one.name in declared:
                both = f"{declared[one.name].__name__} and {kind.__name__}"
                raise ConfigurationError(f"measure.{one.name}: {both} declare it; one may")
            declared[one.name] = kind
    return declared


@dataclass(frozen=True)
class Measures:
    """The group `measure` of a run.

    Attributes:
        sampling: settings that measures share.
        matrix: what is recorded of W.
        shipped: one of each class that comes with bpttlab, whether it is active or not.
        own: measures of a user's own, in the order of their names.
    """

    sampling: Sampling
    matrix: RecurrentMatrix
    shipped: tuple[Measure, ...]
    own: tuple[Measure, ...] = ()

    @classmethod
    def of(cls, *chosen: Sampling | RecurrentMatrix | Measure) -> Measures:
        """These, and every other shipped one with its default settings: `Measures.of(Sampling(lags=8), LagTerms())`."""
        given: dict[type, Any] = {type(one): one for one in chosen}
        shared = given.pop(Sampling, Sampling()), given.pop(RecurrentMatrix, RecurrentMatrix())
        shipped = tuple(given.pop(kind, None) or kind() for kind in shipped_measures())
        own = tuple(sorted(given.values(), key=_by_name))
        check_distinct(own)
        return cls(*shared, shipped, own)

    @property
    def active(self) -> list[Measure]:
        """The measures whose settings request a result."""
        return [measure for measure in (*self.shipped, *self.own) if measure.active]

    def get(self, kind: type[MeasureType]) -> MeasureType:
        """The measure of a class."""
        return next(one for one in (*self.shipped, *self.own) if isinstance(one, kind))

    @property
    def plain(self) -> Plain:
        """The group as it is stored and hashed."""
        flat = [asdict(one) for one in (self.sampling, *self.shipped, self.matrix)]  # type: ignore[call-overload]
        named = {measure.name: asdict(measure) for measure in self.own}  # type: ignore[call-overload]
        return {name: value for one in flat for name, value in one.items()} | named

    def rows(self, cell: Cell, length: int, scheme: Scheme) -> dict[str, int]:
        """Rows of each table that one run has at most; `runs` and `provenance` have one each."""
        total: dict[str, int] = {}
        for measure in self.active:
            if measure.applies_to(scheme):
                for table, number in measure.rows(cell, length, self.sampling).items():
                    total[table] = total.get(table, 0) + number
        return total

    def check(self, cell: Cell, length: int) -> None:
        """Refuses what cannot be measured of this cell, or would have too many rows in a run of this length.

        Raises:
            ConfigurationError: naming the field, its value and what is allowed.
        """
        for measure in self.active:
            measure.check_rows(cell, length, self.sampling)
        for measure in self.active:
            measure.check(cell, length)

    def need_states(self, scheme: Scheme) -> bool:
        """Whether one of them needs h_t of every t in a run of this scheme."""
        return any(measure.needs_states and measure.applies_to(scheme) for measure in self.active)

    def of_pass(self, context: Context) -> list[Result]:
        """The part of the results that is common to runs that differ only in scheme and truncation."""
        return [result_of(measure, context) for measure in self._chosen(depends_on_scheme=False)]

    def of_scheme(self, context: Context) -> list[Result]:
        """The part of the results that depends on the scheme of one run."""
        chosen = self._chosen(depends_on_scheme=True)
        return [result_of(measure, context) for measure in chosen if measure.applies_to(context.scheme)]

    def _chosen(self, depends_on_scheme: bool) -> list[Measure]:
        return [measure for measure in self.active if measure.depends_on_scheme == depends_on_scheme]

    @property
    def columns_of_scheme(self) -> set[str]:
        """The columns of `runs` that differ between runs of one forward pass."""
        return {column.name for measure in self._chosen(depends_on_scheme=True) for column in measure.summary}

    @property
    def tables_of_pass(self) -> dict[str, str | None]:
        """The tables whose rows are common to the runs of one forward pass; where not all are, the word in the column
        `origin` of those that are."""
        divided = {table.name for measure in self._chosen(depends_on_scheme=True) for table in measure.tables}
        return {
            table.name: measure.origins[table.name] if table.name in divided else None
            for measure in self._chosen(depends_on_scheme=False)
            for table in measure.tables
        }

    @property
    def own_columns(self) -> MeasureColumns:
        """The tables and the columns of `runs` of the measures that do not come with bpttlab."""
        tables = tuple(table for measure in self.own for table in measure.tables)
        return MeasureColumns(tables, tuple(column for measure in self.own for column in measure.summary))


def result_of(measure: Measure, context: Context) -> Result:
    """The result of a measure; of one that does not come with bpttlab, checked.

    Raises:
        SchemaError: it is no Result, has two rows of one key, or more rows than `rows` allows; the message names the
            class, the table and the key.
    """
    result = measure_lengths(measure, context)
    if measure.path() == "measure":
        return result
    called = type(measure).__name__
    if not isinstance(result, Result):
        kind = "None" if result is None else f"a {type(result).__name__}"
        raise SchemaError(f"{called} returns {kind}: must be a Result, such as Result({{'table': columns}})")
    most = measure.rows(context.trace.cell, context.trace.length, context.sampling)
    for table in measure.tables:
        check_rows_of_result(called, table, result.tables.get(table.name, {}), most.get(table.name))
    return result


def check_rows_of_result(called: str, table: Table, columns: Mapping[str, Any], most: int | None) -> None:
    """Refuses two rows of one key, and more rows than a measure says that it has."""
    number = max((len(values) for values in columns.values()), default=0)
    if most is not None and number > most:
        raise SchemaError(f"{called}: table '{table.name}' has {number} rows; its method rows allows {most}")
    keys = [np.asarray(columns[name]).tolist() for name in table.keys if name in columns]
    seen: set[tuple[Any, ...]] = set()
    for key in zip(*keys, strict=False):
        if key in seen:
            shown = ", ".join(f"{name}={value!r}" for name, value in zip(table.keys, key, strict=False))
            raise SchemaError(f"{called}: table '{table.name}' has two rows with {shown}; the key must be unique")
        seen.add(key)


def check_distinct(measures: Iterable[Measure]) -> None:
    """Refuses two measures that fill one table or one column of `runs`, and a table of a run's own.

    Raises:
        ConfigurationError: naming both measures.
    """
    filled: dict[tuple[str, str], str] = {}
    for measure in measures:
        tables = [("table", table.name) for table in measure.tables]
        if ("table", SEQUENCE_LENGTHS.name) in tables:
            raise ConfigurationError(
                f"measure.{measure.name}: bpttlab fills the table '{SEQUENCE_LENGTHS.name}'; must be another name"
            )
        for what in (*tables, *(("column of runs", column.name) for column in measure.summary)):
            if what in filled:
                both = f"measure.{filled[what]} and measure.{measure.name}"
                raise ConfigurationError(f"{both}: both fill the {what[0]} '{what[1]}'; must be one of them")
            filled[what] = measure.name


def _by_name(measure: Measure) -> str:
    return measure.name


def join_results(results: Iterable[Result]) -> Result:
    """Results of several measures as one; rows of one table stand one after another, in the order given."""
    parts: dict[str, list[Columns]] = {}
    summary: Plain = {}
    provenance: Plain = {}
    for result in results:
        summary |= result.summary
        provenance |= result.provenance
        for table, columns in result.tables.items():
            parts.setdefault(table, []).append(columns)
    return Result({table: join_rows(columns) for table, columns in parts.items()}, summary, provenance)


def join_rows(parts: Sequence[Mapping[str, Any]]) -> Columns:
    return dict(parts[0]) if len(parts) == 1 else concatenate([dict(part) for part in parts])
