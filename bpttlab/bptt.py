"""Back-propagation through time: forward -> Trace -> backward, and the literal sum of the notes.

`forward` runs the network and keeps its states. `backward` goes through them in reverse along a plan of segments
(`truncation`). `backward_scaled` is the same walk in numbers that neither over- nor underflow. `literal_sum` is the
notes' last equation, term by term, in O(T^2): the oracle that the others are tested against.

Index legend: T time, B sequence, I input, N hidden state, A pre-activations, O output, S segment. Times count from 1
as in the notes; `h` has T+1 states with `h[0]` the initial one, arrays with T entries hold step t at index t-1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, TypeVar

import numpy as np

from bpttlab.cells.base import Cell, Local, Params
from bpttlab.errors import ConfigurationError, DivergedError, GradientRangeError, NonFiniteError, nearest
from bpttlab.losses import Loss
from bpttlab.scaled import FLOATS, ZERO_EXPONENT, Scaled, shifted
from bpttlab.trace import Trace
from bpttlab.truncation import Full, Plan, Segmented

Array = np.ndarray[Any, np.dtype[Any]]
Numbers = TypeVar("Numbers", Array, Scaled)


# ---------------------------------------------------------------------------------------------------- forward


ENGINES = ("numpy", "numba")


def forward(cell: Cell, params: Params, x: Array, h_0: Array | None = None, engine: str = "numpy") -> Trace:
    """Run the network over x.

    Args:
        cell: the recurrence.
        params: its weights, named as in the notes.
        x: (T, B, I) inputs, T >= 1.
        h_0: (B, N) initial state, zero by default.
        engine: "numpy", or "numba" for compiled loops over t (`kernels`), which differ in the last bits. The trace
            keeps it, and what goes back through the trace follows it.

    Raises:
        ConfigurationError: a parameter or an input is missing or has another shape than the cell's, or there is no such
            engine.
        NonFiniteError: an input or a weight is NaN or infinite; the error names the first such step.
        DivergedError: the state overflowed; the error names the first such step.
    """
    check_engine(engine)
    found = compiled_forward(cell, params, x, h_0) if engine == "numba" else None
    return stepwise_forward(cell, params, x, h_0, engine) if found is None else found


def stepwise_forward(cell: Cell, params: Params, x: Array, h_0: Array | None, engine: str) -> Trace:
    """`forward` by the cell's own methods."""
    x, h_0 = checked_inputs(cell, params, x, h_0)
    with np.errstate(over="ignore", invalid="ignore"):
        z, h = cell.project(params, x), np.empty((len(x) + 1, *h_0.shape), x.dtype)
        h[0] = h_0
        recur(cell, params, z, h)
        y_hat = cell.read(params, h[1:])
    check_finite(h[1:], "the hidden state")
    check_finite(y_hat, "the prediction")
    return Trace(cell, params, x, h, y_hat, engine)


def recur(cell: Cell, params: Params, z: Array, h: Array) -> None:
    """The recursion: h[1:] from h[0] and the projections."""
    for t in range(1, len(h)):
        h[t] = cell.step(params, z[t - 1], h[t - 1])


def compiled_forward(cell: Cell, params: Params, x: Array, h_0: Array | None) -> Trace | None:
    """The same in one piece, without Python between; None for a cell or a dtype that has no kernel.

    What is given is looked at twice only where it has to be converted, or something is wrong with it.
    """
    from bpttlab import compiled_passes

    given = ready(cell, params, x, h_0)
    if given is None:
        x, h_0 = checked_inputs(cell, params, x, h_0)
        if not compiled_passes.has_kernel(cell, x.dtype):
            return None
        given = {name: compiled_passes.solid(value.astype(x.dtype, copy=False)) for name, value in params.items()}
        x, h_0 = compiled_passes.solid(x), compiled_passes.solid(h_0)
    h, y_hat, slopes, fine = compiled_passes.forward(cell, given, x, h_0)
    if not fine:
        checked_inputs(cell, params, x, h_0)
        check_finite(h[1:], "the hidden state")
    if y_hat is None:
        with np.errstate(over="ignore", invalid="ignore"):
            y_hat = cell.read(params, h[1:])
    if not fine or compiled_passes.form(cell).output < 0:
        check_finite(y_hat, "the prediction")
    trace = Trace(cell, params, x, h, y_hat, "numba")
    return trace.having(slopes)


def ready(cell: Cell, params: Params, x: Array, h_0: Array | None) -> Params | None:
    """The parameters, where they, x and h_0 are such that compiled code can have them as they are."""
    from bpttlab import compiled_passes

    if (
        type(x) is not np.ndarray
        or not compiled_passes.has_kernel(cell, x.dtype)
        or not compiled_passes.fit(params, cell.shapes(), x.dtype)
    ):
        return None
    if x.ndim != 3 or len(x) < 1 or x.shape[2] != cell.input_size or not x.flags.carray:
        return None
    if h_0 is not None and not compiled_passes.fit({"h_0": h_0}, {"h_0": (x.shape[1], cell.state_size)}, x.dtype):
        return None
    return params


def check_engine(engine: str) -> None:
    if engine not in ENGINES:
        raise ConfigurationError(f"engine={engine!r}: must be one of {', '.join(ENGINES)}.{nearest(engine, ENGINES)}")
    if engine == "numba":
        from bpttlab import kernels

        kernels.check_installed()


def checked_inputs(cell: Cell, params: Params, x: Array, h_0: Array | None) -> tuple[Array, Array]:
    """x and h_0 in the dtype of the weights, or an error that says which array is not as the cell needs it."""
    check_params(cell, params)
    complex_ones = [array for array in (x, h_0) if array is not None and np.iscomplexobj(array)]
    dtype = np.result_type(*params.values(), *complex_ones)  # real data follow the weights, float32 ones too
    x = np.asarray(x, dtype)
    if x.ndim != 3 or len(x) < 1 or x.shape[2] != cell.input_size:
        raise ConfigurationError(
            f"x: shape {x.shape}; must be (T, B, I) with T >= 1 and I = input_size = {cell.input_size}"
        )
    h_0 = np.zeros((x.shape[1], cell.state_size), dtype) if h_0 is None else np.asarray(h_0, dtype)
    if h_0.shape != (x.shape[1], cell.state_size):
        raise ConfigurationError(f"h_0: shape {h_0.shape}; must be (B, N) = {(x.shape[1], cell.state_size)}")
    steps = np.flatnonzero(~np.isfinite(x).all(axis=(1, 2)))
    if len(steps):
        raise NonFiniteError(f"x: not finite at step t = {steps[0] + 1}", int(steps[0]) + 1)
    if not np.isfinite(h_0).all():
        raise NonFiniteError("h_0: not finite", 0)
    return x, h_0


def check_params(cell: Cell, params: Params) -> None:
    shapes = cell.shapes()
    if set(params) != set(shapes):
        raise ConfigurationError(f"params: has {', '.join(sorted(params))}; must have {', '.join(sorted(shapes))}")
    for name, shape in shapes.items():
        if params[name].shape != shape:
            raise ConfigurationError(f"params[{name!r}]: shape {params[name].shape}; must be {shape}")
        if not np.isfinite(params[name]).all():
            raise NonFiniteError(f"params[{name!r}]: not finite")


def check_finite(values: Array, what: str) -> None:
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(values.sum()):  # then each of them is; a sum that overflows proves nothing
            return
    steps = np.flatnonzero(~np.isfinite(values).all(axis=tuple(range(1, values.ndim))))
    if len(steps):
        raise DivergedError(int(steps[0]) + 1, what)


# ---------------------------------------------------------------------------------------------------- backward


class Cotangents(NamedTuple):
    """What a walk through a plan leaves, each of the dtype and arithmetic of the errors it was given.

    Attributes:
        da: (T, B, A), dL/da_t summed over all segments.
        dropped: (T+1, B, N), entry k the cotangents of h_k that some segment did not carry on; entry 0 is dL/dh_0.
            Injected as errors of a full walk they give exactly what the truncation left out, without a difference.
    """

    da: Any
    dropped: Any


def walk(trace: Trace, error: Numbers, plan: Plan) -> Cotangents:
    """Back through every segment of the plan, all segments side by side, aligned at their stops.

    Args:
        trace: the forward pass.
        error: (T, B, N) what each step's own loss sends to h_t, as plain or scaled numbers.
        plan: segments and carry.
    """
    if trace.compiled:
        return compiled_walk(trace, error, plan)
    if len(plan.segments) == 1:
        return walk_one_segment(trace, error, plan)
    cell, params, slopes = trace.cell, trace.params, trace.slopes
    T, B, N = error.shape
    da = zeros_like(error, (T, B, cell.local_size))
    dropped = zeros_like(error, (T + 1, B, N))
    start, stop, loss_from = plan.segments.T
    carries = plan.carry.reshape(T, -1)  # (T, 1) or (T, B)
    dh = zeros_like(error, (len(start), B, N))
    t = stop.copy()
    while len(t):
        inject = (t > loss_from)[:, None, None]
        carry = np.where((t < stop)[:, None], carries[t - 1], 1.0)[..., None].astype(slopes.dtype)
        if (carry != 1.0).any():
            dropped[t] = dropped[t] + dh * (1.0 - carry)
        delta = normalised(error[t - 1] * inject.astype(slopes.dtype) + dh * carry)
        da_t, dh = pull(cell, params, slopes[t - 1], delta)
        da[t - 1] = da[t - 1] + da_t
        t = t - 1
        ended = t == start
        if ended.any():
            dropped[t[ended]] = dropped[t[ended]] + dh[ended]
            going = ~ended
            t, dh, start, stop, loss_from = t[going], dh[going], start[going], stop[going], loss_from[going]
    return Cotangents(da, dropped)


def walk_one_segment(trace: Trace, error: Numbers, plan: Plan) -> Cotangents:
    """`walk` where there is nothing beside the one segment."""
    (T, B, N), slopes = error.shape, trace.slopes
    da, dropped = zeros_like(error, (T, B, trace.cell.local_size)), zeros_like(error, (T + 1, B, N))
    start, stop, loss_from = (int(end) for end in plan.segments[0])
    carries, cut = plan.carry.reshape(T, -1, 1).astype(slopes.dtype), (plan.carry != 1.0).reshape(T, -1).any(axis=1)
    dh = zeros_like(error, (B, N))
    for t in range(stop, start, -1):
        if t < stop and cut[t - 1]:
            dropped[t] = dh * (1.0 - carries[t - 1])
            dh = dh * carries[t - 1]
        delta = normalised(error[t - 1] + dh if t > loss_from else dh)
        da[t - 1], dh = pull(trace.cell, trace.params, slopes[t - 1], delta)
    dropped[start] = dh
    return Cotangents(da, dropped)


def compiled_walk(trace: Trace, error: Any, plan: Plan) -> Cotangents:
    """`walk` by the compiled loop."""
    from bpttlab import compiled_passes

    scaled = error if isinstance(error, Scaled) else Scaled(error, np.zeros((*error.shape[:-1], 1), np.int64))
    da, of_da, dropped, of_dropped, moderate = compiled_passes.walk(
        trace.cell, trace.params, trace.slopes, scaled.mantissa, scaled.exponent[..., 0], plan.segments, plan.carry
    )
    if moderate and not isinstance(error, Scaled):
        return Cotangents(da, dropped)
    found = Cotangents(Scaled(da, of_da[..., None]), Scaled(dropped, of_dropped[..., None]))
    return found if isinstance(error, Scaled) else Cotangents(*map(plain, found))


def plain(numbers: Scaled) -> Array:
    """Floats, infinite where they are too large: `backward` looks for that."""
    return np.ldexp(numbers.mantissa, np.clip(numbers.exponent, -5000, 5000))


def pull(cell: Cell, params: Params, slope_t: Array, dh_t: Any) -> tuple[Any, Any]:
    """`Cell.pull` in either arithmetic: it is linear, so a scaled cotangent keeps its exponent."""
    if isinstance(dh_t, Scaled):
        da_t, dh_prev = cell.pull(params, slope_t, dh_t.mantissa)
        return Scaled(da_t, dh_t.exponent), Scaled(dh_prev, dh_t.exponent)
    return cell.pull(params, slope_t, dh_t)


def normalised(numbers: Any) -> Any:
    return numbers.normalised() if isinstance(numbers, Scaled) else numbers


def zeros_like(numbers: Any, shape: tuple[int, ...]) -> Any:
    if isinstance(numbers, Scaled):
        return Scaled.zeros(shape, numbers.mantissa.dtype)
    return np.zeros(shape, numbers.dtype)


def backward(trace: Trace, loss: Loss | Array, scheme: Segmented | Plan | None = None) -> Params:
    """dL/dparams and dL/dh_0 under a truncation scheme.

    Args:
        trace: a forward pass.
        loss: a `Loss`, or the array dL/dy_hat of shape (T, B, O) itself.
        scheme: how the gradient is cut, or a plan of it (`Random.draw`); full by default.

    Returns:
        Keyed like the parameters, and "h_0" of shape (B, N). What is too small for a float is rounded to the nearest,
        zero included; `backward_scaled` keeps it.

    Raises:
        GradientRangeError: the gradient is too large for a float.
    """
    if scheme is None or isinstance(scheme, Full):
        found = compiled_backward(trace, loss)
        if found is not None:
            return found
    dL_dy_hat = checked_errors(trace, loss)
    plan = plan_of(scheme, trace.length)
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        da_y, error = trace.pull_read(dL_dy_hat)
        cotangents = walk(trace, error, plan)
        gradients = {**summed(gradient_parts(trace, cotangents.da, da_y)), "h_0": cotangents.dropped[0]}
    return checked_range(gradients)


def checked_range(gradients: Params) -> Params:
    if not all(np.isfinite(gradient).all() for gradient in gradients.values()):
        dtype = gradients["h_0"].dtype
        raise GradientRangeError(
            f"the gradient is beyond the range of {dtype}; backward_scaled returns it as mantissa and exponent"
        )
    return gradients


def compiled_backward(trace: Trace, loss: Loss | Array) -> Params | None:
    """The full gradient in one piece; None where there is no kernel, or `backward` has to look closer."""
    if not trace.compiled:
        return None
    from bpttlab import compiled_passes

    cell, dy_hat = trace.cell, loss.gradient if isinstance(loss, Loss) else loss
    arrays = {"x": trace.x, "h": trace.h, "y_hat": trace.y_hat, "dy_hat": dy_hat}
    shapes = {name: array.shape for name, array in arrays.items()} | {"dy_hat": trace.y_hat.shape}
    dtype, slopes = trace.h.dtype, trace.slopes
    if not compiled_passes.fit(trace.params, cell.shapes(), dtype) or not compiled_passes.fit(arrays, shapes, dtype):
        return None
    if not slopes.flags.carray:
        return None
    return compiled_passes.backward(cell, trace.params, trace.x, trace.h, slopes, trace.y_hat, dy_hat)


SUMMED_STEPS = 1024
"""Steps whose part of a gradient is one product; the parts are added up, that of the last steps first.

Always as many, from the start of a sequence on: a gradient whose states are computed again, so many at a time
(`checkpointing`), is the same to the last bit. A multiple of `cells.base.BLOCK_STEPS`.
"""


def time_blocks(length: int) -> Iterator[slice]:
    """Blocks of SUMMED_STEPS steps, the last one, which may have fewer, first."""
    for start in reversed(range(0, length, SUMMED_STEPS)):
        yield slice(start, min(start + SUMMED_STEPS, length))


def gradient_parts(trace: Trace, da: Array, da_y: Array) -> Iterator[Params]:
    """What each block of time adds to the gradient by every parameter.  da (T,B,A), da_y (T,B,O)"""
    for steps in time_blocks(trace.length):
        recurrent = trace.cell.gradient(trace.local.at(steps), da[steps])
        yield {**recurrent, **trace.cell.read_gradient(trace.h[1:][steps], da_y[steps])}


def summed(parts: Iterable[Params], total: Params | None = None) -> Params:
    """The sum of gradients by name, in their order, after what is there already."""
    total = total or {}
    for part in parts:
        total = {name: total[name] + values for name, values in part.items()} if total else part
    return total


def plan_of(scheme: Segmented | Plan | None, length: int) -> Plan:
    if isinstance(scheme, Plan):
        return scheme
    scheme = scheme or Full()
    if not isinstance(scheme, Segmented):
        raise ConfigurationError(
            f"scheme={scheme.name}: has no one plan; truncation_bias measures it, and random cuts have draw(T, rng)"
        )
    return scheme.plan(length)


def backward_scaled(trace: Trace, loss: Loss | Array, scheme: Segmented | Plan | None = None) -> dict[str, Scaled]:
    """`backward` in numbers that neither over- nor underflow: one exponent a gradient, for h_0 one a sequence."""
    dL_dy_hat = checked_errors(trace, loss)
    cotangents = walk(trace, trace.scaled_error(dL_dy_hat), plan_of(scheme, trace.length))
    return scaled_gradients(trace, dL_dy_hat, cotangents)


def scaled_gradients(trace: Trace, dL_dy_hat: Array, cotangents: Cotangents) -> dict[str, Scaled]:
    """All gradients that a scaled walk leaves."""
    total: dict[str, Scaled] = {}
    for part in scaled_parts(trace, dL_dy_hat, cotangents.da):
        add_to(total, part)
    return total | {"h_0": cotangents.dropped[0].normalised()}


def scaled_parts(trace: Trace, dL_dy_hat: Array, da: Scaled) -> Iterator[dict[str, Scaled]]:
    """`gradient_parts` in scaled numbers."""
    for steps in time_blocks(trace.length):
        recurrent = recurrent_gradient(trace.cell, trace.local.at(steps), da[steps])
        yield {**recurrent, **scaled_readout_gradient(trace, dL_dy_hat, steps)}


def summed_gradient(cell: Cell, local: Local, da: Scaled, total: dict[str, Scaled] | None = None) -> dict[str, Scaled]:
    """`recurrent_gradient` of all T steps, block by block of time, added to a total.  (T,B,any), (T,B,A)"""
    total = {} if total is None else total
    for steps in time_blocks(len(da)):
        add_to(total, recurrent_gradient(cell, local.at(steps), da[steps]))
    return total


def checked_errors(trace: Trace, loss: Loss | Array) -> Array:
    return errors_like(trace.y_hat, loss)


def errors_like(y_hat: Array, loss: Loss | Array) -> Array:
    """dL/dy_hat in the dtype of the predictions, of their shape, and finite.  (T,B,O)"""
    dL_dy_hat = np.asarray(loss.gradient if isinstance(loss, Loss) else loss, y_hat.dtype)
    if dL_dy_hat.shape != y_hat.shape:
        raise ConfigurationError(f"loss: dL/dy_hat has shape {dL_dy_hat.shape}; must be (T, B, O) = {y_hat.shape}")
    steps = np.flatnonzero(~np.isfinite(dL_dy_hat).all(axis=(1, 2)))
    if len(steps):
        raise NonFiniteError(f"loss: dL/dy_hat is not finite at step t = {steps[0] + 1}", int(steps[0]) + 1)
    return dL_dy_hat


def readout_gradient(trace: Trace, dL_dy_hat: Array) -> Params:
    da_y, _ = trace.pull_read(dL_dy_hat)
    return trace.cell.read_gradient(trace.h[1:], da_y)


def scaled_readout_gradient(trace: Trace, dL_dy_hat: Array, steps: slice = slice(None)) -> dict[str, Scaled]:
    """dL/dU and dL/db_y at any size of states and errors: the first is linear in both, the second in the errors."""
    errors, h_t = Scaled.whole(dL_dy_hat[steps]), Scaled.whole(trace.h[1:][steps])
    da_y, _ = trace.pull_read(errors.mantissa, steps)
    gradients = trace.cell.read_gradient(h_t.mantissa, da_y)
    exponents = {"U": errors.exponent.item() + h_t.exponent.item(), "b_y": errors.exponent.item()}
    return {name: Scaled.whole(gradients[name], exponent) for name, exponent in exponents.items()}


def recurrent_gradient(cell: Cell, local: Local, da: Scaled) -> dict[str, Scaled]:
    """`Cell.gradient` of scaled cotangents (..., A), one exponent for each parameter.

    Rows of very different size go into products of their own: the input of a step whose cotangent is large may be zero,
    and what is left then is a small cotangent that one common exponent would have flushed.
    """
    local = Local(*(array.reshape(-1, array.shape[-1]) for array in local))
    mantissa, exponents = da.mantissa.reshape(-1, da.shape[-1]), da.exponent.reshape(-1)
    numbers = FLOATS[mantissa.dtype.char]
    width = -int(numbers.minexp) // 4  # a quarter of the range below one: 255 in float64
    headroom = int(numbers.nmant)  # so that a sum of as many products with the largest state is no overflow
    largest = np.maximum.reduce(np.abs(mantissa), axis=-1, initial=0.0)
    blocks = (exponents + np.frexp(largest)[1]) // width
    alive = largest > 0
    top = int(np.maximum.reduce(blocks, initial=ZERO_EXPONENT // width, where=alive))
    blocks[~alive] = top  # a row of zeros needs no product of its own
    one = bool((blocks == top).all())
    total: dict[str, Scaled] = {}
    for block in [top] if one else np.unique(blocks)[::-1]:
        chosen: Any = slice(None) if one else blocks == block
        exponent = int(block + 1) * width + headroom
        shift = np.where(alive[chosen], exponents[chosen] - exponent, 0)[:, None]
        gradients = cell.gradient(local.at(chosen), shifted(mantissa[chosen], shift))
        add_to(total, {name: Scaled.whole(gradient, exponent) for name, gradient in gradients.items()})
    return total


def add_to(total: dict[str, Scaled], gradients: dict[str, Scaled]) -> None:
    """Adds gradients to a total that may not have all of their parameters yet."""
    for name, gradient in gradients.items():
        total[name] = add_whole(total[name], gradient) if name in total else gradient


def add_whole(left: Scaled, right: Scaled) -> Scaled:
    """Sum of two arrays that have one exponent each."""
    exponent = int(max(left.exponent.item(), right.exponent.item()))
    return Scaled.whole(left.whole_at(exponent) + right.whole_at(exponent), exponent)


# ---------------------------------------------------------------------------------------------------- the oracle


def literal_sum(trace: Trace, loss: Loss | Array, keeps: Callable[[int, int], bool] = lambda t, k: True) -> Params:
    """The notes' last equation, term by term, O(T^2): the oracle of the tests.

        dL_t/dtheta = dL_t/dy_hat_t dy_hat_t/dh_t  sum_{k=1..t} ( prod_{i=k+1..t} dh_i/dh_{i-1} )  d+h_k/dtheta

    It shares the immediate derivatives with `backward`; the way back through time is the product of explicit Jacobians.

    Args:
        trace: a forward pass.
        loss: as in `backward`.
        keeps: whether the term of loss t and step k counts; a truncation keeps some.

    Returns:
        The recurrent parameters, V and "h_0", whose immediate derivative is that of step k = 1.
    """
    cell, error = trace.cell, trace.error(checked_errors(trace, loss))
    names = [name for name in trace.params if name in cell.recurrent_parameters]
    total: Params = {"h_0": np.zeros_like(trace.h[0]), **{name: np.zeros_like(trace.params[name]) for name in names}}
    for t in range(1, trace.length + 1):  # every loss L_t
        row = error[t - 1]  # dL_t/dy_hat_t dy_hat_t/dh_t
        for k in range(t, 0, -1):  # most recent term first
            if keeps(t, k):
                da_k, _ = cell.pull(trace.params, trace.slopes[k - 1], row)
                term = cell.gradient(trace.local.at(slice(k - 1, k)), da_k[None])
                total.update({name: total[name] + term[name] for name in names})
                if k == 1:
                    total["h_0"] = total["h_0"] + np.einsum("bn,bnm->bm", row, trace.jacobian(1))
            row = np.einsum("bn,bnm->bm", row, trace.jacobian(k))  # ... times dh_k/dh_{k-1}
    return total
