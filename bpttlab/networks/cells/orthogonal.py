"""Orthogonal cell: an Elman cell whose W is a multiple of an orthogonal matrix and stays one in training.

    a_t = V x_t + W h_{t-1} + b_h          h_t = f_h(a_t)          W = s exp(S - S^T)

The engine works with W: dL/dW, its lag terms and its truncations are those of the notes. What training moves is the
free matrix S (N, N): `constrain` makes W of it, `constraint_vjp` makes dL/dS of dL/dW, once a gradient and not once a
step. s = `scale` stays as drawn. exp(S - S^T) reaches every rotation, and nothing with a determinant of -1.

Index legend: T time, B sequence, I input, N hidden unit; `...` any leading axes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy import linalg

from bpttlab.networks.activations import ActivationName
from bpttlab.networks.cells.cell import Params
from bpttlab.networks.cells.constrained_elman import ConstrainedElman, without
from bpttlab.networks.cells.input_scales import Scales
from bpttlab.networks.initializers import Initializer
from bpttlab.numerics.array import Array


@dataclass(frozen=True)
class OrthogonalElman(ConstrainedElman):
    """Elman cell with W on the special orthogonal group (expRNN, Lezcano-Casado & Martinez-Rubio 2019)."""

    name: ClassVar[str] = "orthogonal"

    input_size: int
    hidden_size: int
    output_size: int
    activation: ActivationName = "tanh"
    output_activation: str = "identity"

    # ------------------------------------------------------------------ the constraint

    def draw(self, rng: np.random.Generator, initializer: Initializer, scales: Scales) -> Params:
        """W is the rotation nearest to the draw, times what is requested of the initializer: its spectral radius."""
        params = self.elman.draw(rng, initializer, scales)
        requested = initializer.requested
        return {**params, "W": requested * nearest_rotation(params["W"] / requested if requested else params["W"])}

    def unconstrain(self, params: Params) -> Params:
        """S and `scale` in place of W: S - S^T = log(W / s)."""
        W = params["W"]
        scale = np.linalg.norm(W) / np.sqrt(len(W))
        S = 0.5 * rotation_log(W / scale) if scale else np.zeros_like(W)
        return {**without(params, "W"), "S": S.astype(W.dtype), "scale": np.asarray(scale, W.dtype)}

    def constrain(self, free: Params) -> Params:
        """W = s exp(S - S^T) in place of S and `scale`."""
        return {**without(free, "S", "scale"), "W": free["scale"] * linalg.expm(free["S"] - free["S"].T)}

    def constraint_vjp(self, free: Params, gradient: Params) -> Params:
        """dL/dS in place of dL/dW: the adjoint of exp's derivative at A is that at A^T (Higham 2008, chapter 10)."""
        skew = np.asarray(free["S"] - free["S"].T, np.float64)
        adjoint = linalg.expm_frechet(skew.T, np.asarray(gradient["W"], np.float64), compute_expm=False)
        dS = float(free["scale"]) * (adjoint - adjoint.T)
        return {**without(gradient, "W"), "S": dS.astype(gradient["W"].dtype)}


def nearest_rotation(W: Array) -> Array:
    """The rotation nearest to W in the Frobenius norm (Kabsch 1976): the draw itself where it is one.

    Where the nearest orthogonal matrix has determinant -1, the least singular direction is turned round.
    """
    left, _, right = np.linalg.svd(W)
    if np.linalg.det(left) * np.linalg.det(right) < 0:
        left[:, -1] = -left[:, -1]
    return left @ right


def rotation_log(Q: Array) -> Array:
    """The skew-symmetric A with exp(A) = Q, angles in (-pi, pi], by the real Schur form of a rotation.

    Its blocks are 2x2 rotations and single +1; single -1 come in pairs, each a rotation by pi.
    """
    form, modes = linalg.schur(np.asarray(Q, np.float64), output="real")
    angles, half_turns, n = np.zeros_like(form), [], 0
    while n < len(form):
        if n + 1 < len(form) and form[n + 1, n] != 0.0:
            angle = np.arctan2(form[n + 1, n] - form[n, n + 1], form[n, n] + form[n + 1, n + 1])
            angles[n + 1, n], angles[n, n + 1] = angle, -angle
            n += 2
        else:
            half_turns += [n] if form[n, n] < 0.0 else []
            n += 1
    for first, second in zip(half_turns[::2], half_turns[1::2], strict=True):
        angles[second, first], angles[first, second] = np.pi, -np.pi
    return modes @ angles @ modes.T
