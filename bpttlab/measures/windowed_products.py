"""Norms of the products P_{t,t-l} at a few chosen lags and every t, at most three products of matrices a t.

Time is cut into blocks of l steps. A product over l steps that ends within a block is made of two parts: what it takes
of its own block, from the beginning on, and what it takes of the block before, to the end,

    P_{t,t-l} = (J_t ... J_{m+1}) (J_m ... J_{t-l+1}),        m the end of the block before,

and all parts of a block come from one chain each. A lag that is the sum of two others that are requested is one product
a t. Parts carry exponents for the columns of the first and the rows of the second: where their numbers meet they add.

Sources: van Herk 1992 and Gil & Werman 1993 (windows from prefixes and suffixes of blocks).

Index legend: T time, N state, L factors of a block, G blocks beside each other, M matrices.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Literal

import numpy as np

from bpttlab.errors import ConfigurationError, NonFiniteError
from bpttlab.fields import check_integer, check_method, format_value
from bpttlab.gradients.trace import Trace
from bpttlab.measures.given_jacobians import Jacobians, JacobianStream, check_source, read_jacobians
from bpttlab.measures.lengths import of_each_length
from bpttlab.measures.low_rank_products import check_real
from bpttlab.measures.product_norms import Reach, product_norms
from bpttlab.measures.stream_products import measure_chunks
from bpttlab.numerics.array import Array
from bpttlab.numerics.columnar import as_frame, concatenate
from bpttlab.numerics.scaled import LOG_2, ZERO_EXPONENT, Scaled, shift_exponents, spectral_log_norm

if TYPE_CHECKING:
    import pandas as pd

RESCALED_EVERY = 8
"""Factors between two looks at the size of a chain."""

_RANGE = 200
"""Exponents that a row may go within them; else its size is looked at after each."""

SIDE_BY_SIDE = 100
"""Exponents between the rows of a matrix up to which they share one."""

_TOGETHER = 2**18
"""Numbers of the factors of blocks that are worked on together."""

KEPT = 2**23
"""Numbers of the products of one lag that may be kept for those of a longer one."""

SMALLEST = 2.0**-400
"""Beside the largest: rows and columns of products from which others may be made."""


@of_each_length
def windowed_products(
    trace: Trace | None = None,
    lags: Iterable[int] | None = None,
    *,
    jacobians: Jacobians | None = None,
    length: int | None = None,
    method: Literal["fast", "exact"] = "fast",
    sequences: int = 2,
    spectral: bool = True,
) -> pd.DataFrame:
    """Norms of P_{t,t-l} at chosen lags, for every t from l to T: a row per sequence, lag and t.

    Args:
        trace: a forward pass.
        lags: integers l from 1 to T; they have no default.
        jacobians: in place of a trace, the Jacobians of anything: (T, N, N), (T, B, N, N), or an iterator over (N, N)
            or (B, N, N), J_1 first, of which L + max(L, 256) steps are kept, where L is the longest lag.
        length: the steps of `jacobians` to read; an iterator may have more. None: all.
        method: "fast" makes each product of two parts, in float64; of a float32 trace these are the products of the
            Jacobians at its states. "exact" follows every row of the products of all t, lag after lag.
        sequences: at most so many of the batch, from the first.
        spectral: whether spectral norms are computed, too, which take longer than the products.

    Returns:
        Columns sequence, t, lag, log_frobenius_norm (of P / sqrt(N)) and, if requested, log_spectral_norm: natural
        logarithms; -inf is exactly zero. "fast" multiplies numbers with exponents of their own and needs no way back to
        "exact".

    Raises:
        ConfigurationError: a lag is not as above or there is none, sequences is less than 1, the method is none of the
            two, or numbers are complex.
        NonFiniteError: a Jacobian is not finite; the error names its step.
    """
    check_source(jacobians, length, required={"trace": trace})
    given = trace if jacobians is None else read_jacobians(jacobians, length)
    assert given is not None
    chosen, sequences = check_window_lags(lags, given.length), check_integer("sequences", sequences, 1)
    check_method(method, ("fast", "exact"))

    def measure(trace: Trace, lags: list[int]) -> dict[str, Array]:
        return measure_windows(trace, lags, method, sequences, spectral)

    if isinstance(given, JacobianStream):
        return as_frame(measure_chunks(given, chosen, sequences, measure))
    check_real(given)
    return as_frame(measure(given, chosen))


def check_window_lags(lags: Iterable[int] | None, length: int | None) -> list[int]:
    """The lags in ascending order, each once; `length` is None where it is not known."""
    allowed = "1" if length is None else f"1 to T = {length}"
    if isinstance(lags, str) or not isinstance(lags, Iterable):
        raise ConfigurationError(f"lags={format_value(lags)}: must be a list of integers from {allowed}")
    chosen = sorted({check_integer("lag", lag, 1, length) for lag in lags})
    if not chosen:
        raise ConfigurationError(f"lags: there are none; must be integers from {allowed}")
    return chosen


def measure_windows(trace: Trace, lags: list[int], method: str, sequences: int, spectral: bool) -> dict[str, Array]:
    """`windowed_products` of a trajectory as columns."""
    if method == "exact":
        return row_by_row(trace.head(sequences), lags, spectral)
    batch = min(sequences, trace.h.shape[1])
    return concatenate([_columns_of(trace, b, lags, spectral) for b in range(batch)])


def row_by_row(trace: Trace, lags: list[int], spectral: bool) -> dict[str, Array]:
    """All lags of all t, of which those are kept that are requested."""
    parts, norms_of = [], trace.engine.spectral_norms(trace.h.shape[-1])
    for norms in product_norms(trace, np.arange(1, trace.length + 1), None, set(lags), Reach(norms_of)):
        for place, lag, log_norm in zip(norms.places, norms.reported, norms.log_spectral_norm, strict=True):
            starts, batch = log_norm.shape
            columns = {
                "sequence": np.repeat(np.arange(batch), starts),
                "t": np.tile(norms.t, batch),
                "lag": np.full(starts * batch, lag),
                "log_frobenius_norm": norms.log_frobenius_norm[place].T.ravel(),
            }
            parts.append(columns | ({"log_spectral_norm": log_norm.T.ravel()} if spectral else {}))
        if norms.lags[-1] >= lags[-1]:
            break
    rows = concatenate(parts)
    order = np.lexsort((rows["t"], rows["lag"], rows["sequence"]))
    return {name: column[order] for name, column in rows.items()}


def _columns_of(trace: Trace, sequence: int, lags: list[int], spectral: bool) -> dict[str, Array]:
    """The rows of one sequence."""
    windows, T = Windows(trace, sequence, lags, spectral), trace.length
    found = [windows.norms(lag) for lag in lags]
    numbers = [T + 1 - lag for lag in lags]
    columns = {
        "sequence": np.full(sum(numbers), sequence),
        "t": np.concatenate([np.arange(lag, T + 1) for lag in lags]),
        "lag": np.repeat(lags, numbers),
        "log_frobenius_norm": np.concatenate([norms[0] for norms in found]),
    }
    return columns | ({"log_spectral_norm": np.concatenate([norms[1] for norms in found])} if spectral else {})


class Windows:
    """The products of one sequence, lag after lag, from the shortest."""

    def __init__(self, trace: Trace, sequence: int, lags: list[int], spectral: bool) -> None:
        self.cell, self.engine, self.spectral = trace.cell, trace.engine, spectral
        self.params = {name: np.asarray(value, np.float64) for name, value in trace.params.items()}
        self.linearization = np.ascontiguousarray(trace.linearization[:, sequence], np.float64)
        self.length, self.size = trace.length, trace.h.shape[-1]
        self.of_others = sums(lags) if self.length * self.size**2 <= KEPT else {}
        self.parts = {part for pair in self.of_others.values() for part in pair}
        self.kept: dict[int, Scaled] = {}
        self.all_jacobians: Array | None = None
        self.one_size = True  # whether rows and columns of all parts of one lag have lain near each other
        self.rooms: dict[str, Array] = {}
        self.together = max(1, _TOGETHER // self.size**2)

    def jacobians(self, first: int, last: int) -> Array:
        """J_t for t from first to last, (last - first + 1, N, N)."""
        if self.length * self.size**2 > KEPT:
            return np.asarray(self.cell.jacobian(self.params, self.linearization[first - 1 : last]))
        if self.all_jacobians is None:
            self.all_jacobians = np.asarray(self.cell.jacobian(self.params, self.linearization))
        return self.all_jacobians[first - 1 : last]

    def room(self, name: str, shape: tuple[int, ...]) -> Array:
        """Memory that is used again: new memory costs as much as what is put there."""
        size = math.prod(shape)
        if name not in self.rooms or self.rooms[name].size < size:
            self.rooms[name] = np.empty(size)
        return self.rooms[name][:size].reshape(shape)

    def norms(self, lag: int) -> tuple[Array, Array]:
        """Logarithms of ||P||_F / sqrt(N) and ||P||_2 for t = lag..T."""
        frobenius, spectral = np.empty(self.length + 1), np.empty(self.length + 1)
        kept, self.one_size = self.find_kept(lag), True
        for t, products in self.products(lag):
            squares = np.einsum("mij,mij->m", products.mantissa, products.mantissa)
            if squares.min() < SMALLEST**2:
                shifts = one_exponent(products.mantissa)
                products = Scaled(shifts.mantissa, shifts.exponent + products.exponent)
                squares = np.einsum("mij,mij->m", products.mantissa, products.mantissa)
            if not np.isfinite(squares).all():
                self.refuse(t, lag)
            exponents = products.exponent[:, 0, 0] * LOG_2
            with np.errstate(divide="ignore"):
                frobenius[t] = 0.5 * np.log(squares) + exponents
            if self.spectral:
                spectral[t] = self.log_spectral(products.mantissa, squares) + exponents
            if kept is not None:
                kept[t - lag] = of_size_one(products, squares)
        if kept is not None and self.one_size and _is_complete(kept.mantissa):
            self.kept[lag] = kept
        return frobenius[lag:] - 0.5 * np.log(self.size), spectral[lag:]

    def refuse(self, t: Array, lag: int) -> None:
        """The error that names the step."""
        first = int(t[0]) - lag + 1
        bad = first + np.flatnonzero(~np.isfinite(self.jacobians(first, int(t[-1]))).all(axis=(1, 2)))
        step = int(bad[0]) if len(bad) else first
        raise NonFiniteError(f"the Jacobian, or a product of it, is not finite at step t = {step}", step)

    def log_spectral(self, matrices: Array, squares: Array) -> Array:
        """log of the spectral norms of mantissas.  (M,N,N) -> (M,)"""
        logs = self.engine.largest_logs(matrices) if squares.all() else None
        return spectral_log_norm(Scaled.of(matrices)) if logs is None else logs

    def products(self, lag: int) -> Iterator[tuple[Array, Scaled]]:
        """The products, for some t at a time: t (M,), and (M,N,N) with one exponent for each matrix.

        Their memory is used again for the next ones.
        """
        if lag == 1:
            for first in range(1, self.length + 1, self.together):
                last = min(self.length, first + self.together - 1)
                yield np.arange(first, last + 1), one_exponent(self.jacobians(first, last))
        elif all(part in self.kept for part in self.of_others.get(lag, (0,))):
            yield from self.multiply_kept(lag)
        else:
            yield from self.from_blocks(lag)

    # ------------------------------------------------------------------------------------ of two shorter ones

    def find_kept(self, lag: int) -> Scaled | None:
        """Where the products of this lag are kept for those of a longer one, if they are needed."""
        if lag not in self.parts:
            return None
        shape = (self.length + 1 - lag, self.size, self.size)
        return Scaled(np.empty(shape), np.empty((shape[0], 1, 1), np.int64))

    def multiply_kept(self, lag: int) -> Iterator[tuple[Array, Scaled]]:
        """P_{t,t-l} = P_{t,t-a} P_{t-a,t-a-b}, l = a + b."""
        a, b = self.of_others[lag]
        late, early = self.kept[a], self.kept[b]  # their entry 0 is that of t = a, t = b
        for first in range(lag, self.length + 1, self.together):
            t = np.arange(first, min(self.length, first + self.together - 1) + 1)
            left, right = late[first - a : t[-1] - a + 1], early[first - lag : t[-1] - lag + 1]
            product = self.engine.multiply(left.mantissa, right.mantissa, self.room("joined", left.shape))
            yield t, Scaled(product, left.exponent + right.exponent)

    # ------------------------------------------------------------------------------------ of two parts

    def from_blocks(self, lag: int) -> Iterator[tuple[Array, Scaled]]:
        """From the ends of one block and the beginnings of the next, some blocks at a time."""
        whole, rest = divmod(self.length, lag)
        together = max(1, self.together // lag)
        yield np.array([lag]), self.one_matrix(self.ends(lag, 0, 1, lag)[-1:, 0], axis=-1)
        for first in range(1, whole, together):
            yield from self.multiply_pairs(lag, first, min(together, whole - first), lag)
        if rest:
            yield from self.multiply_pairs(lag, whole, 1, rest)

    def multiply_pairs(self, lag: int, first: int, blocks: int, steps: int) -> Iterator[tuple[Array, Scaled]]:
        """The products that end within so many steps of blocks first, first + 1, ..."""
        t = lag * np.arange(first, first + blocks) + np.arange(1, steps + 1)[:, None]  # (L, G)
        late = self.beginnings(lag, first, blocks, steps)
        both = min(steps, lag - 1)
        if both:
            early = self.ends(lag, first - 1, blocks, lag - 1)[lag - 1 - both :][::-1]
            yield t[:both].ravel(), self.join(late[:both], early)
        if steps == lag:
            yield t[-1], self.one_matrix(late[-1], axis=-2)

    def ends(self, lag: int, first: int, blocks: int, factors: int) -> Scaled:
        """J_m, J_m J_{m-1}, ...: of each block the products of its last factors.  (L,G,N,N) and (L,G,N)"""
        slopes = self.linearization[first * lag : (first + blocks) * lag].reshape(blocks, lag, 1, -1)
        last = self.jacobians((first + 1) * lag, (first + blocks) * lag)[::lag]

        def go_further(step: int, products: Array, out: Array) -> None:
            self.engine.matrix_vjp(self.cell, self.params, slopes[:, lag - 1 - step], products, out)

        return multiply_chain(last, go_further, self.room("ends", (factors, *last.shape)), axis=-1)

    def beginnings(self, lag: int, first: int, blocks: int, factors: int) -> Scaled:
        """J_{m+1}, J_{m+2} J_{m+1}, ...: of each block the products of its first factors.  (L,G,N,N) and (L,G,N)"""
        J = self.jacobians(first * lag + 1, (first + blocks - 1) * lag + factors)
        J = J.reshape(blocks, -1, self.size, self.size) if blocks > 1 else J[None]

        def go_further(step: int, products: Array, out: Array) -> None:
            self.engine.multiply(J[:, step], products, out)

        return multiply_chain(J[:, 0], go_further, self.room("beginnings", (factors, *J[:, 0].shape)), axis=-2)

    def join(self, late: Scaled, early: Scaled) -> Scaled:
        """Products of matrices with exponents for columns and matrices with exponents for rows.  -> (L G,N,N)"""
        exponents, right = late.exponent + early.exponent, early.mantissa  # (L,G,N), of the numbers that meet
        whole = exponents[..., :1]
        if (exponents != whole).any():
            self.one_size = False
            live = np.asarray(late.mantissa.any(axis=-2) & early.mantissa.any(axis=-1))
            whole = np.where(live, exponents, ZERO_EXPONENT).max(axis=-1, keepdims=True)
            right = right * weights(exponents, whole, live)[..., None]
        product = self.engine.multiply(late.mantissa, right, self.room("joined", late.shape))
        return Scaled(product.reshape(-1, self.size, self.size), whole.reshape(-1, 1, 1))

    def one_matrix(self, products: Scaled, axis: int) -> Scaled:
        """Matrices with an exponent for each row or column -> with one each.  (M,N,N)"""
        whole = products.exponent[..., :1]
        if (products.exponent == whole).all():
            return Scaled(products.mantissa, whole[..., None])
        self.one_size = False
        live = np.asarray(products.mantissa.any(axis=axis))
        whole = np.where(live, products.exponent, ZERO_EXPONENT).max(axis=-1, keepdims=True)
        factors = np.expand_dims(weights(products.exponent, whole, live), axis)
        return Scaled(products.mantissa * factors, whole[..., None])


def of_size_one(products: Scaled, squares: Array) -> Scaled:
    """The same with Frobenius norms of the mantissas in [1/2, 1), from their squares.  (M,N,N), (M,)"""
    shift = np.frexp(np.sqrt(squares))[1].astype(np.int64)[:, None, None]
    return Scaled(shift_exponents(products.mantissa, -shift), products.exponent + shift)


def _is_complete(products: Array) -> bool:
    """Whether no row and no column of them is lost beside others: then nothing is of what is made of them."""
    for axis in ("i", "j"):
        squares = np.einsum(f"mij,mij->m{axis}", products, products)
        if ((squares > 0) & (squares < SMALLEST**2)).any():
            return False
    return True


def sums(lags: list[int]) -> dict[int, tuple[int, int]]:
    """The lags that are the sum of two other lags, or twice another."""
    requested, found = set(lags), {}
    for lag in lags:
        for part in lags:
            if 2 * part >= lag and lag - part in requested:
                found[lag] = (part, lag - part)
    return found


def multiply_chain(first: Array, further: Callable[[int, Array, Array], None], products: Array, axis: int) -> Scaled:
    """Products of more and more factors, with an exponent for each row (axis -1) or column (-2).

    Args:
        first: (G,N,N) the first factors.
        further: (step, products, out) multiplies by the factors of a step.
        products: (L,G,N,N) memory for the products.
    """
    exponents = np.zeros(products.shape[:-1], np.int64)
    products[0] = first
    rescale(products, exponents, 0, axis)
    step = 1
    while step < len(products):
        several = min(RESCALED_EVERY, len(products) - step)
        with np.errstate(over="ignore", invalid="ignore", under="ignore"):
            for one in range(step, step + several):
                further(one, products[one - 1], products[one])
        exponents[step : step + several] = exponents[step - 1]
        step += several
        if several > 1 and not stays_in_range(products[step - several - 1], products[step - 1], axis):
            for one in range(step - several, step):
                further(one, products[one - 1], products[one])
                exponents[one] = exponents[one - 1]
                rescale(products, exponents, one, axis)
        else:
            rescale(products, exponents, step - 1, axis)
    return Scaled(products, exponents)


def stays_in_range(before: Array, after: Array, axis: int) -> bool:
    """Whether every row or column has kept its size so far that nothing between can have left the range of floats."""
    size = np.abs(after).max(axis=axis)
    kept = (size < 2.0**_RANGE) & (size > 2.0**-_RANGE)
    return bool((kept | ~before.any(axis=axis)).all())


def rescale(products: Array, exponents: Array, step: int, axis: int) -> None:
    """The largest number of every row (column) into [1/2, 1); of rows that lie near each other, that of them all."""
    largest = np.abs(products[step]).max(axis=axis)
    live, shift = largest > 0, np.frexp(largest)[1].astype(np.int64)
    worth = exponents[step] + shift
    most = np.where(live, worth, ZERO_EXPONENT).max(axis=-1, keepdims=True)
    least = np.where(live, worth, -ZERO_EXPONENT).min(axis=-1, keepdims=True)
    wanted = np.where((most - least < SIDE_BY_SIDE) & live.any(axis=-1, keepdims=True), most, worth)
    shift = wanted - exponents[step]
    if shift.any():
        products[step] = shift_exponents(products[step], -np.expand_dims(shift, axis))
    exponents[step] = wanted


def weights(exponents: Array, whole: Array, live: Array) -> Array:
    """2^(exponent - whole), zero for what is nothing and for what is nothing beside the rest."""
    below = exponents - whole
    return np.where(live & (below > -1000), np.ldexp(1.0, np.clip(below, -1000, 0)), 0.0)


def one_exponent(products: Array) -> Scaled:
    """The largest number of each matrix into [1/2, 1).  (M,N,N)"""
    shift = np.frexp(np.abs(products).max(axis=(-2, -1)))[1].astype(np.int64)[:, None, None]
    return Scaled(shift_exponents(products, -shift), shift)
