"""Back-propagation through time: a trace walked back along the segments of a plan.

The cotangents go back through the steps, then one product sums the parameters' gradients over all of them.

Index legend: T time, B sequence, I input, N hidden state, A pre-activations, O output, S segment. Times count from 1
as in the notes; `h` has T+1 states with `h[0]` the initial one, arrays with T entries hold step t at index t-1.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, TypeVar

import numpy as np

from bpttlab.errors import ConfigurationError, GradientRangeError, NonFiniteError
from bpttlab.gradients.plan import HasPlan, Plan, plan_of
from bpttlab.gradients.trace import Trace
from bpttlab.networks.cells.cell import Cell, Params
from bpttlab.networks.losses import Loss
from bpttlab.numerics.array import Array
from bpttlab.numerics.scaled import Scaled

Numbers = TypeVar("Numbers", Array, Scaled)


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
    cell, params, slopes = trace.cell, trace.params, trace.linearization
    T, B, N = error.shape
    da = zeros_like(error, (T, B, cell.preactivation_size))
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
        delta = normalise(error[t - 1] * inject.astype(slopes.dtype) + dh * carry)
        da_t, dh = vjp(cell, params, slopes[t - 1], delta)
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
    (T, B, N), slopes = error.shape, trace.linearization
    da, dropped = zeros_like(error, (T, B, trace.cell.preactivation_size)), zeros_like(error, (T + 1, B, N))
    start, stop, loss_from = (int(end) for end in plan.segments[0])
    carries, cut = plan.carry.reshape(T, -1, 1).astype(slopes.dtype), (plan.carry != 1.0).reshape(T, -1).any(axis=1)
    dh = zeros_like(error, (B, N))
    for t in range(stop, start, -1):
        if t < stop and cut[t - 1]:
            dropped[t] = dh * (1.0 - carries[t - 1])
            dh = dh * carries[t - 1]
        delta = normalise(error[t - 1] + dh if t > loss_from else dh)
        da[t - 1], dh = vjp(trace.cell, trace.params, slopes[t - 1], delta)
    dropped[start] = dh
    return Cotangents(da, dropped)


def compiled_walk(trace: Trace, error: Any, plan: Plan) -> Cotangents:
    """`walk` by the compiled loop."""
    from bpttlab.gradients.compiled import dispatch

    scaled = error if isinstance(error, Scaled) else Scaled(error, np.zeros((*error.shape[:-1], 1), np.int64))
    da, of_da, dropped, of_dropped, moderate = dispatch.walk(
        trace.cell,
        trace.params,
        trace.linearization,
        scaled.mantissa,
        scaled.exponent[..., 0],
        plan.segments,
        plan.carry,
    )
    if moderate and not isinstance(error, Scaled):
        return Cotangents(da, dropped)
    found = Cotangents(Scaled(da, of_da[..., None]), Scaled(dropped, of_dropped[..., None]))
    return found if isinstance(error, Scaled) else Cotangents(*map(plain, found))


def plain(numbers: Scaled) -> Array:
    """Floats, infinite where they are too large: `backward` looks for that."""
    return np.ldexp(numbers.mantissa, np.clip(numbers.exponent, -5000, 5000))


def vjp(cell: Cell, params: Params, linearization_t: Array, dh_t: Any) -> tuple[Any, Any]:
    """`Cell.vjp` in either arithmetic: it is linear, so a scaled cotangent keeps its exponent."""
    if isinstance(dh_t, Scaled):
        da_t, dh_prev = cell.vjp(params, linearization_t, dh_t.mantissa)
        return Scaled(da_t, dh_t.exponent), Scaled(dh_prev, dh_t.exponent)
    return cell.vjp(params, linearization_t, dh_t)


def normalise(numbers: Any) -> Any:
    return numbers.normalised() if isinstance(numbers, Scaled) else numbers


def zeros_like(numbers: Any, shape: tuple[int, ...]) -> Any:
    if isinstance(numbers, Scaled):
        return Scaled.zeros(shape, numbers.mantissa.dtype)
    return np.zeros(shape, numbers.dtype)


def backward(trace: Trace, loss: Loss | Array, scheme: HasPlan | Plan | None = None) -> Params:
    """dL/dparams and dL/dh_0 under a truncation scheme.

    Args:
        trace: a forward pass.
        loss: a `Loss`, or the array dL/dy_hat of shape (T, B, O) itself.
        scheme: how the gradient is cut, or a plan of it (`Random.draw`), which is walked as it is; full by default.

    Returns:
        Keyed like the parameters, and "h_0" of shape (B, N). What is too small for a float is rounded to the nearest,
        zero included; `backward_scaled` keeps it.

    Raises:
        GradientRangeError: the gradient is too large for a float.
    """
    plan = plan_of(scheme, trace.length)
    if plan is not scheme and (scheme is None or plan.cuts_nothing):
        found = compiled_backward(trace, loss)
        if found is not None:
            return found
    dL_dy_hat = check_errors(trace, loss)
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        da_y, error = trace.readout_vjp(dL_dy_hat)
        cotangents = walk(trace, error, plan)
        gradients = {**sum_parts(gradient_parts(trace, cotangents.da, da_y)), "h_0": cotangents.dropped[0]}
    return check_range(gradients)


def check_range(gradients: Params) -> Params:
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
    from bpttlab.gradients.compiled import dispatch

    cell, dy_hat = trace.cell, loss.gradient if isinstance(loss, Loss) else loss
    arrays = {"x": trace.x, "h": trace.h, "y_hat": trace.y_hat, "dy_hat": dy_hat}
    shapes = {name: array.shape for name, array in arrays.items()} | {"dy_hat": trace.y_hat.shape}
    dtype, slopes = trace.h.dtype, trace.linearization
    if not dispatch.fit(trace.params, cell.parameter_shapes(), dtype) or not dispatch.fit(arrays, shapes, dtype):
        return None
    if not slopes.flags.carray:
        return None
    return dispatch.backward(cell, trace.params, trace.x, trace.h, slopes, trace.y_hat, dy_hat)


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
        recurrent = trace.cell.parameter_vjp(trace.local.at(steps), da[steps])
        yield {**recurrent, **trace.cell.read_gradient(trace.h[1:][steps], da_y[steps])}


def sum_parts(parts: Iterable[Params], total: Params | None = None) -> Params:
    """The sum of gradients by name, in their order, after what is there already."""
    total = total or {}
    for part in parts:
        total = {name: total[name] + values for name, values in part.items()} if total else part
    return total


def check_errors(trace: Trace, loss: Loss | Array) -> Array:
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
    da_y, _ = trace.readout_vjp(dL_dy_hat)
    return trace.cell.read_gradient(trace.h[1:], da_y)
