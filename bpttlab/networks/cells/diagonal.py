"""Diagonal linear recurrence: complex units that turn and shrink, each by itself.

    lambda = exp(-exp(nu) + i exp(theta))             gamma = sqrt(1 - |lambda|^2), or 1
    h_t = lambda . h_{t-1} + gamma . (V x_t) + b_h

N complex units. The state is [Re h, Im h], 2N real numbers, of which the readout sees Re h; V = [Re V; Im V] and
b_h = [Re b; Im b]. All parameters are real, and |lambda| < 1 whatever nu is. Every J_t is the same real matrix

    [[diag Re lambda, -diag Im lambda], [diag Im lambda, diag Re lambda]]

with the eigenvalues lambda and their conjugates; it is normal, its singular values are |lambda|, each twice.

Index legend: T time, B sequence, I input, N hidden unit; `...` any leading axes. Pre-activations: [Re h, Im h], A = 2N.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import numpy as np

from bpttlab.errors import ConfigurationError
from bpttlab.fields import Field
from bpttlab.networks.cells.cell import HIDDEN_SIZE, Cell, Local, Params, project_in_blocks, rows
from bpttlab.networks.cells.gating import concat_blocks, diagonal, split_blocks, weights_vjp
from bpttlab.networks.cells.input_scales import Scales, gaussian
from bpttlab.networks.initializers import Initializer
from bpttlab.numerics.array import Array


@dataclass(frozen=True)
class Diagonal(Cell):
    """Linear recurrent unit, without the layers around it (Orvieto et al. 2023; the ring is their lemma 3.2).

    Attributes:
        r_min, r_max: with both equal, the spectral radius is that number.
        normalise: gamma is a function of nu, where the paper starts from it and trains gamma as a parameter of its own.
    """

    name: ClassVar[str] = "diagonal"
    recurrent_parameters: ClassVar[tuple[str, ...]] = ("nu", "theta", "V", "b_h")

    input_size: int
    hidden_size: Annotated[
        int,
        replace(HIDDEN_SIZE, description="N, complex units; the state has 2N numbers, the readout sees Re h"),
    ]
    output_size: int
    r_min: Annotated[
        float, Field(ge=0, lt=1, description="lambda is drawn uniformly from the ring r_min <= |lambda| <= r_max")
    ] = 0.9
    r_max: Annotated[float, Field(gt=0, lt=1, description="outer radius of the ring, at least r_min")] = 0.999
    normalise: Annotated[
        bool,
        Field(
            description="gamma = sqrt(1 - |lambda|^2), equal variances of all units with white input; false: gamma = 1"
        ),
    ] = True
    output_activation: str = "identity"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.r_min > self.r_max:
            raise ConfigurationError(f"r_min={self.r_min}: must be at most r_max={self.r_max}")

    # ------------------------------------------------------------------ lambda and gamma from nu and theta

    def eigenvalues(self, params: Params) -> tuple[Array, Array]:
        """Re lambda and Im lambda, each an analytic function of nu and theta.  (N), (N)"""
        modulus, angle = np.exp(-np.exp(params["nu"])), np.exp(params["theta"])
        return modulus * np.cos(angle), modulus * np.sin(angle)

    def input_gain(self, params: Params) -> Array:
        """gamma; expm1 keeps the digits of 1 - |lambda|^2 where |lambda| is close to 1.  (N)"""
        nu = params["nu"]
        return np.sqrt(-np.expm1(-2.0 * np.exp(nu))) if self.normalise else np.ones_like(nu)

    def input_gain_slope(self, params: Params) -> Array:
        """dgamma/dnu = |lambda|^2 exp(nu) / gamma.  (N)"""
        nu = params["nu"]
        return np.exp(nu - 2.0 * np.exp(nu)) / self.input_gain(params) if self.normalise else np.zeros_like(nu)

    # ------------------------------------------------------------------ the recurrence

    def project(self, params: Params, x: Array) -> Array:
        """gamma V x_t + b_h for every t at once.  (T,B,I) -> (T,B,2N)"""
        return repeat_entries(self.input_gain(params)) * project_in_blocks(x, params["V"]) + params["b_h"]

    def step(self, params: Params, z_t: Array, h_prev: Array) -> Array:
        """h_t = lambda . h_{t-1} + z_t, element by element.  (B,2N), (B,2N) -> (B,2N)"""
        return z_t + _times(*self.eigenvalues(params), h_prev)

    def linearize(self, params: Params, x: Array, h: Array) -> Array:
        """[Re lambda, Im lambda, gamma, dh_t/dnu, dh_t/dtheta].  (T,B,I), (T+1,B,2N) -> (T,B,7N)

        With h_{t-1} held constant: dlambda/dnu = -exp(nu) lambda and dlambda/dtheta = i exp(theta) lambda.
        """
        re, im = self.eigenvalues(params)
        kept = _times(re, im, h[:-1])
        kept_re, kept_im = split_blocks(kept, 2)
        dh_dnu = (
            repeat_entries(self.input_gain_slope(params)) * project_in_blocks(x, params["V"])
            - repeat_entries(np.exp(params["nu"])) * kept
        )
        dh_dtheta = repeat_entries(np.exp(params["theta"])) * concat_blocks(-kept_im, kept_re)
        constant = concat_blocks(re, im, self.input_gain(params))
        return concat_blocks(np.broadcast_to(constant, (*x.shape[:2], len(constant))), dh_dnu, dh_dtheta)

    def vjp(self, params: Params, linearization_t: Array, dh_t: Array) -> tuple[Array, Array]:
        """dh_{t-1} = conj(lambda) . dh_t.  (...,7N), (...,2N) -> (...,2N), (...,2N)"""
        re, im = split_blocks(linearization_t, 7)[:2]
        dh_prev = _times(re, -im, dh_t)
        return np.broadcast_to(dh_t, dh_prev.shape), dh_prev

    def input_vjp(self, params: Params, linearization_t: Array, da_t: Array) -> Array:
        """dx_t = V^T (gamma . da_t).  (...,7N), (...,2N) -> (...,I)"""
        return weights_vjp(repeat_entries(split_blocks(linearization_t, 7)[2]) * da_t, params["V"])

    def parameter_vjp(self, local: Local, da: Array) -> Params:
        _, _, gamma, nu_re, nu_im, theta_re, theta_im = split_blocks(rows(local.linearization), 7)
        da = rows(da)
        da_re, da_im = split_blocks(da, 2)
        return {
            "nu": (da_re * nu_re + da_im * nu_im).sum(axis=0),
            "theta": (da_re * theta_re + da_im * theta_im).sum(axis=0),
            "V": (repeat_entries(gamma) * da).T @ rows(local.x),
            "b_h": da.sum(axis=0),
        }

    def jacobian(self, params: Params, linearization_t: Array) -> Array:
        """J_t of [Re h, Im h], the same at every step.  (...,7N) -> (...,2N,2N)"""
        return real_matrix(*split_blocks(linearization_t, 7)[:2])

    # ------------------------------------------------------------------ weights

    def describe_alternative(self) -> str:
        return ", and set cell.r_min and cell.r_max"

    def draw(self, rng: np.random.Generator, initializer: Initializer, scales: Scales) -> Params:
        """nu, theta, V and b_h in float64: |lambda|^2 uniform between the squares of the radii, any angle."""
        self.check_initializer(initializer)
        moduli, angles, inputs, biases = rng.spawn(4)
        N, inner, outer = self.hidden_size, self.r_min**2, self.r_max**2
        squared = inner + (outer - inner) * (1.0 - moduli.random(N))  # never 0, whose logarithm nu cannot be
        return {
            "nu": np.log(-0.5 * np.log(squared)),
            "theta": np.log(2.0 * np.pi * (1.0 - angles.random(N))),
            "V": gaussian(inputs, (2 * N, self.input_size), scales.V),
            "b_h": gaussian(biases, (2 * N,), scales.b),
        }

    def shapes(self) -> dict[str, tuple[int, ...]]:
        N, I = self.hidden_size, self.input_size
        return {"nu": (N,), "theta": (N,), "V": (2 * N, I), "b_h": (2 * N,)}

    @property
    def lipschitz(self) -> float | None:
        """||J_t|| = max |lambda|, the norm of the block itself."""
        return 1.0

    def recurrent_blocks(self, params: Params) -> dict[str, Array]:
        """J_t as a real matrix (2N, 2N): there is no W."""
        return {"Lambda": real_matrix(*self.eigenvalues(params))}

    @property
    def state_parts(self) -> dict[str, int]:
        return {"h": 2 * self.hidden_size}  # Re h and Im h are one number

    @property
    def preactivation_size(self) -> int:
        return 2 * self.hidden_size


def repeat_entries(entries: Array) -> Array:
    """The same factor for the real and the imaginary part.  (...,N) -> (...,2N)"""
    return concat_blocks(entries, entries)


def _times(re: Array, im: Array, h: Array) -> Array:
    """(re + i im) . h with h = [Re h, Im h].  (...,N), (...,N), (...,2N) -> (...,2N)"""
    h_re, h_im = split_blocks(h, 2)
    return concat_blocks(re * h_re - im * h_im, im * h_re + re * h_im)


def real_matrix(re: Array, im: Array) -> Array:
    """diag(re + i im) as it acts on [Re h, Im h].  (...,N), (...,N) -> (...,2N,2N)"""
    upper, lower = concat_blocks(diagonal(re), diagonal(-im)), concat_blocks(diagonal(im), diagonal(re))
    return np.concatenate([upper, lower], axis=-2)
