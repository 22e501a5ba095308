"""Matrix products for compiled loops: `add_rows`, called as BLAS is, and summed in one order.

The machine code of a product (`tiles`) is compiled once for each dtype, or read from disk (`load_product`). Its address
stands in a table, where compiled loops find it: none of them contains, or compiles, a product of its own.

Every entry is one chain of fused multiply-adds over k = 0, 1, ..., whatever is beside it: a row has the same bytes
alone and among others, and on every processor that has the instruction. BLAS promises neither, and it packs both
factors at each call, which costs as much as a product of 16 rows. Measured on one core with AVX-512 against `np.dot`
(OpenBLAS with its SkylakeX kernels, float64, 52 GFLOP/s at 1024^3): 54 against 46 GFLOP/s for (32,512) (512,512), 52
against 37 for (16,1024) (1024,1024), 51 against 37 for (8,64) (64,64).

Index legend: Q rows of the left matrix and the result, K terms of a sum, M columns of the right one and the result.
"""

from __future__ import annotations

import ctypes
import os
from typing import Any

import numpy as np

from bpttlab.gradients.compiled.compilation import compile_for_address, interprets
from bpttlab.numerics.array import Array
from bpttlab.streams import print_error

PRODUCT_DTYPES = ("float64", "float32")
SYMBOL = "bpttlab_products"
"""The name by which machine code knows the table of addresses."""


def stop_process() -> None:
    """What stands in the table before `load_product`: to compute anything else would be wrong without a word."""
    print_error("bpttlab: a compiled loop was called before load_product")
    os.abort()


_STOP = ctypes.CFUNCTYPE(None)(stop_process)
ADDRESSES = (ctypes.c_void_p * len(PRODUCT_DTYPES))(*[ctypes.cast(_STOP, ctypes.c_void_p)] * len(PRODUCT_DTYPES))
"""The table: the address of the product of each of `PRODUCT_DTYPES`."""
_LOADED: dict[np.dtype[Any], Any] = {}
"""The functions of these addresses, which live as long as the process."""


def load_product(dtype: np.dtype[Any]) -> None:
    """Compiles the product of a dtype, or reads it from disk, where that has not been done."""
    if dtype in _LOADED or interprets():
        return
    from bpttlab.gradients.compiled import tiles

    _LOADED[dtype] = compile_for_address(tiles.add_tiles, tiles.signature_of(dtype.name))
    ADDRESSES[PRODUCT_DTYPES.index(dtype.name)] = _LOADED[dtype].address


def define_add_rows() -> Any:
    """`add_rows` as compiled loops call it: the address from the table, the places and steps of the arrays."""
    from llvmlite import binding, ir
    from numba.core import types
    from numba.extending import intrinsic

    binding.add_symbol(SYMBOL, ctypes.addressof(ADDRESSES))

    @intrinsic
    def add_rows(typing: Any, left: Any, right: Any, out: Any) -> Any:
        number = PRODUCT_DTYPES.index(str(out.dtype))

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            kinds = zip(signature.args, arguments, strict=True)
            matrices = [context.make_array(kind)(context, builder, value) for kind, value in kinds]
            one = context.get_constant(out.dtype, 1)
            given = [one, *find_arguments(builder, matrices, np.dtype(str(out.dtype)).itemsize)]
            kind = ir.FunctionType(ir.VoidType(), [argument.type for argument in given])
            module, addresses = builder.module, ir.ArrayType(kind.as_pointer(), len(PRODUCT_DTYPES))
            table = module.globals.get(SYMBOL) or ir.GlobalVariable(module, addresses, SYMBOL)
            place = builder.gep(table, [ir.IntType(64)(0), ir.IntType(64)(number)])
            builder.call(builder.load(place), given)
            return context.get_dummy_value()

        return types.void(left, right, out), generate

    return add_rows


def find_arguments(builder: Any, matrices: Any, itemsize: int) -> list[Any]:
    """Those of `tiles.add_tiles` but the first, from left, right and out."""
    from llvmlite import ir
    from numba.core import cgutils

    i64 = ir.IntType(64)
    left, right, out = (builder.ptrtoint(matrix.data, i64) for matrix in matrices)
    of_left, of_right, of_out = (
        [builder.sdiv(step, i64(itemsize)) for step in cgutils.unpack_tuple(builder, matrix.strides)]
        for matrix in matrices
    )
    _, (K, M), (Q, _) = (cgutils.unpack_tuple(builder, matrix.shape) for matrix in matrices)
    return [i64(itemsize), left, *of_left, right, of_right[0], out, of_out[0], Q, K, M]


if interprets():

    def add_rows(left: Array, right: Array, out: Array) -> None:
        """out += left . right.  (Q,K), (K,M) -> (Q,M); rows of right and of out are contiguous."""
        for k in range(len(right)):
            out += left[:, k : k + 1] * right[k]
else:
    add_rows = define_add_rows()
