"""Named tensors of a `.safetensors` file or a `.npz` archive, whose numbers are read when they are needed.

Files that are pickles (.pt and its like) are never opened: to unpickle is to run whatever the file says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from bpttlab import user_files
from bpttlab.errors import ConfigurationError, NonFiniteError
from bpttlab.numerics.array import Array
from bpttlab.numerics.short_repr import show_briefly

TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2"}
"""Of safetensors, the types that are read."""

SHOWN = 8
"""Tensors that a message lists."""


@dataclass(frozen=True)
class Tensor:
    """A tensor of a file, its numbers not yet read.

    Attributes:
        numbers: reads them; refuses types that cannot be weights.
    """

    name: str
    shape: tuple[int, ...]
    numbers: Callable[[], Array]

    def __repr__(self) -> str:
        return show_briefly(self)

    def read(self) -> Array:
        """In float64.

        Raises:
            ConfigurationError: it holds no floating-point numbers.
            NonFiniteError: it holds a NaN or an infinity.
        """
        values = self.numbers().astype(np.float64)
        bad = ~np.isfinite(values)
        if bad.any():
            place = [int(index) for index in np.unravel_index(np.argmax(bad), bad.shape)]
            raise NonFiniteError(f"tensor {self.name!r} holds {values[*place]} at {place} (from 0): must be finite")
        return values


Tensors = dict[str, Tensor]


def tensors_of_safetensors(data: bytes) -> Tensors:
    """The tensors of a .safetensors file; the package checks its header against its size."""
    from safetensors import deserialize

    return {name: tensor_of(name, found) for name, found in deserialize(data)}


def tensor_of(name: str, found: Mapping[str, Any]) -> Tensor:
    shape, dtype = tuple(map(int, found["shape"])), str(found["dtype"])

    def numbers() -> Array:
        if dtype not in TYPES:
            refuse_type(name, dtype)
        return np.frombuffer(found["data"], TYPES[dtype]).reshape(shape)

    return Tensor(name, shape, numbers)


def refuse_type(name: str, dtype: str) -> None:
    remedy = "; convert it in PyTorch: model.float()" if dtype in ("BF16", "F8_E4M3", "F8_E5M2") else ""
    raise ConfigurationError(f"tensor {name!r} has the type {dtype}: must be float64, float32 or float16{remedy}")


def tensors_of_archive(data: bytes) -> Tensors:
    """The tensors of a .npz archive; their headers are read first."""
    return {name: array_tensor(name, file) for name, file in user_files.unpack(data).items()}


def array_tensor(name: str, file: bytes) -> Tensor:
    array = user_files.array_of(name, file, kinds="biufcV")

    def numbers() -> Array:
        if array.dtype.kind != "f" or array.dtype.itemsize > 8:
            refuse_type(name, "BF16" if array.dtype == np.dtype("V2") else str(array.dtype))
        return array

    return Tensor(name, array.shape, numbers)


READERS: dict[str, Callable[[bytes], Tensors]] = {
    ".safetensors": tensors_of_safetensors,
    ".npz": tensors_of_archive,
}


def list_tensors(tensors: Tensors) -> str:
    """Names with shapes: fc.weight (2, 8), fc.bias (2,)."""
    shown = [f"{tensors[name].name} {tensors[name].shape}" for name in sorted(tensors)[:SHOWN]]
    more = [f"{len(tensors) - SHOWN} more"] if len(tensors) > SHOWN else []
    return ", ".join([*shown, *more]) or "none"
