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

from bpttlab.networks.activations import Activation, ActivationName
from bpttlab.networks.cells.cell import Cell, Local, Params
from bpttlab.networks.cells.elman import Elman
from bpttlab.networks.cells.input_scales import Scales
from bpttlab.networks.initializers import Initializer
from bpttlab.numerics.array import Array


@dataclass(frozen=True)
class OrthogonalElman(Cell):
    """Elman cell with W on the special orthogonal group (expRNN, Lezcano-Casado & Martinez-Rubio 2019)."""

    name: ClassVar[str] = "orthogonal"
    recurrent_parameters: ClassVar[tuple[str, ...]] = ("W", "V", "b_h")

    input_size: int
    hidden_size: int
    output_size: int
    activation: ActivationName = "tanh"
    output_activation: str = "identity"

    @property
    def elman(self) -> Elman:
        """The cell that it is when W is given."""
        return Elman(self.input_size, self.hidden_size, self.output_size, self.activation, self.output_activation)

    # ------------------------------------------------------------------ the constraint

    def draw(self, rng: np.random.Generator, initializer: Initializer, scales: Scales) -> Params:
        """W is the rotation nearest to the draw, times what is requested of the initializer: its spectral radius."""
        params = self.elman.draw(rng, initializer, scales)
        requested = initializer.requested
        return {**params, "W": requested * nearest_rotation(params["W"] / requested if requested else params["W"])}

    def unconstrain(self, params: Params) -> Params:
        """S and `scale` in place of W: S - S^T = log(W / s)."""
        free = {name: values for name, values in params.items() if name != "W"}
        W = params["W"]
        scale = np.linalg.norm(W) / np.sqrt(len(W))
        S = 0.5 * rotation_log(W / scale) if scale else np.zeros_like(W)
        return {**free, "S": S.astype(W.dtype), "scale": np.asarray(scale, W.dtype)}

    def constrain(self, free: Params) -> Params:
        """W = s exp(S - S^T) in place of S and `scale`."""
        params = {name: values for name, values in free.items() if name not in ("S", "scale")}
        return {**params, "W": free["scale"] * linalg.expm(free["S"] - free["S"].T)}

    def constraint_vjp(self, free: Params, gradient: Params) -> Params:
        """dL/dS in place of dL/dW: the adjoint of exp's derivative at A is that at A^T (Higham 2008, chapter 10)."""
        pulled = {name: values for name, values in gradient.items() if name != "W"}
        skew = np.asarray(free["S"] - free["S"].T, np.float64)
        adjoint = linalg.expm_frechet(skew.T, np.asarray(gradient["W"], np.float64), compute_expm=False)
        dS = float(free["scale"]) * (adjoint - adjoint.T)
        return {**pulled, "S": dS.astype(gradient["W"].dtype)}

    # ------------------------------------------------------------------ the recurrence, which is Elman's

    def project(self, params: Params, x: Array) -> Array:
        return self.elman.project(params, x)

    def step(self, params: Params, z_t: Array, h_prev: Array) -> Array:
        return self.elman.step(params, z_t, h_prev)

    def linearize(self, params: Params, x: Array, h: Array) -> Array:
        return self.elman.linearize(params, x, h)

    def activation_inputs(self, params: Params, x: Array, h: Array) -> list[tuple[Activation, Array]]:
        return self.elman.activation_inputs(params, x, h)

    def vjp(self, params: Params, linearization_t: Array, dh_t: Array) -> tuple[Array, Array]:
        return self.elman.vjp(params, linearization_t, dh_t)

    def parameter_vjp(self, local: Local, da: Array) -> Params:
        return self.elman.parameter_vjp(local, da)

    def parameter_vjp_each(self, local: Local, da: Array) -> Params:
        return self.elman.parameter_vjp_each(local, da)

    def immediate(self, local: Local, da: Array) -> Params:
        return self.elman.immediate(local, da)

    def jacobian(self, params: Params, linearization_t: Array) -> Array:
        return self.elman.jacobian(params, linearization_t)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        return self.elman.shapes()

    @property
    def lipschitz(self) -> float | None:
        return self.elman.lipschitz

    def recurrent_blocks(self, params: Params) -> dict[str, Array]:
        return self.elman.recurrent_blocks(params)


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
