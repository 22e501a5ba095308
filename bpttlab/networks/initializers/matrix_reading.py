"""A square matrix from a user's file: .npz, .npy, .safetensors or .csv.

    .npy            the matrix
    .csv            its rows, numbers with commas, without a header
    .npz            arrays by name; or a sparse matrix as scipy.sparse.save_npz writes it
    .safetensors    tensors by name

Nothing in a file is executed. A fault is refused in one line.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from bpttlab import user_files
from bpttlab.errors import ConfigurationError, NonFiniteError, nearest
from bpttlab.networks.initializers.rescaling import divide_by_radius
from bpttlab.numerics import matrices
from bpttlab.numerics.array import Array
from bpttlab.numerics.short_repr import show_briefly

MATRIX_PATH = "initializer.path"
_OF_SPARSE = {"data", "indices", "indptr", "shape", "format"}
"""The arrays of a sparse matrix, compressed by rows or columns."""

_TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "<i1", "U8": "<u1"}
"""Of safetensors, the types that are read."""

_Numbers = Callable[[], Array]


@dataclass(frozen=True, eq=False)
class SquareMatrix:
    """The matrix of a file.

    Attributes:
        content: what the file is known by.
        array: its name in the file; None where it has none.
        W: (N, N) float64, read-only.
    """

    content: str
    array: str | None
    W: Array

    def __repr__(self) -> str:
        return show_briefly(self)

    @cached_property
    def radius(self) -> float:
        return matrices.spectral_radius(self.W)

    @cached_property
    def unit(self) -> Array:
        """W over its spectral radius.

        Raises:
            ConfigurationError: that is 0, or not known to the last digits.
        """
        return divide_by_radius(self.W, "the matrix")


def read_matrix(path: str, array: str | None) -> SquareMatrix:
    """The matrix of a file.

    Args:
        path: from the current folder.
        array: its name; None: the only matrix that there is.

    Raises:
        ConfigurationError: there is no such file, or it has a fault; the message begins with initializer.path.
        NonFiniteError: it holds a NaN or an infinity.
    """
    found: SquareMatrix = user_files.read_user_file(MATRIX_PATH, path, _READERS, _interpret, array)
    return found


def _interpret(data: bytes, ending: str, content: str, array: str | None) -> SquareMatrix:
    arrays = _READERS[ending](data)
    name = _choose(arrays, array)
    W = np.array(arrays[name](), np.float64)
    if W.ndim != 2 or W.shape[0] != W.shape[1] or not len(W):
        raise ConfigurationError(f"{_call(name)} has shape {W.shape}: must be square, (N, N)")
    bad = ~np.isfinite(W)
    if bad.any():
        n, m = (int(index) for index in np.unravel_index(np.argmax(bad), W.shape))
        raise NonFiniteError(f"{_call(name)} holds {W[n, m]} at [{n}, {m}] (from 0): must be finite")
    W.flags.writeable = False
    return SquareMatrix(content, name or None, W)


def _call(name: str) -> str:
    return f"array {name!r}" if name else "the matrix"


def _choose(arrays: Mapping[str, _Numbers], array: str | None) -> str:
    """The name of the matrix, given or the only one."""
    known = ", ".join(map(repr, sorted(arrays)[:8])) or "none"
    if array is not None and array not in arrays:
        hint = nearest(array, arrays)
        raise ConfigurationError(f"initializer.array={array!r}: the arrays are {known}.{hint}")
    if array is None and len(arrays) != 1:
        raise ConfigurationError(f"has {len(arrays)} arrays: set initializer.array to the name of one: {known}")
    return next(iter(arrays)) if array is None else array


# ------------------------------------------------------------------ files -> arrays by name, not yet read


def _of_npy(data: bytes) -> dict[str, _Numbers]:
    return {"": lambda: user_files.array_of("", data)}


def _of_csv(data: bytes) -> dict[str, _Numbers]:
    text = data.decode("utf-8-sig")
    user_files.refuse_size(8 * (text.count(",") + text.count("\n") + 1))
    return {"": lambda: np.loadtxt(io.StringIO(text), delimiter=",", comments=None, ndmin=2)}


def _of_archive(data: bytes) -> dict[str, _Numbers]:
    files = user_files.unpack(data)
    if set(files) >= _OF_SPARSE:
        return {"": lambda: _dense(files)}
    return {name: lambda name=name, file=file: user_files.array_of(name, file) for name, file in files.items()}  # type: ignore[misc]


def _dense(files: Mapping[str, bytes]) -> Array:
    """A matrix that `scipy.sparse.save_npz` has written, compressed by rows or columns."""
    from scipy import sparse

    kinds: dict[bytes, Any] = {b"csr": sparse.csr_array, b"csc": sparse.csc_array}
    layout = user_files.array_of("format", files["format"], kinds="SU").item()
    layout = layout.encode() if isinstance(layout, str) else layout
    if layout not in kinds:
        raise ConfigurationError(f"is a sparse matrix in the format {layout.decode()!r}: must be csr or csc")
    numbers = {name: user_files.array_of(name, files[name]) for name in ("data", "indices", "indptr", "shape")}
    shape = tuple(int(size) for size in numbers["shape"])
    user_files.refuse_size(8 * int(np.prod([float(size) for size in shape])))
    found = kinds[layout]((numbers["data"], numbers["indices"], numbers["indptr"]), shape=shape)
    found.check_format(full_check=True)
    dense: Array = found.toarray()
    return dense


def _of_safetensors(data: bytes) -> dict[str, _Numbers]:
    """The package checks the header against the size."""
    from safetensors import deserialize

    return {name: lambda name=name, found=found: _of_tensor(name, found) for name, found in deserialize(data)}  # type: ignore[misc]


def _of_tensor(name: str, found: Mapping[str, Any]) -> Array:
    if found["dtype"] not in _TYPES:
        raise ConfigurationError(f"array {name!r} has the type {found['dtype']}: must be one of {', '.join(_TYPES)}")
    return np.frombuffer(found["data"], _TYPES[found["dtype"]]).reshape(found["shape"])


_READERS: dict[str, Callable[[bytes], dict[str, _Numbers]]] = {
    ".npz": _of_archive,
    ".npy": _of_npy,
    ".safetensors": _of_safetensors,
    ".csv": _of_csv,
}
