"""From cotangents to the gradients of parameters, in numbers that neither over- nor underflow (`numerics.scaled`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from bpttlab.gradients.engine import Cotangents
from bpttlab.gradients.parameter_gradients import time_blocks
from bpttlab.gradients.trace import Trace
from bpttlab.networks.cells.cell import Cell, Local, rows
from bpttlab.numerics.array import Array
from bpttlab.numerics.scaled import FLOATS, ZERO_EXPONENT, Scaled, shift_exponents


def scaled_gradients(trace: Trace, dL_dy_hat: Array, cotangents: Cotangents) -> dict[str, Scaled]:
    """All gradients that a scaled walk leaves."""
    total: dict[str, Scaled] = {}
    for part in scaled_parts(trace, dL_dy_hat, cotangents.da):
        add_to(total, part)
    return total | {"h_0": cotangents.dropped[0].normalise()}


def scaled_parts(trace: Trace, dL_dy_hat: Array, da: Scaled) -> Iterator[dict[str, Scaled]]:
    """`gradient_parts` in scaled numbers."""
    for steps in time_blocks(trace.length):
        recurrent = recurrent_gradient(trace.cell, trace.local.at(steps), da[steps])
        yield {**recurrent, **scaled_readout_gradient(trace, dL_dy_hat, steps)}


def sum_gradient(cell: Cell, local: Local, da: Scaled, total: dict[str, Scaled] | None = None) -> dict[str, Scaled]:
    """`recurrent_gradient` of all T steps, block by block of time, added to a total.  (T,B,any), (T,B,A)"""
    total = {} if total is None else total
    for steps in time_blocks(len(da)):
        add_to(total, recurrent_gradient(cell, local.at(steps), da[steps]))
    return total


def scaled_readout_gradient(trace: Trace, dL_dy_hat: Array, steps: slice = slice(None)) -> dict[str, Scaled]:
    """dL/dU and dL/db_y at any size of states and errors: the first is linear in both, the second in the errors.

    A readout of a cell's own is taken to be linear in the errors alone.
    """
    errors, h_t = Scaled.whole(dL_dy_hat[steps]), Scaled.whole(trace.h[1:][steps])
    da_y, _ = trace.readout_vjp(errors.mantissa, steps)
    of_errors = errors.exponent.item()
    if not trace.cell.has_linear_readout:
        own = trace.cell.read_gradient(trace.params, trace.h[1:][steps], da_y)
        return {name: Scaled.whole(gradient, of_errors) for name, gradient in own.items()}
    gradients = trace.cell.read_gradient(trace.params, h_t.mantissa, da_y)
    exponents = {"U": of_errors + h_t.exponent.item(), "b_y": of_errors}
    return {name: Scaled.whole(gradients[name], exponent) for name, exponent in exponents.items()}


def recurrent_gradient(cell: Cell, local: Local, da: Scaled) -> dict[str, Scaled]:
    """`Cell.parameter_vjp` of scaled cotangents (..., A), one exponent for each parameter.

    Rows of very different size go into products of their own: the input of a step whose cotangent is large may be zero,
    and what is left then is a small cotangent that one common exponent would have flushed.
    """
    local = local.map(rows)
    mantissa, exponents = da.mantissa.reshape(-1, da.shape[-1]), da.exponent.reshape(-1)
    total: dict[str, Scaled] = {}
    for chosen, exponent, shift in divide_by_size(mantissa, exponents):
        gradients = cell.parameter_vjp(local.at(chosen), shift_exponents(mantissa[chosen], shift))
        add_to(total, {name: Scaled.whole(gradient, exponent) for name, gradient in gradients.items()})
    return total


def sequence_gradients(cell: Cell, local: Local, da: Scaled) -> dict[str, Array]:
    """`recurrent_gradient` of each sequence by itself, all with one exponent, which is left out.  (T,B,A) -> (B,*shape)

    The largest entry of each parameter lies in [1/2, 1).
    """
    mantissa, exponents = da.mantissa.reshape(-1, da.shape[-1]), da.exponent.reshape(-1)
    parts = divide_by_size(mantissa, exponents)
    if len(parts) == 1:
        ((_, _, shift),) = parts
        gradients = cell.parameter_vjp_each(local, shift_exponents(mantissa, shift).reshape(da.shape))
        return {name: Scaled.whole(gradient).mantissa for name, gradient in gradients.items()}
    alone = [(slice(None), slice(b, b + 1)) for b in range(da.shape[1])]
    each = [recurrent_gradient(cell, local.at(sequence), da[sequence]) for sequence in alone]
    return {name: stack_whole([one[name] for one in each]) for name in each[0]}


def stack_whole(gradients: Sequence[Scaled]) -> Array:
    """Arrays with one exponent each, side by side with the largest of these exponents, which is left out."""
    exponent = max(int(gradient.exponent.item()) for gradient in gradients)
    return np.stack([gradient.at(exponent) for gradient in gradients])


def divide_by_size(mantissa: Array, exponents: Array) -> list[tuple[Any, int, Array]]:
    """Rows of about the same size, which go into one product: which ones, the exponent that they get, and the shifts
    that give it to them.  (R,A), (R,)"""
    numbers = FLOATS[mantissa.dtype.char]
    width = -int(numbers.minexp) // 4  # a quarter of the range below one: 255 in float64
    headroom = int(numbers.nmant)  # so that a sum of as many products with the largest state is no overflow
    largest = np.maximum.reduce(np.abs(mantissa), axis=-1, initial=0.0)
    blocks = (exponents + np.frexp(largest)[1]) // width
    alive = largest > 0
    top = int(np.maximum.reduce(blocks, initial=ZERO_EXPONENT // width, where=alive))
    blocks[~alive] = top  # a row of zeros needs no product of its own
    one = bool((blocks == top).all())
    parts: list[tuple[Any, int, Array]] = []
    for block in [top] if one else np.unique(blocks)[::-1]:
        chosen: Any = slice(None) if one else blocks == block
        exponent = int(block + 1) * width + headroom
        parts.append((chosen, exponent, np.where(alive[chosen], exponents[chosen] - exponent, 0)[:, None]))
    return parts


def add_to(total: dict[str, Scaled], gradients: dict[str, Scaled]) -> None:
    """Adds gradients to a total that may not have all of their parameters yet."""
    for name, gradient in gradients.items():
        total[name] = add_whole(total[name], gradient) if name in total else gradient


def add_whole(left: Scaled, right: Scaled) -> Scaled:
    """Sum of two arrays that have one exponent each."""
    exponent = int(max(left.exponent.item(), right.exponent.item()))
    return Scaled.whole(left.whole_at(exponent) + right.whole_at(exponent), exponent)
