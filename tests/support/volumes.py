"""Volumes that directions grow to, in so many digits that rounding is nowhere."""

import mpmath
import numpy as np


def precise_volumes(steps, digits=1500):
    """log of the volumes that the first 1, 2, ..., N directions of the first frame have grown to."""
    size = len(steps[0])
    start = np.linalg.qr(np.random.default_rng(0).standard_normal((size, size)))[0]
    with mpmath.workdps(digits):
        product = mpmath.matrix(start.tolist())
        for J in steps:
            product = mpmath.matrix(J.tolist()) * product
        leading = [product[:, :k] for k in range(1, size + 1)]
        squares = [mpmath.det(columns.T * columns) for columns in leading]
        return [float(mpmath.log(square) / 2) if square > 0 else -np.inf for square in squares]


def precise_logs(steps, digits=1500):
    """log |R[i,i]| summed over the steps, by direction; NaN behind a direction that is exactly zero."""
    with np.errstate(invalid="ignore"):
        return np.diff([0.0, *precise_volumes(steps, digits)])
