"""The type of an array of any dtype, and tensors as arrays."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]
"""An array of any shape and dtype; each docstring gives its shape."""


def detach(values: Any) -> Any:
    """A tensor of PyTorch as an array without its gradient, on any device; anything else as it is."""
    if not hasattr(values, "detach"):
        return values
    tensor = values.detach().cpu()
    return (tensor.float() if tensor.is_floating_point() and tensor.element_size() < 4 else tensor).numpy()


def detach_all(named: Any) -> Any:
    """`detach` of every value of a dict; the dict itself where it has no tensor."""
    if not any(hasattr(value, "detach") for value in named.values()):
        return named
    return {name: detach(value) for name, value in named.items()}
