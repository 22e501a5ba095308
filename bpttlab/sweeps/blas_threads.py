"""One BLAS thread.

The number of threads changes the last bits of a product, and workers share the processors already.
"""

from __future__ import annotations

import os

VARIABLES = (
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OMP_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)
"""What the BLAS libraries read, once, when they are loaded."""

ONE = dict.fromkeys(VARIABLES, "1")


def pin() -> None:
    """One thread for this process and those that it starts; has to come before NumPy is imported."""
    os.environ.update(ONE)
