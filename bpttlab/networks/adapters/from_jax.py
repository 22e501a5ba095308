"""A step function of JAX as a cell with its parameters."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np

from bpttlab.errors import ConfigurationError, LabError, LabWarning
from bpttlab.fields import check_integer, format_value
from bpttlab.networks.adapters.adapted import AdaptedNetwork, make_network
from bpttlab.networks.adapters.jax_rows import OF_ONE, JaxRows, with_precision
from bpttlab.networks.adapters.trials import (
    ReadFunction,
    StepFunction,
    advise_arguments,
    advise_sizes,
    attempt,
    divide_parameters,
    warn_cut_path,
)
from bpttlab.networks.cells.cell import check_dtype
from bpttlab.networks.pretrained import Network
from bpttlab.numerics.array import Array

TRIALS = 3
"""Rows of a trial."""


@dataclass(frozen=True, eq=False)
class JaxNetwork(AdaptedNetwork):
    """A step function of JAX as a cell."""

    name: ClassVar[str] = "jax"


def from_jax(
    step: StepFunction,
    params: Any,
    read: ReadFunction | None = None,
    input_size: int | None = None,
    state: Any = None,
    dtype: str = "float64",
) -> Network:
    """A pure step function of JAX and its parameters as a cell with its parameters.

    The functions are written for one sequence: x_t is (I,), and the state has no batch axis. `jax.vmap` does the rest.
    A function that needs a batch axis is given one of length 1.

    Args:
        step: step(params, x_t, state) -> state.
        params: a pytree. Arrays of floats are parameters, named by their paths in the pytree, "cell.kernel"; all else
            is constant.
        read: read(params, state) -> y_t (O,); without it the network has no readout (output_size=0): measures
            that need no loss work; the others raise an error.
        input_size: I.
        state: a state of one sequence: arrays, or the size of each, in any pytree.
        dtype: float64 or float32, whatever the parameters have. JAX's own setting of 64 bits is left as it is.

    Returns:
        `cell` and `params`; those parameters that step or read depend on, and all others, too, if the Python code of
        one of them depends on numbers.

    Raises:
        ConfigurationError: step draws, returns something else than the next state, or cannot be traced; JAX is not
            installed.
        NonFiniteError: a parameter has a NaN or an infinity.
    """
    import_jax("lab.from_jax")
    check_dtype(dtype)
    for called, function in {"step": step, "read": read}.items():
        if function is not None and not callable(function):
            raise ConfigurationError(f"{called}={format_value(function)}: must be a function")
    if input_size is None:
        raise ConfigurationError("input_size: must be given: the number of inputs of a step")
    input_size = check_integer("input_size", input_size, 1)
    dtype = np.dtype(dtype).name
    functions = make_jax_rows(step, params, read, input_size, state, dtype)
    return make_network(JaxNetwork, input_size, functions, dtype)


def import_jax(called: str) -> Any:
    """JAX, or the error that names the extra."""
    try:
        import jax
    except ImportError as error:
        raise ConfigurationError(f"{called}: needs JAX: pip install 'bpttlab[jax]'") from error
    return jax


def make_jax_rows(
    step: StepFunction, params: Any, read: ReadFunction | None, input_size: int, state: Any, dtype: str
) -> JaxRows:
    """The functions, tried on a few rows."""
    if state is None:
        raise ConfigurationError(f"state: must be given, {OF_ONE}")
    functions = JaxRows(step, params, read, state)
    rng = np.random.default_rng(0)
    x, h = (rng.standard_normal((TRIALS, size)).astype(dtype) for size in (input_size, functions.state_size))
    refuse_impure_step(functions, x, h)
    functions.one_by_one = not can_be_compiled(functions, x, h)
    try_derivative(functions, x, h)
    _settle_parameters(functions, x, h)
    if read is not None:
        functions.output_size = attempt("read", lambda: functions.read({}, h), _advise_read).shape[1]
    return functions


def try_derivative(functions: JaxRows, x: Array, h: Array) -> None:
    """The derivative by the state, which must exist and should not be zero."""
    warn_cut_path(attempt("step", lambda: functions.state_vjp({}, x, h, h[None]), advise_numpy))


def _advise_step(error: Exception, functions: JaxRows, input_size: int) -> str:
    """The end of a message about a step that raises."""
    called = advise_arguments(error, "step(params, x_t, state)") or advise_numpy(error)
    if not called and not functions.values:
        called = f"; params={format_value(functions.tree.rebuild({}))}: has no array of floats"
    return called or advise_sizes(error, input_size, functions.layout.describe_sizes())


def _advise_read(error: Exception) -> str:
    """The end of a message about a readout that raises."""
    if type(error).__name__ in ("TracerBoolConversionError", "ConcretizationTypeError"):
        return "; write if and while of an array with jnp.where or jax.lax"
    return advise_arguments(error, "read(params, state)", "argument") or advise_numpy(error)


def advise_numpy(error: Exception) -> str:
    """The end of a message about a function that JAX cannot differentiate."""
    is_numpy = type(error).__name__ == "TracerArrayConversionError"
    return "; JAX can differentiate functions of jax.numpy, not of NumPy" if is_numpy else ""


def refuse_impure_step(functions: JaxRows, x: Array, h: Array) -> None:
    """Two calls with the same row return the same; settles whether the step needs an axis of sequences."""
    try:
        one = eager_row(functions, x[0], h[0])
    except LabError:
        raise
    except Exception:  # it may be written for a batch
        functions.axes = (1,)
        try:
            one = eager_row(functions, x[0], h[0])
        except Exception:
            functions.axes = ()
            advise = partial(_advise_step, functions=functions, input_size=x.shape[1])
            one = attempt("step", lambda: eager_row(functions, x[0], h[0]), advise)
    if not np.array_equal(one, eager_row(functions, x[0], h[0]), equal_nan=True):
        raise ConfigurationError(
            "step: two calls with the same x_t and state differ: must be a pure function; give it a fixed key"
        )


def eager_row(functions: JaxRows, x: Array, h: Array) -> Array:
    """One row, without compilation."""
    import jax.numpy as jnp

    with with_precision(h.dtype):
        weights = {name: jnp.asarray(np.asarray(value, h.dtype)) for name, value in functions.values.items()}
        return np.array(functions.row(weights, jnp.asarray(x), jnp.asarray(h)))


def can_be_compiled(functions: JaxRows, x: Array, h: Array) -> bool:
    """Whether the step can be traced; one whose Python code depends on numbers is called row by row."""
    import jax

    try:
        functions.step({}, x, h)
    except (jax.errors.TracerBoolConversionError, jax.errors.ConcretizationTypeError) as error:
        functions.__dict__.pop("compiled", None)
        functions.one_by_one = True
        attempt("step", lambda: functions.state_vjp({}, x, h, h[None]))
        warnings.warn(
            "step: its Python code depends on the numbers of a row (if or while of a traced array), so that every row "
            f"is computed by itself, which is slow: write it with jnp.where or jax.lax ({type(error).__name__})",
            LabWarning,
            stacklevel=4,
        )
        return False
    except Exception:
        attempt("step", lambda: functions.step({}, x, h), advise_numpy)
    return True


def _settle_parameters(functions: JaxRows, x: Array, h: Array) -> None:
    """Which parameters the step depends on, and which the readout."""
    used, _ = _names_used(functions, functions.row, x, h)
    read, read_branches = set[str](), False
    if functions.read_function is not None:
        read, read_branches = attempt("read", lambda: _names_used(functions, functions.read_row, h), _advise_read)
    used, read = divide_parameters(set(functions.values), used, read, functions.one_by_one, read_branches)
    shapes = {name: value.shape for name, value in functions.values.items()}
    functions.shapes = {name: shape for name, shape in shapes.items() if name in used}
    functions.readout_shapes = {name: shape for name, shape in shapes.items() if name in read}


def _names_used(functions: JaxRows, function: Callable[..., Any], *arrays: Array) -> tuple[set[str], bool]:
    """The parameters that a function of a row depends on, and whether its Python code depends on numbers.

    By what of its program is left without the unused; of a function that cannot be traced, those by which its
    derivative is not zero.
    """
    import jax
    import jax.numpy as jnp
    from jax.interpreters.partial_eval import dce_jaxpr

    dtype = arrays[0].dtype
    with with_precision(dtype):
        weights = {name: jnp.asarray(np.asarray(value, dtype)) for name, value in functions.values.items()}
        rows = [tuple(map(jnp.asarray, row)) for row in zip(*arrays, strict=True)]
        names = sorted(weights)  # the order in which JAX has the entries of a dict
        try:
            program = jax.make_jaxpr(function)(weights, *rows[0]).jaxpr
        except jax.errors.ConcretizationTypeError:
            if not functions.one_by_one:
                raise
            each = [jax.vjp(lambda own, row=row: function(own, *row), weights) for row in rows]
            slopes = [back(jnp.ones_like(value))[0] for value, back in each]
            return {name for name in names if any(np.any(np.asarray(one[name])) for one in slopes)}, True
        _, used = dce_jaxpr(program, [True] * len(program.outvars))
        return {name for name, is_used in zip(names, used, strict=False) if is_used}, False
