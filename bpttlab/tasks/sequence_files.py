"""Reading sequences from a user's file, and the checks of each format.

`tasks/file.py` states the layout of each format.

Nothing in a file is executed: archives are read without pickle. A fault is refused in one line that names the array, or
the column and the row.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bpttlab import user_files
from bpttlab.errors import ConfigurationError, nearest
from bpttlab.networks.lengths import cut_padding, drop_equal, find_valid
from bpttlab.numerics.array import Array
from bpttlab.numerics.short_repr import show_briefly

if TYPE_CHECKING:
    import pyarrow as pa

_ARRAYS = ("x", "target", "mask", "lengths")
WIDEST_TABLE = 5000
"""Most columns of a table: inputs, outputs and the four others."""

_COLUMNS = ("sequence", "step", "x", "y", "class", "mask")

Arrays = dict[str, Array]


@dataclass(frozen=True, eq=False)
class Sequences:
    """The sequences of a file, for one loss; the arrays are read-only.

    Attributes:
        content: the first 128 bits of the SHA-256 of the file, 32 hexadecimal digits.
        x: (sequences, steps, inputs) float64.
        target: (sequences, steps, outputs) float64 or (sequences, steps) int64 classes.
        mask: (steps,) float64, if the file has one.
        lengths: (sequences,) int64, where they are not all equal; x and target are zero after them.
        output_size: outputs, or the number of classes.
    """

    content: str
    x: Array
    target: Array
    mask: Array | None
    output_size: int
    lengths: Array | None = None

    def __repr__(self) -> str:
        return show_briefly(self)

    @property
    def steps(self) -> int:
        return int(self.x.shape[1])


def read_sequences(path: str, loss_name: str) -> Sequences:
    """The sequences of a file, with the target for a loss.

    Raises:
        ConfigurationError: there is no such file, or it has a fault; the message begins with task.path.
    """
    found: Sequences = user_files.read_user_file("task.path", path, _READERS, _interpret, loss_name)
    return found


def _interpret(data: bytes, ending: str, content: str, loss_name: str) -> Sequences:
    """The sequences that a file's bytes are."""
    return check_arrays(_READERS[ending](data, loss_name), loss_name, content)


# ------------------------------------------------------------------ .npz -> arrays


def arrays_of_archive(data: bytes, loss_name: str) -> Arrays:
    """The arrays of a .npz file."""
    files = user_files.unpack(data, refuse_names)
    return {name: user_files.array_of(name, file).astype(np.float64) for name, file in files.items()}


def refuse_names(names: Collection[str]) -> None:
    """Refuses an archive with an unknown array, or without a required one."""
    for name in names:
        if name not in _ARRAYS:
            raise ConfigurationError(f"array {name!r}: must be one of {', '.join(_ARRAYS)}.{nearest(name, _ARRAYS)}")
    refuse_missing("array", _ARRAYS[:2], names)


# ------------------------------------------------------------------ .csv, .parquet -> arrays


def arrays_of_csv(data: bytes, loss_name: str) -> Arrays:
    """The arrays of a table in a .csv file, read in one block, so that the type of a column follows from all its
    values.
    """
    import pyarrow as pa
    from pyarrow import csv

    header = data[: max(data.find(b"\n"), 0) or len(data)]
    refuse_width(header.count(b",") + 1)
    reading = csv.ReadOptions(use_threads=False, block_size=len(data) + 1)
    converting = csv.ConvertOptions(strings_can_be_null=True)  # an empty name is a missing sequence
    table = csv.read_csv(pa.BufferReader(data), read_options=reading, convert_options=converting)
    return arrays_of_table(table, loss_name)


def arrays_of_parquet(data: bytes, loss_name: str) -> Arrays:
    """The arrays of a Parquet file."""
    import pyarrow as pa
    from pyarrow import parquet

    file = parquet.ParquetFile(pa.BufferReader(data))
    refuse_width(file.metadata.num_columns)
    user_files.refuse_size(8 * file.metadata.num_rows * file.metadata.num_columns)
    return arrays_of_table(file.read(use_threads=False), loss_name)


_READERS: dict[str, Callable[[bytes, str], Arrays]] = {
    ".npz": arrays_of_archive,
    ".csv": arrays_of_csv,
    ".parquet": arrays_of_parquet,
}


def arrays_of_table(table: pa.Table, loss_name: str) -> Arrays:
    """A long table, one row a step, as the arrays that an archive has."""
    names = table.column_names
    refuse_columns(names)
    if not table.num_rows:
        raise ConfigurationError("has no rows")
    wanted = "class" if loss_name == "softmax_cross_entropy" else "y"
    refuse_missing("column", ("sequence", "step", "x", wanted), map(role, names))
    place, lengths = place_steps(labels(table), check_integers(table, "step"))
    user_files.refuse_size(8 * len(lengths) * int(lengths.max()) * len(names))

    def values(wanted: str) -> Array:
        found = np.zeros((len(lengths), int(lengths.max()), sum(role(name) == wanted for name in names)))
        for number, name in enumerate([name for name in names if role(name) == wanted]):
            found[*place, number] = _numbers(table, name)
        return found

    target = values(wanted)
    arrays = {"x": values("x"), "target": target[..., 0] if wanted == "class" else target}
    arrays |= {"lengths": lengths.astype(float)} if (lengths < lengths.max()).any() else {}
    return arrays | ({"mask": same_in_all(values("mask")[..., 0], lengths)} if "mask" in names else {})


def role(name: str) -> str:
    """The role of a column: x_speed is an x."""
    return name[0] if name.startswith(("x_", "y_")) else name


def refuse_width(count: int) -> None:
    if count > WIDEST_TABLE:
        raise ConfigurationError(
            f"has {count} columns: must be at most {WIDEST_TABLE}; a .npz file may have more inputs"
        )


def refuse_columns(names: list[str]) -> None:
    """Refuses a column that is unknown or occurs twice."""
    counts = Counter(names)
    for name in names:
        if role(name) not in _COLUMNS:
            if not name or name.startswith("__index_level"):
                raise ConfigurationError(f"column {name!r}: the index of a data frame? Write it with index=False")
            known = "sequence, step, class or mask, or begin with x_ (an input) or y_ (an output)"
            raise ConfigurationError(f"column {name!r}: must be {known}.{nearest(name, _COLUMNS)}")
        if counts[name] > 1:
            raise ConfigurationError(f"column {name!r} occurs {counts[name]} times")


def refuse_missing(kind: str, needed: Iterable[str], present: Iterable[str]) -> None:
    there = set(present)
    for name in needed:
        if name not in there:
            shown = f"'{name}', nor any '{name}_…'" if kind == "column" and name in "xy" else f"'{name}'"
            raise ConfigurationError(f"has no {kind} {shown}")


def labels(table: pa.Table) -> Array:
    """The sequence of each row: integers, or else strings."""
    import pyarrow as pa

    column = table["sequence"]
    _refuse_empty(column, "sequence")
    return np.asarray(column if pa.types.is_integer(column.type) else column.cast(pa.string()))


def _numbers(table: pa.Table, name: str) -> Array:
    """A column as float64; raises the error that names the row without a finite number."""
    import pyarrow as pa

    column, kinds = table[name], pa.types
    _refuse_empty(column, name)
    allowed = (kinds.is_integer, kinds.is_floating, kinds.is_decimal, kinds.is_boolean)
    if not any(is_kind(column.type) for is_kind in allowed):
        row, value = first_other(column)
        raise ConfigurationError(f"column {name!r} holds {value!r:.60} in row {row}: must be numbers")
    values = np.asarray(column.cast(pa.float64()))
    bad = np.flatnonzero(~np.isfinite(values))
    if bad.size:
        raise ConfigurationError(f"column {name!r} holds {values[bad[0]]} in row {bad[0] + 1}: must be finite")
    return values


def first_other(column: pa.ChunkedArray) -> tuple[int, Any]:
    """The first row (from 1), and its value, that is neither a number nor a string that looks like one; else the first
    row.
    """
    values = column.to_pylist()
    for row, value in enumerate(values, 1):
        try:
            float(value)
        except (TypeError, ValueError):
            return row, value
    return 1, values[0]


def _refuse_empty(column: pa.ChunkedArray, name: str) -> None:
    if column.null_count:
        row = int(np.argmax(np.asarray(column.is_null()))) + 1
        raise ConfigurationError(f"column {name!r} is empty (or NaN) in row {row}: no value may be missing")


def check_integers(table: pa.Table, name: str) -> Array:
    values = _numbers(table, name)
    bad = np.flatnonzero(values != np.floor(values))
    if bad.size:
        raise ConfigurationError(f"column {name!r} holds {values[bad[0]]} in row {bad[0] + 1}: must be integers")
    return values


def place_steps(sequence: Array, step: Array) -> tuple[tuple[Array, Array], Array]:
    """The sequence and the step, from 0, of each row; and the length of each sequence.

    Raises:
        ConfigurationError: a step that is missing or occurs twice.
    """
    names, which = np.unique(sequence, return_inverse=True)
    lengths, order = np.bincount(which), np.lexsort((step, which))
    begins = np.repeat(np.cumsum(lengths) - lengths, lengths)
    wrong = step[order] != step.min() + np.arange(len(order)) - begins
    if wrong.any():
        first, b = step.min(), which[order[np.argmax(wrong)]]
        steps = f"{first:.0f} to {first + lengths[b] - 1:.0f}"
        raise ConfigurationError(f"sequence {names[b]}: its steps must be {steps}, each once")
    return (which, (step - step.min()).astype(int)), lengths


def same_in_all(mask: Array, lengths: Array) -> Array:
    """The weight of each step, as far as sequences have it.  (sequences, steps) -> (steps,)"""
    longest = mask[np.argmax(lengths)]
    if ((mask != longest) & find_valid(lengths, mask.shape[1]).T).any():
        raise ConfigurationError("column 'mask' must be the same in every sequence")
    return longest


# ------------------------------------------------------------------ arrays -> sequences


def check_arrays(arrays: Arrays, loss_name: str, content: str) -> Sequences:
    """Arrays of the shapes and ranges that the loss asks for, or the error that names the first that is not."""
    x, target, mask = arrays["x"], arrays["target"], arrays.get("mask")
    if x.ndim != 3 or not x.size:
        raise ConfigurationError(f"array 'x' has shape {x.shape}: must be (sequences, steps, inputs), each at least 1")
    lengths = find_ends(x) if "lengths" not in arrays else refuse_lengths(arrays["lengths"], *x.shape[:2])
    as_asked = spread_classes if loss_name == "softmax_cross_entropy" else outputs
    target = as_asked(target, *x.shape[:2])
    if mask is not None:
        refuse_mask(mask, *x.shape[:2])
    longest = int(lengths.max())
    x, target, mask = blank(x, lengths), blank(target, lengths), mask if mask is None else mask[:longest]
    for name, values in (("x", x), ("target", target), *([] if mask is None else [("mask", mask)])):
        refuse(name, values, ~np.isfinite(values), "finite")
    if mask is not None:
        refuse("mask", mask, mask < 0, ">= 0")
    if loss_name == "softmax_cross_entropy":
        target = classes(target, lengths)
    if loss_name == "sigmoid_cross_entropy":
        refuse("target", target, (target < 0) | (target > 1), "from 0 to 1")
    for values in (x, target, *([] if mask is None else [mask])):
        values.flags.writeable = False
    output_size = int(target.max()) + 1 if target.ndim == 2 else target.shape[2]
    return Sequences(content, x, target, mask, output_size, drop_equal(lengths))


def find_ends(x: Array) -> Array:
    """The length of each sequence: what is before its last steps whose inputs are all NaN; one at least."""
    there = np.asarray(~np.isnan(x).all(axis=-1))
    return np.where(there.any(axis=1), x.shape[1] - np.argmax(there[:, ::-1], axis=1), 1)


def refuse_lengths(lengths: Array, sequences: int, steps: int) -> Array:
    """The lengths as integers, or the error that names the first that cannot be."""
    if lengths.shape != (sequences,):
        swapped = _swapped(lengths.shape == (steps,))
        raise ConfigurationError(
            f"array 'lengths' has shape {lengths.shape}: must be ({sequences},), the steps of each sequence{swapped}"
        )
    bad = ~((lengths >= 1) & (lengths <= steps) & (lengths == np.floor(lengths)))
    refuse("lengths", lengths, bad, f"an integer from 1 to {steps}")
    return lengths.astype(np.int64)


def blank(values: Array, lengths: Array) -> Array:
    """Without what stands after the end of a sequence.  (sequences, steps, ...)"""
    if (lengths == values.shape[1]).all():
        return values
    return np.ascontiguousarray(cut_padding(values.swapaxes(0, 1), lengths).swapaxes(0, 1))


def refuse(name: str, values: Array, bad: Array, allowed: str) -> None:
    """Names the first wrong value and its place."""
    if bad.any():
        place = [int(index) for index in np.unravel_index(np.argmax(bad), bad.shape)]
        raise ConfigurationError(f"array {name!r} holds {values[*place]} at {place} (from 0): must be {allowed}")


def _swapped(is_likely: bool) -> str:
    """The advice for an array of steps and sequences in place of sequences and steps."""
    return "; x looks like (steps, sequences, inputs), and sequences come first: write x.swapaxes(0, 1)" * is_likely


def refuse_mask(mask: Array, sequences: int, steps: int) -> None:
    if mask.shape != (steps,):
        swapped = _swapped(mask.shape == (sequences,))
        raise ConfigurationError(
            f"array 'mask' has shape {mask.shape}: must be ({steps},), a weight for each step{swapped}"
        )


def outputs(target: Array, sequences: int, steps: int) -> Array:
    """Numbers to predict, at every step."""
    fits = target.ndim == 3 and target.shape[0] == sequences and target.shape[1] in (1, steps) and target.shape[2] > 0
    if not fits:
        allowed, likely = f"({sequences}, {steps} or 1, outputs)", target.shape[:2] in ((steps, sequences), (steps, 1))
        raise ConfigurationError(
            f"array 'target' has shape {target.shape}: must be {allowed} for numbers{_swapped(likely)}"
        )
    return np.broadcast_to(target, (sequences, steps, target.shape[2])).copy()


def spread_classes(target: Array, sequences: int, steps: int) -> Array:
    """Classes at every step."""
    if target.shape not in ((sequences, steps), (sequences, 1), (sequences,)):
        allowed, likely = f"({sequences}, {steps}) or ({sequences},)", target.shape in ((steps, sequences), (steps,))
        raise ConfigurationError(
            f"array 'target' has shape {target.shape}: must be {allowed} for classes{_swapped(likely)}"
        )
    return np.broadcast_to(target.reshape(sequences, -1), (sequences, steps))


def classes(target: Array, lengths: Array) -> Array:
    """Integers. All from 0 on must occur: labels that begin with 1 would make one class too many."""
    found = np.unique(target[find_valid(lengths, target.shape[1]).T])
    if len(found) < 2 or (found != np.arange(len(found))).any():
        shown = ", ".join(f"{value:g}" for value in found[:5]) + (", …" if len(found) > 5 else "")
        raise ConfigurationError(f"the classes are {shown}: must be 0, 1, 2, … without a gap, two at least")
    return target.astype(np.int64)
