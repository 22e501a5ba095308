"""scoRNN: an Elman cell whose W is orthogonal by Cayley's transform, and stays so in training.

    a_t = V x_t + W h_{t-1} + b_h          h_t = f_h(a_t)          W = (I + A)^-1 (I - A) D,  A = S - S^T

D is diagonal and fixed, with `negative` of its entries -1 and the others 1: with the right D every orthogonal matrix is
reached. The engine works with W, as in the cell `orthogonal`; training moves S: `constrain` makes W of it,
`constraint_vjp` makes dL/dS of dL/dW. W is drawn as in the paper, A with blocks [[0, s], [-s, 0]], s = tan(angle / 2),
angles uniform from 0 to pi / 2; no initializer applies. The paper's activation, modReLU, is left out: f_h is any of
bpttlab's.

Index legend: T time, B sequence, I input, N hidden unit; `...` any leading axes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from bpttlab.fields import Field
from bpttlab.networks.activations import ActivationName
from bpttlab.networks.cells.cell import Params
from bpttlab.networks.cells.constrained_elman import ConstrainedElman, without
from bpttlab.networks.cells.input_scales import Scales, gaussian
from bpttlab.networks.initializers import Initializer
from bpttlab.numerics.array import Array


@dataclass(frozen=True)
class ScoRNN(ConstrainedElman):
    """Elman cell with W by a scaled Cayley transform (Helfrich, Willmott & Ye 2018)."""

    name: ClassVar[str] = "scornn"

    input_size: int
    hidden_size: int
    output_size: int
    negative: Annotated[float, Field(ge=0, le=1, description="part of D that is -1, rounded to whole units")] = 0.5
    activation: ActivationName = "tanh"
    output_activation: str = "identity"

    # ------------------------------------------------------------------ the constraint

    @property
    def signs(self) -> Array:
        """The diagonal of D: ones, then `negative` of it -1.  (N,)"""
        N = self.hidden_size
        return np.where(np.arange(N) < N - round(self.negative * N), 1.0, -1.0)

    def cayley(self, A: Array) -> Array:
        """(I + A)^-1 (I - A): its own inverse.  (N,N) -> (N,N)"""
        one = np.eye(self.hidden_size)
        return np.linalg.solve(one + A, one - A)

    def draw(self, rng: np.random.Generator, initializer: Initializer, scales: Scales) -> Params:
        """V and b_h Gaussian, W by its angles, in float64."""
        self.check_initializer(initializer)
        inputs, angles, biases = rng.spawn(3)
        N = self.hidden_size
        A = np.zeros((N, N))
        first = np.arange(0, N - 1, 2)
        A[first, first + 1] = -np.tan(0.5 * angles.uniform(0.0, 0.5 * np.pi, len(first)))
        return {
            "V": gaussian(inputs, (N, self.input_size), scales.V),
            "W": self.cayley(A - A.T) * self.signs,
            "b_h": gaussian(biases, (N,), scales.b),
        }

    def unconstrain(self, params: Params) -> Params:
        """S in place of W: S - S^T is Cayley's transform of W D."""
        W = params["W"]
        A = self.cayley(W.astype(np.float64) * self.signs)
        return {**without(params, "W"), "S": (0.25 * (A - A.T)).astype(W.dtype)}

    def constrain(self, free: Params) -> Params:
        """W in place of S."""
        S = free["S"]
        W = self.cayley(S - S.T) * self.signs
        return {**without(free, "S"), "W": W.astype(S.dtype)}

    def constraint_vjp(self, free: Params, gradient: Params) -> Params:
        """dL/dS in place of dL/dW: with G = (I + A)^-T dL/dW (D + W^T), dL/dS = G^T - G (their theorem 3.2)."""
        A = free["S"] - free["S"].T
        W, dW = self.constrain(free)["W"], gradient["W"]
        G = np.linalg.solve((np.eye(self.hidden_size) + A).T, dW @ (np.diag(self.signs) + W.T))
        return {**without(gradient, "W"), "S": (G.T - G).astype(dW.dtype)}

    # ------------------------------------------------------------------ weights

    def block_counts(self) -> dict[str, int]:
        """None that an initializer draws."""
        return {}

    def describe_alternative(self) -> str:
        return ": its W is orthogonal, and drawn by its angles"
