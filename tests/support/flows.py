"""Jacobians of systems that are no networks: maps and flows."""

from __future__ import annotations

import numpy as np

SIGMA, RHO, BETA = 10.0, 28.0, 8.0 / 3.0


def lorenz_field(s):
    """The velocity of each state and its Jacobian.  (B,3) -> (B,3), (B,3,3)"""
    x, y, z = s.T
    J = np.zeros((len(s), 3, 3))
    J[:, 0, :2] = -SIGMA, SIGMA
    J[:, 1] = np.stack([RHO - z, -np.ones_like(x), -x], axis=-1)
    J[:, 2] = np.stack([y, x, np.full_like(x, -BETA)], axis=-1)
    return np.stack([SIGMA * (y - x), x * (RHO - z) - y, x * y - BETA * z], axis=-1), J


def rk4_step(field, s, step):
    """One step of Runge and Kutta, and the Jacobian of it: the tangent map.  (B,N) -> (B,N), (B,N,N)"""
    k, D, one = np.zeros_like(s), 0.0, np.eye(s.shape[-1])
    slopes, tangents = [], []
    for part in (0.0, 0.5, 0.5, 1.0):
        k, A = field(s + part * step * k)
        D = A @ (one + part * step * D)
        slopes.append(k)
        tangents.append(D)
    weights = (1.0, 2.0, 2.0, 1.0)
    s = s + step / 6.0 * sum(w * k for w, k in zip(weights, slopes, strict=True))
    return s, one + step / 6.0 * sum(w * D for w, D in zip(weights, tangents, strict=True))


def lorenz_jacobians(steps, batch, step=0.01, seed=0, before=1000):
    """Of the flow map over one time step, along `batch` orbits on the attractor."""
    s = np.random.default_rng(seed).normal([0.0, 0.0, 23.5], [8.0, 9.0, 8.6], (batch, 3))
    for t in range(before + steps):
        s, J = rk4_step(lorenz_field, s, step)
        if t >= before:
            yield J


def henon_jacobians(steps, batch, seed=3, a=1.4, b=0.3):
    """Of x' = 1 - a x^2 + y, y' = b x, written into one array again and again."""
    x, y = np.random.default_rng(seed).uniform(-0.1, 0.1, (2, batch))
    J = np.zeros((batch, 2, 2))
    J[:, 0, 1], J[:, 1, 0] = 1.0, b
    for _ in range(steps):
        J[:, 0, 0] = -2.0 * a * x
        yield J
        x, y = 1.0 - a * x * x + y, b * x
