"""The speed of the processor: the fastest product of two square matrices of size 1024 that any library here computes.

The peak is the fastest round of the fastest library. A contender that is faster still has shown that the products are
not the peak. Then its own speed is the peak and the row names it: what was reached was possible, so that no fraction is
above 1, every other fraction becomes smaller, and half an hour of measurements is not thrown away for one disturbed
product. Goals of fractions are not judged where the fastest product is well below that of an earlier shape: the machine
had other work while the products ran, and fractions are too large.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import scipy.linalg

from benchmarks.peers import peers
from benchmarks.problems import Array
from benchmarks.protocol import Call, Timed

SIZE = 1024
FLOPS = 2.0 * SIZE**3
MARK = "product of "
"""Contenders of this name are products, not gradients."""
STEADY = 0.85
"""The smallest peak of a dtype over its largest, on a machine that does nothing else."""


@dataclass(frozen=True)
class Peak:
    """The highest speed.

    Attributes:
        speeds: floating-point operations a second in every round.
        reached_by: the contender with these speeds.
        product: the highest speed of a product, which is the peak unless a gradient is faster.
        disturbed: whether an earlier product of this dtype was much faster than all of these.
    """

    speeds: tuple[float, ...]
    reached_by: str
    product: float
    disturbed: bool = False

    @property
    def speed(self) -> float:
        return max(self.speeds)

    def describe(self) -> str:
        parts = [f"peak: {self.reached_by}", *["faster than every product"] * (self.speed > self.product)]
        return ", ".join([*parts, *["disturbed"] * self.disturbed])


def is_product(name: str) -> bool:
    return name.startswith(MARK)


def products(dtype: str) -> dict[str, Call]:
    """One product by each library, into memory that is there already where the library allows that."""
    left, right = np.random.default_rng(0).standard_normal((2, SIZE, SIZE)).astype(dtype)
    calls: dict[str, Call] = {f"{MARK}NumPy": partial(np.matmul, left, right, out=np.empty_like(left))}
    calls[f"{MARK}SciPy"] = scipy_product(left, right)
    makers: dict[str, Callable[[Array, Array], Call]] = {
        name: peer.product for name, peer in peers().items() if hasattr(peer, "product")
    }
    return calls | {f"{MARK}{name}": make(left, right) for name, make in makers.items()}


def scipy_product(left: Array, right: Array) -> Call:
    """SciPy brings a BLAS of its own, whose arrays are stored by columns."""
    (gemm,) = scipy.linalg.get_blas_funcs(("gemm",), (left, right))
    a, b = map(np.asfortranarray, (left, right))
    out: Any = np.empty_like(a)
    return partial(gemm, 1.0, a, b, c=out, overwrite_c=True)


def find_peak(timed: Timed, flops: float, earlier: float = 0.0) -> Peak:
    """Of the rounds in which gradients of so many operations were timed, after products of at most this speed."""
    speeds = {
        name: tuple((FLOPS if is_product(name) else flops) / seconds for seconds in each)
        for name, each in timed.seconds.items()
    }
    fastest = max(speeds, key=lambda name: max(speeds[name]))
    product = max(max(each) for name, each in speeds.items() if is_product(name))
    return Peak(speeds[fastest], fastest, product, disturbed=product < STEADY * earlier)
