"""What rounding changes in the growth of volumes: to first order, beside the QR itself.

    Q' R = J Q, rounded        (J E + D) R^-1 = Q' G + what lies outside the span of Q'

E is the tilt: what rounding so far may have added to the directions Q. D is the rounding of this step. log |R[i,i]|
changes by G[i,i]. The new tilt is (J E + D) R^-1 without Q' G[j,i], j <= i, which only turns a direction within the
space that it spans with those before it. So a direction that a singular J leaves to rounding is unknown until it has
aligned again, and so is one that shrinks while what it is tilted towards does not.

Index legend: B sequence, N state, K directions followed.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import solve_triangular

from bpttlab.numerics.array import Array

_RANGE = 2.0**400
"""Of changes; larger ones count as this."""


def draw_rounding(rows: Array, count: int, rng: np.random.Generator) -> Array:
    """D: about N eps times the largest entry of each row, drawn, equal for every sequence.  (B,N) -> (B,N,K)

    Small rows keep their digits in the product and in the QR (`row_sorted_qr`). Rows that are multiples of each other
    must not cancel, so sizes are drawn as well as signs.
    """
    size = rows.shape[-1]
    drawn = rng.uniform(1.0, 2.0, (size, count)) * rng.choice([-1.0, 1.0], (size, count))
    return size * np.finfo(float).eps * rows[..., None] * drawn


def carry_tilt(changed: Array, Q: Array, R: Array, dead: Array) -> tuple[Array, Array]:
    """The new tilt, and by how much log |R[i,i]| may have changed.  (B,N,K), (B,N,K), (B,K,K), (B,K) -> (B,N,K), (B,K)

    Args:
        changed: J E + D.
        Q, R, dead: of the QR of J Q, as in `volume_growth.Frame`.
    """
    relative = np.where(dead[:, None], 0.0, divide_by_triangles(changed, R, dead))
    along = np.triu(Q.swapaxes(-2, -1) @ relative)
    tilt = relative - Q @ along
    sizes = np.linalg.norm(tilt, axis=-2, keepdims=True)
    return tilt / np.maximum(sizes, 1.0), np.abs(np.diagonal(along, axis1=-2, axis2=-1))


def divide_by_triangles(changed: Array, R: Array, dead: Array) -> Array:
    """changed R^-1 of each sequence, within the range; R[i,i] of what is dead counts as 1."""
    diagonal = np.arange(R.shape[-1])
    alive = R.copy()
    alive[:, diagonal, diagonal] = np.where(dead, 1.0, R[:, diagonal, diagonal])
    with np.errstate(all="ignore"):
        parts = [
            solve_triangular(one, rows.T, trans="T", check_finite=False).T
            for one, rows in zip(alive, changed, strict=True)
        ]
    return np.clip(np.nan_to_num(np.stack(parts), nan=_RANGE), -_RANGE, _RANGE)
