"""The machine code of matrix products: `out += left . right` as tiles of results that stay in registers.

This module needs Numba and is imported by `products.load_product` alone. A tile is written for LLVM itself, as vectors
and fused multiply-adds: no compiler makes of loops one that keeps twenty-four vectors of sums in registers.

Addresses are in bytes, steps from one row or column to the next in numbers. `one` says the dtype of all matrices.

Index legend: Q rows of left and out, K terms of a sum, M columns of right and out.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from llvmlite.binding import get_host_cpu_features, get_host_cpu_name
from numba import config, njit
from numba.core import cgutils, types
from numba.extending import intrinsic

NUMBERS = {types.float64: ("f64", 8, ir.DoubleType()), types.float32: ("f32", 4, ir.FloatType())}
"""Of each dtype its name in LLVM, the bytes of a number and its type in LLVM."""


def find_registers() -> tuple[int, int]:
    """Bytes of the widest vectors of this processor that are worth using, and how many rows of three fit its registers.

    Intel's cores with AVX-512 have 32 registers, and are no faster with vectors wider than those of AVX2.
    """
    stated_name, stated = (getattr(config, name) for name in ("CPU_NAME", "CPU_FEATURES"))
    features = {f"+{feature}" for feature, has in get_host_cpu_features().items() if has}
    if stated_name or stated is not None:
        features = set((stated or "").split(","))
    name = stated_name or get_host_cpu_name()
    if "+avx512vl" in features:
        return (64 if name.startswith("znver") else 32), 8
    return (32 if "+avx2" in features else 16), 4


WIDTH, MOST_ROWS = find_registers()

# ------------------------------------------------------------------ one tile


def make_tile(rows: int, vectors: int, numbers: int | None = None) -> Any:
    """out += left . right for so many rows and vectors, each of so many numbers, by default of `WIDTH` bytes."""

    @intrinsic
    def tile(
        typing: Any, one: Any, left: Any, left_row: Any, left_column: Any, right: Any, right_row: Any, out: Any,
        out_row: Any, K: Any,
    ) -> Any:  # fmt: skip
        _, itemsize, _ = NUMBERS[one]
        shape = rows, vectors, numbers or WIDTH // itemsize
        signature = types.void(one, *[types.intp] * 8)
        return signature, lambda context, builder, signature, arguments: write_tile(builder, one, shape, arguments[1:])

    return tile


def write_tile(builder: Any, dtype: Any, shape: tuple[int, int, int], arguments: Any) -> None:
    """The instructions of a tile of (rows, vectors, numbers of a vector)."""
    rows, vectors, lanes = shape
    name, itemsize, number = NUMBERS[dtype]
    vector = ir.VectorType(number, lanes)
    kind = ir.FunctionType(vector, [vector] * 3)
    multiply_add = cgutils.get_or_insert_function(builder.module, kind, f"llvm.fmuladd.v{lanes}{name}")
    left, left_row, left_column, right, right_row, out, out_row, K = arguments
    left, right, out = (builder.inttoptr(address, number.as_pointer()) for address in (left, right, out))

    def find_row(matrix: Any, index: Any, step: Any) -> Any:
        return builder.gep(matrix, [builder.mul(index, step)])

    def find_vectors(row: Any) -> list[Any]:
        starts = [builder.gep(row, [ir.IntType(64)(lanes * v)]) for v in range(vectors)]
        return [builder.bitcast(start, vector.as_pointer()) for start in starts]

    left_rows = [find_row(left, ir.IntType(64)(q), left_row) for q in range(rows)]
    places = [place for q in range(rows) for place in find_vectors(find_row(out, ir.IntType(64)(q), out_row))]
    sums = [cgutils.alloca_once(builder, vector) for _ in places]
    for place, total in zip(places, sums, strict=True):
        builder.store(builder.load(place, align=itemsize), total)
    with cgutils.for_range(builder, K) as loop:
        k = loop.index
        of_right = [builder.load(place, align=itemsize) for place in find_vectors(find_row(right, k, right_row))]
        for q, row in enumerate(left_rows):
            of_left = spread(builder, builder.load(find_row(row, k, left_column)), lanes)
            for total, factor in zip(sums[q * vectors : (q + 1) * vectors], of_right, strict=True):
                builder.store(builder.call(multiply_add, [of_left, factor, builder.load(total)]), total)
    for place, total in zip(places, sums, strict=True):
        builder.store(builder.load(total), place, align=itemsize)


def spread(builder: Any, number: Any, lanes: int) -> Any:
    """A vector of copies of a number."""
    nothing = ir.Constant(ir.VectorType(number.type, lanes), ir.Undefined)
    first = builder.insert_element(nothing, number, ir.IntType(32)(0))
    return builder.shuffle_vector(first, first, ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes))


# ------------------------------------------------------------------ all tiles of a product


def make_columns(vectors: int, numbers: int | None = None) -> Any:
    """A product with so many columns: tiles of `MOST_ROWS` rows, and of fewer for the rest."""
    eight, four, two, single = (make_tile(rows, vectors, numbers) for rows in (8, 4, 2, 1))

    @njit
    def add_columns(
        one: Any, itemsize: int, left: int, left_row: int, left_column: int, right: int, right_row: int, out: int,
        out_row: int, Q: int, K: int,
    ) -> None:  # fmt: skip
        of_left, of_out = left_row * itemsize, out_row * itemsize
        q = 0
        if MOST_ROWS == 8:
            while q + 8 <= Q:
                eight(one, left + q * of_left, left_row, left_column, right, right_row, out + q * of_out, out_row, K)
                q += 8
        while q + 4 <= Q:
            four(one, left + q * of_left, left_row, left_column, right, right_row, out + q * of_out, out_row, K)
            q += 4
        if q + 2 <= Q:
            two(one, left + q * of_left, left_row, left_column, right, right_row, out + q * of_out, out_row, K)
            q += 2
        if q < Q:
            single(one, left + q * of_left, left_row, left_column, right, right_row, out + q * of_out, out_row, K)

    return add_columns


add_three_vectors, add_two_vectors, add_one_vector = (make_columns(vectors) for vectors in (3, 2, 1))
add_eight_numbers, add_four_numbers, add_two_numbers, add_one_number = (make_columns(1, n) for n in (8, 4, 2, 1))


def add_tiles(
    one: Any, itemsize: int, left: int, left_row: int, left_column: int, right: int, right_row: int, out: int,
    out_row: int, Q: int, K: int, M: int,
) -> None:  # fmt: skip
    """out += left . right.  (Q,K), (K,M) -> (Q,M); rows of right and of out are contiguous."""
    lanes, m = WIDTH // itemsize, 0
    while m < M:
        to, by, more = out + m * itemsize, right + m * itemsize, M - m
        if more >= 5 * lanes or 3 * lanes <= more < 4 * lanes:  # four vectors are two and two
            add_three_vectors(one, itemsize, left, left_row, left_column, by, right_row, to, out_row, Q, K)
            m += 3 * lanes
        elif more >= 2 * lanes:
            add_two_vectors(one, itemsize, left, left_row, left_column, by, right_row, to, out_row, Q, K)
            m += 2 * lanes
        elif more >= lanes:
            add_one_vector(one, itemsize, left, left_row, left_column, by, right_row, to, out_row, Q, K)
            m += lanes
        elif more >= 8:
            add_eight_numbers(one, itemsize, left, left_row, left_column, by, right_row, to, out_row, Q, K)
            m += 8
        elif more >= 4:
            add_four_numbers(one, itemsize, left, left_row, left_column, by, right_row, to, out_row, Q, K)
            m += 4
        elif more >= 2:
            add_two_numbers(one, itemsize, left, left_row, left_column, by, right_row, to, out_row, Q, K)
            m += 2
        else:
            add_one_number(one, itemsize, left, left_row, left_column, by, right_row, to, out_row, Q, K)
            m += 1


def signature_of(dtype: str) -> Any:
    """That of `add_tiles`."""
    return types.void(getattr(types, dtype), *[types.intp] * 11)
