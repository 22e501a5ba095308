"""What a column and a table are. No library is imported for them: the engine declares its columns with these, too."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import pyarrow as pa

DTYPES = ("string", "int64", "float64", "bool")
"""The types that a column can have."""


def arrow() -> Any:
    """pyarrow, imported when a file is read or written, not before."""
    import pyarrow

    return pyarrow


def arrow_type(dtype: str) -> pa.DataType:
    """The type of a column in a file."""
    return getattr(arrow(), "bool_" if dtype == "bool" else dtype)()


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        dtype: string, int64, float64 or bool.
        unit: "" where the quantity has none.
        required: whether a missing value is refused.
    """

    name: str
    dtype: str
    unit: str
    meaning: str
    required: bool = False

    @property
    def arrow_field(self) -> pa.Field:
        """Name and type in a file."""
        return arrow().field(self.name, arrow_type(self.dtype), nullable=not self.required)


RUN_ID = Column("run_id", "string", "", "the run: 128-bit hash of its typed configuration, 32 hexadecimal digits", True)


@dataclass(frozen=True)
class Table:
    """One table.

    Attributes:
        row: what one row is about.
        keys: the columns that its rows are sorted by, after run_id.
        columns: the first is run_id, which is added where it is not given.
    """

    name: str
    row: str
    keys: tuple[str, ...]
    columns: tuple[Column, ...]

    def __post_init__(self) -> None:
        if RUN_ID not in self.columns:
            object.__setattr__(self, "columns", (RUN_ID, *self.columns))

    @property
    def names(self) -> list[str]:
        """The names of its columns."""
        return [column.name for column in self.columns]

    @cached_property
    def schema(self) -> pa.Schema:
        """The types in a file; of `runs`, without the configuration."""
        return arrow().schema([column.arrow_field for column in self.columns])


SEQUENCE = Column("sequence", "int64", "", "which sequence of the batch, from 0", True)


class MeasureColumns(NamedTuple):
    """What a measure fills.

    Attributes:
        tables: tables of its own.
        summary: columns of `runs`.
    """

    tables: tuple[Table, ...] = ()
    summary: tuple[Column, ...] = ()


NO_COLUMNS = MeasureColumns()
