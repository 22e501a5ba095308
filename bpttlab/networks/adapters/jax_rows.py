"""A step function of JAX and its derivatives, on rows: compiled once for each of a few numbers of rows.

Index legend: R rows, I input, S state, O output, K cotangents of every row, G groups of rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from math import prod
from typing import Any

import numpy as np

from bpttlab.errors import ConfigurationError, NonFiniteError
from bpttlab.fields import check_integer, format_value
from bpttlab.networks.adapters.layout import name_paths
from bpttlab.networks.adapters.row_functions import RowFunctions, Shapes
from bpttlab.networks.adapters.trials import EXAMPLES, ReadFunction, StepFunction
from bpttlab.networks.cells.cell import Params
from bpttlab.numerics.array import Array

NUMBERS_OF_ROWS = (8, 32, 128, 512)
"""Rows are filled up to so many, and to the next power of two from there: each number is compiled by itself."""

OF_ONE = f"{EXAMPLES}, or arrays of one sequence"


def with_precision(dtype: np.dtype[Any]) -> AbstractContextManager[Any]:
    """JAX with numbers of 64 bits where the dtype has them, in this thread and as long as it is needed."""
    import jax

    of: Any = jax if hasattr(jax, "enable_x64") else jax.experimental
    found: AbstractContextManager[Any] = of.enable_x64(bool(dtype == np.float64))
    return found


class JaxRows(RowFunctions):
    """The functions of a step for one sequence; see `RowFunctions`.

    Attributes:
        one_by_one: whether nothing is compiled and a row is a call of its own, for a step whose Python code depends on
            numbers.
        axes: the leading axes that the step knows: none, or one of one sequence.
    """

    def __init__(self, step: StepFunction, tree: Any, read: ReadFunction | None, state: Any) -> None:
        self.step_function, self.read_function = step, read
        self.tree = ParameterTree(tree)
        self.values = self.tree.values
        self.layout = StateTree(state)
        self.state_size, self.parts = self.layout.size, self.layout.parts
        self.shapes: Shapes = {name: value.shape for name, value in self.values.items()}
        self.readout_shapes: Shapes = {}
        self.output_size = 0
        self.one_by_one = False
        self.axes: tuple[int, ...] = ()

    # ------------------------------------------------------------------ one row

    def row(self, params: Any, x: Any, h: Any) -> Any:
        """h_t of one row.  (I,), (S,) -> (S,)"""
        state = self.layout.unflatten(h, self.axes)
        returned = self.step_function(self.tree.rebuild(params), x.reshape(*self.axes, -1), state)
        return self.layout.flatten(returned, self.axes, h)

    def read_row(self, params: Any, h: Any) -> Any:
        """y_t of one row.  (S,) -> (O,)"""
        assert self.read_function is not None
        y = self.read_function(self.tree.rebuild(params), self.layout.unflatten(h, self.axes))
        if getattr(y, "shape", None) is None or y.ndim != 1 + len(self.axes):
            found = f"shape {y.shape}" if hasattr(y, "shape") else f"a {type(y).__name__}"
            raise ConfigurationError(f"read: returns {found}; must return an array (O,)")
        _refuse_dtype("read", y, h)
        return y.reshape(-1)

    def state_row(self, params: Any, x: Any, h: Any, dh: Any) -> Any:
        """(I,), (S,), (K,S) -> (K,S)"""
        return pull(lambda h_prev: self.row(params, x, h_prev), h, dh)

    def input_row(self, params: Any, x: Any, h: Any, dh: Any) -> Any:
        """(I,), (S,), (K,S) -> (K,I)"""
        return pull(lambda x_t: self.row(params, x_t, h), x, dh)

    def group(self, params: Any, x: Any, h: Any, dh: Any) -> Any:
        """Gradients by the step's parameters, summed.  (R,I), (R,S), (R,S) -> (*shape) each"""
        import jax

        def rows_of(own: Any) -> Any:
            return self.each(self.row, (None, 0, 0))({**params, **own}, x, h)

        return jax.vjp(rows_of, {name: params[name] for name in self.shapes})[1](dh)[0]

    def read_back(self, params: Any, h: Any, dy: Any) -> Any:
        """Cotangents of h and of the readout's parameters.  (R,S), (R,O) -> (R,S), (*shape) each"""
        import jax

        def rows_of(own: Any, states: Any) -> Any:
            return self.each(self.read_row, (None, 0))({**params, **own}, states)

        own, dh = jax.vjp(rows_of, {name: params[name] for name in self.readout_shapes}, h)[1](dy)
        return dh, own

    # ------------------------------------------------------------------ all rows

    def each(self, function: Callable[..., Any], axes: Sequence[int | None], out: int = 0) -> Callable[..., Any]:
        """A function of every row: by vmap, or in a loop."""
        import jax
        import jax.numpy as jnp

        if not self.one_by_one:
            return jax.vmap(function, tuple(axes), out)

        def loop(*arguments: Any) -> Any:
            count = next(one.shape[axis] for one, axis in zip(arguments, axes, strict=True) if axis is not None)
            chosen = [
                [one if axis is None else jnp.take(one, row, axis) for one, axis in zip(arguments, axes, strict=True)]
                for row in range(count)
            ]
            found = [function(*own) for own in chosen]
            return jax.tree_util.tree_map(lambda *leaves: jnp.stack(leaves, out), *found)

        return loop

    @cached_property
    def compiled(self) -> dict[str, Callable[..., Any]]:
        """The functions of all rows, to be compiled when they are first called."""
        import jax

        functions = {
            "step": self.each(self.row, (None, 0, 0)),
            "state_vjp": self.each(self.state_row, (None, 0, 0, 1), 1),
            "input_vjp": self.each(self.input_row, (None, 0, 0, 1), 1),
            "parameter_vjp": self.each(self.group, (None, 0, 0, 0)),
            "read": self.each(self.read_row, (None, 0)),
            "read_vjp": self.read_back,
        }
        return functions if self.one_by_one else {name: jax.jit(function) for name, function in functions.items()}

    def call(self, name: str, params: Params, dtype: np.dtype[Any], *arrays: Array) -> Any:
        """A compiled function of NumPy arrays."""
        weights: Params = {key: np.asarray(params.get(key, value), dtype) for key, value in self.values.items()}
        given = [np.asarray(array, dtype) for array in arrays]
        with with_precision(dtype):
            if self.one_by_one:
                import jax

                weights, given = jax.tree_util.tree_map(jax.numpy.asarray, (weights, given))
            return self.compiled[name](weights, *given)

    def step(self, params: Params, x: Array, h: Array) -> Array:
        R = len(h)
        return np.array(self.call("step", params, h.dtype, self.fill(x), self.fill(h)))[:R]

    def state_vjp(self, params: Params, x: Array, h: Array, dh: Array) -> Array:
        return self.pull_back("state_vjp", params, x, h, dh)

    def input_vjp(self, params: Params, x: Array, h: Array, dh: Array) -> Array:
        return self.pull_back("input_vjp", params, x, h, dh)

    def pull_back(self, name: str, params: Params, x: Array, h: Array, dh: Array) -> Array:
        K, R = dh.shape[:2]
        dh = self.fill(self.fill(dh, 1), 0) if K > 1 else self.fill(dh, 1)
        return np.array(self.call(name, params, h.dtype, self.fill(x), self.fill(h), dh))[:K, :R]

    def parameter_vjp(self, params: Params, x: Array, h: Array, dh: Array) -> Params:
        G, R = dh.shape[:2]
        if G == 1 or R > 1:
            x, h, dh = self.fill(x, 1), self.fill(h, 1), self.fill(dh, 1, zero=True)
        if G > 1:
            x, h, dh = map(self.fill, (x, h, dh))
        found = self.call("parameter_vjp", params, h.dtype, x, h, dh)
        return {name: np.array(found[name])[:G] for name in self.shapes}

    def read(self, params: Params, h: Array) -> Array:
        return np.array(self.call("read", params, h.dtype, self.fill(h)))[: len(h)]

    def read_vjp(self, params: Params, h: Array, dy: Array) -> tuple[Array, Params]:
        dh, own = self.call("read_vjp", params, h.dtype, self.fill(h), self.fill(dy, zero=True))
        return np.array(dh)[: len(h)], {name: np.array(own[name]) for name in self.readout_shapes}

    def fill(self, array: Array, axis: int = 0, zero: bool = False) -> Array:
        """Rows up to one of the numbers that are compiled, each as the last one, or zero."""
        count = array.shape[axis]
        missing = 0 if self.one_by_one or not count else number_of_rows(count) - count
        if not missing:
            return array
        last = np.take(array, [-1] * missing, axis)
        return np.concatenate([array, np.zeros_like(last) if zero else last], axis)


def number_of_rows(count: int) -> int:
    """The smallest number that is compiled for so many rows."""
    return next((number for number in NUMBERS_OF_ROWS if number >= count), 1 << (count - 1).bit_length())


def pull(function: Callable[[Any], Any], at: Any, cotangents: Any) -> Any:
    """What each of several cotangents is pulled back to.  (K,S) -> (K,any)"""
    import jax

    back = jax.vjp(function, at)[1]
    return jax.vmap(lambda one: back(one)[0])(cotangents)


# ---------------------------------------------------------------------------------------------------- trees


def list_keys(path: Sequence[Any]) -> tuple[str | int, ...]:
    """The keys, indices and attributes on the way to a leaf."""
    keys: list[str | int] = []
    for entry in path:
        key = getattr(entry, "key", getattr(entry, "idx", getattr(entry, "name", str(entry))))
        keys.append(key if isinstance(key, int) else str(key))
    return tuple(keys)


class ParameterTree:
    """A pytree of parameters: its arrays of floats by name, all else constant."""

    def __init__(self, tree: Any) -> None:
        import jax

        leaves, treedef = jax.tree_util.tree_flatten_with_path(tree)
        self.treedef: Any = treedef
        self.leaves = [leaf for _, leaf in leaves]
        names = [".".join(map(str, list_keys(path))) or "params" for path, _ in leaves]
        self.index: dict[str, int] = {}
        self.values: Params = {}
        for number, (name, leaf) in enumerate(zip(names, self.leaves, strict=True)):
            array = np.asarray(leaf) if hasattr(leaf, "dtype") or isinstance(leaf, float) else None
            if array is not None and array.dtype.kind == "c":
                raise ConfigurationError(f"params: {name!r} is complex: must be real; keep its two parts as parameters")
            if array is not None and jax.numpy.issubdtype(array.dtype, np.floating):
                self.index[name] = number
                self.values[name] = array if array.dtype == np.float64 else array.astype(np.float32)
                if not np.isfinite(self.values[name]).all():
                    raise NonFiniteError(f"params: {name!r} has a NaN or an infinity")

    def rebuild(self, params: Any) -> Any:
        """The tree with other arrays."""
        leaves = list(self.leaves)
        for name, number in self.index.items():
            leaves[number] = params[name]
        return self.treedef.unflatten(leaves)


class StateTree:
    """The state of one sequence as one vector: any pytree of arrays."""

    def __init__(self, state: Any) -> None:
        import jax

        leaves, treedef = jax.tree_util.tree_flatten_with_path(state)
        self.treedef: Any = treedef
        self.shapes = [_shape_of(leaf) for _, leaf in leaves]
        self.sizes = [prod(shape) for shape in self.shapes]
        if not leaves or not all(self.sizes):
            raise ConfigurationError(f"state={format_value(state)}: must have at least one number, {OF_ONE}")
        stops = np.cumsum(self.sizes).tolist()
        names = name_paths([list_keys(path) for path, _ in leaves])
        self.size: int = stops[-1]
        self.parts = dict(zip(names, map(slice, [0, *stops[:-1]], stops), strict=True))

    def unflatten(self, flat: Any, axes: tuple[int, ...]) -> Any:
        """The tree from its vector (S,)."""
        parts = zip(self.parts.values(), self.shapes, strict=True)
        return self.treedef.unflatten([flat[part].reshape(*axes, *shape) for part, shape in parts])

    def flatten(self, returned: Any, axes: tuple[int, ...], h: Any) -> Any:
        """The vector of what a step returned, if it is a state as it was given."""
        import jax
        import jax.numpy as jnp

        leaves = jax.tree_util.tree_leaves(returned)
        expected = [(*axes, *shape) for shape in self.shapes]
        if not self.is_state(returned, expected):
            found = jax.tree_util.tree_map(lambda leaf: list(jnp.shape(leaf)), returned)
            raise ConfigurationError(
                f"step: returns {found} for the state {self.treedef.unflatten(map(list, expected))}: must return the "
                f"next state in the same structure and shape{self.advise_pair(returned, expected)}"
            )
        for leaf in leaves:
            _refuse_dtype("step", leaf, h)
        return jnp.concatenate([leaf.reshape(-1) for leaf in leaves])

    def is_state(self, returned: Any, expected: list[tuple[int, ...]]) -> bool:
        """Whether it has the structure of the state and these shapes."""
        import jax

        leaves, treedef = jax.tree_util.tree_flatten(returned)
        return bool(treedef == self.treedef and [jax.numpy.shape(leaf) for leaf in leaves] == expected)

    def advise_pair(self, returned: Any, expected: list[tuple[int, ...]]) -> str:
        """What to do about a step that returns (output, state)."""
        is_pair = isinstance(returned, tuple | list) and len(returned) == 2
        fitting = [index for index in (1, 0) if is_pair and self.is_state(returned[index], expected)]
        return f"; give lambda params, x_t, state: step(params, x_t, state)[{fitting[0]}]" if fitting else ""

    def describe_sizes(self) -> str:
        """The structure with its sizes, as `state=` takes them."""
        return str(self.treedef.unflatten([shape[0] if len(shape) == 1 else list(shape) for shape in self.shapes]))


def _shape_of(leaf: Any) -> tuple[int, ...]:
    """The shape of a part: of a size, or of an array of one sequence."""
    if isinstance(leaf, int) and not isinstance(leaf, bool):
        return (check_integer("state", leaf, 1),)
    if not hasattr(leaf, "shape"):
        raise ConfigurationError(f"state={format_value(leaf)}: must be sizes or arrays, {OF_ONE}")
    return tuple(leaf.shape)


def _refuse_dtype(called: str, found: Any, given: Any) -> None:
    """Refuses an array of another dtype than that of the state."""
    dtype = getattr(found, "dtype", None)
    if dtype != given.dtype:
        other = f", or give dtype={str(dtype)!r}" if str(dtype) in ("float32", "float64") else ""
        raise ConfigurationError(
            f"{called}: returns {dtype or type(found).__name__} for a state in {given.dtype}: must keep the dtype; "
            f"remove the conversion{other}"
        )
