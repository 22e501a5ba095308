"""Gradient flossing: the squares of the first finite-time exponents of a network, pushed towards 0.

    P = mean over sequences of sum_{i<=k} lambda_i^2          lambda_i = 1/S sum log |R[i,i]|          S steps averaged

The exponents are those of `measures.lyapunov`: the same starting directions Q_0, the same steps. Their gradient goes
back through every QR (`numerics.matrices.qr_vjp`) to the J_t of its stretch, from there to parameters and linearization
(`Cell.jacobian_vjp`), and back through time (`gradients.second_derivatives`). So it is the whole derivative: the
directions and the states depend on the parameters, too.

Index legend: T time, B sequence, N state, K directions, L steps of a stretch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, NamedTuple

import numpy as np

from bpttlab.errors import ConfigurationError, NonFiniteError
from bpttlab.fields import Field
from bpttlab.gradients.engine import SquaredExponents
from bpttlab.gradients.second_derivatives import linearization_gradient
from bpttlab.gradients.trace import Trace
from bpttlab.measures.volume_growth import LARGEST_CONDITION, Frame, condition_number
from bpttlab.networks.cells.cell import Cell, Params
from bpttlab.networks.losses import Loss
from bpttlab.numerics.array import Array
from bpttlab.numerics.matrices import qr_vjp, row_sorted_qr
from bpttlab.training.penalties.penalty import Penalty, complete_gradient


@dataclass(frozen=True)
class Flossing(Penalty):
    """Gradient flossing, with target 0 (Engelken 2023)."""

    name: ClassVar[str] = "flossing"

    exponents: Annotated[
        int | Literal["all"], Field(ge=1, description="k, how many finite-time exponents, from the first")
    ] = 1
    interval: Annotated[int, Field(ge=1, unit="step", description="s, steps from one QR to the next, at most")] = 5
    transient: Annotated[
        float,
        Field(ge=0, lt=1, description="fraction of T after which exponents are averaged; before it directions align"),
    ] = 0.1

    def check(self, cell: Cell) -> None:
        if not cell.has_second_derivatives:
            raise cell.lacks_second_derivatives()
        if self.count(cell) > cell.state_size:
            raise ConfigurationError(
                f"penalty.exponents={self.exponents}: must be at most {cell.state_size}, the size of the state, or all"
            )

    def count(self, cell: Cell) -> int:
        return cell.state_size if isinstance(self.exponents, str) else self.exponents

    def value_and_gradient(self, trace: Trace, loss: Loss | Array | None) -> tuple[float, Params]:
        """In float64, also of a float32 network; the loss is not looked at.

        Raises:
            ConfigurationError: the cell is not served, or its state has fewer numbers than there are exponents.
            NonFiniteError: an exponent is -inf or below the resolution of float64 (units of relu that are off).
            GradientRangeError: the gradient is too large for a float.
        """
        self.check(trace.cell)
        batch, value, total = len(trace.lengths), 0.0, dict[str, Array]()
        for group in trace.groups():
            part = group.trace.in_float64()
            found = part.engine.square_exponents(
                part, self.first_directions(part), self.first_step(part), self.interval, batch
            ) or self.square_exponents(part, batch)
            value += float((found.rates * found.rates).sum()) / batch
            gradient = linearization_gradient(part, found.dlinearization, found.direct)
            total = {name: total.get(name, 0.0) + one for name, one in gradient.items()}
        return value, complete_gradient(trace, total)

    def square_exponents(self, trace: Trace, sequences: int) -> SquaredExponents:
        """`Engine.square_exponents` by explicit Jacobians."""
        factors = self.factorise(trace)
        rates = self.rates(trace, factors)
        dlinearization, direct = pull_exponents_back(trace, factors, self.first_step(trace), 2.0 * rates / sequences)
        return SquaredExponents(rates, direct, dlinearization)

    def first_directions(self, trace: Trace) -> Array:
        """Q_0.  (B,N,K)"""
        batch, size = trace.h.shape[1:]
        return Frame.start(batch, size, self.count(trace.cell)).Q

    def finite_time_exponents(self, trace: Trace) -> Array:
        """lambda_i of each sequence of a trace without padding, direction by direction, in no order.  (B,K)"""
        wide = trace.in_float64()
        return self.rates(wide, self.factorise(wide))

    def first_step(self, trace: Trace) -> int:
        """The steps before those that are averaged."""
        return int(self.transient * trace.length)

    def factorise(self, trace: Trace) -> list[OneQR]:
        """All QRs, one of them at the end of the transient."""
        transient, T = self.first_step(trace), trace.length
        ends = [*range(self.interval, transient, self.interval), transient]
        ends += [*range(transient + self.interval, T, self.interval), T]
        Q, factors, first = self.first_directions(trace), list[OneQR](), 0
        for last in ends:
            if last > first:
                factors += factorise_stretch(trace, first, last, Q)
                Q, first = factors[-1].Q, last
        return factors

    def rates(self, trace: Trace, factors: list[OneQR]) -> Array:
        """Mean growth by direction, per step.  (B,K)"""
        transient = self.first_step(trace)
        logs = [np.log(np.abs(diagonal_of_R(one.R))) for one in factors if one.last > transient]
        return np.sum(logs, axis=0) / (trace.length - transient)


class OneQR(NamedTuple):
    """One QR: J_last ... J_{first+1} Q_before = Q R.  (B,N,K), (B,N,K), (B,K,K)"""

    first: int
    last: int
    before: Array
    Q: Array
    R: Array


def factorise_stretch(trace: Trace, first: int, last: int, before: Array) -> list[OneQR]:
    """The QR of the product over the steps first + 1 to last, or, where its condition is too large, of its halves.

    Raises:
        NonFiniteError: a direction became zero, or too small beside the others, in one step.
    """
    Y = multiply_through(stretch_jacobians(trace, first, last), before)[-1]
    if np.isfinite(Y).all():
        Q, R = row_sorted_qr(Y)
        size, largest = np.abs(diagonal_of_R(R)), np.abs(R).max(axis=-2)
        alone = last - first == 1
        if alone:
            refuse_unresolved(size, largest, Y.shape[-2], last)
        if alone or (size.all() and condition_number(largest, size, size == 0.0) <= LARGEST_CONDITION):
            return [OneQR(first, last, before, Q, R)]
    elif last - first == 1:
        raise NonFiniteError(f"a Jacobian is not finite at step t = {last}", last)
    middle = (first + last) // 2
    early = factorise_stretch(trace, first, middle, before)
    return early + factorise_stretch(trace, middle, last, early[-1].Q)


def refuse_unresolved(size: Array, largest: Array, rows: int, t: int) -> None:
    """Refuses |diag R| that is zero or made of rounding errors."""
    lost = ~(size > rows * np.finfo(size.dtype).eps * largest)
    if lost.any():
        number = int(np.argmax(lost.any(axis=0))) + 1
        raise NonFiniteError(
            f"exponent {number} is -inf, or below the resolution of float64, at step t = {t}: "
            f"penalty.exponents must be smaller than {number}",
            t,
        )


def stretch_jacobians(trace: Trace, first: int, last: int) -> Array:
    """J_{first+1}, ..., J_last.  (L,B,N,N)"""
    return trace.cell.jacobian(trace.params, trace.linearization[first:last])


def multiply_through(jacobians: Array, before: Array) -> list[Array]:
    """Directions before the first step and after each.  (L,B,N,N), (B,N,K) -> L+1 times (B,N,K)"""
    found = [before]
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        for J in jacobians:
            found.append(J @ found[-1])
    return found


def diagonal_of_R(R: Array) -> Array:
    return np.diagonal(R, axis1=-2, axis2=-1)


# ------------------------------------------------------------------------------------------ backwards


def pull_exponents_back(trace: Trace, factors: list[OneQR], transient: int, drates: Array) -> tuple[Array, Params]:
    """From the cotangents of the exponents to those of the linearization, and of parameters by way of J_t alone, the
    last QR first.

    Args:
        trace: in float64, without padding.
        factors: all QRs of it.
        transient: the steps before those that are averaged.
        drates: (B,K), dP/dlambda.
    """
    cell, params, dlogs = trace.cell, trace.params, drates / (trace.length - transient)
    dlinearization, direct = np.zeros_like(trace.linearization), dict[str, Array]()
    dQ = np.zeros_like(factors[-1].Q)
    for one in reversed(factors):
        dR = np.zeros_like(one.R)
        if one.last > transient:
            np.einsum("bkk->bk", dR)[:] = dlogs / diagonal_of_R(one.R)
        jacobians = stretch_jacobians(trace, one.first, one.last)
        dJ, dQ = product_vjp(jacobians, one.before, qr_vjp(one.Q, one.R, dQ, dR))
        steps = slice(one.first, one.last)
        part, dlinearization[steps] = cell.jacobian_vjp(params, trace.linearization[steps], dJ)
        direct = {name: direct.get(name, 0.0) + gradient for name, gradient in part.items()}
    return dlinearization, direct


def product_vjp(jacobians: Array, before: Array, dY: Array) -> tuple[Array, Array]:
    """Cotangents of each J_t and of the directions before, from that of J_last ... J_{first+1} Q_before.

    (L,B,N,N), (B,N,K), (B,N,K) -> (L,B,N,N), (B,N,K)
    """
    directions, dJ = multiply_through(jacobians, before), np.empty_like(jacobians)
    for number in reversed(range(len(jacobians))):
        dJ[number] = dY @ directions[number].swapaxes(-2, -1)
        dY = jacobians[number].swapaxes(-2, -1) @ dY
    return dJ, dY
