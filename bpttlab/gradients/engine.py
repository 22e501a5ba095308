"""The loops over t, by one of two engines: NumPy's, for every cell, and compiled ones for some (`compiled.engine`).

An engine runs a network forwards and sends cotangents back. All else, gradients, truncations and measures, calls the
engine of its trace and does not ask which one it is. The two differ in the last bits.

Index legend: T time, B sequence, I input, N hidden state, A pre-activations, O output, S segments or starts, R rows,
L lags. Times count from 1 as in the notes; `h` has T+1 states with `h[0]` the initial one, arrays with T entries hold
step t at index t-1.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, NamedTuple, TypeVar

import numpy as np

from bpttlab.errors import ConfigurationError, nearest
from bpttlab.gradients.inputs import check_finite, check_inputs
from bpttlab.gradients.plan import Plan
from bpttlab.gradients.trace import Trace
from bpttlab.networks.cells.cell import Cell, Params
from bpttlab.networks.losses import Loss, Reduction
from bpttlab.numerics.array import Array
from bpttlab.numerics.scaled import Scaled, spectral_log_norm
from bpttlab.numerics.short_repr import show_briefly

Numbers = TypeVar("Numbers", Array, Scaled)

_HELD_NUMBERS = 2**18
"""Numbers of rows of several lags that `pass_rows_back` holds at once."""


class Cotangents(NamedTuple):
    """What a walk through a plan leaves, each of the dtype and arithmetic of the errors it was given.

    Attributes:
        da: (T, B, A), dL/da_t summed over all segments.
        dropped: (T+1, B, N), entry k the cotangents of h_k that some segment did not carry on; entry 0 is dL/dh_0.
            Injected as errors of a full walk they give exactly what the truncation left out, without a difference.
    """

    da: Any
    dropped: Any

    def __repr__(self) -> str:
        return show_briefly(self)


class RowsBack(NamedTuple):
    """Rows at some lags that follow on each other.

    Attributes:
        rows: (L, R, 1, B, N), normalised.
        log_size: (L, 1, B), log of the Frobenius norm of all of them but the last; None where it is not known yet.
        finite: whether they are known to be finite.
    """

    rows: Scaled
    log_size: Array | None
    finite: bool

    def __repr__(self) -> str:
        return show_briefly(self)


class SquaredExponents(NamedTuple):
    """Finite-time exponents lambda, and derivatives of P = sum_{b,i} lambda_i^2 / sequences.

    Attributes:
        rates: (B, K), the exponents, direction by direction.
        direct: dP/dparams by way of `Cell.jacobian` alone.
        dlinearization: (T, B, any), dP/d`Trace.linearization`.
    """

    rates: Array
    direct: Params
    dlinearization: Array

    def __repr__(self) -> str:
        return show_briefly(self)


class Engine(ABC):
    """What computes the loops over t.

    Attributes:
        name: what `engine=` calls it.
        linearizes: whether its forward pass leaves the linearization of every step.
    """

    name: ClassVar[str]
    linearizes: ClassVar[bool]

    def __repr__(self) -> str:
        return f"engine {self.name!r}"

    def runs(self, cell: Cell, dtype: Any) -> bool:
        """Whether it has loops for this cell and dtype; NumPy's has them for all."""
        return True

    # ------------------------------------------------------------------ forwards

    @abstractmethod
    def forward(self, cell: Cell, params: Params, x: Array, h_0: Array | None) -> Trace:
        """The network over x, with all of its states (`forward.forward`); the trace has the engine that ran it."""

    # ------------------------------------------------------------------ backwards

    @abstractmethod
    def walk(self, trace: Trace, error: Any, plan: Plan) -> Cotangents:
        """Back through every segment of a plan.

        Args:
            trace: the forward pass.
            error: (T, B, N) what each step's own loss sends to h_t, as plain or scaled numbers.
            plan: segments and carry.
        """

    def widen(self, error: Any) -> Any:
        """Errors in the arithmetic in which a walk may leave its cotangents; by default as they are."""
        return error

    def gradient(self, trace: Trace, loss: Loss | Array) -> Params | None:
        """The full gradient in one piece; None where there is no such way, or a walk has to look closer."""
        return None

    def loss_and_gradient(
        self, cell: Cell, params: Params, x: Array, target: Array, mask: Array | None, reduction: Reduction,
        h_0: Array | None,
    ) -> tuple[float, Params] | None:  # fmt: skip
        """The squared error and its full gradient in one piece, None as in `gradient`."""
        return None

    @abstractmethod
    def vjp(self, trace: Trace, linearization_t: Array, dh_t: Scaled) -> tuple[Scaled, Scaled]:
        """`Cell.vjp` of scaled rows, dh_{t-1} normalised.  (S,B,any), (R,S,B,N) -> (R,S,B,A), (R,S,B,N)"""

    def skip(self, trace: Trace, t: Array, lag: int, lags: int, dh: Scaled, total: Scaled) -> tuple[Array, Scaled]:
        """Cotangents of several losses so many lags further back, their da added to a total.

        Args:
            trace: the forward pass.
            t: (S,) where they started; at least one of them is behind h_0 in the end.
            lag: how far back they are, dh (1, S, B, N).
            lags: how many lags further.
            total: (T, B, A), which is changed.

        Returns:
            the starts that are left, and their cotangents.
        """
        for at in range(lag, lag + lags):
            going = t > at
            inner = dh if going.all() else dh[:, going]
            t = t[going]
            da, dh = self.vjp(trace, trace.linearization[t - at - 1], inner)
            total[t - at - 1] = total[t - at - 1] + da[0]
        return t, dh

    def pass_rows_back(self, trace: Trace, t: int, rows: Scaled) -> Iterator[RowsBack]:
        """Rows at h_t, normalised, at every lag from 0 to t, many lags at once.  (R,1,B,N)"""
        most = max(1, _HELD_NUMBERS // rows.mantissa.size)
        held = [rows]
        for step in range(t, 0, -1):
            if len(held) == most:
                yield RowsBack(stack_scaled(held), None, False)
                held = []
            _, rows = self.vjp(trace, trace.linearization[step - 1 : step], rows)
            held.append(rows)
        yield RowsBack(stack_scaled(held), None, False)

    def pass_plain_rows_back(self, trace: Trace, linearization: Array, rows: Array) -> None:
        """Fills rows[1:] from rows[0], in plain numbers.  (L,any), the last that of the first step back; (L+1,R,N)"""
        for number in range(len(linearization)):
            _, rows[number + 1] = trace.cell.vjp(trace.params, linearization[-1 - number], rows[number])

    def takes_tiles(self, cell: Cell) -> bool:
        """Whether `wave_in_tiles` can be called for this cell."""
        return False

    def wave_in_tiles(
        self, trace: Trace, Z: Array, local: Array, interval: Array, least: float, most: float, together: int,
        dh: Array, shares: Array, gradients: Array,
    ) -> int:  # fmt: skip
        """The losses of tiles of steps through all their lags (`compiled.spectral_kernels.wave_in_tiles`)."""
        raise NotImplementedError(f"engine={self.name}: has no tiles")

    def sum_lags(
        self, trace: Trace, error: Array, local: Array, place: Array, alone: Array, group: Array
    ) -> tuple[Array, Array] | None:
        """Sums of the gradient over lags, for all parameters side by side (`compiled.lag_sums`).

        Args:
            trace: the forward pass.
            error: (T, B, N) in plain numbers, not zero at T.
            local: (T, B, M) what da_k is multiplied by.
            place, alone: (T,) which sum each lag belongs to, and whether it is one by itself.
            group: (M,) the parameter of each value.

        Returns:
            the sums (P, N, M), and of those of one lag the scatter over sequences by parameter (P, G); None where
            there is no such way, or plain numbers may not be enough.
        """
        return None

    def follow_volumes(
        self, cell: Cell, params: Params, linearization: Array, Y: Array, logs: Array
    ) -> tuple[int, int]:
        """Directions through the Jacobians of one sequence, by elimination (`compiled.elimination`).

        Args:
            cell, params, linearization: of the J_t, in float64; (L, any).
            Y: (K, N), which is changed.
            logs: (K,), to which the growth of each direction is added.

        Returns:
            the steps until one has to be looked at more closely, L where none has; and the number of eliminations.
        """
        return 0, 0

    def square_exponents(
        self, trace: Trace, Q: Array, transient: int, interval: int, sequences: int
    ) -> SquaredExponents | None:
        """The first finite-time exponents, and the derivative of the sum of their squares by way of the J_t.

        Args:
            trace: without padding, in float64.
            Q: (B, N, K), the directions before the first step.
            transient: the steps before those that are averaged.
            interval: steps from one QR to the next, at most.
            sequences: by which the sum over sequences is divided.

        Returns:
            None where there is no such way, or the condition of one step is too large for it.
        """
        return None

    # ------------------------------------------------------------------ matrices

    def multiply(self, left: Array, right: Array, out: Array) -> Array:
        """left . right for each of many matrices, in `out`, which is contiguous.  (...,R,K), (...,K,M) -> (...,R,M)"""
        return np.matmul(left, right, out=out)

    def matrix_vjp(self, cell: Cell, params: Params, linearization: Array, products: Array, out: Array) -> None:
        """out = products J_t for each of many matrices.  (G,1,any), (G,N,N) -> (G,N,N)"""
        out[:] = cell.vjp(params, linearization, products)[1]

    def spectral_norms(self, size: int) -> SpectralNorms:
        """log ||A||_2 of N x N matrices that come one after another."""
        return SpectralNorms()

    def largest_logs(
        self, matrices: Array, u: Array | None = None, noise: Callable[[], Array] | None = None
    ) -> Array | None:
        """log ||A||_2 of plain numbers, no square of which is out of range, where there is a faster way than the exact.

        Args:
            matrices: (M, R, N).
            u: (R,) the left singular vector to start from, which becomes that of the last matrix; by default any.
            noise: gives (R,) a random vector of norm one; by default always the same.

        Returns:
            (M,); None where there is no such way.
        """
        return None


class SpectralNorms:
    """log ||A||_2 of matrices that come one after another, by the eigenvalues of the Gram matrix of each."""

    def logs(self, matrices: Scaled) -> Array:
        """-inf is exactly zero, NaN not finite.  Rows normalised, (..., N, N) -> (...)"""
        return spectral_log_norm(matrices, normalised=True)

    def logs_of_plain(self, matrices: Array) -> Array:
        """The same of plain numbers of any size."""
        return self.logs(Scaled.of(matrices))

    def leading_pairs(self, matrices: Scaled) -> tuple[Array, Array] | None:
        """log ||A||_2 and the left singular vector that belongs to it, where there is a faster way than all of them.

        Rows normalised, (..., N, N) -> (...), (..., N); a vector is NaN where another singular value is close.
        """
        return None


class NumPy(Engine):
    """The methods of the cell, a step after the other; for every cell and dtype."""

    name: ClassVar[str] = "numpy"
    linearizes: ClassVar[bool] = False

    def forward(self, cell: Cell, params: Params, x: Array, h_0: Array | None) -> Trace:
        x, h_0 = check_inputs(cell, params, x, h_0)
        with np.errstate(over="ignore", invalid="ignore"):
            z, h = cell.project(params, x), np.empty((len(x) + 1, *h_0.shape), x.dtype)
            h[0] = h_0
            recur(cell, params, z, h)
            y_hat = cell.read(params, h[1:])
        check_finite(h[1:], "the hidden state")
        check_finite(y_hat, "the prediction")
        return Trace(cell, params, x, h, y_hat, self)

    def walk(self, trace: Trace, error: Any, plan: Plan) -> Cotangents:
        """All segments side by side, aligned at their stops."""
        return (walk_one_segment if len(plan.segments) == 1 else walk_segments)(trace, error, plan)

    def vjp(self, trace: Trace, linearization_t: Array, dh_t: Scaled) -> tuple[Scaled, Scaled]:
        da, dh_prev = vjp(trace.cell, trace.params, linearization_t, dh_t)
        return da, dh_prev.normalise()


def stack_scaled(parts: list[Scaled]) -> Scaled:
    """Scaled numbers of one shape, one after another along a new first axis."""
    return Scaled(np.stack([part.mantissa for part in parts]), np.stack([part.exponent for part in parts]))


def recur(cell: Cell, params: Params, z: Array, h: Array) -> None:
    """The recursion: h[1:] from h[0] and the projections."""
    for t in range(1, len(h)):
        h[t] = cell.step(params, z[t - 1], h[t - 1])


def walk_segments(trace: Trace, error: Numbers, plan: Plan) -> Cotangents:
    """All segments side by side, aligned at their stops."""
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
    """The same where there is nothing beside the one segment."""
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
    return numbers.normalise() if isinstance(numbers, Scaled) else numbers


def zeros_like(numbers: Any, shape: tuple[int, ...]) -> Any:
    if isinstance(numbers, Scaled):
        return Scaled.zeros(shape, numbers.mantissa.dtype)
    return np.zeros(shape, numbers.dtype)


NUMPY = NumPy()
ENGINES = ("numpy", "numba")
COMPILED_ENGINE = "bpttlab.gradients.compiled.engine"


def find_engine(engine: str | Engine) -> Engine:
    """The engine of that name.

    Raises:
        ConfigurationError: there is none, or what it needs is not installed or cannot be imported.
    """
    if isinstance(engine, Engine):
        return engine
    if engine == "numba" and sys.modules.get("numba") is not None:  # loaded before: the case of most calls
        loaded: Engine | None = getattr(sys.modules.get(COMPILED_ENGINE), "COMPILED", None)
        if loaded is not None:
            return loaded
    check_engine(engine)
    if engine == "numpy":
        return NUMPY
    from bpttlab.gradients.compiled import compilation

    compilation.check_imports()
    from bpttlab.gradients.compiled.engine import COMPILED

    return COMPILED


def check_engine(engine: str) -> None:
    """Refuses a name of no engine, and an engine that is not installed; compiles and loads nothing."""
    if engine not in ENGINES:
        raise ConfigurationError(f"engine={engine!r}: must be one of {', '.join(ENGINES)}.{nearest(engine, ENGINES)}")
    if engine == "numba":
        from bpttlab.gradients.compiled import compilation

        compilation.check_installed()
